"""Kills trainings at random moments, resumes them, and compares the end with a run that nobody disturbed.

python -m ci.tests.faults                                            # each model, 20 kills
python -m ci.tests.faults --models WDSR IRN --kills 5 --seed 3       # another draw; exit code 1 on any difference

The smallest network of each model makes 10 steps on pieces of ci/sample, with a checkpoint after every second. The
moments are drawn from the seed: half of them some time after a step, the first before there is any checkpoint, and half
within the writing of a checkpoint: a share of its bytes is there, or all of them under the temporary name, or the file
is in its place and the folder not yet on the disk. There the process halts itself, so that SIGKILL surely falls there.

Each training is a process of its own. It is forked from this one, which has imported MindSpore and nothing else yet
(no thread, no device): that saves the seconds of an import at every start. What is left of a start is the compiler.
"""

import argparse
import csv
import importlib
import math
import os
import random
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from ci.tests import clone, forks, training
from common import UserError, atomic, images, runtime
from common.checkpoint import ckpt as ckpt_format
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.training.record import Record

STEPS, SAVE_EVERY, LOOK_EVERY = 10, 2, 5
PATIENCE = 1200  # seconds until a process that says nothing is given up; a busy machine compiles for minutes
TINY: dict[str, dict[str, Any]] = {
    "IRN": {
        "scale": 2, "block_num": 1, "growth": 4, "lr": 0.002, "niter": STEPS, "gclip": 500, "save_checkpoint_freq": 0,
        "lr_scheme": "CosineAnnealingLR_Restart", "T_period": "4,6", "restarts": 4, "restart_weights": 0.5,
    },
    "SRFlow": {
        "scale": 2, "nf": 4, "nb": 1, "gc": 2, "stack": 0, "L": 1, "K": 1, "hidden_channels": 4, "lr": 0.005,
        "train_RRDB_delay": 1, "niter": STEPS, "save_checkpoint_freq": 0, "val_samples": 1, "val_heats": "0.5",
    },
    "WDSR": {
        "n_resblocks": 1, "n_feats": 4, "lr": 0.01, "decay": "cosine", "gclip": 50, "weight_decay": 1e-4,
        "epochs": STEPS // LOOK_EVERY, "ckpt_save_interval": 0, "data_range": "1-4/5-5",
    },
    "SRDiff": {
        "scale": 2, "hidden_size": 8, "unet_dim_mults": "1", "rrdb_num_feat": 4, "rrdb_num_block": 2, "timesteps": 20,
        "random_rrdb": "true", "lr": 0.005, "decay_steps": 4, "max_updates": STEPS, "save_checkpoint_freq": 0,
        "val_noises": 1, "val_steps": 1, "test_every": STEPS,
    },
    "CSNLN": {
        "n_feats": 4, "depth": 1, "lr": 0.005, "gclip": 1, "test_every": STEPS, "epochs": 1, "ckpt_save_interval": 0,
        "data_test": "DIV2K", "data_range": "1-4/5-5",
    },
}  # fmt: skip
COMMON = {
    "patch_size": 16, "batch_size": 2, "ema": 0.9, "device_target": "CPU",
    "log_every": 1, "save_every": SAVE_EVERY, "test_every": LOOK_EVERY,
}  # fmt: skip
DATA_OPTION = {"WDSR": "dir_data", "CSNLN": "data_path"}  # the others: dataset_GT_path

# What a moment is within.
ANYWHERE = "some time after a step"
BYTES, WHOLE, IN_PLACE = WRITES = "part of the bytes", "whole, not yet in its place", "in its place, folder not synced"


class Failed(Exception):  # noqa: N818  (what happened, not a mistake of the program)
    """A run did not go as it should; the message says how."""


