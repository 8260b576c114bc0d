"""Options of the programs that use a trained network: eval.py, infer.py and export.py."""

from dataclasses import dataclass
from typing import ClassVar

from common import UserError
from common.config import (
    BorderOptions,
    EngineChoice,
    EnlargingOptions,
    EnsembleChoice,
    ExportOptions,
    TableOptions,
    again,
    counting_number,
    option,
)

from .config import SHAPE, DataOptions, TrainConfig, TrainedOptions


@dataclass(frozen=True)
class AttentionOptions:
    """What computes: in how much memory."""

    attention_memory: int = option(
        512,
        "MiB that an attention may take for its weights: so many rows of queries are worked on at a time as fit, but "
        "one at least (README, Memory). The result is the same; the rest of the memory grows with the picture",
        at_least=1,
    )

    def attention_bytes(self) -> int:
        """The same in bytes."""
        return self.attention_memory * 2**20


@dataclass(frozen=True)
class EngineOptions(EnsembleChoice, AttentionOptions, EngineChoice):
    """What computes."""

    chop: bool = option(
        True,
        "quarter the picture until the pieces have fewer than 3600 LR pixels, as the authors; no: attention reads the "
        "whole picture, in a time that grows with the square of its pixels",
    )


@dataclass(frozen=True)
class EvalConfig(TableOptions, BorderOptions, EngineOptions, DataOptions, TrainedOptions):
    """Options of eval.py."""

    output: str = again(
        TableOptions, "output", help="folder for the tables and pictures; default: a new one under runs/CSNLN"
    )


@dataclass(frozen=True)
class InferConfig(EnlargingOptions, EngineOptions, TrainedOptions):
    """Options of infer.py."""

    attention: str = option(
        "",
        "instead of enlarging, draw which patches answer to the pixel ROW,COLUMN of the LR picture, counted from 0: "
        "name_attention_ROW_COLUMN.png; default: enlarge",
    )
    attention_time: int = option(
        1, "with --attention: at which application of the cell, from 1; 0: the last", at_least=0
    )

    def query(self) -> tuple[int, int]:
        """The pixel of --attention.

        Raises:
            UserError: not two whole numbers.
        """
        place = [counting_number(word) for word in self.attention.split(",")]
        if len(place) != 2 or place[0] is None or place[1] is None:
            raise UserError(f"--attention must be ROW,COLUMN of a pixel of the LR picture, not {self.attention!r}")
        return place[0], place[1]


@dataclass(frozen=True)
class ExportConfig(ExportOptions, AttentionOptions, TrainedOptions):
    """Options of export.py."""

    NOT_FROM_FILES: ClassVar[tuple[str, ...]] = (*SHAPE, "batch_size")  # there it is training's

    file_name: str = option("csnln", "name of the file to write; its ending is added")
    lr_height: int = option(48, "height of the LR picture that a MINDIR or AIR is for (ONNX takes any)", at_least=1)
    lr_width: int = option(48, "width of it", at_least=1)


PROGRAMS = (TrainConfig, EvalConfig, InferConfig, ExportConfig)
