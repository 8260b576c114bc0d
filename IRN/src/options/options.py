"""Options of IRN's programs, also by the sections of the authors' files (`-opt FILE`), which `yml.py` translates."""

from typing import Any, ClassVar

from common import UserError
from common.config import (
    ANY_FORMAT,
    DATA_NAME,
    FIGURES_OF_SAMPLES,
    RESULTS_NAME,
    RESULTS_SEED,
    TEST_SETS,
    EvalOptions,
    ExportOptions,
    InferOptions,
    StepOptions,
    asked,
    configuration,
    counting_number,
    option,
)

from ..network.Invnet import BLOCKS_PER_LEVEL, Hyper
from . import yml

SCALES = tuple(BLOCKS_PER_LEVEL)
# Couplings per level, their growth and clamp: five couplings of this clamp reach the same factor, e^8, as the eight.
PRESETS = {"irn_small": (5, 16, 1.6)}
DEMO_SCALE = 2  # of the weights that come with the repository

HR_FOLDER = option(
    "",
    "folder of HR images (sub-folders too), or one that holds DIV2K_train_HR/",
    aliases=("dir_data", "data_path", "dataroot_GT", "dataroot"),
)
LR_FOLDER = option(
    "",
    "folder of reference LR images; default: those beside HR (as LR_bicubic/X4), else MATLAB's bicubic",
    aliases=("dataroot_LQ", "dataroot_LR"),
)
GAUSSIAN_SCALE = option(1.0, "standard deviation of z; 0: no noise", at_least=0)


@configuration
class NetworkOptions:
    """The network."""

    scale: int = option(4, "super resolution scale", aliases=("sr_scale",), choices=SCALES)
    model: str = option(
        "IRN",
        "network preset: IRN is the authors', irn_small a small one",
        choices=("IRN", *PRESETS),
        presets=PRESETS,
    )
    block_num: tuple[int, ...] = option(
        (), "couplings of each level, as 8,8; default: the model's, IRN 8 (at x3 12)", hyper="block_num"
    )
    growth: int = option(
        0,
        "channels added by each convolution of a dense block; 0: the model's, IRN 32",
        aliases=("gc",),
        at_least=0,
        hyper="growth",
    )
    clamp: float = option(
        0.0, "bound of the log scale of each coupling; 0: the model's, IRN 1", at_least=0, hyper="clamp"
    )
    init: str = option("xavier", "distribution of the initial weights", choices=("xavier", "kaiming"))

    def hyper(self) -> Hyper:
        scale = self.scale or DEMO_SCALE
        sizes = {"scale": scale, "block_num": BLOCKS_PER_LEVEL[scale], "init": self.init}
        return Hyper(**sizes | self.named(scale) | asked(self))

    def named(self, scale: int) -> dict[str, Any]:
        """Return those that --model alone gives: IRN is of any size."""
        if self.model not in PRESETS:
            return {}
        blocks, growth, clamp = PRESETS[self.model]
        return {"block_num": (blocks,) * len(BLOCKS_PER_LEVEL[scale]), "growth": growth, "clamp": clamp}

    @staticmethod
    def read_config(path: str) -> dict[str, Any]:
        return yml.read(path)


