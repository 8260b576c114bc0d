"""Options of IRN's programs, and how the authors' yml files say them.

Each program's configuration is put together from the groups below. A file (`-opt FILE` or `--config FILE`) may hold the
options under their own names, or in the sections of the authors' files, which `yml.py` translates.
"""

from dataclasses import dataclass
from typing import Any

from common import UserError
from common.config import (
    FIGURES_OF_SAMPLES,
    SCALE_OF_CHECKPOINT,
    SEED_OF_RESULTS,
    TEST_SETS,
    AdamOptions,
    BorderOptions,
    DeviceOptions,
    EngineChoice,
    ExportOptions,
    NetworkChoice,
    PictureFolders,
    PrecisionOptions,
    RunOptions,
    StartOptions,
    StepCount,
    StepOptions,
    TableOptions,
    TileChoice,
    TrainedChoice,
    ValidationFolders,
    again,
    option,
)

from ..network.Invnet import BLOCKS_PER_LEVEL, Hyper
from . import yml

SCALES = tuple(BLOCKS_PER_LEVEL)
# Couplings per level, their growth and clamp: five couplings of this clamp reach the same factor, e^8, as the eight.
PRESETS = {"irn_small": (5, 16, 1.6)}
DEMO_SCALE = 2  # of the weights that come with the repository


@dataclass(frozen=True)
class NetworkOptions(NetworkChoice):
    """What is built."""

    scale: int = again(NetworkChoice, "scale", 4, choices=SCALES)
    model: str = again(
        NetworkChoice,
        "model",
        "IRN",
        help="a named network: IRN has the authors' sizes, the others their own",
        choices=("IRN", *PRESETS),
        presets=PRESETS,
    )
    block_num: tuple[int, ...] = option(
        (), "couplings of each level, as 8,8; default: the model's, IRN 8 (at x3 12)", hyper="block_num"
    )
    growth: int = option(
        0,
        "channels that each convolution of a dense block adds; 0: the model's, IRN 32",
        aliases=("gc",),
        at_least=0,
        hyper="growth",
    )
    clamp: float = option(
        0.0, "bound of the logarithm of each coupling's factor; 0: the model's, IRN 1", at_least=0, hyper="clamp"
    )
    init: str = option("xavier", "distribution of the first filters", choices=("xavier", "kaiming"))

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe."""
        scale = self.scale or DEMO_SCALE
        sizes = {"scale": scale, "block_num": BLOCKS_PER_LEVEL[scale], "init": self.init}
        return Hyper(**sizes | self.named(scale) | self.asked())

    def named(self, scale: int) -> dict[str, Any]:
        """Those that --model alone gives: IRN is of any size."""
        if self.model not in PRESETS:
            return {}
        blocks, growth, clamp = PRESETS[self.model]
        return {"block_num": (blocks,) * len(BLOCKS_PER_LEVEL[scale]), "growth": growth, "clamp": clamp}

    @staticmethod
    def read_config(path: str) -> dict[str, Any]:
        """A file's options by their own names.

        Raises:
            UserError: unreadable, an unknown key, or a value that cannot be honoured.
        """
        return yml.read(path)


@dataclass(frozen=True)
class DataOptions(PictureFolders):
    """Which pictures."""

    dataset_GT_path: str = again(  # noqa: N815
        PictureFolders,
        "dataset_GT_path",
        help="folder of HR pictures (sub-folders too), or one that holds DIV2K_train_HR/",
    )
    dataset_LQ_path: str = again(  # noqa: N815
        PictureFolders,
        "dataset_LQ_path",
        help="folder of LR pictures to come near; default: what is beside HR (as LR_bicubic/X4), else MATLAB's bicubic",
    )


@dataclass(frozen=True)
class TrainedOptions(TrainedChoice, NetworkOptions, DeviceOptions):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    scale: int = again(NetworkChoice, "scale", 0, help=SCALE_OF_CHECKPOINT, choices=(0, *SCALES))


@dataclass(frozen=True)
class EngineOptions(TileChoice, EngineChoice):
    """What computes."""


@dataclass(frozen=True)
class LatentOptions:
    """Which z the LR picture is enlarged with."""

    gaussian_scale: float = option(1.0, "standard deviation of z; 0: the mean picture of all z", at_least=0)
    seed: int = option(10, SEED_OF_RESULTS, at_least=0, below=2**32)


@dataclass(frozen=True)
class RecipeOptions(StepCount, StepOptions, AdamOptions):
    """How IRN is trained: the authors' values."""

    use_rot: bool = option(True, "turn patches upside down and transpose them, each in half of the cases")
    niter: int = again(StepCount, "niter", 500_000)
    lr: float = again(AdamOptions, "lr", 2e-4)
    lr_scheme: str = option("MultiStepLR", "how the rate falls", choices=("MultiStepLR", "CosineAnnealingLR_Restart"))
    lr_steps: tuple[int, ...] = option((100_000, 200_000, 300_000, 400_000), "MultiStepLR: steps at which it falls")
    lr_gamma: float = option(0.5, "factor of each fall of the rate", aliases=("gamma",), at_least=0)
    T_period: tuple[int, ...] = option((), "CosineAnnealingLR_Restart: steps of each half cosine; default: niter")
    eta_min: float = option(1e-7, "CosineAnnealingLR_Restart: lowest rate", at_least=0)
    restarts: tuple[int, ...] = option((), "steps at which the rate begins anew")
    restart_weights: tuple[float, ...] = option((), "factor of the rate at each restart; default: 1")
    warmup_iter: int = option(-1, "steps over which the rate rises; -1: none", at_least=-1)
    pixel_criterion_forw: str = option("l2", "distance of LR from its reference", choices=("l1", "l2"))
    pixel_criterion_back: str = option("l1", "distance of the restored picture from HR", choices=("l1", "l2"))
    lambda_fit_forw: float = option(
        0.0,
        "weight of the LR picture's distance; 0: scale^2, the authors' 4, 16, 64. Ten times as much keeps coloured "
        "dots out of the LR pictures of screen content",
        at_least=0,
    )
    lambda_rec_back: float = option(1.0, "weight of the restored picture's distance", at_least=0)
    lambda_ce_forw: float = option(1.0, "weight of z's distance from a standard normal", at_least=0)
    gaussian_scale: float = option(1.0, "standard deviation of the z that the picture is restored with", at_least=0)
    weight_decay: float = again(AdamOptions, "weight_decay", 1e-5, help="L2 coefficient, added to the clipped gradient")
    gclip: float = again(AdamOptions, "gclip", 10.0)


