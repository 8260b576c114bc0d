"""Kills trainings at random moments, resumes them, and compares the end with a run that nobody disturbed.

python -m ci.tests.faults                                            # each model, 20 kills
python -m ci.tests.faults --models WDSR IRN --kills 5 --seed 3       # another draw; exit code 1 on any difference

The smallest network of each model makes 10 steps on pieces of ci/sample, with a checkpoint after every second. The
moments are drawn from the seed: half of them some time after a step, the first before there is any checkpoint, and half
(`--in_writes`) within the writing of a checkpoint: a share of its bytes is there, or all of them under the temporary
name, or the file is in its place and the folder not yet on the disk. For these the process halts itself at the moment,
so that SIGKILL surely falls there; for the others it runs on.

Each training is a process of its own. It is forked from this one, which has imported MindSpore and nothing else yet
(no thread, no device): that saves the seconds of an import at every start. What is left of a start is the compiler.
"""

import argparse
import contextlib
import dataclasses
import importlib
import math
import os
import random
import resource
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ci.tests import training
from common import UserError, atomic, runtime
from common.checkpoint import ckpt as ckpt_format
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.images import files as images
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
ANYWHERE, STOP = "some time after a step", "Ctrl-C"
BYTES, WHOLE, IN_PLACE = "part of the bytes", "whole, not yet in its place", "in its place, folder not synced"
WRITES = (BYTES, BYTES, WHOLE, IN_PLACE)


