"""Options of its programs, also by the sections of the authors' files (`--opt FILE`), which `config.py` translates.

One such file serves training and evaluation: each program takes from it what concerns it (`CONFIG_PART`).
"""

import math
from dataclasses import asdict, replace
from typing import Any, ClassVar

from common import UserError
from common.config import (
    ANY_FORMAT,
    DATA_NAME,
    DEVICE_TARGET,
    FIGURES_OF_SAMPLES,
    HR_FOLDER,
    LR_FOLDER,
    RESULTS_NAME,
    RESULTS_SEED,
    TEST_SETS,
    EvalOptions,
    ExportOptions,
    InferOptions,
    StepOptions,
    asked,
    configuration,
    option,
)

from ..model.SRFlowNet import PRESETS, Hyper
from . import config

STAGES = ("flow", "rrdb")
# The authors' networks for any image; they have none for x2, which is x4's with a level less.
OF_SCALE = {0: "SRFlow_DF2K_4X", 2: "SRFlow_DF2K_4X", 4: "SRFlow_DF2K_4X", 8: "SRFlow_DF2K_8X"}
SMALL = {
    "srflow_small": Hyper(
        scale=4, num_features=24, num_blocks=2, growth=12, stack=(1,), levels=2, steps=8, hidden_channels=16, bound=16
    )
}
NAMED = {**PRESETS, **SMALL}
DEMO_SCALE = 4  # of the weights that come with the repository
GRAPHS = ("decode", "encode")
HEAT = 0.9  # the authors'; a checkpoint's own comes first, as the demo weights' 0.5
LATENTS = option(help="files of latents (.npz), or folders of them; the word --input may be omitted")
HR_ALIASES = ("dir_data", "dataroot_GT", "dataroot")  # data_path is ModelArts'


@configuration
class NetworkOptions:
    """The network."""

    CONFIG_PART: ClassVar[str] = "trained"  # what concerns this program in an authors' file: see config.py

    scale: int = option(0, "super resolution scale; default: the model's", aliases=("sr_scale",), choices=(0, 2, 4, 8))
    model: str = option(
        "", "network preset; default: the authors' of the scale, x4", choices=("", *NAMED), presets=NAMED
    )
    num_features: int = option(
        0, "channels of the encoder; 0: the model's", aliases=("nf",), at_least=0, hyper="num_features"
    )
    num_blocks: int = option(
        0, "blocks of the encoder; 0: the model's", aliases=("nb",), at_least=0, hyper="num_blocks"
    )
    growth: int = option(
        0,
        "channels added by each convolution of a dense block; 0: the model's",
        aliases=("gc",),
        at_least=0,
        hyper="growth",
    )
    stack: tuple[int, ...] = option(
        (), "encoder blocks read by the flow, from 0, as 1,3; default: the model's", hyper="stack"
    )
    # "levels" and "steps" alone might be taken for something of the training
    flow_levels: int = option(0, "levels of the flow; 0: the model's", aliases=("L",), at_least=0, hyper="levels")
    flow_steps: int = option(0, "flow steps in each level; 0: the model's", aliases=("K",), at_least=0, hyper="steps")
    hidden_channels: int = option(
        0, "channels inside the couplings; 0: the model's", at_least=0, hyper="hidden_channels"
    )
    eps: float = option(0.0, "smallest scale of a coupling; 0: the model's, 1e-4", at_least=0, below=1, hyper="eps")
    bound: float = option(
        0.0, "bound of the values inside the flow while sampling; 0: the model's", at_least=0, hyper="bound"
    )

    def hyper(self) -> Hyper:
        if self.model in PRESETS and self.scale not in (0, PRESETS[self.model].scale):
            raise UserError(f"{self.model} upscales x{PRESETS[self.model].scale}, not x{self.scale}")
        return replace(rescaled(self.model or OF_SCALE[self.scale], self.scale), **asked(self))

    def named(self, scale: int) -> dict[str, Any]:
        """Return those that --model alone gives; the authors' are of one scale each, and the bound is free."""
        if not self.model:
            return {}
        named = asdict(rescaled(self.model, scale if self.model in SMALL else 0))
        return {key: value for key, value in named.items() if key != "bound"}

    @classmethod
    def read_config(cls, path: str) -> dict[str, Any]:
        return config.read(path, cls)


