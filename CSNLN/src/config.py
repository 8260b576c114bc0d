"""Options of CSNLN's programs, from default_config.yaml, from `--config FILE` and from the command line.

One file serves all programs: each takes from it the options that it has. What a checkpoint says of itself (scale and
sizes) is not taken from a file where a trained network is used, only from the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from common import UserError, config
from common.config import (
    SCALE_OF_CHECKPOINT,
    AdamOptions,
    DeviceOptions,
    EpochOptions,
    NamedSets,
    NetworkChoice,
    PrecisionOptions,
    RunOptions,
    StartOptions,
    TrainedChoice,
    again,
    option,
    spellings,
)

from . import seed_yaml
from .CSNLN import Hyper

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "default_config.yaml"
MODELS = {"CSNLN": Hyper(), "csnln_small": Hyper(n_feats=32, depth=3)}  # the scale is given apart
LR_PATCH = 48  # the authors'
SHAPE = ("scale", "model", "n_feats", "depth")
T = TypeVar("T", bound="Options")


@dataclass(frozen=True)
class Options(DeviceOptions):
    """What all programs have."""

    NOT_FROM_FILES: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def read_config(cls, path: str | Path) -> dict[str, Any]:
        """The options in a file that concern this program; unknown ones stay, to be refused.

        Raises:
            UserError: unreadable, or a value of the seed's file that cannot be honoured.
        """
        from .use_options import PROGRAMS  # whose options are made of those here

        known = {name for program in PROGRAMS for name in spellings(program)}
        own = {name for name, option in spellings(cls).items() if option not in cls.NOT_FROM_FILES}
        content = seed_yaml.translated(config.read_yaml(path), str(path), cls)
        return {key: value for key, value in content.items() if key in own or key not in known}


@dataclass(frozen=True)
class NetworkOptions(NetworkChoice):
    """What is built."""

    scale: int = again(NetworkChoice, "scale", choices=(2, 3, 4))
    model: str = again(NetworkChoice, "model", "CSNLN", choices=tuple(MODELS), presets=MODELS)
    n_feats: int = option(0, "number of feature maps; 0: the model's", at_least=0, hyper="n_feats")
    depth: int = option(0, "how often the cell is applied; 0: the model's", at_least=0, hyper="depth")

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe.

        Raises:
            UserError: there is no such network.
        """
        return Hyper(**self.named(self.scale) | self.asked())

    def named(self, scale: int) -> dict[str, Any]:
        """Those that --model alone gives."""
        return {"n_feats": MODELS[self.model].n_feats, "depth": MODELS[self.model].depth}


@dataclass(frozen=True)
class DataOptions:
    """Which pictures."""

    data_path: str = again(
        NamedSets, "dir_data", "dataset", aliases=("dir_data", "dataset_GT_path", "dataroot_GT", "dataroot")
    )
    data_test: str = again(NamedSets, "data_test", "Set5")
    data_range: str = again(NamedSets, "data_range", "1-800/801-810")


@dataclass(frozen=True)
class TrainConfig(DataOptions, NetworkOptions, RunOptions, EpochOptions, AdamOptions, PrecisionOptions, Options):
    """Options of train.py."""

    data_train: str = option(
        "DIV2K", "training data set, or several as DIV2K+T91, a folder of pictures, or a .mindrecord"
    )
    patch_size: int = again(
        RunOptions, "patch_size", 0, help="side of the HR patch; default: 48 times the scale", at_least=0
    )
    decay: str = option(
        "200", "epochs after which the rate is multiplied by gamma: 200 once, 200-400 at these; or cosine"
    )
    epochs: int = again(EpochOptions, "epochs", 1000)
    ckpt_save_interval: int = again(EpochOptions, "ckpt_save_interval", 5)
    test_every: int = again(RunOptions, "test_every", 1000)
    log_every: int = again(RunOptions, "log_every", 50)
    save_dir: str = again(RunOptions, "save_dir", "runs/CSNLN")
    ckpt_save_path: str = again(RunOptions, "ckpt_save_path", aliases=("ckpt_save_dir", "checkpoint_path"))
    pre_trained: str = again(StartOptions, "ckpt_path", aliases=("ckpt_path", "checkpoint", "pretrain_model_G"))
    recompute: int = option(
        0,
        "to save memory, take so many pictures of a batch at a time, and compute each cell again for its gradients; "
        "0: keep everything",
        at_least=0,
    )

    def lr_patch(self) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the HR patch cannot be made smaller by the scale, or the LR patch not for the attention.
        """
        hyper = self.hyper()
        multiple = hyper.scale * hyper.attention_scale
        if self.patch_size % multiple:
            raise UserError(
                f"--patch_size {self.patch_size} (HR pixels) must be a multiple of {multiple} at x{hyper.scale}: the "
                f"attention compares the LR patch with itself made {hyper.attention_scale} times smaller"
            )
        return self.patch_size // hyper.scale or LR_PATCH


@dataclass(frozen=True)
class TrainedOptions(NetworkOptions, Options):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    NOT_FROM_FILES: ClassVar[tuple[str, ...]] = SHAPE

    scale: int = again(NetworkChoice, "scale", 0, help=SCALE_OF_CHECKPOINT, choices=(0, 2, 3, 4))
    ckpt_file: str = again(
        TrainedChoice,
        "ckpt_path",
        aliases=("ckpt_path", "checkpoint", "resume_state", "model_path", "test_pretrained_model_path"),
    )
    random_weights: bool = again(TrainedChoice, "random_weights")


def parse(cls: type[T], argv: Sequence[str] | None, description: str) -> T:
    """The options of a program: default_config.yaml, under the file of `--config`, under the command line.

    Raises:
        UserError: unknown key, wrong type, value outside its choices, or an unreadable file.
    """
    return config.parse(cls, argv, description=description, base=config.load(cls, DEFAULT_CONFIG))


def parse_inputs(cls: type[T], argv: Sequence[str] | None, description: str, usage: str) -> tuple[list[str], T]:
    """(inputs, options) in the same way, where inputs may be typed without `--input`.

    Raises:
        UserError: as `parse`.
    """
    base = config.load(cls, DEFAULT_CONFIG)
    return config.parse_inputs(cls, argv, description=description, usage=usage, base=base)
