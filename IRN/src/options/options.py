"""Options of IRN's programs, and how the authors' yml files say them.

Each program's configuration is put together from the groups below. A file (`-opt FILE` or `--config FILE`) may hold the
options under their own names, or in the sections of the authors' files, which `yml.py` translates.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from common import UserError
from common.config import option
from common.options import DeviceOptions, EngineChoice, PrecisionOptions, TableOptions

from ..network.Invnet import BLOCKS_PER_LEVEL, Hyper
from . import yml

SCALES = tuple(BLOCKS_PER_LEVEL)
# Couplings per level, their growth and clamp: five couplings of this clamp reach the same factor, e^8, as the eight.
PRESETS = {"irn_small": (5, 16, 1.6)}
DEMO_SCALE = 2  # of the weights that come with the repository


@dataclass(frozen=True)
class NetworkOptions:
    """What is built."""

    CONFIG_FLAGS: ClassVar[tuple[str, ...]] = ("--config", "-opt", "--opt")

    scale: int = option(4, "factor of the rescaling", choices=SCALES)
    model: str = option("IRN", "IRN, the authors' size, or a named size", choices=("IRN", *PRESETS))
    block_num: tuple[int, ...] = option((), "couplings of each level, as 8,8; default: the authors' (8; at x3 12)")
    growth: int = option(32, "channels that each convolution of a dense block adds (gc)", at_least=1)
    clamp: float = option(1.0, "bound of the logarithm of each coupling's factor")
    init: str = option("xavier", "distribution of the first filters", choices=("xavier", "kaiming"))

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe; a named size overrides block_num, growth and clamp."""
        levels = BLOCKS_PER_LEVEL[self.scale]
        hyper = Hyper(self.scale, self.block_num or levels, self.growth, self.clamp, self.init)
        if self.model not in PRESETS:
            return hyper
        blocks, *others = PRESETS[self.model]
        return Hyper(self.scale, (blocks,) * len(levels), *others, self.init)

    @staticmethod
    def read_config(path: str) -> dict[str, Any]:
        """A file's options by their own names.

        Raises:
            UserError: unreadable, an unknown key, or a value that cannot be honoured.
        """
        return yml.read(path)


@dataclass(frozen=True)
class DataOptions:
    """Which pictures."""

    dataset_GT_path: str = option(  # noqa: N815  (the seed's spelling)
        "", "folder of HR pictures (sub-folders too), or one that holds DIV2K_train_HR/", aliases=("dir_data",)
    )
    dataset_LQ_path: str = option("", "folder of LR pictures to come near; default: MATLAB's bicubic of HR")  # noqa: N815
    data_name: str = option("", "name of the data set, for the log and the tables; default: the folder's")


@dataclass(frozen=True)
class TrainedOptions(NetworkOptions, DeviceOptions):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    scale: int = option(0, "factor of the rescaling; default: the checkpoint's", choices=(0, *SCALES))
    ckpt_path: str = option(
        "",
        "trained weights: .ckpt, .safetensors, or the authors' .pth; default: the demo weights (x2)",
        aliases=("checkpoint_path", "ckpt_file", "checkpoint", "resume_state"),
    )
    random_weights: bool = option(False, "go on without trained weights (to try the machinery)")

    def hyper(self) -> Hyper:
        """What the options describe; at the scale of the demo weights when none is given."""
        return NetworkOptions.hyper(replace(self, scale=self.scale or DEMO_SCALE))


@dataclass(frozen=True)
class EngineOptions(EngineChoice):
    """What computes."""

    tile: int = option(
        0,
        "side of the tiles in LR pixels; 0: whole pictures while they take less than 2.5 GiB, tiles beyond",
        at_least=0,
    )


@dataclass(frozen=True)
class LatentOptions:
    """Which z the LR picture is enlarged with."""

    gaussian_scale: float = option(1.0, "standard deviation of z; 0: the mean picture of all z", at_least=0)
    seed: int = option(10, "seed of z", at_least=0)


