"""Options of SRFlow's programs.

Each program's configuration is put together from the groups below. A file (`--opt FILE` or `--config FILE`) may hold
the options under their own names, or in the sections of the authors' files, which `yml.py` translates. One such file
serves training and evaluation: each program takes from it what concerns it (`CONFIG_PART`).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from common import UserError
from common.config import option
from common.options import DeviceOptions, EngineChoice

from ..model.SRFlowNet import PRESETS, Hyper
from . import yml
from .config import ModelArtsOptions

STAGES = ("flow", "rrdb")
# The authors' networks for any picture; they have none for x2, which is x4's with a level less.
OF_SCALE = {0: "SRFlow_DF2K_4X", 2: "SRFlow_DF2K_4X", 4: "SRFlow_DF2K_4X", 8: "SRFlow_DF2K_8X"}
SMALL = {
    "srflow_small": Hyper(
        scale=4, num_features=24, num_blocks=2, growth=12, stack=(1,), levels=2, steps=8, hidden_channels=16, bound=16
    )
}
NAMED = {**PRESETS, **SMALL}
DEMO_SCALE = 4  # of the weights that come with the repository


@dataclass(frozen=True)
class NetworkOptions:
    """What is built: a named network, and what is to be different in it."""

    CONFIG_FLAGS: ClassVar[tuple[str, ...]] = ("--config", "-opt", "--opt")
    CONFIG_PART: ClassVar[str] = "trained"  # what concerns this program in an authors' file: see yml.py

    scale: int = option(0, "factor of the enlargement; default: the model's", choices=(0, 2, 4, 8))
    model: str = option("", "a named network; default: the authors' of the scale, x4", choices=("", *NAMED))
    num_features: int = option(0, "channels of the encoder; 0: the model's", aliases=("nf",), at_least=0)
    num_blocks: int = option(0, "blocks of the encoder; 0: the model's", aliases=("nb",), at_least=0)
    growth: int = option(0, "channels a dense layer adds; 0: the model's", aliases=("gc",), at_least=0)
    stack: tuple[int, ...] = option((), "encoder's blocks, from 0, that the flow reads, as 1,3; default: the model's")
    flow_levels: int = option(0, "levels of the flow; 0: the model's", aliases=("L",), at_least=0)
    flow_steps: int = option(0, "flow steps in each level; 0: the model's", aliases=("K",), at_least=0)
    hidden_channels: int = option(0, "channels inside the couplings; 0: the model's", at_least=0)
    eps: float = option(0.0, "smallest scale of a coupling; 0: the model's, 1e-4", at_least=0, below=1)
    bound: float = option(0.0, "limit of the values inside the flow when it samples; 0: the model's", at_least=0)

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe.

        Raises:
            UserError: a network that there cannot be, or no name for the scale.
        """
        if self.model in PRESETS and self.scale not in (0, PRESETS[self.model].scale):
            raise UserError(f"{self.model} enlarges x{PRESETS[self.model].scale}, not x{self.scale}")
        return replace(rescaled(self.model or OF_SCALE[self.scale], self.scale), **self.asked())

    def asked(self) -> dict[str, Any]:
        """The hyper-parameters that options of their own give."""
        given = {
            "scale": self.scale,
            "num_features": self.num_features,
            "num_blocks": self.num_blocks,
            "growth": self.growth,
            "stack": self.stack,
            "levels": self.flow_levels,  # "levels" and "steps" alone might be taken for something of the training
            "steps": self.flow_steps,
            "hidden_channels": self.hidden_channels,
            "eps": self.eps,
            "bound": self.bound,
        }
        return {name: value for name, value in given.items() if value}

    @classmethod
    def read_config(cls, path: str) -> dict[str, Any]:
        """A file's options by their own names.

        Raises:
            UserError: unreadable, an unknown key, or a value that cannot be honoured.
        """
        return yml.read(path, cls)


def rescaled(name: str, scale: int) -> Hyper:
    """A named network at another scale, with a level more for each factor of two; 0 leaves it as it is."""
    hyper = NAMED[name]
    doublings = round(math.log2((scale or hyper.scale) / hyper.scale))
    return replace(hyper, scale=hyper.scale * 2**doublings, levels=hyper.levels + doublings)


@dataclass(frozen=True)
class DataOptions:
    """Which pictures."""

    dataset_GT_path: str = option(  # noqa: N815  (the spelling of IRN's authors, who share their data code)
        "",
        "folder of HR pictures (sub-folders too), or one that holds DIV2K_train_HR/, or a .mindrecord with patches",
        aliases=("dataroot_GT", "dataroot", "dir_data"),
    )
    dataset_LQ_path: str = option(  # noqa: N815
        "", "folder of LR pictures; default: MATLAB's bicubic of HR", aliases=("dataroot_LR", "dataroot_LQ")
    )
    data_name: str = option("", "name of the data set, for the log and the tables; default: the folder's")


@dataclass(frozen=True)
class TrainedOptions(NetworkOptions, DeviceOptions):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    scale: int = option(0, "factor of the enlargement; default: the checkpoint's", choices=(0, 2, 4, 8))
    ckpt_path: str = option(
        "",
        "trained weights: .ckpt, .safetensors, or the authors' .pth; default: the demo weights (x4)",
        aliases=("checkpoint_path", "ckpt_file", "checkpoint", "model_path", "test_pretrained_model_path"),
    )
    random_weights: bool = option(False, "go on without trained weights (to try the machinery)")


