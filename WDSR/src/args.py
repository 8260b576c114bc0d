"""Options of WDSR's programs: the seed's flags with the seed's meaning, and what has been added since."""

from typing import Any

from common import UserError
from common.config import EvalOptions, ExportOptions, InferOptions, TrainOptions, asked, configuration, option

from .model import EXPANSION, PRESETS, RGB_MEAN, Hyper

SIZES = ("variant", "num_features", "num_blocks", "expand", "linear")  # of a named network


DIR_DATA = option(
    ".",
    "folder that holds DIV2K/ or benchmark/, or is such a folder itself",
    aliases=("data_path", "dataset_GT_path", "dataroot_GT", "dataroot"),
)
DATA_TEST = option("DIV2K", "test data set, or several as Set5+Set14; DIV2K, or a folder of images")
DATA_RANGE = option("1-800/801-900", "train/test data range: numbers of DIV2K's images")
TRACK = option("bicubic", "DIV2K track of the LR images", choices=("bicubic", "unknown"))
SELF_ENSEMBLE = option(False, "average over the eight flips and rotations (x8)")


@configuration
class NetworkOptions:
    """The network."""

    scale: str = option(
        "2",
        "super resolution scale: 2, 3 or 4; or several as 2+3+4, of which --task_id takes one",
        aliases=("sr_scale",),
    )
    task_id: int = option(0, "index of this task's scale among several (2+3+4), from 0", at_least=0)
    model: str = option(
        "WDSR",
        "network preset: WDSR or WDSR-B (blocks of 1x1, 1x1, 3x3) and WDSR-A (3x3, 3x3) have 32 blocks of 64 "
        "feature maps",
        choices=("WDSR", "WDSR-B", "WDSR-A", *PRESETS),
        presets=PRESETS,
    )
    n_resblocks: int = option(0, "number of residual blocks; 0: the model's", at_least=0, hyper="num_blocks")
    n_feats: int = option(0, "number of feature maps; 0: the model's", at_least=0, hyper="num_features")
    expand: float = option(
        0.0,
        "channels of the wide activation, in multiples of n_feats; 0: the paper's, B 6, A 4",
        at_least=0,
        hyper="expand",
    )
    res_scale: float = option(1.0, "residual scaling; 0.1 stabilises networks of 64 blocks and more", hyper="res_scale")
    n_colors: int = option(
        3,
        "number of color channels to use: 3 (RGB) or 1 (luma; colours are upscaled by bicubic)",
        choices=(1, 3),
        hyper="num_colors",
    )
    rgb_range: float = option(255.0, "maximum value of RGB, in the network's input and output", hyper="rgb_range")
    rgb_mean: tuple[float, float, float] = option(
        RGB_MEAN, "mean colour subtracted by the network, in 0..1", hyper="rgb_mean"
    )
    normalization: str = option(
        "ntire2018",
        "input convention of the authors' two code bases",
        choices=("ntire2018", "ychfan"),
        hyper="normalization",
    )

    def hyper(self) -> Hyper:
        named = self.named(self.chosen_scale())
        return Hyper(**{"expand": EXPANSION[named["variant"]]} | named | asked(self))

    def named(self, scale: int) -> dict[str, Any]:
        """Return those that --model alone gives: WDSR, -A and -B are kinds of blocks, of any number and width."""
        if self.model in PRESETS:
            return {key: getattr(PRESETS[self.model], key) for key in SIZES}
        return {"variant": self.model.removeprefix("WDSR").removeprefix("-") or "B"}

    def chosen_scale(self) -> int:
        """Return the one scale that --task_id takes from --scale; 0 when none is given."""
        words = str(self.scale).split("+")
        if not 0 <= self.task_id < len(words):
            raise UserError(f"--task_id {self.task_id} is beyond the {len(words)} scale(s) of --scale {self.scale}")
        if words[self.task_id] not in ("", "2", "3", "4"):
            raise UserError(f"--scale must be 2, 3, 4 or several as 2+3+4, not {self.scale!r}")
        return int(words[self.task_id] or 0)


@configuration
class TrainConfig(NetworkOptions, TrainOptions):
    dir_data: str = DIR_DATA
    data_test: str = DATA_TEST
    data_range: str = DATA_RANGE
    track: str = TRACK
    data_train: str = option(
        "DIV2K", "training data set, or several as DIV2K+T91, a folder of images, or a .mindrecord"
    )
    ext: str = option(
        "img",
        "dataset file extension: img decodes images when needed and keeps the latest in memory (--cache_gb); sep "
        "decodes all of them once into .npy files beside the dataset",
        choices=("img", "sep"),
    )
    test_only: bool = option(False, "only test the model in --ckpt_path, as eval.py does")
    no_augment: bool = option(False, "do not use data augmentation (flips and quarter turns)")
    patch_size: int = option(0, "side of the HR patch, in pixels; default: 48 times the scale", at_least=0)
    epochs: int = option(300, "number of epochs to train, each of --test_every steps", aliases=("epoches",), at_least=1)
    decay: str = option(
        "200",
        "epochs at which the learning rate is multiplied by gamma: 200 every 200 epochs, 20-25 at both; or cosine",
    )
    gamma: float = option(0.5, "factor of the learning rate at each decay", aliases=("lr_gamma",), at_least=0)
    test_every: int = 1000
    log_every: int = 50
    save_dir: str = "runs/WDSR"
    ckpt_save_interval: int = option(
        10, "epochs between numbered checkpoints, besides last.ckpt and best.ckpt; 0: none", at_least=0
    )

    def lr_patch(self) -> int:
        return self.lr_side(self.chosen_scale()) or 48


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    scale: str = ""
    dir_data: str = DIR_DATA
    data_test: str = DATA_TEST
    data_range: str = DATA_RANGE
    track: str = TRACK
    self_ensemble: bool = SELF_ENSEMBLE
    output: str = option(help="folder for the tables and images; default: a new one under runs/WDSR")


@configuration
class InferConfig(InferOptions, NetworkOptions):
    scale: str = ""
    compare: bool = option(False, "also write a strip LR | bicubic | SR")
    self_ensemble: bool = SELF_ENSEMBLE


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    scale: str = ""
    file_name: str = "wdsr"
