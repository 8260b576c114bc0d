"""One call of eval.py: its folder, its report, and the workers that share its images."""

import contextlib
import os
from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from common import UserError, runtime
from common.atomic import make_writable
from common.config import EvalOptions
from common.evaluation.report import Report, Shown
from common.evaluation.table import Table

T = TypeVar("T")


class EvaluationRun:
    """Where an evaluation writes, as a context: a folder that it made and that stayed empty goes when it fails.

    Each worker measures images of its own, dealt out without padding so that none counts twice; rank 0 alone writes.

    Args:
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
            folder, self._made = str(runtime.make_run_folder(Path("runs") / model, name)), True
        self.folder = Path(self.gather(folder)[0])
        self._report = Report(self.folder / "report.html" if options.report else None, model, source, scale)

    def __enter__(self) -> "EvaluationRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            self.say(f"written to {self.folder}")
            self.gather(None)  # a worker that leaves while rank 0 writes would end the job
        elif self._made:
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this worker's part: of n workers, the r-th from 0 has the items r, r + n, r + 2 n ..."""
        return list(items[self._here.rank :: self._here.world_size])

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all workers, of JSON's types, by rank; all must call it."""
        return runtime.gather(value, self._here)

    def whole(self, table: Table) -> Table:
        """Join the tables of all workers' shares; the images are in the order that one worker has."""
        parts = self.gather([list(table.rows), table.rows, table.seconds, table.spreads])
        names, rows, seconds, spreads = zip(*parts, strict=True)
        order = [name for turn in zip_longest(*names) for name in turn if name is not None]

        def joined(parts: Iterable[Mapping[str, T]]) -> dict[str, T]:
            found = ChainMap(*parts)
            return {name: found[name] for name in order if name in found}

        measured = {name: {figure: tuple(row[figure]) for figure in row} for name, row in joined(rows).items()}
        return Table(table.title, table.figures, measured, joined(seconds), joined(spreads))

    def add(self, name: str, table: Table, images: Iterable[Shown] = (), samples: int = 1, *, stem: str = "") -> None:
        """Write a set's whole table, as rank 0, to files called `stem`, or as the set, and see `Report.add`."""
        if self._here.is_main:
            table.write(self.folder, stem or name)
            self._report.add(name, table, images, samples)

    def say(self, text: str) -> None:
        if self._here.is_main:
            print(text, flush=True)  # noqa: T201


def refuse_results(folder: Path, sets: Iterable[str]) -> None:
    """Refuse a folder with results of another evaluation, which would stay between the new ones."""
    if folder.is_dir() and (old := [*folder.glob("*.csv"), *filter(os.path.lexists, (folder / one for one in sets))]):
        raise UserError(f"--output {folder} has {old[0].name} already: type a new folder")
