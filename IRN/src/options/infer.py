"""Options of infer.py's two commands."""

from typing import ClassVar

from common.config import ANY_FORMAT, RESULTS_SEED, InferOptions, configuration, option

from .options import GAUSSIAN_SCALE, NetworkOptions


@configuration
class DownscaleConfig(InferOptions, NetworkOptions):
    """Options of infer.py downscale."""

    outscale: ClassVar[float] = 0.0
    suffix: str = "_lr_x{scale}"
    format: str = option("png", "of the LR pictures: png, or bmp, which cannot hold the original size", choices=())


@configuration
class UpscaleConfig(InferOptions, NetworkOptions):
    """Options of infer.py upscale."""

    outscale: ClassVar[float] = 0.0
    gaussian_scale: float = GAUSSIAN_SCALE
    seed: int = RESULTS_SEED
    samples: int = option(1, "pictures to make of each, name_1, name_2 ..., each with its own z", at_least=1)
    size: str = option("", "of the results, as 511x333; default: what the LR picture's file says, else all of it")
    suffix: str = "_hr"
    format: str = ANY_FORMAT
