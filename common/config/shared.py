"""Options that models share, spelled and explained once: a base for each program, which a model's own extends.

Where a model takes an option with another default, or has more to say of it, its class declares it again, see
`common.config.configuration`. Options of one or two models are in theirs. Other spellings are those of the original
programs, of one model or another.
"""

from dataclasses import fields
from typing import Any

from common import UserError
from common.config.options import configuration, left_open, option
from common.runtime import DEVICE_CHOICES

ENGINES = ("auto", "mindspore", "onnxruntime")
FIGURES_OF_SAMPLES = "random samples of each image; the metrics are their means"

# Options of several bases, or of programs whose bases have no room for them.
DEVICE_TARGET = option("auto", "device; auto: the first available of Ascend, GPU, CPU", choices=DEVICE_CHOICES)
ENGINE = option("auto", "inference engine; auto: ONNX Runtime on CPU when installed, else MindSpore", choices=ENGINES)
PROVIDER = option("", "ONNX Runtime's execution provider, as CUDA or OpenVINO; default: CPU")
PRECISION = option("float32", "MindSpore's precision; float16 on GPU and Ascend", choices=("float32", "float16"))
TILE_BATCH = option(1, "tiles per batch, in as many times the memory", at_least=1)
TILE = option(0, "side of the tiles, in LR pixels; 0: whole images while they fit, else tiles", at_least=0, short="t")
HR_FOLDER = option(
    "",
    "folder of HR images (sub-folders too), or one that holds DIV2K_train_HR/, or a .mindrecord with patches",
    aliases=("dir_data", "data_path", "dataroot_GT", "dataroot"),
)
LR_FOLDER = option(
    "",
    "folder of LR images; default: those beside HR (as LR_bicubic/X4), else MATLAB's bicubic",
    aliases=("dataroot_LQ", "dataroot_LR"),
)
DATA_NAME = option("", "name of the data set, for the log and the tables; default: the folder's")
TEST_SETS = option("", "data sets below dataset_GT_path or its benchmark/, as Set5+Set14; default: all of it")
RESULTS_NAME = option("", "name of the new output folder; default: the data sets and the scale")
RESULTS_SEED = option(10, "random seed of the results", at_least=0, below=2**32)
ANY_FORMAT = option("png", "format of the results", choices=("png", "jpg", "bmp", "webp"))


# ------------------------------------------------------------------------------------------------------------ networks


def hyper_options(options: Any) -> dict[str, str]:
    """Hyper-parameter -> the option that gives it; the scale is not among them."""
    return {field.metadata["hyper"]: field.name for field in fields(options) if field.metadata["hyper"]}


def asked(options: Any) -> dict[str, Any]:
    """Return the hyper-parameters that options of their own give, of a model's NetworkOptions.

    These have `scale`, `model`, `hyper()`, `named(scale)`, and where --scale may say several `chosen_scale()`.
    """
    scale = options.chosen_scale() if hasattr(options, "chosen_scale") else options.scale
    own = hyper_options(options).items()
    given = {key: getattr(options, name) for key, name in own if not left_open(options, name)}
    return given | ({"scale": scale} if scale else {})


# ------------------------------------------------------------------------------------------------------------ training


