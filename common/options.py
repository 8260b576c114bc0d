"""Options that models share, spelled and explained once. A model's own options are dataclasses beside these.

Where a model takes an option with another default, or has more to say of it, its class has it once more by
`common.config.again`. Other spellings are those of the original programs, of one model or another.
"""

from dataclasses import dataclass, fields
from typing import Any

from common import UserError
from common.config import left_open, option
from common.runtime import DEVICE_CHOICES

ENGINES = ("auto", "mindspore", "onnxruntime")
SCALE_OF_CHECKPOINT = "super resolution scale; default: the checkpoint's"
FIGURES_OF_SAMPLES = "pictures to make of each, at random; the figures are their means"
SEED_OF_RESULTS = "seed of what is random in the results"
TEST_SETS = "data sets below dataset_GT_path or its benchmark/, as Set5+Set14; default: all of it"


@dataclass(frozen=True)
class DeviceOptions:
    """Where it runs."""

    device_target: str = option(
        "auto", "where to run; auto takes the first of Ascend, GPU, CPU that answers", choices=DEVICE_CHOICES
    )


# ------------------------------------------------------------------------------------------------------------ networks


@dataclass(frozen=True)
class NetworkChoice:
    """What is built."""

    scale: int = option(2, "super resolution scale", aliases=("sr_scale",))
    model: str = option("", "a named network")

    def chosen_scale(self) -> int:
        """The scale; 0 where it is left open."""
        return self.scale

    def asked(self) -> dict[str, Any]:
        """The hyper-parameters that options of their own give."""
        own, scale = hyper_options(self), self.chosen_scale()
        given = {key: getattr(self, name) for key, name in own.items() if not left_open(self, name)}
        return given | ({"scale": scale} if scale else {})

    def named(self, scale: int) -> dict[str, Any]:
        """The hyper-parameters that --model alone gives at a scale; none where it is left open."""
        raise NotImplementedError


def hyper_options(options: NetworkChoice) -> dict[str, str]:
    """Hyper-parameter -> the option that gives it; the scale is not among them."""
    return {field.metadata["hyper"]: field.name for field in fields(options) if field.metadata.get("hyper")}


@dataclass(frozen=True)
class TrainedChoice:
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    ckpt_path: str = option(
        "",
        "trained weights: .ckpt, .safetensors, or the authors' file; default: the demo weights",
        aliases=(
            "ckpt_file",
            "checkpoint",
            "checkpoint_path",
            "resume_state",
            "model_path",
            "test_pretrained_model_path",
        ),
    )
    random_weights: bool = option(
        False, "go on without trained weights (to try the machinery)", instead_of=("ckpt_path", "ckpt_file")
    )


# ------------------------------------------------------------------------------------------------------------ pictures


@dataclass(frozen=True)
class NamedSets:
    """Which pictures: data sets by name in one folder."""

    dir_data: str = option(
        ".",
        "folder that holds DIV2K/ or benchmark/, or is such a folder itself",
        aliases=("data_path", "dataset_GT_path", "dataroot_GT", "dataroot"),
    )
    data_test: str = option("DIV2K", "test data set, or several as Set5+Set14; DIV2K, or a folder of pictures")
    data_range: str = option("1-800/801-900", "train/test data range: numbers of DIV2K's pictures")


@dataclass(frozen=True)
class PictureFolders:
    """Which pictures: a folder of HR pictures, and one of LR pictures where there is one."""

    dataset_GT_path: str = option(  # noqa: N815  (the spelling of IRN's authors)
        "",
        "folder of HR pictures (sub-folders too), or one that holds DIV2K_train_HR/, or a .mindrecord with patches",
        aliases=("dir_data", "data_path", "dataroot_GT", "dataroot"),
    )
    dataset_LQ_path: str = option(  # noqa: N815
        "",
        "folder of LR pictures; default: what is beside HR (as LR_bicubic/X4), else MATLAB's bicubic",
        aliases=("dataroot_LQ", "dataroot_LR"),
    )
    data_name: str = option("", "name of the data set, for the log and the tables; default: the folder's")


# ------------------------------------------------------------------------------------------------------------ training


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


# -------------------------------------------------------------------------------------------------------- trained ones


@dataclass(frozen=True)
class EngineChoice:
    """What computes."""

    engine: str = option(
        "auto", "what computes; auto: ONNX Runtime on CPU when installed, else MindSpore", choices=ENGINES
    )


@dataclass(frozen=True)
class TileChoice:
    """What computes: how much of a picture at once."""

    tile: int = option(0, "side of the tiles, in LR pixels; 0: whole pictures while they fit, tiles beyond", at_least=0)


@dataclass(frozen=True)
class EnsembleChoice:
    """What computes: how often."""

    self_ensemble: bool = option(False, "average over the eight flips and turns (x8)")


@dataclass(frozen=True)
class ReportOptions:
    """Tables and pictures: one page of them."""

    report: bool = option(
        False,
        "also write report.html: the tables, and of each picture bicubic against SR and SR against HR, with a divider "
        "to move and a zoom; one file for a browser",
    )

    def __post_init__(self) -> None:
        """Refuse a report without pictures.

        Raises:
            UserError: it is asked for, and the SR pictures are not to be written.
        """
        if self.report and not getattr(self, "save_results", True):
            raise UserError("--report shows the SR pictures, which --save_results no leaves out: type one of the two")


@dataclass(frozen=True)
class TableOptions(ReportOptions):
    """Tables and pictures."""

    save_results: bool = option(True, "write the resulting pictures and the comparison strips")
    lpips_weights: str = option("", "folder with AlexNet's and LPIPS's weights; without it LPIPS is not computed")
    limit: int = option(0, "only so many pictures of each set; 0: all", at_least=0)
    output: str = option("", "folder for the tables and pictures; default: a new one below runs/")
    run_distribute: bool | None = option(
        None,
        "share the pictures with other workers; default: when a launcher started this process",
        aliases=("distribute",),
    )


@dataclass(frozen=True)
class BorderOptions:
    """Tables and pictures: what is left out of the figures."""

    crop: int = option(-1, "border left out of PSNR-Y and SSIM-Y; -1: the scale", aliases=("crop_border",), at_least=-1)


@dataclass(frozen=True)
class InputOptions:
    """Pictures and results."""

    input: str = option(
        "", "a picture or a folder of pictures; --input may be left out, and several typed", repeated=True
    )
    output: str = option("results", "folder for the results")


@dataclass(frozen=True)
class NamingOptions(InputOptions):
    """Pictures and results: their names."""

    suffix: str = option("_x{scale}", "added to each name; {scale} is put in")
    format: str = option(
        "", "of the results; default: as the input, png for TIFF and GIF", choices=("", "png", "jpg", "bmp", "webp")
    )


@dataclass(frozen=True)
class EnlargingOptions(NamingOptions):
    """Pictures and results: one large picture of each."""

    compare: bool = option(False, "also write a strip LR | bicubic | SR")


@dataclass(frozen=True)
class ExportOptions:
    """What is written."""

    file_format: str = option("MINDIR", "what to write", choices=("MINDIR", "AIR", "ONNX"))
    batch_size: int = option(1, "batch size of an exported graph", at_least=1)
