"""One call of eval.py: its folder, its report, and the workers that share its images."""

import contextlib
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from common import UserError, runtime
from common.atomic import make_writable
from common.config import EvalOptions
from common.evaluation.report import Report, Shown
from common.evaluation.table import Table
from common.images import Pair
from common.runtime import make_run_folder

T = TypeVar("T")


class EvaluationRun:
    """Where an evaluation writes, as a context: a folder that it made and that stayed empty goes when it fails.

    Of several workers each measures images of its own, and rank 0, which alone writes tables, has all results. The
    images are dealt out without padding, so that none is counted twice, however many there are.

    Attributes:
        folder: of the results; the same for all workers.

    Args:
        model, source, scale: what is evaluated; `source` is the checkpoint.
        sets: what the results of the data sets are called.
        name: of a new folder in runs/`model`, `sets` by default; `options.output` is taken instead when it is given.
    """

    def __init__(
        self,
        model: str,
        source: str,
        scale: int,
        sets: Collection[str],
        options: EvalOptions,
        here: runtime.Runtime,
        name: str = "",
    ) -> None:
        self._here, self._made = here, False
        folder = options.output
        if folder:
            refuse_results(Path(folder), sets)
            make_writable(Path(folder))
        elif here.is_main:
            name = name or f"eval_{'+'.join(sets)}_x{scale}"
            folder, self._made = str(make_run_folder(Path("runs") / model, name)), True
        self.folder = Path(self.gather(folder)[0])
        self._report = Report(self.folder / "report.html" if options.report else None, model, source, scale)

    def __enter__(self) -> "EvaluationRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if kind is None:
            self.gather(None)  # a worker that leaves while rank 0 writes would end the job
        elif self._made:
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def share(self, items: Sequence[T]) -> list[T]:
        """This worker's part: of n workers, the r-th from 0 has the items r, r + n, r + 2 n ..."""
        for path in (path for item in items if isinstance(item, Pair) for path in (item.hr, item.lr) if path):
            if self.folder.resolve() in path.resolve().parents:
                raise UserError(f"{path} is in {self.folder}, where the results go: give another --output")
        return list(items[self._here.rank :: self._here.world_size])

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all workers, of JSON's types, by rank; all must call it."""
        return runtime.gather(value, self._here)

    def whole(self, table: Table) -> Table:
        """The table of all workers' images, in the order that one worker has, from that of this worker's `share`."""
        names, rows, seconds, spreads = zip(
            *self.gather([list(table.rows), table.rows, table.seconds, table.spreads]), strict=True
        )
        order = in_turn(names)
        measured = {name: {figure: tuple(row[figure]) for figure in row} for name, row in _joined(rows, order).items()}
        return Table(table.title, table.figures, measured, _joined(seconds, order), _joined(spreads, order))

    def add(self, name: str, table: Table, pictures: Iterable[Shown] = (), samples: int = 1, *, stem: str = "") -> None:
        """Rank 0 writes a whole table, and puts it into the report.

        Args:
            name: of the set.
            pictures, samples: as `Report.add` takes them.
            stem: of the table's files; the name if none is given.
        """
        if self._here.is_main:
            table.write(self.folder, stem or name)
            self._report.add(name, table, pictures, samples)

    def say(self, text: str) -> None:
        """Rank 0 prints at once."""
        if self._here.is_main:
            print(text, flush=True)  # noqa: T201


def refuse_results(folder: Path, sets: Iterable[str]) -> None:
    """Refuse a folder with results of another evaluation, which would stay between the new ones."""
    if folder.is_dir() and (old := [*folder.glob("*.csv"), *filter(os.path.lexists, (folder / one for one in sets))]):
        raise UserError(f"--output {folder} has {old[0].name} already: type a new folder")


def in_turn(parts: Sequence[Sequence[T]]) -> list[T]:
    """The first of each part, the second of each part ...: the order before `share`."""
    longest = max(map(len, parts))
    return [part[place] for place in range(longest) for part in parts if place < len(part)]


def _joined(parts: Iterable[dict[str, T]], order: Sequence[str]) -> dict[str, T]:
    joined = {name: value for part in parts for name, value in part.items()}
    return {name: joined[name] for name in order if name in joined}