@configuration
class TrainOptions:
    """How it is trained: its start, the optimizer, what is validated and kept, and where."""

    ckpt_path: str = option(
        "",
        "initial weights, ours or the authors' (a new run from step 0); from another scale, the layers that fit",
        aliases=("checkpoint", "pre_trained", "pretrain_model_G"),
    )
    resume: str = option(
        "", "run to resume: its folder, or its last.ckpt; auto: the last one of this name", aliases=("resume_state",)
    )
    seed: int = option(
        1, "random seed of the initial weights, the crops and the order of the images", at_least=0, below=2**32
    )

    batch_size: int = option(16, "images per step, for each worker", at_least=1)
    patch_size: int = option(160, "side of the HR patch, in pixels", aliases=("GT_size", "HR_size"), at_least=1)
    cache_gb: float = option(4.0, "memory for decoded images, in GiB", at_least=0)

    lr: float = option(1e-4, "learning rate", aliases=("lr_G", "lr_init"), at_least=0)
    beta1: float = option(0.9, "Adam's beta1, the decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's beta2, the decay of the mean squared gradient", at_least=0, below=1)
    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(0.0, "L2 coefficient, added to the gradient", at_least=0)
    gclip: float = option(0.0, "largest gradient norm; 0: no clipping", aliases=("gradient_clipping",), at_least=0)
    ema: float = option(
        0.0,
        "decay of an exponential moving average of the weights, which is then validated and saved; 0: none",
        at_least=0,
        below=1,
    )

    test_every: int = option(5000, "steps between validations", aliases=("val_freq",), at_least=1)
    test_pictures: int = option(10, "number of validation images; 0: all", aliases=("n_max",), at_least=0)
    log_every: int = option(100, "steps between log lines", aliases=("print_freq",), at_least=1)
    save_every: int = option(250, "steps between saves of last.ckpt", at_least=1)
    save_dir: str = option("runs", "parent of the run folders", aliases=("save",))
    name: str = option("", "name of the run; default: model and scale")
    ckpt_save_path: str = option(
        "", "path to save ckpt; default: ckpt/ in the run's folder", aliases=("ckpt_save_dir",)
    )
    ckpt_save_max: int = option(
        5,
        "numbered checkpoints to keep; older ones of this run are removed; 0: none",
        aliases=("keep_checkpoint_max",),
        at_least=0,
    )

    amp_level: str = option("O0", "half precision, O2 or O3, on GPU and Ascend; O0: none", choices=("O0", "O2", "O3"))
    amp_dtype: str = option(
        "float16",
        "half-precision type: float16, or bfloat16 where the device supports it",
        choices=("float16", "bfloat16"),
    )
    loss_scale: float = option(1024.0, "loss scale in half precision; halved when gradients overflow", at_least=1)

    memory: str = option(
        "auto",
        "low: train block by block, in less memory and compiled sooner; full: as one graph; auto: full, but "
        "low on CPU if one graph needs more than 3 GiB",
        choices=("auto", "low", "full"),
    )
    device_target: str = DEVICE_TARGET
    run_distribute: bool | None = option(
        None, "join other workers; default: when a launcher started this process", aliases=("distribute",)
    )
    no_memory_check: bool = option(False, "train even if the estimated memory of a step (on CPU) is not free")

    def run_name(self) -> str:
        """Return what run folders are called, but for the time; of a class that also has a model's NetworkOptions."""
        return self.name or f"{self.model.lower()}_x{self.hyper().scale}"

    def lr_side(self, scale: int, multiple: int = 0, why: str = "") -> int:
        """Return the side of the LR patch; that of the HR patch must be a multiple of the scale, or of `multiple`.

        `why` follows the number in the error.
        """
        if self.patch_size < 0 or self.patch_size % (multiple or scale):
            what = f"{multiple}{why}" if multiple else f"the scale, {scale}"
            raise UserError(f"--patch_size {self.patch_size} (HR pixels) must be a multiple of {what}")
        return self.patch_size // scale


@configuration
class StepOptions(TrainOptions):
    """Which images, and how many steps: training whose recipe counts steps of a batch."""

    dataset_GT_path: str = HR_FOLDER  # noqa: N815  (the spelling of IRN's authors)
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    data_name: str = DATA_NAME
    val_GT_path: str = option(  # noqa: N815
        "", "HR images for validation; default: those of the training set"
    )
    val_LQ_path: str = option("", "LR images for validation; default: those beside HR, else MATLAB's bicubic")  # noqa: N815
    use_flip: bool = option(True, "flip half of the patches horizontally")

    epochs: int = option(
        0,
        "epochs to train, instead of a number of steps; 0: by steps",
        aliases=("epoches",),
        at_least=0,
        instead_of=("niter", "max_updates"),
    )
    schedule_batch: int = option(
        0,
        "images per step for which all step counts (run, validation, learning rate) are given: they are "
        "multiplied by schedule_batch / (batch_size * workers); 0: batch_size, so that 8 workers run an "
        "eighth of the steps",
        at_least=0,
    )
    save_checkpoint_freq: int = option(
        5000, "steps between numbered checkpoints, besides last.ckpt and best.ckpt; 0: none", at_least=0
    )
    device_num: int = option(0, "number of workers expected; 0: any", at_least=0)

    def check_workers(self, count: int, script: str) -> None:
        if self.device_num not in (0, count):
            raise UserError(f"--device_num {self.device_num}, but there are {count} worker(s): {script} starts several")