@dataclass(frozen=True)
class RecipeOptions(PrecisionOptions):
    """How IRN is trained: the authors' values."""

    batch_size: int = option(16, "pictures per step, for each worker", at_least=1)
    patch_size: int = option(144, "side of the HR patch", aliases=("GT_size",), at_least=1)
    use_flip: bool = option(True, "mirror half of the patches")
    use_rot: bool = option(True, "turn half of the patches upside down and by a quarter")
    niter: int = option(500_000, "optimizer steps, with the batch of one worker", at_least=1)
    epochs: int = option(0, "passes over the pictures, instead of niter; 0: niter counts", at_least=0)
    lr: float = option(2e-4, "learning rate", aliases=("lr_G",), at_least=0)
    lr_scheme: str = option("MultiStepLR", "how the rate falls", choices=("MultiStepLR", "CosineAnnealingLR_Restart"))
    lr_steps: tuple[int, ...] = option((100_000, 200_000, 300_000, 400_000), "MultiStepLR: steps at which it falls")
    lr_gamma: float = option(0.5, "MultiStepLR: factor of each fall", at_least=0)
    T_period: tuple[int, ...] = option((), "CosineAnnealingLR_Restart: steps of each half cosine; default: niter")
    eta_min: float = option(1e-7, "CosineAnnealingLR_Restart: lowest rate", at_least=0)
    restarts: tuple[int, ...] = option((), "steps at which the rate begins anew")
    restart_weights: tuple[float, ...] = option((), "factor of the rate at each restart; default: 1")
    warmup_iter: int = option(-1, "steps over which the rate rises; -1: none", at_least=-1)
    schedule_batch: int = option(
        0,
        "pictures per step that niter, lr_steps, T_period, restarts, warmup_iter and test_every are written for: all "
        "are multiplied by schedule_batch / (batch_size * workers); 0: batch_size, so that 8 workers make an eighth of "
        "the steps",
        at_least=0,
    )
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
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the mean squared gradient", at_least=0, below=1)
    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(1e-5, "L2 coefficient, added to the clipped gradient", at_least=0)
    gclip: float = option(10.0, "largest norm of the gradient; 0: no clip", aliases=("gradient_clipping",), at_least=0)
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )


@dataclass(frozen=True)
class TrainConfig(RecipeOptions, DataOptions, NetworkOptions, DeviceOptions):
    """Options of train.py."""

    val_GT_path: str = option(  # noqa: N815
        "", "HR pictures to look at while training; default: DIV2K_valid_HR beside the training pictures, when there"
    )
    val_LQ_path: str = option("", "their LR pictures; default: MATLAB's bicubic of HR")  # noqa: N815
    test_every: int = option(5000, "steps between two looks", aliases=("val_freq",), at_least=1)
    test_pictures: int = option(10, "how many of them to look at; 0: all", at_least=0)
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB", at_least=0)
    seed: int = option(10, "seed of the first filters, the crops, z and the order of the pictures", at_least=0)
    device_num: int = option(0, "number of workers there must be; 0: any", at_least=0)
    run_distribute: bool | None = option(None, "join other workers; default: when a launcher started this process")
    save_dir: str = option("runs/IRN", "where run folders are made")
    name: str = option("", "name of the run; default: model and scale")
    ckpt_path: str = option(
        "", "checkpoint to start from (its weights; the run starts at step 0)", aliases=("pretrain_model_G",)
    )
    ckpt_save_path: str = option("", "path to save ckpt; default: ckpt/ in the run's folder")
    save_checkpoint_freq: int = option(
        5000, "steps between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    ckpt_save_max: int = option(5, "how many of them to keep; older ones of this run are removed", at_least=0)
    resume: str = option("", "go on with a run: its folder, or its last.ckpt", aliases=("resume_state",))
    log_every: int = option(100, "steps between two lines of the log", aliases=("print_freq",), at_least=1)
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)

    def lr_patch(self, scale: int) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the HR patch is not a multiple of the scale.
        """
        if self.patch_size % scale:
            raise UserError(f"--patch_size {self.patch_size} (HR pixels) must be a multiple of the scale, {scale}")
        return self.patch_size // scale


@dataclass(frozen=True)
class EvalConfig(TableOptions, LatentOptions, EngineOptions, DataOptions, TrainedOptions):
    """Options of eval.py."""

    data_test: str = option("", "data sets below dataset_GT_path or its benchmark/, as Set5+Set14; default: all of it")
    draws: int = option(5, "how many z the restored picture's figures are the mean over (paper: 5)", at_least=1)
    crop: int = option(-1, "border left out of the figures; -1: the scale", aliases=("crop_border",), at_least=-1)
    save_lr: bool = option(False, "write the LR pictures")
    suffix: str = option("", "added to the names of the written pictures")
    output: str = option("", "folder for the tables and pictures; default: a new one under runs/IRN")
    name: str = option("", "name of that new folder; default: the data sets and the scale")


@dataclass(frozen=True)
class ExportConfig(TrainedOptions):
    """Options of export.py."""

    graph: str = option("both", "which direction to write", choices=("both", "downscale", "upscale"))
    file_name: str = option("irn", "name of the files to write; _downscale or _upscale and the ending are added")
    file_format: str = option("MINDIR", "what to write", choices=("MINDIR", "AIR", "ONNX"))
    batch_size: int = option(1, "batch size of the exported graphs", at_least=1)
