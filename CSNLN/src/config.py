"""Options of CSNLN's programs, from default_config.yaml, from `--config FILE` and from the command line.

One file serves all programs: each takes from it the options that it has. What a checkpoint says of itself (scale and
sizes) is taken only from the command line where a trained network is used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from common import UserError, config
from common.config import (
    FALSE,
    EvalOptions,
    ExportOptions,
    InferOptions,
    Meaning,
    Only,
    TrainOptions,
    Unused,
    asked,
    configuration,
    counting_number,
    from_table,
    option,
    spellings,
)

from .CSNLN import Hyper

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "default_config.yaml"
MODELS = {"CSNLN": Hyper(), "csnln_small": Hyper(n_feats=32, depth=3)}  # the scale is given apart
LR_PATCH = 48  # the authors'
SHAPE = ("scale", "model", "n_feats", "depth")
T = TypeVar("T", bound="NetworkOptions")

# Keys of the original's default_config.yaml that are no options here; the options take the other spellings as they are.
_MODELARTS = Unused("it is a folder of ModelArts, Huawei's cloud, whose jobs are not made here")
KEYS: dict[str, Meaning] = {
    "ext": Only("sep|img", "images are decoded when they are needed"),
    "rgb_range": Only("1|1.0", "the network takes values from 0 to 1"),
    "n_colors": Only("3", "images are RGB"),
    "shift_mean": Only("true|yes", "the mean colour is always subtracted, and added again"),
    "dataset_name": Only("DIV2K", "data_train and data_test name the data sets"),
    "rank": Only("0", "the launcher gives each worker its number"),
    "momentum": Unused("Adam has beta1"),
    "device_num": Unused("the launcher tells how many workers there are"),
    "load_path": _MODELARTS,
    "output_path": _MODELARTS,
    "pre_train": "pre_trained",
    "no_argument": "no_augment",
}

DATA_PATH = option(
    "dataset",
    "folder that holds DIV2K/ or benchmark/, or is such a folder itself",
    aliases=("dir_data", "dataset_GT_path", "dataroot_GT", "dataroot"),
)
DATA_TEST = option("Set5", "test data set, or several as Set5+Set14; DIV2K, or a folder of images")
DATA_RANGE = option("1-800/801-810", "train/test data range: numbers of DIV2K's images")
CKPT_FILE = option(
    "",
    "trained weights: .ckpt, .safetensors, or the authors' file; default: the demo weights",
    aliases=("ckpt_path", "checkpoint", "resume_state", "model_path", "test_pretrained_model_path"),
)
ATTENTION_MEMORY = option(
    512,
    "memory for the attention weights, in MiB: as many rows of queries as fit are processed at a time, "
    "at least one (MEMORY.md); the result is the same",
    at_least=1,
)
CHOP = option(
    True,
    "split the image into quarters until each has fewer than 3600 LR pixels, as the authors do; no: "
    "attention over the whole image, in time quadratic in its pixels",
)
SELF_ENSEMBLE = option(False, "average over the eight flips and rotations (x8)")


@configuration
class NetworkOptions:
    """The network."""

    scale: int = option(2, "super resolution scale", aliases=("sr_scale",), choices=(2, 3, 4))
    model: str = option("CSNLN", "network preset", choices=tuple(MODELS), presets=MODELS)
    n_feats: int = option(0, "number of feature maps; 0: the model's", at_least=0, hyper="n_feats")
    depth: int = option(0, "recurrences of the cell; 0: the model's", at_least=0, hyper="depth")

    def hyper(self) -> Hyper:
        return Hyper(**self.named(self.scale) | asked(self))

    def named(self, scale: int) -> dict[str, Any]:
        return {"n_feats": MODELS[self.model].n_feats, "depth": MODELS[self.model].depth}

    @classmethod
    def read_config(cls, path: str | Path) -> dict[str, Any]:
        """Return the options in a file that concern this program; unknown ones stay, to be refused."""
        trains, content = "epochs" in cls.__dataclass_fields__, config.read_yaml(path)
        if content.get("test_only") in FALSE:
            content["test_only"] = "false"
        test_only = Only("false", "eval.py tests a trained network") if trains else None
        content = from_table(content, {**KEYS, "test_only": test_only}, path)
        if str(content.get("pre_trained", "")).lower() in FALSE:  # from random weights; the option is a path
            content["pre_trained"] = ""
        if isinstance(content.get("scale"), list) and len(content["scale"]) == 1:
            content["scale"] = content["scale"][0]
        known = {name for program in PROGRAMS for name in spellings(program)}
        of_training = () if trains else (*SHAPE, "batch_size")
        own = {name for name, option in spellings(cls).items() if option not in of_training}
        return {key: value for key, value in content.items() if key in own or key not in known}


@configuration
class TrainConfig(NetworkOptions, TrainOptions):
    data_path: str = DATA_PATH
    data_test: str = DATA_TEST
    data_range: str = DATA_RANGE
    data_train: str = option(
        "DIV2K", "training data set, or several as DIV2K+T91, a folder of images, or a .mindrecord"
    )
    no_augment: bool = option(False, "do not use data augmentation (flips and quarter turns)")
    patch_size: int = option(0, "side of the HR patch, in pixels; default: 48 times the scale", at_least=0)
    epochs: int = option(
        1000, "number of epochs to train, each of --test_every steps", aliases=("epoches",), at_least=1
    )
    decay: str = option(
        "200", "epochs at which the learning rate is multiplied by gamma: 200 once, 200-400 at both; or cosine"
    )
    gamma: float = option(0.5, "factor of the learning rate at each decay", aliases=("lr_gamma",), at_least=0)
    test_every: int = 1000
    log_every: int = 50
    save_dir: str = "runs/CSNLN"
    ckpt_save_path: str = option(aliases=("ckpt_save_dir", "checkpoint_path"))
    ckpt_save_interval: int = option(
        5, "epochs between numbered checkpoints, besides last.ckpt and best.ckpt; 0: none", at_least=0
    )
    ckpt_path: ClassVar[property] = property(lambda options: options.pre_trained)
    pre_trained: str = option(
        "",
        "initial weights, ours or the authors' (a new run from step 0); from another scale, the layers that fit",
        aliases=("ckpt_path", "checkpoint", "pretrain_model_G"),
    )
    recompute: int = option(
        0,
        "images of a batch processed at a time, cell by cell as with --memory low; 0: as --memory says",
        at_least=0,
    )

    def lr_patch(self) -> int:
        hyper = self.hyper()
        smaller = hyper.attention_scale
        why = f" at x{hyper.scale}: the attention compares the LR patch with itself made {smaller} times smaller"
        return self.lr_side(hyper.scale, hyper.scale * smaller, why) or LR_PATCH


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    ckpt_path: ClassVar[property] = property(lambda options: options.ckpt_file)
    ckpt_file: str = CKPT_FILE
    data_path: str = DATA_PATH
    data_test: str = DATA_TEST
    data_range: str = DATA_RANGE
    tile: ClassVar[int] = 0
    tile_batch: ClassVar[int] = 1
    attention_memory: int = ATTENTION_MEMORY
    chop: bool = CHOP
    self_ensemble: bool = SELF_ENSEMBLE
    output: str = option(help="folder for the tables and images; default: a new one under runs/CSNLN")


@configuration
class InferConfig(InferOptions, NetworkOptions):
    ckpt_path: ClassVar[property] = property(lambda options: options.ckpt_file)
    ckpt_file: str = CKPT_FILE
    tile: ClassVar[int] = 0
    tile_batch: ClassVar[int] = 1
    attention_memory: int = ATTENTION_MEMORY
    chop: bool = CHOP
    self_ensemble: bool = SELF_ENSEMBLE
    compare: bool = option(False, "also write a strip LR | bicubic | SR")
    attention: str = option(
        "",
        "draw the attention of the LR pixel ROW,COLUMN (from 0) instead of upscaling, as "
        "name_attention_ROW_COLUMN.png; default: upscale",
    )
    attention_time: int = option(
        1, "with --attention: the recurrence of the cell to draw, from 1; 0: the last", at_least=0
    )

    def query(self) -> tuple[int, int]:
        place = [counting_number(word) for word in self.attention.split(",")]
        if len(place) != 2 or place[0] is None or place[1] is None:
            raise UserError(f"--attention must be ROW,COLUMN of a pixel of the LR image, not {self.attention!r}")
        return place[0], place[1]


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    ckpt_path: ClassVar[property] = property(lambda options: options.ckpt_file)
    ckpt_file: str = CKPT_FILE
    attention_memory: int = ATTENTION_MEMORY
    file_name: str = "csnln"
    lr_height: int | None = option(
        None,
        "height of the LR image of the graph; default: 48, in ONNX any; if given, the ONNX has no loops",
        aliases=("height",),
        at_least=1,
    )
    lr_width: int | None = option(
        None, "width of the LR image of the graph; default: as for the height", aliases=("width",), at_least=1
    )


PROGRAMS = (TrainConfig, EvalConfig, InferConfig, ExportConfig)


def parse(cls: type[T], argv: Sequence[str] | None, description: str) -> T:
    """Parse default_config.yaml, under the file of `--config`, under the command line."""
    return config.parse(cls, argv, description=description, base=config.load(cls, DEFAULT_CONFIG))


def parse_inputs(cls: type[T], argv: Sequence[str] | None, description: str, usage: str) -> tuple[list[str], T]:
    """Parse in the same way (inputs, options), where inputs may be typed without `--input`."""
    base = config.load(cls, DEFAULT_CONFIG)
    return config.parse_inputs(cls, argv, description=description, usage=usage, base=base)
