"""Options that models share, spelled and explained once. A model's own options are dataclasses beside these.

Where a model takes an option with another default, or has more to say of it, its class has it once more by
`common.config.again`. Other spellings are those of the original programs, of one model or another.
"""

from dataclasses import dataclass, fields
from typing import Any

from common import UserError
from common.config.options import left_open, option
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


@dataclass(frozen=True)
class OptimizerOptions:
    """How the weights are changed: Adam."""

    lr: float = option(1e-4, "learning rate", aliases=("lr_G", "lr_init"), at_least=0)
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the mean squared gradient", at_least=0, below=1)
    gclip: float = option(0.0, "largest norm of the gradient; 0: no clip", aliases=("gradient_clipping",), at_least=0)
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )


@dataclass(frozen=True)
class AdamOptions(OptimizerOptions):
    """How the weights are changed: the rest of Adam."""

    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(0.0, "L2 coefficient, added to the gradient", at_least=0)


@dataclass(frozen=True)
class RunOptions:
    """The run: what a step is shown, what is looked at and kept, and where."""

    batch_size: int = option(16, "pictures per step, for each worker", at_least=1)
    patch_size: int = option(160, "side of the HR patch", aliases=("GT_size", "HR_size"), at_least=1)
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB", at_least=0)
    seed: int = option(
        1,
        "seed of all that is random, as the first weights, the crops and the order of the pictures",
        at_least=0,
        below=2**32,
    )
    run_distribute: bool | None = option(
        None, "join other workers; default: when a launcher started this process", aliases=("distribute",)
    )
    test_every: int = option(5000, "steps between two looks at test pictures", aliases=("val_freq",), at_least=1)
    test_pictures: int = option(10, "how many test pictures to look at; 0: all", aliases=("n_max",), at_least=0)
    log_every: int = option(100, "steps between two lines of the log", aliases=("print_freq",), at_least=1)
    no_memory_check: bool = option(False, "try a step even if its estimated memory (on CPU) is not free")
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)
    save_dir: str = option("runs", "where run folders are made", aliases=("save",))
    name: str = option("", "name of the run; default: model and scale")
    resume: str = option(
        "", "go on with a run: its folder, or its last.ckpt; auto: the last one of this name", aliases=("resume_state",)
    )
    ckpt_save_path: str = option(
        "", "path to save ckpt; default: ckpt/ in the run's folder", aliases=("ckpt_save_dir",)
    )
    ckpt_save_max: int = option(
        5,
        "how many numbered checkpoints to keep; older ones of this run are removed; 0: none",
        aliases=("keep_checkpoint_max",),
        at_least=0,
    )


@dataclass(frozen=True)
class StartOptions:
    """The run: where it starts."""

    ckpt_path: str = option(
        "",
        "weights to start from, ours or the authors' (the run starts at step 0); of another scale's what fits is taken",
        aliases=("checkpoint", "pre_trained", "pretrain_model_G"),
    )


@dataclass(frozen=True)
class EpochOptions:
    """How long it trains: in epochs of --test_every steps."""

    epochs: int = option(300, "number of epochs to train, each of --test_every steps", aliases=("epoches",), at_least=1)
    gamma: float = option(0.5, "factor of each fall of the rate", aliases=("lr_gamma",), at_least=0)
    ckpt_save_interval: int = option(
        10, "epochs between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    no_augment: bool = option(False, "do not use data augmentation (flips and quarter turns)")


@dataclass(frozen=True)
class StepOptions:
    """How long it trains: in steps of a batch."""

    epochs: int = option(
        0,
        "passes over the pictures, instead of a number of steps; 0: the number counts",
        aliases=("epoches",),
        at_least=0,
        instead_of=("niter", "max_updates"),
    )
    schedule_batch: int = option(
        0,
        "pictures per step that the numbers of steps are written for, those of the run, of the looks and of the rate: "
        "all are multiplied by schedule_batch / (batch_size * workers); 0: batch_size, so that 8 workers make an "
        "eighth of the steps",
        at_least=0,
    )
    save_checkpoint_freq: int = option(
        5000, "steps between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    use_flip: bool = option(True, "mirror half of the patches")
    device_num: int = option(0, "number of workers there must be; 0: any", at_least=0)


@dataclass(frozen=True)
class StepCount:
    """How long it trains: the number of steps."""

    niter: int = option(200_000, "optimizer steps, with the batch of one worker", aliases=("max_updates",), at_least=1)


@dataclass(frozen=True)
class EncoderStart:
    """The run: where its encoder starts."""

    rrdb_path: str = option(
        "",
        "trained encoder to start from: what --stage rrdb leaves, or the authors' file",
        aliases=("rrdb_ckpt", "train_pretrain_model_G", "pretrain_model_G"),
    )


@dataclass(frozen=True)
class ValidationFolders:
    """Which pictures: those to look at while training."""

    val_GT_path: str = option(  # noqa: N815
        "", "HR pictures to look at while training; default: what belongs to the training pictures"
    )
    val_LQ_path: str = option(  # noqa: N815
        "", "their LR pictures; default: what is beside HR, else MATLAB's bicubic"
    )
