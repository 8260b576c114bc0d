"""Options of WDSR's programs: the seed's flags with the seed's meaning, and what has been added since.

Each program's configuration is put together from the groups below; every option is also a YAML key (`--config FILE`).
"""

from dataclasses import dataclass, replace

from common import UserError
from common.config import option
from common.options import DeviceOptions, EngineChoice, EnlargingOptions, PrecisionOptions, TableOptions

from .model import EXPANSION, PRESETS, RGB_MEAN, Hyper


@dataclass(frozen=True)
class DataOptions:
    """Which pictures."""

    dir_data: str = option(".", "dataset directory: holds DIV2K/ or benchmark/, or is such a folder itself")
    data_test: str = option("DIV2K", "test dataset name, or several as Set5+Set14")
    data_range: str = option("1-800/801-900", "train/test data range: numbers of DIV2K's pictures")
    track: str = option("bicubic", "DIV2K track: which LR pictures to take", choices=("bicubic", "unknown"))


@dataclass(frozen=True)
class NetworkOptions:
    """What is built."""

    scale: str = option("2", "super resolution scale: 2, 3 or 4; or several as 2+3+4, of which --task_id takes one")
    task_id: int = option(0, "which of several scales (2+3+4) this task works on, counted from 0", at_least=0)
    model: str = option(
        "WDSR",
        "model name: WDSR or WDSR-B (1x1, 1x1, 3x3 in a block), WDSR-A (3x3, 3x3), or a named size",
        choices=("WDSR", "WDSR-B", "WDSR-A", *PRESETS),
    )
    n_resblocks: int = option(32, "number of residual blocks", at_least=1)
    n_feats: int = option(64, "number of feature maps", at_least=1)
    expand: float = option(0.0, "width of the activation over n_feats; 0 takes the paper's: B 6, A 4")
    res_scale: float = option(1.0, "residual scaling; 0.1 steadies nets of 64 blocks and more")
    n_colors: int = option(
        3, "number of color channels to use: 3 (RGB) or 1 (luma; colours are enlarged by bicubic)", choices=(1, 3)
    )
    rgb_range: float = option(255.0, "maximum value of RGB, in the network's input and output")
    rgb_mean: tuple[float, float, float] = option(RGB_MEAN, "mean colour that the network subtracts, in 0..1")
    normalization: str = option(
        "ntire2018", "input convention of the authors' two code bases", choices=("ntire2018", "ychfan")
    )

    def hyper(self) -> Hyper:
        """The hyper-parameters that the flags describe; a named size overrides n_resblocks, n_feats and expand."""
        scale = self.chosen_scale()
        settings = {
            "scale": scale,
            "res_scale": self.res_scale,
            "num_colors": self.n_colors,
            "rgb_range": self.rgb_range,
            "rgb_mean": self.rgb_mean,
            "normalization": self.normalization,
        }
        if self.model in PRESETS:
            return replace(PRESETS[self.model], **settings)
        variant = "A" if self.model == "WDSR-A" else "B"
        return Hyper(
            variant=variant,
            num_features=self.n_feats,
            num_blocks=self.n_resblocks,
            expand=self.expand or EXPANSION[variant],
            **settings,
        )

    def chosen_scale(self) -> int:
        """The one scale that --task_id takes from --scale; 2 when none is given.

        Raises:
            UserError: not whole numbers joined by +, or task_id beyond them.
        """
        words = (self.scale or "2").split("+")
        if not all(word.isdigit() for word in words):
            raise UserError(f"--scale must be 2, 3, 4 or several as 2+3+4, not {self.scale!r}")
        if not 0 <= self.task_id < len(words):
            raise UserError(f"--task_id {self.task_id} is beyond the {len(words)} scale(s) of --scale {self.scale}")
        if words[self.task_id] not in ("2", "3", "4"):
            raise UserError(f"--scale must be 2, 3, 4 or several as 2+3+4, not {self.scale!r}")
        return int(words[self.task_id])


@dataclass(frozen=True)
class TrainedOptions(NetworkOptions, DeviceOptions):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    scale: str = option("", "super resolution scale; default: the checkpoint's, 2 for the demo weights")
    ckpt_path: str = option(
        "",
        "path of saved ckpt: .ckpt, .safetensors, or the authors' .pth; default: the demo weights",
        aliases=("ckpt_file", "checkpoint"),
    )
    random_weights: bool = option(False, "go on without trained weights (to try the machinery)")