class Failed(Exception):  # noqa: N818  (what happened, not a mistake of the program)
    """A run did not go as it should; the message says how."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """When a process is to be killed, or stopped.

    Attributes:
        kind: ANYWHERE, STOP, or one of WRITES.
        step: ANYWHERE and STOP: the row of this step, or of a later one, is in the log; WRITES: the first checkpoint
            that is written at this step or later.
        share: ANYWHERE: of a step's time that has passed since, 0 for at once; BYTES: of the file.
    """

    kind: str
    step: int
    share: float = 0.0

    @property
    def order(self) -> tuple[int, int]:
        """Of two moments of one step, the one that leaves the older checkpoint comes first."""
        return self.step, (BYTES, WHOLE, IN_PLACE, ANYWHERE).index(self.kind)


def draw(rng: random.Random, kills: int, in_writes: float, stops: int) -> list[Moment]:
    """The moments of one run in their order.

    Args:
        kills: how many.
        in_writes: share of them within the writing of a checkpoint.
        stops: how many times the run is stopped by Ctrl-C besides, each after some kill.
    """
    count = round(kills * in_writes)
    kinds = [BYTES, *rng.choices(WRITES, k=count)][:count]
    drawn = [Moment(kind, _writing_step(rng, kind), rng.random()) for kind in kinds]
    for number in range(kills - count):
        early = number == 0 and kills > 2  # before there is a checkpoint, however busy the machine is
        step = rng.randint(1, SAVE_EVERY - 1 if early else STEPS - 1)
        drawn.append(Moment(ANYWHERE, step, 0 if early else rng.random()))
    drawn.sort(key=lambda moment: moment.order)
    for _ in range(stops):
        place = rng.randint(1, max(1, len(drawn) // 2))
        drawn.insert(place, Moment(STOP, drawn[place - 1].step))
    return drawn


def _writing_step(rng: random.Random, kind: str) -> int:
    """A step at which a checkpoint is written; behind the last one in its place nothing would be left to do."""
    return rng.randrange(SAVE_EVERY, STEPS if kind == IN_PLACE else STEPS + 1, SAVE_EVERY)


# ------------------------------------------------------------------------------------------------ in the child process


class Trap:
    """Set in a training process: says when the moment has come. It then halts, unless the moment is some time later.

    Args:
        reached, answer: ends of pipes: what is said, and what is waited for.
    """

    def __init__(self, moment: Moment, reached: int, answer: int) -> None:
        self.moment, self.reached, self.answer = moment, reached, answer
        self.step, self.writing, self.sprung, self.held = 0, "", False, False

    def set(self) -> None:
        """Replace the functions that the moment may be within by ones that look at the clock, as it were."""
        add, write, sync = Record.add, ckpt_format.write_arrays, atomic.sync

        def add_and_look(record: Record, step: int, values: Mapping[str, float]) -> None:
            add(record, step, values)
            self.step = step
            if self.moment.kind in (ANYWHERE, STOP) and "loss" in values and step >= self.moment.step:
                self.spring(f"step {step} is in the log", halt=not self.moment.share)

        def write_and_look(file: BinaryIO, arrays: list[tuple[str, np.ndarray]]) -> None:
            if self.moment.kind in WRITES and self.step >= self.moment.step:
                name = Path(file.name).name.split(".")[1]  # .last.x5h2.tmp.ckpt
                self.writing = f"in the write of {name}.ckpt of step {self.step}"
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
        """Say once that the moment is there."""
        if not self.sprung:
            self.sprung = True
            os.write(self.reached, what.encode())
            if halt:
                self.hold()

    def hold(self) -> None:
        """Wait, but once, to be killed or told to go on."""
        if not self.held:
            self.held = True
            os.read(self.answer, 1)


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
    code = 1
    try:
        os.setsid()  # a Ctrl-C at the terminal is the parent's business
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.modules["matplotlib.figure"] = None  # no curve: drawing it takes longer than the training
        if trap:
            trap.set()
        runtime.run_main(work)
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    if trap and trap.moment.kind != STOP and not code:
        trap.spring("the program has come to its end")
        trap.hold()  # or it would be gone when SIGKILL comes
    os._exit(code)


# ----------------------------------------------------------------------------------------------- in the parent process


class Child:
    """A process that does `work`.

    Args:
        said: file to which its output is appended.
        moment: when it is to be killed or stopped; None for never.
    """

    def __init__(self, work: Callable[[], int], said: Path, moment: Moment | None = None) -> None:
        self.said, self.moment = said, moment
        self._reached, tell = os.pipe()
        listen, self._answer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._reached)
            os.close(self._answer)
            live(work, said, Trap(moment, tell, listen) if moment else None)
        os.close(tell)
        os.close(listen)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._reached)
        os.close(self._answer)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.end()

    def wait(self, pace: float) -> str:
        """Until the moment has come; what the child said of it.

        Args:
            pace: seconds that a step takes.
        """
        if not select.select([self._reached], [], [], PATIENCE)[0]:
            raise Failed(f"nothing happened in {PATIENCE} s; {self.last_words()}")
        what = os.read(self._reached, 1000).decode()
        if not what:
            raise Failed(f"it ended by itself with {self.end()}; {self.last_words()}")
        if self.moment.kind == ANYWHERE:
            time.sleep(self.moment.share * pace)
        return what

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Within the block the process does nothing; then it goes on as if nothing had been."""
        self.send(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)
        yield
        self.go_on()
        self.send(signal.SIGCONT)

    def go_on(self) -> None:
        """What a child that holds is waiting for."""
        os.write(self._answer, b"\n")

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
        self.name, self.folder, self.unfinished = name, folder, set[Path]()
        self.kills, self.in_writes = 0, 0
        self.said = folder / "said.txt"
        folder.mkdir(parents=True)
        self.settings = {DATA_OPTION.get(name, "dataset_GT_path"): data, **COMMON, **TINY[name]}
        if name == "SRFlow":  # an untrained encoder would be trained as well, which doubles the compiler's work
            self.settings["rrdb_path"] = folder / "encoder.ckpt"
            with Child(lambda: save_encoder(folder / "encoder.ckpt"), self.said) as child:
                child.finish()

    def start(self, parent: Path, moment: Moment | None = None) -> Child:
        """A new run, in a new folder below `parent`."""
        return self._train(training.words(self.settings | {"save_dir": parent}), moment)

    def resume(self, run: Path, moment: Moment | None = None) -> Child:
        return self._train(["--resume", str(run)], moment)

    def _train(self, words: Sequence[str], moment: Moment | None) -> Child:
        def work() -> int:
            return importlib.import_module(f"{self.name}.train").main(words)

        return Child(work, self.said, moment)

    def tell(self, moment: Moment, what: str, left: Path) -> None:
        """Print a line on what was done to a run, and what it left."""
        if moment.kind == STOP:
            how = "stopped by Ctrl-C"
        else:
            self.kills += 1
            self.in_writes += "in the write" in what
            how = f"kill {self.kills}"
        if moment.kind == ANYWHERE:
            half = "a" if set(unfinished(left)) - self.unfinished else "no"
            what += f", {moment.share:.2f} of a step's time later" if moment.share else ""
            what += f" (log up to step {training.last_step(left)}, {half} checkpoint half written)"
        self.unfinished |= set(unfinished(left))
        step = saved_step(left)
        print(
            f"{self.name}, {how}: {what}; ", f"resumed from step {step}" if step else "begun anew", sep="", flush=True
        )