def rescaled(name: str, scale: int) -> Hyper:
    """Return a named network at another scale, with a level more for each factor of two; 0 leaves it as it is."""
    hyper = NAMED[name]
    doublings = round(math.log2((scale or hyper.scale) / hyper.scale))
    return replace(hyper, scale=hyper.scale * 2**doublings, levels=hyper.levels + doublings)


@configuration
class TrainConfig(NetworkOptions, StepOptions):
    CONFIG_PART: ClassVar[str] = "train"

    dataset_GT_path: str = option(aliases=HR_ALIASES)  # noqa: N815
    val_GT_path: str = option(  # noqa: N815
        help="HR images for validation, or a .mindrecord; default: those of the training set"
    )
    batch_size: int = 12
    stage: str = option("flow", "what to train: the flow, or first the encoder (rrdb) with an L1 loss", choices=STAGES)
    quant: float = option(
        32.0,
        "add uniform noise of 1/quant to the HR patch and its constant to the likelihood; 0: none, as the "
        "authors' released code does",
        at_least=0,
    )
    rrdb_path: str = option(
        "",
        "trained encoder: the result of --stage rrdb, or the authors' file",
        aliases=("rrdb_ckpt", "train_pretrain_model_G", "pretrain_model_G"),
    )
    ckpt_path: str = option(
        help="initial weights of the whole network, or with --stage rrdb of the encoder (a new run from step 0)",
        aliases=("checkpoint", "pre_trained"),
    )
    niter: int = option(200_000, "optimizer steps, with the batch of one worker", aliases=("max_updates",), at_least=1)
    lr: float = option(0.0, "learning rate; default: the authors', 2.5e-4, at x8 5e-4, of stage rrdb 2e-4")
    lr_steps_rel: tuple[float, ...] = option(
        (0.5, 0.75, 0.9, 0.95), "fractions of niter at which the learning rate falls"
    )
    lr_steps: tuple[int, ...] = option(
        (), "steps at which the learning rate falls, instead of lr_steps_rel", instead_of=("lr_steps_rel",)
    )
    lr_steps_inverse_rel: tuple[float, ...] = option((), "fractions of niter at which the learning rate rises again")
    lr_gamma: float = option(0.5, "factor of the learning rate at each decay", aliases=("gamma",), at_least=0)
    train_RRDB: bool = option(  # noqa: N815
        False,
        "train the encoder from the first step, as the authors' released code does; false: after --train_RRDB_delay",
        instead_of=("train_RRDB_delay",),
    )
    train_RRDB_delay: float = option(  # noqa: N815
        0.5, "fraction of niter after which the encoder is trained too; 1: never", at_least=0
    )
    beta2: float = option(
        help="Adam's beta2, the decay of the mean squared gradient (the authors' files say 0.99, which their code "
        "ignores)"
    )
    test_every: int = 40_000
    test_pictures: int = 20
    val_heats: tuple[float, ...] = option((0.0, 0.5, 0.75, 1.0), "heats of the validation samples")
    val_samples: int = option(3, "validation samples of each image and heat", at_least=1)
    seed: int = 10
    save_dir: str = "runs/SRFlow"
    name: str = option(help="name of the run; default: model, scale and stage")
    save_checkpoint_freq: int = 1000

    # Data and results in the storage (OBS) of Huawei's cloud; see `device_adapter.workplace`.
    enable_modelarts: bool = option(False, "run as a ModelArts job: copy data from OBS and the run back to it")
    data_url: str = option("", "ModelArts: where the data set is, as obs://bucket/DF2K-4X")
    train_url: str = option("", "ModelArts: where the run folders go, as obs://bucket/runs")
    data_path: str = option("/cache/data", "ModelArts: folder of this machine that data_url is copied to")
    output_path: str = option("/cache/train", "ModelArts: folder of this machine whose content goes to train_url")

    def learning_rate(self, scale: int) -> float:
        return self.lr or (2e-4 if self.stage == "rrdb" else 5e-4 if scale == 8 else 2.5e-4)

    def run_name(self) -> str:
        stage = "" if self.stage == "flow" else f"_{self.stage}"
        return self.name or f"{(self.model or 'srflow').lower()}_x{self.hyper().scale}{stage}"

    def lr_patch(self, hyper: Hyper) -> int:
        return self.lr_side(hyper.scale, hyper.scale * hyper.lr_multiple)


