"""Training runs as a test sees them: started as users start them, watched while they go on, and what they leave."""

import csv
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ci.tests import clone
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint


def words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]


def train(main: Callable[[Sequence[str]], int], settings: Mapping[str, Any]) -> Path:
    """Train in this process to the end; the folder of the run, which is new in settings["save_dir"]."""
    parent = Path(settings["save_dir"])
    before = set(parent.glob("*"))
    assert main(words(settings)) == 0
    (folder,) = set(parent.glob("*")) - before
    return folder


def start(program: Path, command: Sequence[str], cwd: Path) -> subprocess.Popen[str]:
    """Start a program of the zoo as a process of its own; what it says goes to one pipe."""
    environment = {"PYTHONPATH": str(clone.ROOT), "PYTHONUNBUFFERED": "1"}
    return clone.start(sys.executable, program, *command, cwd=cwd, **environment)


def wait_for_step(parent: Path, step: int, process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Until the log of the only run in `parent` has this step."""
    end = time.monotonic() + seconds
    while not any(last_step(folder) >= step for folder in parent.glob("*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"step {step} never came"
        time.sleep(0.01)


def read_csv(folder: Path, *columns: str) -> list[list[str]]:
    """The cells of metrics.csv."""
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return [[row[column] for column in columns] for row in csv.DictReader(file)]


def logged(folder: Path) -> list[tuple[int, float]]:
    """(step, loss) of every row that has a loss."""
    rows = read_csv(folder, "step", "loss")
    return [(int(step), float(loss)) for step, loss in rows if step.isdigit() and loss]


def losses(folder: Path) -> list[float]:
    """In the order of the steps."""
    return [loss for _, loss in logged(folder)]


def last_step(folder: Path) -> int:
    """The last step in the log, whose last line may be unfinished; 0 when there is none yet."""
    log = folder / "metrics.csv"
    return logged(folder)[-1][0] if log.exists() and log.read_text().count("\n") > 1 else 0


def read(folder: Path, name: str = "last.ckpt") -> Checkpoint:
    """A checkpoint of the run."""
    return checkpoint.read(folder / "ckpt" / name)


def assert_same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert sorted(one) == sorted(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def differences(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest absolute difference of each array."""
    assert sorted(one) == sorted(other)
    return {name: np.abs(one[name].astype(float) - other[name].astype(float)).max() for name in one}