def save_encoder(path: Path) -> int:
    """An encoder for SRFlow, with its first filters."""
    from SRFlow.src.model.RRDBNet import RRDBNet

    tiny = TINY["SRFlow"]
    network = RRDBNet(tiny["nf"], tiny["nb"], tiny["gc"], tiny["scale"], np.random.default_rng(0))
    checkpoint.save(path, Checkpoint({parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}))
    return 0


def disturb(model: Model, moments: Sequence[Moment], *, freeze: bool) -> str:
    """Train once in peace and once with all that happens at the moments; the summary.

    Args:
        freeze: the first moment disturbs nobody: the undisturbed process is frozen while its files are copied, which
            are what SIGKILL would leave, and goes on. It saves one start in the tests.

    Raises:
        Failed: a training went wrong, or the two do not end alike.
    """
    moments, parts = list(moments), model.folder / "parts"
    with model.start(model.folder / "whole", moments[0] if freeze else None) as child:
        if freeze:
            what = child.wait(pace=0.05)
            with child.frozen():
                shutil.copytree(model.folder / "whole", parts / "0")
            model.tell(moments.pop(0), what + " (a copy of the files)", only_run(parts / "0"))
        child.finish()
    whole = only_run(model.folder / "whole")
    pace = statistics.median(float(row) for (row,) in training.read_csv(whole, "seconds_per_step") if row)
    run = only_run(parts / "0") if freeze else None
    for number, moment in enumerate([*moments, None], 1):
        if moment and run and saved_step(run) == STEPS:  # the kill came too late, and would leave nothing to the others
            check(run, whole)
            run = None
        anew = run is None or saved_step(run) is None
        with model.start(parts / str(number), moment) if anew else model.resume(run, moment) as child:
            if moment is None:
                child.finish()
                break
            what = child.wait(pace)
            if moment.kind == STOP:
                end_by_ctrl_c(child)
            else:
                child.send(signal.SIGKILL)
                if (code := child.end()) != -signal.SIGKILL:
                    raise Failed(f"SIGKILL ended it with {code}")
        run = only_run(parts / str(number)) if anew else run
        model.tell(moment, what, run)
    run = only_run(parts / str(number)) if anew else run
    check(run, whole)
    last = training.read(run)
    return (
        f"bit-equal after {model.kills} kills, {model.in_writes} of them in a write: {len(training.losses(run))} "
        f"losses, {len(last.weights)} weights and {len(last.state)} arrays of state in last.ckpt, best.ckpt; "
        f"{len(model.unfinished)} files left half written, none of them now"
    )


def check(run: Path, whole: Path) -> None:
    """Raises Failed when a run at its end is not as the undisturbed one, or still holds what kills have left."""
    if found := differences(run, whole):
        raise Failed(f"{run} does not end as {whole}: " + "; ".join(found))
    if left := unfinished(run):
        raise Failed(f"{run} still holds what kills have left: {', '.join(path.name for path in left)}")


def end_by_ctrl_c(child: Child) -> None:
    """Ctrl-C: the step is finished and saved, and a line says how to go on."""
    before = child.said.read_text().count("go on with: --resume")
    child.send(signal.SIGINT)
    child.go_on()
    code, said = child.end(), child.said.read_text()
    # MindSpore may pass Ctrl-C on as SIGTERM.
    if code not in (128 + signal.SIGINT, 128 + signal.SIGTERM) or said.count("go on with: --resume") == before:
        raise Failed(f"Ctrl-C ended it with {code}; {child.last_words()}")


