"""Options that the models share, spelled and explained once. A model's own options are dataclasses beside these."""

from dataclasses import dataclass

from common.config import option
from common.engine import ENGINES
from common.report import ReportOptions
from common.runtime import DEVICE_CHOICES


@dataclass(frozen=True)
class DeviceOptions:
    """Where it runs."""

    device_target: str = option(
        "auto", "where to run; auto takes the first of Ascend, GPU, CPU that answers", choices=DEVICE_CHOICES
    )


@dataclass(frozen=True)
class PrecisionOptions:
    """Half precision while training."""

    amp_level: str = option("O0", "half precision, O2 or O3, on GPU and Ascend; O0: none", choices=("O0", "O2", "O3"))
    amp_dtype: str = option(
        "float16", "its numbers: float16, or bfloat16 where the device has them", choices=("float16", "bfloat16")
    )
    loss_scale: float = option(
        1024.0, "factor on the loss in half precision; halved when gradients overflow", at_least=1
    )


@dataclass(frozen=True)
class EngineChoice:
    """What runs a trained network."""

    engine: str = option(
        "auto", "what computes; auto: ONNX Runtime on CPU when installed, else MindSpore", choices=ENGINES
    )


@dataclass(frozen=True)
class TableOptions(ReportOptions):
    """What eval.py of each model takes."""

    save_results: bool = option(True, "write the resulting pictures and the comparison strips")
    lpips_weights: str = option("", "folder with AlexNet's and LPIPS's weights; without it LPIPS is not computed")
    limit: int = option(0, "only so many pictures of each set; 0: all", at_least=0)


@dataclass(frozen=True)
class EnlargingOptions:
    """What infer.py of a model takes that makes one large picture of each."""

    input: str = option("", "a picture or a folder of pictures")
    output: str = option("results", "folder for the enlarged pictures")
    suffix: str = option("_x{scale}", "added to each name; {scale} is put in")
    format: str = option("", "of the results; default: as the input", choices=("", "png", "jpg", "bmp"))
    compare: bool = option(False, "also write a strip LR | bicubic | SR")
