"""What a training run leaves to look at: metrics.csv, curve.png, and TensorBoard events where tensorboardX is installed."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from common.atomic import replacing

FIRST_COLUMNS = ("step", "loss", "learning_rate", "gradient_norm", "seconds_per_step")


class Record:
    """Appends rows of numbers to `metrics.csv` in a run's folder and redraws its curve.

    Args:
        folder: the run's folder.
        first_step: rows of this step and later, left by a run that went on after its last checkpoint, are dropped.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self.folder, self.path = folder, folder / "metrics.csv"
        self.rows = [row for row in read_rows(self.path) if int(row["step"]) <= first_step]
        self._rewrite()
        self._events = _summary_writer(folder)

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.draw()
        if self._events is not None:
            self._events.close()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One row; new columns may appear at any time."""
        row = {"step": step, **values}
        known = set(self.columns)
        self.rows.append({key: str(value) for key, value in row.items()})
        if set(row) <= known:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(self.rows[-1])
        else:
            self._rewrite()
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(key, float(value), step)

    @property
    def columns(self) -> list[str]:
        """Names in the order in which they are written."""
        seen = dict.fromkeys(key for row in self.rows for key in row)
        return [*(key for key in FIRST_COLUMNS if key in seen), *(key for key in seen if key not in FIRST_COLUMNS)]

    def series(self, column: str) -> tuple[list[int], list[float]]:
        """Steps and values of the rows that have `column`."""
        kept = [(int(row["step"]), float(row[column])) for row in self.rows if row.get(column)]
        return [step for step, _ in kept], [value for _, value in kept]

    def draw(self) -> Path | None:
        """Write `curve.png`: the loss, and below it each score of the validation. None without matplotlib."""
        try:
            import matplotlib
        except ImportError:
            return None
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        scores = [name for name in self.columns if name not in FIRST_COLUMNS and self.series(name)[0]]
        panels = ["loss", *scores]
        if not self.series("loss")[0]:
            return None
        figure, axes = plt.subplots(len(panels), 1, figsize=(8, 2.6 * len(panels)), sharex=True, squeeze=False)
        for axis, name in zip(axes[:, 0], panels, strict=True):
            steps, values = self.series(name)
            axis.plot(steps, values, marker="." if len(steps) < 60 else None, linewidth=1)
            axis.set_ylabel(name)
            axis.grid(alpha=0.3)
        if min(self.series("loss")[1]) > 0:
            axes[0, 0].set_yscale("log")
        axes[-1, 0].set_xlabel("step")
        figure.tight_layout()
        path = self.folder / "curve.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=100)
        plt.close(figure)
        return path

    def _rewrite(self) -> None:
        with replacing(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns or FIRST_COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics.csv; none where there is no file. A last line cut by a kill is left out."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {key: value for key, value in row.items() if key and value} for row in rows if (row.get("step") or "").isdigit()
    ]


def _summary_writer(folder: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "events"))