def only_run(parent: Path) -> Path:
    """The one run folder in `parent`."""
    found = [path for path in parent.iterdir() if path.is_dir()]
    if len(found) != 1:
        raise Failed(f"{parent} holds {len(found)} runs, not one")
    return found[0]


def saved_step(run: Path) -> int | None:
    """The step that the run can go on from; None without a checkpoint. Each that is there must be whole."""
    steps = {path.name: checkpoint.read(path).meta["step"] for path in (run / "ckpt").glob("[!.]*")}
    return steps.get("last.ckpt")


def unfinished(run: Path) -> list[Path]:
    """The temporary files of checkpoints that a kill has left."""
    return sorted((run / "ckpt").glob(".*"))


def differences(one: Path, other: Path) -> list[str]:
    """What two runs that should be the same differ in: every number of the log, last.ckpt and best.ckpt, to the bit."""
    found = []
    logs = [training.read_csv(run, *columns_of(other)) for run in (one, other)]
    if logs[0] != logs[1]:
        differing = [row[0] for row, wanted in zip(*logs, strict=False) if row != wanted]
        found.append(f"metrics.csv has {len(logs[0])} and {len(logs[1])} rows, different at steps {differing}")
    for name in ("last.ckpt", "best.ckpt"):
        files = [training.read(run, name) for run in (one, other)]
        for part in ("weights", "state"):
            found += [f"{name}: {array}" for array in differing_arrays(*(getattr(file, part) for file in files))]
        metas = [{k: v for k, v in file.meta.items() if k not in ("config", "folder")} for file in files]
        found += [f"{name}: {key} of meta" for key in metas[1] if metas[0].get(key) != metas[1][key]]
    return found


def columns_of(run: Path) -> list[str]:
    """The columns of metrics.csv that do not depend on the time of day."""
    header = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    return [column for column in next(training.csv.reader([header])) if column != "seconds_per_step"]


def differing_arrays(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the arrays that are not bit for bit the same, or only in one of the two."""
    common = one.keys() & other.keys()
    same = {name for name in common if one[name].dtype == other[name].dtype and one[name].shape == other[name].shape}
    same = {name for name in same if one[name].tobytes() == other[name].tobytes()}
    return sorted((one.keys() | other.keys()) - same)


def make_data(root: Path, sample: Path) -> Path:
    """Five small pictures to train on, one of them to look at meanwhile, as DIV2K's folders."""
    for number in range(1, 6):
        picture = images.read_rgb(sample / "DIV2K" / "DIV2K_train_HR" / f"{number:04d}.png")[:32, :40]
        images.write_picture(root / "DIV2K_train_HR" / f"{number:04d}.png", picture)
    images.write_picture(root / "DIV2K_valid_HR" / "0805.png", picture)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when every model's disturbed run ended as the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=TINY, default=list(TINY))
    parser.add_argument("--kills", type=int, default=20, help="of each model [20]")
    parser.add_argument("--in_writes", type=float, default=0.5, help="share within the write of a checkpoint [0.5]")
    parser.add_argument("--stops", type=int, default=1, help="by Ctrl-C, of each model, besides [1]")
    parser.add_argument("--freeze", action="store_true", help="take the first kill from a copy of the undisturbed run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the runs stay [a temporary one, kept if something is wrong]")
    options = parser.parse_args(argv)
    importlib.import_module("common.training.loop")  # and with it MindSpore, once for all children
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    data = make_data(folder / "data", Path(__file__).resolve().parents[1] / "sample")
    wrong = 0
    for name in options.models:
        moments = draw(random.Random(f"{options.seed} {name}"), options.kills, options.in_writes, options.stops)
        before = cpu_seconds()
        try:
            result = disturb(Model(name, folder / name, data), moments, freeze=options.freeze)
        except (Failed, UserError) as error:
            wrong, result = 1, f"FAILED: {error}"
        print(f"{name}: {result}; {cpu_seconds() - before:.0f} s of CPU", flush=True)
    if options.folder is None and not wrong:
        shutil.rmtree(folder)
    else:
        print(f"the runs are in {folder}")
    return wrong


def cpu_seconds() -> float:
    """What the children that have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