@dataclass(frozen=True)
class EngineOptions(EngineChoice):
    """What computes."""

    tile: int = option(0, "side of the tiles in LR pixels; 0: whole pictures while they fit", at_least=0)


@dataclass(frozen=True)
class RecipeOptions:
    """How SRFlow is trained: the authors' values."""

    stage: str = option(
        "flow", "what is trained: the flow, or before it the encoder (rrdb) by its head's L1 distance", choices=STAGES
    )
    batch_size: int = option(12, "pictures per step, for each worker", at_least=1)
    patch_size: int = option(160, "side of the HR patch", aliases=("GT_size", "HR_size"), at_least=1)
    use_flip: bool = option(True, "mirror half of the patches")
    quant: float = option(
        32.0,
        "uniform noise of 1/quant is added to the HR patch, and its constant to the likelihood; 0: none, which is what "
        "the authors' released code does whatever its files say",
        at_least=0,
    )
    niter: int = option(200_000, "optimizer steps, with the batch of one worker", at_least=1)
    epochs: int = option(0, "passes over the pictures, instead of niter; 0: niter counts", at_least=0)
    lr: float = option(
        0.0, "learning rate; 0: the authors', 2.5e-4, at x8 5e-4, of stage rrdb 2e-4", aliases=("lr_G",), at_least=0
    )
    lr_steps_rel: tuple[float, ...] = option((0.5, 0.75, 0.9, 0.95), "shares of niter at which the rate falls")
    lr_steps: tuple[int, ...] = option((), "steps at which the rate falls, instead of lr_steps_rel")
    lr_steps_inverse_rel: tuple[float, ...] = option((), "shares of niter at which the rate rises again")
    lr_gamma: float = option(0.5, "factor of each fall", at_least=0)
    schedule_batch: int = option(
        0,
        "pictures per step that niter, lr_steps and test_every are written for: all are multiplied by schedule_batch / "
        "(batch_size * workers); 0: batch_size, so that 8 workers make an eighth of the steps",
        at_least=0,
    )
    train_RRDB: bool = option(  # noqa: N815
        False, "train the encoder from the first step, as the authors' released code does; false: it waits"
    )
    train_RRDB_delay: float = option(  # noqa: N815
        0.5, "share of niter after which a waiting encoder is trained as well; 1: never", at_least=0
    )
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(
        0.999, "Adam's decay of the mean squared gradient (the authors' files say 0.99, which their code ignores)",
        at_least=0, below=1,
    )  # fmt: skip
    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(0.0, "L2 coefficient, added to the gradient", at_least=0)
    gclip: float = option(0.0, "largest norm of the gradient; 0: no clip", aliases=("gradient_clipping",), at_least=0)
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )


@dataclass(frozen=True)
class TrainConfig(RecipeOptions, DataOptions, NetworkOptions, DeviceOptions, ModelArtsOptions):
    """Options of train.py."""

    CONFIG_PART: ClassVar[str] = "train"

    val_GT_path: str = option(  # noqa: N815
        "", "HR pictures, or a .mindrecord, to look at while training; default: what belongs to the training pictures"
    )
    val_LQ_path: str = option("", "their LR pictures; default: MATLAB's bicubic of HR")  # noqa: N815
    test_every: int = option(40_000, "steps between two looks", aliases=("val_freq",), at_least=1)
    test_pictures: int = option(20, "how many patches to look at; 0: all", aliases=("n_max",), at_least=0)
    val_heats: tuple[float, ...] = option((0.0, 0.5, 0.75, 1.0), "deviations of the latents to sample with then")
    val_samples: int = option(3, "samples of each picture and heat", at_least=1)
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB", at_least=0)
    seed: int = option(10, "seed of the first filters, the crops, the noise and the order of the pictures", at_least=0)
    device_num: int = option(0, "number of workers there must be; 0: any", at_least=0)
    run_distribute: bool | None = option(None, "join other workers; default: when a launcher started this process")
    save_dir: str = option("runs/SRFlow", "where run folders are made")
    name: str = option("", "name of the run; default: model, scale and stage")
    ckpt_path: str = option(
        "", "checkpoint of a whole network, or at --stage rrdb of an encoder, to start from (its weights alone)"
    )
    rrdb_path: str = option(
        "",
        "trained encoder to start from: what --stage rrdb leaves, or the authors' RRDB_*.pth",
        aliases=("train_pretrain_model_G", "pretrain_model_G"),
    )
    ckpt_save_path: str = option("", "path to save ckpt; default: ckpt/ in the run's folder")
    save_checkpoint_freq: int = option(
        1000, "steps between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    ckpt_save_max: int = option(5, "how many of them to keep; older ones of this run are removed", at_least=0)
    resume: str = option(
        "", "go on with a run: its folder, or its last.ckpt; auto: the last one of this name", aliases=("resume_state",)
    )
    log_every: int = option(100, "steps between two lines of the log", aliases=("print_freq",), at_least=1)
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)

    def learning_rate(self, scale: int) -> float:
        """The first rate."""
        return self.lr or (2e-4 if self.stage == "rrdb" else 5e-4 if scale == 8 else 2.5e-4)

    def lr_patch(self, hyper: Hyper) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the flow cannot halve the HR patch as often as it has levels.
        """
        multiple = hyper.scale * hyper.lr_multiple
        if self.patch_size % multiple:
            raise UserError(f"--patch_size {self.patch_size} (HR pixels) must be a multiple of {multiple}")
        return self.patch_size // hyper.scale