# ---------------------------------------------------------------------------------------------------- trained networks


@configuration
class TrainedOptions:
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused.

    A program's class names its base before the model's NetworkOptions, since their scale is not open.
    """

    scale: int = option(0, "super resolution scale; default: the checkpoint's")
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
    random_weights: bool = option(False, "use initial weights (for trials)", instead_of=("ckpt_path", "ckpt_file"))
    device_target: str = DEVICE_TARGET

    @property
    def runner(self) -> str:
        """Return eval's or infer's engine for `export.make_engine`: "auto", "onnxruntime:CUDA", "mindspore:float16"."""
        if self.provider and (self.engine == "mindspore" or self.precision == "float16"):
            raise UserError("--provider is of ONNX Runtime, not of --engine mindspore or --precision float16")
        if self.precision == "float32":
            return f"onnxruntime:{self.provider}" if self.provider else self.engine
        if self.engine == "onnxruntime":
            raise UserError("--precision float16 is of MindSpore: leave out --engine onnxruntime")
        return f"mindspore:{self.precision}"


@configuration
class EvalOptions(TrainedOptions):
    """Engine, figures and results."""

    engine: str = ENGINE
    provider: str = PROVIDER
    precision: str = PRECISION
    tile: int = TILE
    tile_batch: int = TILE_BATCH
    limit: int = option(0, "number of images of each set; 0: all", at_least=0)
    crop: int = option(
        -1, "border to crop for PSNR-Y and SSIM-Y, in pixels; -1: the scale", aliases=("crop_border",), at_least=-1
    )
    lpips_weights: str = option("", "folder with the weights of AlexNet and LPIPS; without it, no LPIPS")
    save_results: bool = option(True, "write the resulting images and the comparison strips")
    report: bool = option(
        False,
        "also write report.html, one file: the tables, and for each image bicubic against SR and SR against "
        "HR, with a slider and a zoom",
    )
    output: str = option("", "folder for the tables and images; default: a new one below runs/")
    run_distribute: bool | None = option(
        None,
        "share the images with other workers; default: when a launcher started this process",
        aliases=("distribute",),
    )

    def __post_init__(self) -> None:
        if self.report and not self.save_results:
            raise UserError("--report shows the SR images, which --save_results no leaves out: type one of the two")


@configuration
class InferOptions(TrainedOptions):
    """Images and results, and what computes."""

    input: str = option("", "images or folders of images; the word --input may be omitted", repeated=True, short="i")
    output: str = option("results", "folder for the results; sub-folders of an input folder are kept", short="o")
    scale: int = option(short="s")
    outscale: float = option(
        0.0,
        "output size over input size, as 3.5: by the nearest larger network, then bicubic; 0: the network's",
        at_least=0,
    )
    suffix: str = option("_x{scale}", "suffix of each name; {scale} is replaced")
    format: str = option(
        "",
        "format of the results; default: the input's, png for TIFF and GIF",
        choices=("", "png", "jpg", "bmp", "webp"),
    )
    engine: str = ENGINE
    provider: str = PROVIDER
    precision: str = PRECISION
    tile: int = TILE
    tile_batch: int = TILE_BATCH


@configuration
class ExportOptions(TrainedOptions):
    """The file."""

    file_format: str = option(
        "MINDIR",
        "file format: a graph, or with SAFETENSORS the weights alone under the authors' names",
        choices=("MINDIR", "AIR", "ONNX", "SAFETENSORS"),
    )
    file_name: str = option("", "output file name, without its extension")
    batch_size: int | None = option(None, "batch size of an exported graph; default: any in ONNX, else 1", at_least=1)

    @property
    def batch(self) -> int | str:
        """First length of the graph's inputs."""
        return self.batch_size or ("batch" if self.file_format == "ONNX" else 1)