@dataclass(frozen=True)
class TrainConfig(
    DataOptions, ValidationFolders, NetworkOptions, StartOptions, RunOptions, RecipeOptions, PrecisionOptions,
    DeviceOptions,
):  # fmt: skip
    """Options of train.py."""

    patch_size: int = again(RunOptions, "patch_size", 144)
    seed: int = again(RunOptions, "seed", 10)
    save_dir: str = again(RunOptions, "save_dir", "runs/IRN")

    def lr_patch(self, scale: int) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the HR patch is not a multiple of the scale.
        """
        if self.patch_size % scale:
            raise UserError(f"--patch_size {self.patch_size} (HR pixels) must be a multiple of the scale, {scale}")
        return self.patch_size // scale


@dataclass(frozen=True)
class EvalConfig(TableOptions, BorderOptions, LatentOptions, EngineOptions, DataOptions, TrainedOptions):
    """Options of eval.py."""

    data_test: str = option("", TEST_SETS)
    draws: int = option(5, FIGURES_OF_SAMPLES, aliases=("samples",), at_least=1)
    crop: int = again(BorderOptions, "crop", help="border left out of all figures; -1: the scale")
    save_lr: bool = option(False, "write the LR pictures")
    suffix: str = option("", "added to the names of the written pictures")
    output: str = again(
        TableOptions, "output", help="folder for the tables and pictures; default: a new one under runs/IRN"
    )
    name: str = option("", "name of that new folder; default: the data sets and the scale")


@dataclass(frozen=True)
class ExportConfig(ExportOptions, TrainedOptions):
    """Options of export.py."""

    graph: str = option("both", "which graph to write", choices=("both", "downscale", "upscale"))
    file_name: str = option("irn", "name of the files to write; _downscale or _upscale and the ending are added")
