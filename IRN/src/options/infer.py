"""Options of infer.py's two commands."""

from dataclasses import dataclass

from common.config import option

from .options import EngineOptions, LatentOptions, TrainedOptions


@dataclass(frozen=True)
class InferOptions(EngineOptions, TrainedOptions):
    """Which pictures."""

    input: str = option("", "a picture or a folder of pictures; they may also be typed right behind the command")
    output: str = option("results", "folder for the results")


@dataclass(frozen=True)
class DownscaleConfig(InferOptions):
    """Options of infer.py downscale."""

    suffix: str = option("_lr_x{scale}", "added to each name; {scale} is put in")
    format: str = option("png", "of the LR pictures: png, or bmp, which cannot hold the original size")


@dataclass(frozen=True)
class UpscaleConfig(LatentOptions, InferOptions):
    """Options of infer.py upscale."""

    samples: int = option(1, "pictures to make of each LR picture, each with its own z: name_1, name_2 ...", at_least=1)
    size: str = option("", "of the results, as 511x333; default: what the LR picture's file says, else all of it")
    suffix: str = option("_hr", "added to each name; {scale} is put in")
    format: str = option("png", "of the results", choices=("png", "jpg", "bmp"))
