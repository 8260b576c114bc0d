"""Options of CSNLN's programs, from default_config.yaml, from `--config FILE` and from the command line.

One file serves all programs: each takes from it the options that it has. What a checkpoint says of itself (scale and
sizes) is not taken from a file where a trained network is used, only from the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from common import UserError, config
from common.config import option
from common.options import DeviceOptions, PrecisionOptions

from .CSNLN import Hyper

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "default_config.yaml"
MODELS = {"CSNLN": Hyper(), "csnln_small": Hyper(n_feats=32, depth=3)}  # the scale is given apart
LR_PATCH = 48  # the authors'
SHAPE = ("scale", "model", "n_feats", "depth")
T = TypeVar("T", bound="Options")


@dataclass(frozen=True)
class Options(DeviceOptions):
    """What all programs have."""

    CONFIG_FLAGS: ClassVar[tuple[str, ...]] = ("--config", "--config_path")
    NOT_FROM_FILES: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def read_config(cls, path: str | Path) -> dict[str, Any]:
        """The options in a file that concern this program; unknown ones stay, to be refused.

        Raises:
            UserError: unreadable.
        """
        from .use_options import PROGRAMS  # whose options are made of those here

        known = {field.name for program in PROGRAMS for field in fields(program)}
        own = {field.name for field in fields(cls)}.difference(cls.NOT_FROM_FILES)
        return {key: value for key, value in config.read_yaml(path).items() if key in own or key not in known}


@dataclass(frozen=True)
class NetworkOptions:
    """What is built."""

    scale: int = option(2, "super resolution scale", choices=(2, 3, 4))
    model: str = option("CSNLN", "a named network", choices=tuple(MODELS))
    n_feats: int = option(0, "number of feature maps; 0: the model's", at_least=0)
    depth: int = option(0, "how often the cell is applied; 0: the model's", at_least=0)

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe.

        Raises:
            UserError: there is no such network.
        """
        asked = {"scale": self.scale, "n_feats": self.n_feats, "depth": self.depth}
        return replace(MODELS[self.model], **{key: value for key, value in asked.items() if value})


@dataclass(frozen=True)
class DataOptions:
    """Which pictures."""

    data_path: str = option(
        "dataset", "folder that holds DIV2K/ and benchmark/, or is one of them", aliases=("dir_data",)
    )
    data_test: str = option("Set5", "test set, or several as Set5+Set14; DIV2K, or a folder of pictures")
    data_range: str = option("1-800/801-810", "train/test data range: numbers of DIV2K's pictures")


@dataclass(frozen=True)
class TrainConfig(PrecisionOptions, DataOptions, NetworkOptions, Options):
    """Options of train.py."""

    data_train: str = option("DIV2K", "train set, or several as DIV2K+T91, a folder of pictures, or a .mindrecord")
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB", at_least=0)
    patch_size: int = option(0, "side of the HR patch; 0 takes 48 times the scale", at_least=0)
    no_augment: bool = option(False, "do not use data augmentation (flips and quarter turns)")
    test_every: int = option(1000, "do test per every N batches; so many batches are an epoch", at_least=1)
    epochs: int = option(1000, "number of epochs to train", aliases=("epoches",), at_least=1)
    batch_size: int = option(16, "pictures per step, for each worker", at_least=1)
    lr: float = option(1e-4, "learning rate", aliases=("lr_init",), at_least=0)
    decay: str = option("200", "epochs after which the rate is multiplied by gamma, as 200-400-600-800; or cosine")
    gamma: float = option(0.5, "factor of each decay", at_least=0)
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the mean squared gradient", at_least=0, below=1)
    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(0.0, "L2 coefficient, added to the gradient", at_least=0)
    gclip: float = option(0.0, "largest norm of the gradient; 0: no clip", at_least=0)
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )
    recompute: int = option(
        0,
        "to save memory, take so many pictures of a batch at a time, and compute each cell again for its gradients; "
        "0: keep everything",
        at_least=0,
    )
    seed: int = option(1, "seed of the first weights, the crops and the order of the pictures", at_least=0)
    run_distribute: bool | None = option(
        None, "join other workers; default: when a launcher started this process", aliases=("distribute",)
    )
    save_dir: str = option("runs/CSNLN", "where run folders are made", aliases=("save",))
    name: str = option("", "name of the run; default: model and scale")
    ckpt_save_path: str = option(
        "", "path to save ckpt; default: ckpt/ in the run's folder", aliases=("checkpoint_path",)
    )
    ckpt_save_interval: int = option(
        5, "epochs between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: never", at_least=0
    )
    ckpt_save_max: int = option(
        5, "how many of them to keep; older ones of this run are removed", aliases=("keep_checkpoint_max",), at_least=0
    )
    pre_trained: str = option(
        "", "path of weights to start from, ours or the authors' (the run starts at step 0)", aliases=("ckpt_path",)
    )
    resume: str = option("", "go on with a run: its folder, or its last.ckpt")
    log_every: int = option(50, "steps between two lines of the log", at_least=1)
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)
    test_pictures: int = option(10, "pictures of the test sets to look at while training; 0: all", at_least=0)

    def lr_patch(self) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the HR patch cannot be made smaller by the scale, or the LR patch not for the attention.
        """
        hyper = self.hyper()
        multiple = hyper.scale * hyper.attention_scale
        if self.patch_size % multiple:
            raise UserError(
                f"--patch_size {self.patch_size} (HR pixels) must be a multiple of {multiple} at x{hyper.scale}: the "
                f"attention compares the LR patch with itself made {hyper.attention_scale} times smaller"
            )
        return self.patch_size // hyper.scale or LR_PATCH


@dataclass(frozen=True)
class TrainedOptions(NetworkOptions, Options):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    NOT_FROM_FILES: ClassVar[tuple[str, ...]] = SHAPE

    scale: int = option(
        0, "super resolution scale; default: the checkpoint's, 2 for the demo weights", choices=(0, 2, 3, 4)
    )
    ckpt_file: str = option(
        "",
        "trained weights: .ckpt, .safetensors, or the authors' .pt; default: the demo weights",
        aliases=("ckpt_path", "checkpoint"),
    )
    random_weights: bool = option(False, "go on without trained weights (to try the machinery)")


def parse(cls: type[T], argv: Sequence[str] | None, description: str) -> T:
    """The options of a program: default_config.yaml, under the file of `--config`, under the command line.

    Raises:
        UserError: unknown key, wrong type, value outside its choices, or an unreadable file.
    """
    return config.parse(cls, argv, description=description, base=config.load(cls, DEFAULT_CONFIG))