class Moment(NamedTuple):
    """When a process is to be killed.

    Attributes:
        kind: ANYWHERE or one of WRITES.
        step: ANYWHERE: this step is in the log; WRITES: the first checkpoint written at it or later.
        share: ANYWHERE: of a step's time that has passed since; BYTES: of the file.
    """

    kind: str
    step: int
    share: float = 0.0


def draw(rng: random.Random, kills: int) -> list[Moment]:
    """Return the moments of one run in their order: half of the kills within writes."""
    kinds = [BYTES, *rng.choices(WRITES, k=kills)][: kills // 2]
    drawn = [
        # behind the last checkpoint in its place nothing would be left to do
        Moment(kind, rng.randrange(SAVE_EVERY, STEPS + (kind != IN_PLACE), SAVE_EVERY), rng.random())
        for kind in kinds
    ]
    for number in range(kills - len(kinds)):
        early = number == 0 and kills > 2  # before there is a checkpoint
        drawn.append(Moment(ANYWHERE, 1, 0) if early else Moment(ANYWHERE, rng.randint(1, STEPS - 1), rng.random()))
    # Of two moments of one step, the one that leaves the older checkpoint comes first.
    return sorted(drawn, key=lambda moment: (moment.step, (*WRITES, ANYWHERE).index(moment.kind)))


# ------------------------------------------------------------------------------------------------ in the child process


class Trap:
    """Set in a training process: says into the pipe `reached` when the moment has come, and halts within a write."""

    def __init__(self, moment: Moment, reached: int) -> None:
        self.moment, self.reached = moment, reached
        self.step, self.writing, self.sprung = 0, "", False

    def set(self) -> None:
        """Replace the functions that the moment may be within."""
        add, write, sync = Record.add, ckpt_format.write_arrays, atomic.sync

        def add_and_look(record: Record, step: int, values: Mapping[str, float]) -> None:
            add(record, step, values)
            self.step = step
            if self.moment.kind == ANYWHERE and "loss" in values and step >= self.moment.step:
                self.spring(f"step {step} is in the log", halt=not self.moment.share)

        def write_and_look(file: BinaryIO, arrays: list[tuple[str, np.ndarray]]) -> None:
            if self.moment.kind in WRITES and self.step >= self.moment.step:
                self.writing = f"in the write of {Path(file.name).name} of step {self.step}"
            if self.writing and self.moment.kind == BYTES:
                total = sum(array.nbytes for _, array in arrays)
                size = int(self.moment.share * total)
                file = HaltingFile(file, size, lambda: self.spring(f"{self.writing}: {size} of {total} bytes"))
            write(file, arrays)

        def look_and_sync(path: Path) -> None:
            if self.writing and self.moment.kind == (IN_PLACE if path.is_dir() else WHOLE):
                self.spring(f"{self.writing}: {self.moment.kind}")
            sync(path)

        Record.add, ckpt_format.write_arrays, atomic.sync = add_and_look, write_and_look, look_and_sync

    def spring(self, what: str, halt: bool = True) -> None:
        """Say once that the moment is there, and wait to be killed."""
        if not self.sprung:
            self.sprung = True
            os.write(self.reached, what.encode())
            time.sleep(PATIENCE if halt else 0)


class HaltingFile:
    """Writes to a file; once so many bytes are in it (for everyone to see), `halt` is called before the rest."""

    def __init__(self, file: BinaryIO, size: int, halt: Callable[[], None]) -> None:
        self.file, self.left, self.halt = file, size, halt

    def write(self, data: bytes | memoryview) -> None:
        data = memoryview(data)
        if len(data) > self.left:
            self.file.write(data[: self.left])
            self.file.flush()
            data, self.left = data[self.left :], math.inf
            self.halt()
        self.left -= len(data)
        self.file.write(data)


def live(work: Callable[[], int], said: Path, trap: Trap | None) -> NoReturn:
    """All that a child does."""

    def all_of_it() -> None:
        os.setsid()  # a Ctrl-C at the terminal is the parent's business
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.modules["matplotlib.figure"] = None  # no curve: drawing it takes longer than the training
        if trap:
            trap.set()
        runtime.run_main(work)

    code = forks.ended(all_of_it)
    if trap and not code:
        trap.spring("the program has come to its end")
        time.sleep(PATIENCE)  # or it would be gone when SIGKILL comes
    os._exit(code)


# ----------------------------------------------------------------------------------------------- in the parent process


class Child:
    """A process that does `work`, whose output is appended to the file `said`; as a context it outlives no block."""

    def __init__(self, work: Callable[[], int], said: Path, moment: Moment | None = None) -> None:
        self.said, self.moment = said, moment
        self._reached, tell = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._reached)
            live(work, said, Trap(moment, tell) if moment else None)
        os.close(tell)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._reached)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.end()

    def kill(self, pace: float) -> str:
        """Kill it when the moment has come; returns what it said of the moment.

        Args:
            pace: seconds that a step takes.
        """
        if not select.select([self._reached], [], [], PATIENCE)[0]:
            raise Failed(f"nothing happened in {PATIENCE} s; {self.last_words()}")
        what = os.read(self._reached, 1000).decode()
        if not what:
            raise Failed(f"it ended by itself with {self.end()}; {self.last_words()}")
        time.sleep(self.moment.share * pace if self.moment.kind == ANYWHERE else 0)
        os.kill(self.pid, signal.SIGKILL)
        if (code := self.end()) != -signal.SIGKILL:
            raise Failed(f"SIGKILL ended it with {code}; {self.last_words()}")
        return what

    def end(self) -> int:
        """Wait for it; the exit code, negative after a signal."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def finish(self) -> None:
        """Let it come to its end, which must be a good one."""
        if code := self.end():
            raise Failed(f"the training ended with {code}; {self.last_words()}")

    def last_words(self) -> str:
        return f"the last lines of {self.said}:\n" + "\n".join(self.said.read_text().splitlines()[-8:])


class Model:
    """The runs of one model below `folder`."""

    def __init__(self, name: str, folder: Path, data: Path) -> None:
        self.name, self.folder, self.said = name, folder, folder / "said.txt"
        folder.mkdir(parents=True)
        self.settings = {DATA_OPTION.get(name, "dataset_GT_path"): data, **COMMON, **TINY[name]}
        if name == "SRFlow":  # an untrained encoder would be trained as well, which doubles the compiler's work
            self.settings["rrdb_path"] = folder / "encoder.ckpt"
            with Child(lambda: save_encoder(folder / "encoder.ckpt"), self.said) as child:
                child.finish()

    def train(self, parent: Path, moment: Moment | None = None, run: Path | None = None) -> Child:
        """Start a new run below `parent`, or resume `run`."""
        words = ["--resume", str(run)] if run else training.words(self.settings | {"save_dir": parent})
        return Child(lambda: importlib.import_module(f"{self.name}.train").main(words), self.said, moment)

    def disturb(self, moments: Sequence[Moment]) -> str:
        """Train once in peace and once with all that happens at the moments; the summary.

        Raises:
            Failed: a training went wrong, or the two do not end alike.
        """
        with self.train(self.folder / "whole") as child:
            child.finish()
        whole, run, writes = only_run(self.folder / "whole"), None, 0
        pace = statistics.median(float(row) for (row,) in training.read_csv(whole, "seconds_per_step") if row)
        for number, moment in enumerate([*moments, None], 1):
            if moment and run and saved_step(run) == STEPS:  # the last kill came too late, and leaves nothing to do
                check(run, whole)
                run = None
            parent, resumed = self.folder / "parts" / str(number), run if run and saved_step(run) else None
            with self.train(parent, moment, resumed) as child:
                what = child.kill(pace) if moment else child.finish()
            run = resumed or only_run(parent)
            if moment:
                writes += moment.kind in WRITES
                step = saved_step(run)
                left = f"resumed from step {step}" if step else "begun anew"
                print(f"{self.name}, kill {number}: {what}; {left}", flush=True)
        check(run, whole)
        return f"bit-equal after {len(moments)} kills, {writes} of them in a write"


def save_encoder(path: Path) -> int:
    """Write an encoder for SRFlow, with its initial weights."""
    from SRFlow.src.model.RRDBNet import RRDBNet

    tiny = TINY["SRFlow"]
    network = RRDBNet(tiny["nf"], tiny["nb"], tiny["gc"], tiny["scale"], np.random.default_rng(0))
    checkpoint.save(path, Checkpoint({parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}))
    return 0


def check(run: Path, whole: Path) -> None:
    """Raises Failed when a run at its end is not as the undisturbed one, or still holds what kills have left."""
    if found := differences(run, whole):
        raise Failed(f"{run} does not end as {whole}: " + "; ".join(found))
    if left := sorted(path.name for path in (run / "ckpt").glob(".*")):
        raise Failed(f"{run} still holds what kills have left: {', '.join(left)}")


def only_run(parent: Path) -> Path:
    """The one run folder in `parent`."""
    (found,) = (path for path in parent.iterdir() if path.is_dir())
    return found


def saved_step(run: Path) -> int | None:
    """The step that the run can go on from; None without a checkpoint. Each that is there must be whole."""
    steps = {path.name: checkpoint.read(path).meta["step"] for path in (run / "ckpt").glob("[!.]*")}
    return steps.get("last.ckpt")


def differences(one: Path, other: Path) -> list[str]:
    """What two runs that should be the same differ in: every number of the log, last.ckpt and best.ckpt, to the bit."""
    header = (other / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    columns = [column for column in next(csv.reader([header])) if column != "seconds_per_step"]
    same_log = training.read_csv(one, *columns) == training.read_csv(other, *columns)
    found = [] if same_log else ["metrics.csv"]
    for name in ("last.ckpt", "best.ckpt"):
        contents = [contents_of(training.read(run, name)) for run in (one, other)]
        keys = contents[0].keys() | contents[1].keys()
        found += [f"{name}: {key}" for key in sorted(keys) if contents[0].get(key) != contents[1].get(key)]
    return found


def contents_of(saved: Checkpoint) -> dict[str, object]:
    """Every array, to the bit, and every entry of the metadata but for the folder."""
    arrays = {**saved.weights, **{f"state {name}": array for name, array in saved.state.items()}}
    found = {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}
    return found | {f"meta {key}": value for key, value in saved.meta.items() if key not in ("config", "folder")}


def make_data(root: Path, validation: bool = True) -> Path:
    """Write five small images to train on, and one to validate on, as DIV2K's folders."""
    for number in range(1, 6):
        image = images.read_rgb(clone.ROOT / "ci/sample/DIV2K/DIV2K_train_HR" / f"{number:04d}.png")[:32, :40]
        images.write_image(root / "DIV2K_train_HR" / f"{number:04d}.png", image)
    if validation:
        images.write_image(root / "DIV2K_valid_HR" / "0805.png", image)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when every model's disturbed run ended as the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=TINY, default=list(TINY))
    parser.add_argument("--kills", type=int, default=20, help="of each model [20]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the runs stay [a temporary one, kept if something is wrong]")
    options = parser.parse_args(argv)
    importlib.import_module("common.training.loop")  # and with it MindSpore, once for all children
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    data, wrong = make_data(folder / "data"), 0
    for name in options.models:
        moments = draw(random.Random(f"{options.seed} {name}"), options.kills)
        try:
            result = Model(name, folder / name, data).disturb(moments)
        except (Failed, UserError) as error:
            wrong, result = 1, f"FAILED: {error}"
        print(f"{name}: {result}", flush=True)
    if options.folder is None and not wrong:
        shutil.rmtree(folder)
    else:
        print(f"the runs are in {folder}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