@dataclass(frozen=True)
class EngineOptions(EngineChoice):
    """What computes."""

    tile: int = option(0, "side of the LR tiles; 0: whole pictures up to 512x512 LR pixels, tiles beyond", at_least=0)
    self_ensemble: bool = option(False, "average over the eight flips and turns (x8)")


@dataclass(frozen=True)
class TrainConfig(PrecisionOptions, DataOptions, NetworkOptions, DeviceOptions):
    """Options of train.py."""

    data_train: str = option("DIV2K", "train dataset name, a folder of pictures, or a .mindrecord file")
    ext: str = option(
        "img",
        "dataset file extension: img decodes pictures when needed and keeps the latest in memory; sep decodes all of "
        "them once into .npy files beside the dataset",
        choices=("img", "sep"),
    )
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB (--ext img)", at_least=0)
    patch_size: int = option(0, "output patch size: side of the HR patch; 0 takes 48 times the scale", at_least=0)
    no_augment: bool = option(False, "do not use data augmentation (flips and quarter turns)")
    test_every: int = option(1000, "do test per every N batches; so many batches are an epoch", at_least=1)
    epochs: int = option(300, "number of epochs to train", at_least=1)
    batch_size: int = option(16, "input batch size for training, for each worker", at_least=1)
    test_only: bool = option(False, "set this option to test the model in --ckpt_path, as eval.py does")
    lr: float = option(1e-4, "learning rate; weight normalisation bears 1e-3", at_least=0)
    decay: str = option("200", "halve the rate every N epochs; or at epochs 20-25; or cosine")
    gamma: float = option(0.5, "factor of each decay", at_least=0)
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the mean squared gradient", at_least=0, below=1)
    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(0.0, "L2 coefficient, added to the gradient", at_least=0)
    gclip: float = option(0.0, "largest norm of the gradient; 0: no clip", at_least=0)
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )
    seed: int = option(1, "seed of the first weights, the crops and the order of the pictures", at_least=0)
    run_distribute: bool | None = option(None, "join other workers; default: when a launcher started this process")
    save_dir: str = option("runs/WDSR", "where run folders are made")
    name: str = option("", "name of the run; default: model and scale")
    ckpt_save_path: str = option("", "path to save ckpt; default: ckpt/ in the run's folder")
    ckpt_save_interval: int = option(
        10, "save ckpt frequency, unit is epoch; last.ckpt and best.ckpt come besides; 0: never", at_least=0
    )
    ckpt_save_max: int = option(5, "max number of saved ckpt; older ones of this run are removed; 0: none", at_least=0)
    ckpt_path: str = option("", "path of saved ckpt to start from (its weights; the run starts at step 0)")
    resume: str = option("", "go on with a run: its folder, or its last.ckpt")
    log_every: int = option(50, "steps between two lines of the log", at_least=1)
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)
    test_pictures: int = option(10, "pictures of the test set to look at while training; 0: all", at_least=0)

    def lr_patch(self) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the HR patch is not a multiple of the scale.
        """
        scale = self.chosen_scale()
        if self.patch_size % scale or self.patch_size < 0:
            raise UserError(f"--patch_size {self.patch_size} (HR pixels) must be a multiple of the scale, {scale}")
        return self.patch_size // scale or 48


@dataclass(frozen=True)
class EvalConfig(TableOptions, DataOptions, EngineOptions, TrainedOptions):
    """Options of eval.py."""

    output: str = option("", "folder for the tables and pictures; default: a new one under runs/WDSR")
    crop: int = option(-1, "border left out of PSNR-Y and SSIM-Y; -1: the scale", at_least=-1)


@dataclass(frozen=True)
class InferConfig(EnlargingOptions, EngineOptions, TrainedOptions):
    """Options of infer.py."""


@dataclass(frozen=True)
class ExportConfig(TrainedOptions):
    """Options of export.py."""

    file_name: str = option("wdsr", "name of the file to write; its ending is added")
    file_format: str = option("MINDIR", "what to write", choices=("MINDIR", "AIR", "ONNX"))
    batch_size: int = option(1, "batch size of the exported graph", at_least=1)
