"""Jobs of real workers: each model's own distributed script, its smallest network, and a spy in every worker."""

import contextlib
import importlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ci.tests import clone, faults, training

MODELS = ("IRN", "SRDiff", "SRFlow", "WDSR")  # CSNLN trains as WDSR does
SPY = Path(__file__).parent / "spy"  # see sitecustomize.py in it
STEPS, HALT = faults.STEPS, 4

# The script of each model, and what stands before the options; {data} is a folder of images, {config} a file.
SCRIPTS = {
    "IRN": ("scripts/run_distribute_train.sh", "{workers}", "2", "{data}"),
    "SRDiff": ("scripts/run_distribute_train_gpu.sh", "{workers}", "{config}", "{data}"),
    "SRFlow": ("scripts/run_distribute_train_gpu.sh", "{workers}", "{config}"),
    "WDSR": ("script/run_gpu_distribute.sh", "{data}", "{workers}"),
}
# What differs from the trainings of faults.py: gradients that are clipped, rates that move the weights far enough, step
# counts that are not to depend on the workers, and epsilons above the rounding errors of gradients that are zero.
SETTINGS: dict[str, dict[str, Any]] = {
    "IRN": {"lr": 3e-3, "gclip": 10, "schedule_batch": 4},
    "SRDiff": {"lr": 1e-3, "schedule_batch": 4},
    "SRFlow": {"lr": 1e-3, "epsilon": 1e-4, "schedule_batch": 4, "train_RRDB_delay": 0},  # the encoder as well
    "WDSR": {"lr": 3e-3, "gclip": 40},
}


class Job:
    """A distributed script, started in the folder `here`, on the CPU; as a context it outlives no block."""

    def __init__(self, script: Path, here: Path, *arguments: object, **changes: str) -> None:
        self.process = clone.start("bash", script, *arguments, cwd=here, DEVICE_TARGET="CPU", **changes)

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.end()

    def end(self, timeout: float = 240) -> tuple[int, str]:
        """(exit code, what the script said)."""
        said, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, said


class Trial:
    """The jobs of one model.

    Args:
        here: the folder that they are started in, where their logs and the run are left, and what the spies tell.
        data: has five small images as DIV2K's folder, and SRFlow's encoder.
    """

    def __init__(self, model: str, here: Path, data: Path) -> None:
        self.model, self.here, self.data = model, here, data
        self.script, *self.words = clone.ROOT / model / SCRIPTS[model][0], *SCRIPTS[model][1:]
        here.mkdir(parents=True, exist_ok=True)
        self.settings = faults.COMMON | faults.TINY[model] | SETTINGS[model] | {"save_every": HALT}
        if model == "SRFlow":
            self.settings["rrdb_path"] = data / "encoder.ckpt"
        (here / "scale.yaml").write_text("scale: 2\n")

    @property
    def folder(self) -> Path:
        """Of the one run."""
        (config,) = (self.here / "runs" / self.model).glob("*/config.yaml")
        return config.parent

    def begin(self, *, resume: Path | None = None, workers: int = 2, forks: bool = True, **changes: Any) -> Job:
        """Start a job.

        Args:
            resume: the run that it goes on with; None for a new one.
            workers: how many, on this machine.
            forks: whether the workers are forked, which saves time, instead of started.
            changes: of the environment.
        """
        known = {"workers": workers, "data": self.data, "config": self.here / "scale.yaml"}
        words = [word.format(**known) for word in self.words]
        options = {"resume": resume} if resume else self.settings | ({} if "{data}" in self.words else self.images())
        (self.here / "halted").unlink(missing_ok=True)
        environment = {"PYTHONPATH": SPY, "SPY": self.here, "SPY_FORKS": "1" if forks else ""} | changes
        environment = {name: str(value) for name, value in environment.items()}
        return Job(self.script, self.here, *words, *training.words(options), **environment)

    def images(self) -> dict[str, Path]:
        """The option that names the data."""
        return {faults.DATA_OPTION.get(self.model, "dataset_GT_path"): self.data}

    def train_alone(self) -> Path:
        """One process, this one, on the batches of two workers; the folder of the run."""
        main = importlib.import_module(f"{self.model}.train").main
        batch = {"batch_size": 2 * self.settings["batch_size"], "save_dir": self.here / "alone"}
        return training.train(main, self.images() | self.settings | batch)

    def wait_for_halt(self, job: Job, seconds: float = 600) -> int:
        """Until the second worker has halted and the first has saved that step; the process id of the second.

        The watchdog of the job is kept quiet meanwhile: a busy machine compiles for long.
        """
        end, told = time.monotonic() + seconds, self.here / "halted"
        while not (told.exists() and self.saved_step() == HALT):
            assert job.process.poll() is None, job.process.communicate()[0]
            assert time.monotonic() < end, f"step {HALT} was never saved"
            for workers in (self.here / "runs" / self.model).glob("workers-*"):
                (workers / "alive").write_text(str(time.monotonic()))
            time.sleep(0.05)
        return int(told.read_text())

    def saved_step(self) -> int | None:
        """That of last.ckpt, which must be readable; None while there is none."""
        with contextlib.suppress(ValueError):  # no run yet
            return faults.saved_step(self.folder)
        return None

    def told(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the two workers said at the end of their training."""
        first, second = (json.loads((self.here / f"{rank}.json").read_text()) for rank in (0, 1))
        assert first["digest"] == second["digest"], "the workers hold the same weights and moments, bit for bit"
        return first, second


def processes(here: Path) -> Iterator[int]:
    """Yield every living process of the jobs that were started in a folder."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if f"\0ZOO_JOB={here}/".encode() in b"\0" + file.read_bytes():
                yield int(file.parent.name)


def processes_left(here: Path, seconds: float = 10) -> list[int]:
    """Return those of `processes` that are not gone after some seconds."""
    end = time.monotonic() + seconds
    while (found := list(processes(here))) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def signal_and_wait(job: Job, pid: int, number: int) -> tuple[float, int, str]:
    """Send a signal to a process, and wait for the end of the job: (seconds that it took, exit code, what it said)."""
    since = time.monotonic()
    os.kill(pid, number)
    code, said = job.end()
    return time.monotonic() - since, code, said