# ------------------------------------------------------------------------------------------------- trained networks


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    dataset_GT_path: str = option("", HR_FOLDER.metadata["help"], aliases=HR_ALIASES)  # noqa: N815
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    data_name: str = DATA_NAME
    data_test: str = TEST_SETS
    val_GT_path: str = option(  # noqa: N815
        "",
        "patches to measure when dataset_GT_path is not given: datasets.val of a yml file",
        instead_of=("dataset_GT_path",),
    )
    val_LQ_path: str = option("", "LR images for validation; default: those beside HR, else MATLAB's bicubic")  # noqa: N815
    protocol: str = option(
        "auto",
        "table: all metrics of whole images; patches: PSNR and SSIM of each patch and their means, as "
        "printed originally; auto: patches for a .mindrecord, else table",
        choices=("auto", "table", "patches"),
    )
    heat: float = option(HEAT, "standard deviation of the latents", at_least=0)
    heats: tuple[float, ...] = option((), "several heats, as 0,0.5,0.9; default: heat alone", instead_of=("heat",))
    samples: int = option(1, FIGURES_OF_SAMPLES, aliases=("draws",), at_least=1)
    seed: int = RESULTS_SEED
    nll: bool = option(True, "also measure the likelihood of the HR images")
    output: str = option(help="folder for the tables and images; default: a new one under runs/SRFlow")
    name: str = RESULTS_NAME

    def all_heats(self) -> tuple[float, ...]:
        heats = tuple(dict.fromkeys(self.heats or (self.heat,)))
        if min(heats) < 0:
            raise UserError(f"--heats are standard deviations, 0 or more, not {min(heats):g}")
        return heats


@configuration
class UpscaleConfig(InferOptions, NetworkOptions):
    heat: float | None = option(
        None,
        f"standard deviation of the latents; 0: deterministic, and smoother; default: the checkpoint's, else {HEAT}",
        at_least=0,
    )
    samples: int = option(1, "samples of each image, name_1, name_2 ..., with a contact sheet", at_least=1)
    seed: int = RESULTS_SEED
    save_latents: bool = option(False, "also save the latents of each sample, for infer.py interpolate")


@configuration
class EncodeConfig(InferOptions, NetworkOptions):
    outscale: ClassVar[float] = 0.0
    suffix: ClassVar[str] = ""
    format: ClassVar[str] = ""
    lr: str = option("", "LR image, or folder of LR images of the same names; default: MATLAB's bicubic of HR")


@configuration
class DecodeConfig(InferOptions, NetworkOptions):
    outscale: ClassVar[float] = 0.0
    input: str = LATENTS
    format: str = ANY_FORMAT


@configuration
class InterpolateConfig(InferOptions, NetworkOptions):
    outscale: ClassVar[float] = 0.0
    input: str = LATENTS
    format: str = ANY_FORMAT
    steps: int = option(5, "images of the interpolation, both ends included", at_least=2)


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    graph: str = option("both", "graph to export", choices=("both", *GRAPHS))
    file_name: str = option("srflow", "output file name; _decode or _encode and the extension are appended")


@configuration
class ConvertConfig:
    train_path: str = option(
        "", "checkpoint that training wrote, or the authors' .pth", aliases=("ckpt_path", "checkpoint")
    )
    test_path: str = option("", "output file: .ckpt or .safetensors")
    device_target: str = DEVICE_TARGET
