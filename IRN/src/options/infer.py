"""Options of infer.py's two commands."""

from dataclasses import dataclass

from common.config import NamingOptions, again, option

from .options import EngineOptions, LatentOptions, TrainedOptions


@dataclass(frozen=True)
class InferOptions(NamingOptions, EngineOptions, TrainedOptions):
    """Which pictures, and how they are rescaled."""


@dataclass(frozen=True)
class DownscaleConfig(InferOptions):
    """Options of infer.py downscale."""

    suffix: str = again(NamingOptions, "suffix", "_lr_x{scale}")
    format: str = option("png", "of the LR pictures: png, or bmp, which cannot hold the original size")


@dataclass(frozen=True)
class UpscaleConfig(LatentOptions, InferOptions):
    """Options of infer.py upscale."""

    samples: int = option(1, "pictures to make of each, name_1, name_2 ..., each with its own z", at_least=1)
    size: str = option("", "of the results, as 511x333; default: what the LR picture's file says, else all of it")
    suffix: str = again(NamingOptions, "suffix", "_hr")
    format: str = again(NamingOptions, "format", "png", help="of the results", choices=("png", "jpg", "bmp", "webp"))