@configuration
class TrainConfig(NetworkOptions, StepOptions):
    dataset_GT_path: str = HR_FOLDER  # noqa: N815
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    patch_size: int = 144
    use_rot: bool = option(True, "flip patches vertically and transpose them, each in half of the cases")
    niter: int = option(500_000, "optimizer steps, with the batch of one worker", aliases=("max_updates",), at_least=1)
    lr: float = 2e-4
    loss_scale: float = 1.0  # the loss, a sum over an image, has large gradients
    lr_scheme: str = option(
        "MultiStepLR", "learning rate schedule", choices=("MultiStepLR", "CosineAnnealingLR_Restart")
    )
    lr_steps: tuple[int, ...] = option(
        (100_000, 200_000, 300_000, 400_000), "MultiStepLR: steps at which the learning rate falls"
    )
    lr_gamma: float = option(0.5, "factor of the learning rate at each decay", aliases=("gamma",), at_least=0)
    T_period: tuple[int, ...] = option((), "CosineAnnealingLR_Restart: steps of each half cosine; default: niter")
    eta_min: float = option(1e-7, "CosineAnnealingLR_Restart: lowest learning rate", at_least=0)
    restarts: tuple[int, ...] = option((), "steps at which the learning rate restarts")
    restart_weights: tuple[float, ...] = option((), "factor of the learning rate at each restart; default: 1")
    warmup_iter: int = option(-1, "warm-up steps of the learning rate; -1: none", at_least=-1)
    pixel_criterion_forw: str = option("l2", "LR guidance loss", choices=("l1", "l2"))
    pixel_criterion_back: str = option("l1", "HR reconstruction loss", choices=("l1", "l2"))
    lambda_fit_forw: float = option(
        0.0,
        "weight of the LR guidance loss; 0: scale^2, as the authors' 4, 16, 64; ten times as much removes "
        "coloured dots from LR images of screen content",
        at_least=0,
    )
    lambda_rec_back: float = option(1.0, "weight of the HR reconstruction loss", at_least=0)
    lambda_ce_forw: float = option(1.0, "weight of the distribution loss, -log density of z", at_least=0)
    gaussian_scale: float = option(1.0, "standard deviation of z when restoring the image", at_least=0)
    weight_decay: float = option(1e-5, "L2 coefficient, added to the clipped gradient")
    gclip: float = 10.0
    seed: int = 10
    save_dir: str = "runs/IRN"

    def lr_patch(self, scale: int) -> int:
        return self.lr_side(scale)


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    dataset_GT_path: str = HR_FOLDER  # noqa: N815
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    data_name: str = DATA_NAME
    data_test: str = TEST_SETS
    gaussian_scale: float = GAUSSIAN_SCALE
    seed: int = RESULTS_SEED
    draws: int = option(5, FIGURES_OF_SAMPLES, aliases=("samples",), at_least=1)
    crop: int = option(help="border to crop for all metrics, in pixels; -1: the scale")
    save_lr: bool = option(False, "write the LR images")
    suffix: str = option("", "suffix of the names of the written images")
    output: str = option(help="folder for the tables and images; default: a new one under runs/IRN")
    name: str = RESULTS_NAME


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    graph: str = option("both", "graph to export", choices=("both", "downscale", "upscale"))
    file_name: str = option("irn", "output file name; _downscale or _upscale and the extension are appended")


@configuration
class DownscaleConfig(InferOptions, NetworkOptions):
    outscale: ClassVar[float] = 0.0
    suffix: str = "_lr_x{scale}"
    format: str = option(
        "png", "format of the LR images: png, or bmp, which cannot store the original size", choices=()
    )

    def __post_init__(self) -> None:
        word = self.format.lower().lstrip(".")
        if word in ("jpg", "jpeg"):
            raise UserError(
                "an LR image is not written as JPEG, which changes the values that up-scaling needs: take png"
            )
        if word not in ("png", "bmp"):
            raise UserError(f"--format of LR images must be png or bmp, not {word!r}")


@configuration
class UpscaleConfig(InferOptions, NetworkOptions):
    outscale: ClassVar[float] = 0.0
    gaussian_scale: float = GAUSSIAN_SCALE
    seed: int = RESULTS_SEED
    samples: int = option(1, "samples of each image, name_1, name_2 ..., each with its own z", at_least=1)
    size: str = option("", "size of the results, as 511x333; default: as stored in the LR image's file, else uncropped")
    suffix: str = "_hr"
    format: str = ANY_FORMAT

    def __post_init__(self) -> None:
        if self.size:
            parse_size(self.size)


def parse_size(text: str) -> tuple[int, int]:
    """`511x333` -> (width, height)."""
    sides = [counting_number(word) for word in text.lower().split("x")]
    if len(sides) != 2 or not sides[0] or not sides[1]:
        raise UserError(f"a size is written as WIDTHxHEIGHT, 511x333, not {text!r}")
    return sides[0], sides[1]
