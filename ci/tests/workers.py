"""An evaluation by two workers, one after the other in this process."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common import runtime
from common.evaluation import run as evaluation_run


def evaluate_as_two(
    main: Callable[[Sequence[str]], int], arguments: Sequence[object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a model's eval.py into `folder` as each of two workers: rank 1 first, whose gifts rank 0 then gathers."""
    given = []
    argv = [*map(str, arguments), "--output", str(folder), "--device_target", "CPU"]
    for rank in (1, 0):

        def gather(value: object, here: runtime.Runtime) -> list:
            value = json.loads(json.dumps(value))
            if here.rank:
                given.append(value)
                return [value, value]
            return [value, given.pop(0)]

        with monkeypatch.context() as patch:
            patch.setattr(runtime, "start", lambda *_, rank=rank, **__: runtime.Runtime("CPU", rank, 2))
            patch.setattr(runtime, "gather", gather)
            if not rank:  # a real job asks before any worker writes
                patch.setattr(evaluation_run, "refuse_results", lambda *_: None)
            assert main(argv) == 0
        if rank:
            assert not list(folder.glob("*.csv")), "rank 0 alone writes tables"
    assert not given, "both gathered equally often"


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    """A table without what a clock says."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = {row.pop("picture"): row for row in csv.DictReader(file)}
    return {name: {key: row[key] for key in row if "seconds" not in key} for name, row in rows.items()}


def assert_two_make_the_table_of_one(
    main: Callable[[Sequence[str]], int], arguments: Sequence[object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table and every image of two workers is that of one, in its order."""
    one, two = folder / "one", folder / "two"
    assert main([*map(str, arguments), "--output", str(one), "--device_target", "CPU"]) == 0
    evaluate_as_two(main, arguments, two, monkeypatch)
    tables = sorted(path.name for path in one.glob("*.csv"))
    assert tables
    assert tables == sorted(path.name for path in two.glob("*.csv"))
    for name in tables:
        alone, shared = rows_of(one / name), rows_of(two / name)
        assert list(alone) == list(shared), "the order of the set, each image once"
        assert len(alone) % 2, "an odd number, which padding would make even"
        assert alone == shared
    pictures = {path.relative_to(one): path.read_bytes() for path in one.rglob("*.png")}
    assert pictures == {path.relative_to(two): path.read_bytes() for path in two.rglob("*.png")}
