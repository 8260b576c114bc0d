"""What the models' test_goldens.py share: rows of files, moved references, fixtures that keep what was compared."""

from pathlib import Path

import numpy as np
import pytest

from ci import check_goldens
from ci.golden_runners import folder, registry
from ci.golden_runners.core import Golden, Row

RESULTS = ("out", "mid", "loss", "grad", "adam", "after")


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the runners, and leave pytest's log handlers and the device alone."""
    monkeypatch.setattr("common.runtime.start_log", lambda: None)
    monkeypatch.setattr("common.runtime.start", lambda device: None)  # a device is set once in a process
    registry.load_runners()


def rows_of(goldens: Path, prefix: str = "", **options: object) -> list[Row]:
    """What check_goldens.py finds in the files of a folder that begin so."""
    return list(check_goldens.run(*folder.read_folder(goldens, prefix), **options))


def moved(arrays: dict[str, np.ndarray], tolerances: dict, factor: float) -> set[str]:
    """Move the largest value of each result by `factor` times its tolerance; returns their keys."""
    keys = {key for key in arrays if key.split("/")[0] in RESULTS}
    for key in keys:
        bound = tolerances[key.split("/")[0] + "/"]["atol_relative_to_max_abs"]
        arrays[key].flat[np.abs(arrays[key]).argmax()] *= 1 + factor * bound
    return keys


class Recorded(Golden):
    """A fixture that keeps what it was compared with.

    Args:
        steps: of the training, of which the file has more; None for all.
        given: keys of arrays that are not results.
    """

    def __init__(self, goldens: Path, name: str, *, steps: int | None = None, given: tuple[str, ...] = ()) -> None:
        super().__init__(*folder.read_folder(goldens, name)[0][0], registry.PYNATIVE)
        self.values, self.given = [], given
        if steps:
            self.arrays = {key: array for key, array in self.arrays.items() if not key.startswith("after/")}
            self.arrays |= {key: array[:steps] for key, array in self.arrays.items() if key.startswith("adam/")}

    def compare(self, key: str, value: object, *, bounds: dict | None = None, quantity: str = "") -> None:
        """Compare, and keep it."""
        super().compare(key, value, bounds=bounds, quantity=quantity)
        self.values.append((key, value, bounds, quantity))

    def run(self) -> "Recorded":
        """Run its runner; returns itself."""
        registry.load_runners()
        registry.find_fixture(self.name).function(self)
        return self

    def results(self) -> set[str]:
        """Keys of all arrays that must be compared."""
        return {key for key in self.arrays if key.split("/")[0] not in ("state", "in")} - set(self.given)

    def judged_by_moved_references(self) -> list[Row]:
        """The rows of all arrays, had the largest value of each reference been a little more than the tolerance off."""
        arrays = {}
        for key in self.results():
            arrays[key], tolerance = self.arrays[key].copy(), self.tolerance[key.split("/")[0] + "/"]
            values = arrays[key].reshape(-1)
            share = tolerance.get("atol_relative_to_max_abs", 0) + tolerance.get("rel_l2", 0)
            values[np.abs(values).argmax()] *= 1 + 3 * share * np.sqrt(values.size)
            values += 3 * tolerance.get("atol_absolute", 0)
            if not values.any():  # the log-determinant of a squeeze
                values += 1e-6
        other = Golden(self.name, arrays, self.config, self.tolerance, self.mode)
        for key, value, bounds, _ in self.values:
            other.compare(key, value, bounds=bounds, quantity=key)
        return other.rows()
