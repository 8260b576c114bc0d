"""Records of a training run: metrics.csv, curve.png, and events for TensorBoard with tensorboardX."""

import csv
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import UserError
from common.atomic import replacing

log = logging.getLogger(__name__)
FIRST_COLUMNS = ("step", "loss", "learning_rate", "gradient_norm", "seconds_per_step")
ORANGE, GRAY = "#c8501e", "#9a9a9a"


class Record:
    """Append rows to `metrics.csv` and draw its curve; rows beyond `last_step`, the last checkpoint, are dropped."""

    def __init__(self, folder: Path, last_step: int = 0) -> None:
        self.folder, self.path, self.drawn = folder, folder / "metrics.csv", 0
        self.rows = [row for row in read_rows(self.path) if int(row["step"]) <= last_step]
        self._rewrite()
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            self._events = None
        else:
            self._events = SummaryWriter(str(folder / "events"))

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        if self.drawn < len(self.rows):
            self.draw()
        if self._events is not None:
            self._events.close()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row; new columns may appear at any time."""
        row = {"step": step, **values}
        known = set(self.columns)
        self.rows.append({key: str(value) for key, value in row.items()})
        if not set(row) <= known:
            self._rewrite()
        else:
            try:
                with open(self.path, "a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self.columns).writerow(self.rows[-1])
            except OSError as error:
                raise self._unwritten(error) from None
        if self._events is not None:
            for key, value in values.items():
                tag = re.sub(r"[^-/\w.]", "_", key)  # what tensorboardX makes of it, and says, for each
                self._events.add_scalar(tag, float(value), step)

    @property
    def columns(self) -> list[str]:
        seen = dict.fromkeys(key for row in self.rows for key in row)
        return [*(key for key in FIRST_COLUMNS if key in seen), *(key for key in seen if key not in FIRST_COLUMNS)]

    def series(self, column: str) -> tuple[list[int], list[float]]:
        """Return steps and values of the rows that have a finite number in `column`."""
        kept = [(int(row["step"]), float(row[column])) for row in self.rows if row.get(column)]
        kept = [(step, value) for step, value in kept if math.isfinite(value)]
        return [step for step, _ in kept], [value for _, value in kept]

    def draw(self) -> Path | None:
        """Write `curve.png`: the loss, and the validation's scores; None without matplotlib, or where it cannot be."""
        panels: dict[str, list[str]] = {}
        for name in ("loss", *(name for name in self.columns if name not in FIRST_COLUMNS)):
            if self.series(name)[0]:
                panels.setdefault(name.partition(", heat ")[0], []).append(name)
        if not panels:
            return None
        try:
            from matplotlib.figure import Figure
        except (ImportError, OSError):  # it asks for a folder that can be written
            return None
        height = 1 + 2.4 * len(panels)
        figure = Figure(figsize=(8, height))
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        figure.subplots_adjust(0.12, 0.55 / height, 0.98, 1 - 0.15 / height, hspace=0.08)
        for axis, (title, names) in zip(axes, panels.items(), strict=True):
            self._draw_panel(axis, title, names)
        axes[-1].set_xlabel("step")
        path = self.folder / "curve.png"
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=100)
        except OSError as error:
            log.warning("%s is not drawn: %s", path, error.strerror)
            return None
        self.drawn = len(self.rows)
        return path

    def _draw_panel(self, axis: Any, title: str, names: list[str]) -> None:
        """Draw one curve or several; a long one pale, with its running mean over a fiftieth of it."""
        from matplotlib.ticker import LogFormatter

        class Plain(LogFormatter):  # labels the ticks that matplotlib would, as 20 rather than 2 x 10^1
            def __call__(self, value: float, place: int | None = None) -> str:
                return f"{value:.3g}" if super().__call__(value, place) else ""

        for number, name in enumerate(names):
            steps, values = self.series(name)
            window, color = len(values) // 50, ORANGE if len(names) == 1 else f"C{number}"
            label, marker = name.removeprefix(f"{title}, "), "." if len(steps) < 60 else None
            axis.plot(steps, values, color=GRAY if window > 1 else color, marker=marker, lw=1, label=label)
            if window > 1:
                means = [sum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
                axis.plot(steps[window // 2 :][: len(means)], means, color=color, lw=1.5)
        if len(names) > 1:
            axis.legend(fontsize="small")
        if title == "loss" and min(values) > 0:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(Plain(minor_thresholds=(2, 0.5)))
            axis.yaxis.set_minor_formatter(Plain(minor_thresholds=(2, 0.5)))
        axis.set_ylabel(title)
        axis.grid(alpha=0.3, which="both")
        axis.spines[["top", "right"]].set_visible(False)

    def _rewrite(self) -> None:
        try:
            with replacing(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns or FIRST_COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)
        except OSError as error:
            raise self._unwritten(error) from None

    def _unwritten(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write {self.path}: {error.strerror}; the checkpoints are whole, resume with --resume {self.folder}"
        )


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics.csv, if there is one; a last line cut by a kill or a full disk is left out."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines(keepends=True)
    rows = csv.DictReader(line for line in lines if line.endswith("\n"))
    return [
        {key: value for key, value in row.items() if key and value}
        for row in rows
        if (row.get("step") or "").isdecimal()
    ]
