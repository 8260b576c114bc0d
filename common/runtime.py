"""Where a program runs (device, workers, seeds, exit code), and what it says: the log and the progress bar."""

import atexit
import contextlib
import ctypes
import datetime
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from common import UserError
from common.atomic import refuse_path

try:
    from tqdm import tqdm
except ImportError:  # the extra `ui`
    tqdm = None

log = logging.getLogger(__name__)
PATIENCE = 30  # seconds between lines of the log that say how far a long piece of work is
DEVICES = ("Ascend", "GPU", "CPU")
DEVICE_CHOICES = ("auto", *DEVICES)
NEEDS = {"Ascend": "CANN 8.2 to 9.1", "GPU": "CUDA 11.6 with cuDNN 8.5"}
MMAP_MAX, TRIM_THRESHOLD = -4, -1  # glibc's names for what mallopt sets


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run an entry point: a UserError becomes one line on stderr and exit code 2, Ctrl-C exit code 130.

    So does what the system refuses: a full disk, a folder that cannot be written, a name that cannot be encoded.
    """
    _open_streams()
    code, said = 2, ""
    try:
        try:
            done = main()
        finally:
            sys.stdout.flush()
        code = done or 0
    except UserError as error:
        said = f"error: {error}"
    except KeyboardInterrupt:
        code, said = 130, "interrupted"
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what it still holds cannot be written
        said = f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        if isinstance(error, BrokenPipeError):  # `... | head` closed our output
            code, said = 141, ""
    except UnicodeEncodeError as error:
        said = f"error: {error.object} has no form in {error.encoding}: rename it, or set LC_ALL=C.UTF-8"
    except RuntimeError as error:
        if "Symlink loop" not in str(error):  # pathlib's words for it, before Python 3.13
            raise
        said = f"error: {error}"
    if said:
        print(said, file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _open_streams() -> None:
    """Let no stream end a program: what a console cannot show is escaped; what is closed (2>&-) leads nowhere."""
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:  # or the next file opened would be C's stderr
        pass
    os.close(handle)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")


def make_run_folder(parent: Path, name: str) -> Path:
    """Make a new folder `parent/name-YYYYmmdd-HHMMSS` (with -2, -3 ... when taken); nothing is ever overwritten."""
    refuse_path(name, "--name")
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for count in range(1, 1000):
        folder = parent / (f"{name}-{stamp}" + (f"-{count}" if count > 1 else ""))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot make the run folder {folder}: {error.strerror}") from None
    raise UserError(f"{parent} already holds a thousand runs named {name}-{stamp}")


# ------------------------------------------------------------------------------------------------ log and progress bar


def start_log(file: Path | None = None, *, quiet: bool = False) -> None:
    """Log to the terminal and to the end of a file, and nowhere else that this function opened.

    Records marked `extra={"bar": True}` go to the terminal only when it shows no progress bar, which says the same.
    """
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its fonts
    for handler in [handler for handler in root.handlers if handler.name == __name__]:
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [_Console()]
    handlers[0].setLevel(logging.ERROR if quiet else logging.INFO)
    handlers[0].addFilter(lambda record: not (getattr(record, "bar", False) and _shows_bar()))
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8", errors="backslashreplace"))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for handler in handlers:
        handler.name = __name__
        root.addHandler(handler)


class _Console(logging.StreamHandler):
    """Writes above a progress bar rather than through it."""

    def emit(self, record: logging.LogRecord) -> None:
        if _shows_bar():
            tqdm.write(self.format(record), file=sys.stderr)
        else:
            self.stream = sys.stderr  # it may have been exchanged, and the old one closed
            super().emit(record)


def _shows_bar() -> bool:
    return tqdm is not None and sys.stderr.isatty()


@contextlib.contextmanager
def progress(
    total: int, description: str, unit: str = "it", initial: int = 0, *, in_log: bool = False
) -> Iterator[Any]:
    """Show a bar with `update(n)` and `set_postfix_str(text, refresh)`.

    Where no bar is shown, `in_log` logs how long it will take, and then how far it is every `PATIENCE` seconds.
    """
    if _shows_bar():
        with tqdm(total=total, desc=description, unit=unit, initial=initial, dynamic_ncols=True) as bar:
            yield bar
    else:
        yield _Lines(total, description, unit, in_log)


class _Lines:
    """Stands for a bar where there is none."""

    def __init__(self, total: int, description: str, unit: str, in_log: bool) -> None:
        self.done, self.total, self.description, self.unit, self.in_log = 0, total, description, unit, in_log
        self.start = self.told = time.monotonic()

    def update(self, n: int = 1) -> None:
        first, now = self.done == 0, time.monotonic()
        self.done += n
        left = (now - self.start) / self.done * (self.total - self.done)
        if self.in_log and left > 0 and (now - self.told >= PATIENCE or (first and left >= PATIENCE)):
            self.told = now
            done = f"{self.done} of {self.total} {self.unit}s"
            log.info("%s: %s, about %s left", self.description, done, duration(left))

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass


def duration(seconds: float) -> str:
    """Return `2 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


# -------------------------------------------------------------------------------------------------- device and workers


class Runtime(NamedTuple):
    """The device, and this process's place among the workers."""

    device: str
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def start(device_target: str = "auto", *, seed: int | None = None, distribute: bool | None = False) -> Runtime:
    """Choose the device, join other workers, seed MindSpore.

    `distribute`: True demands a launcher, None joins one if it started this process, False stays alone.
    """
    import mindspore as ms

    launched = was_launched()
    if distribute and not launched:
        raise UserError(
            "--run_distribute needs a launcher: use the folder's distributed script, or msrun --worker_num=N train.py"
        )
    device = choose_device(device_target)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    if seed is not None:
        ms.set_seed(seed)
    gc.freeze()  # MindSpore collects garbage at each compilation: 0.1 s more with all that imports have made
    return Runtime(device) if not launched or distribute is False else _join(device)


def choose_device(wanted: str) -> str:
    """Set MindSpore's device: the one that is named must be there; "auto" takes the first backend that answers.

    ZOO_PREFERRED_DEVICE is tried before the others, and a line says so when it does not answer.
    """
    if wanted != "auto":
        if not _answers(wanted):
            raise UserError(
                f"this MindSpore has no {wanted} backend; type --device_target auto (takes what there is), or install "
                f"what its wheel needs for it: {NEEDS.get(wanted)}"
            )
        return wanted
    preferred = os.environ.get("ZOO_PREFERRED_DEVICE")
    found = next(filter(_answers, sorted(DEVICES, key=lambda device: device != preferred)))
    if preferred in DEVICES and preferred != found:
        log.warning("no %s backend in this MindSpore: running on %s (DEVICE_TARGET overrides)", preferred, found)
    return found


def _answers(device: str) -> bool:
    import mindspore as ms
    from mindspore import log as mindspore_log

    number = os.environ.get("DEVICE_ID", "")  # which set_device ignores; msrun hands out the devices itself
    if device == "CPU" or os.environ.get("MS_ROLE"):
        number = ""
    if number and not (number.isascii() and number.isdigit()):
        raise UserError(f"DEVICE_ID must be the number of a device, not {number!r}")
    logger = mindspore_log._get_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # a backend that is not there is an answer, not an error to be shown
    try:
        ms.set_device(device, *([int(number)] if number else []))
    except (RuntimeError, ValueError) as error:
        # Once something has been computed, setting a device is refused, even the same one.
        return "has been initialized" in str(error) and ms.get_context("device_target") == device
    finally:
        logger.setLevel(level)
    return True


def was_launched() -> bool:
    """Return whether msrun, a rank table or mpirun started this process as a worker of a job.

    MS_WORKER_NUM or RANK_SIZE alone say nothing: users export them for the launcher, on every machine. A job of one
    worker counts, because its scheduler, a process of its own, runs the same program.
    """
    ranks, mpi = (os.environ.get(name, "1") not in ("", "0", "1") for name in ("RANK_SIZE", "OMPI_COMM_WORLD_SIZE"))
    table = os.environ.get("RANK_TABLE_FILE") or os.environ.get("MINDSPORE_HCCL_CONFIG_PATH")
    return bool(os.environ.get("MS_ROLE") or mpi or (table and ranks))


def _join(device: str) -> Runtime:
    from mindspore import communication

    try:
        communication.init()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the workers could not find each other on {device}: {reason}") from None
    # Its threads end later than its log, and what they say then heeds no level.
    if os.environ.get("GLOG_v") == "3":  # noqa: SIM112
        atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
    return Runtime(device, communication.get_rank(), communication.get_group_size())


def gather(value: Any, here: Runtime) -> list[Any]:
    """Return the values (of JSON's types) of all workers, by rank; each must call it, and waits for all others."""
    if here.world_size == 1:
        return [value]
    from mindspore import Tensor, ops

    # A sum in which each worker has a row of its own. float32, which all back ends can sum, holds bytes and lengths.
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = np.zeros(here.world_size, np.float32)
    lengths[here.rank] = len(text)
    lengths = ops.AllReduce()(Tensor(lengths)).asnumpy().astype(int)
    rows = np.zeros((here.world_size, lengths.max()), np.float32)
    rows[here.rank, : len(text)] = text
    rows = ops.AllReduce()(Tensor(rows)).asnumpy().astype(np.uint8)
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


@contextlib.contextmanager
def graph_mode(on: bool = True) -> Iterator[None]:
    """Let MindSpore run in graph mode (or, with False, op by op) within the block; then restore the mode of before.

    A compiled step called in PyNative mode goes through queues whose threads spin while they wait: on two busy cores it
    took five times as long as in graph mode.
    """
    import mindspore as ms

    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE if on else ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=before)


def keep_freed_memory() -> None:
    """Tell glibc, where there is one, not to return freed memory to the system, until the process ends.

    By default it returns every large block, whose pages are cleared when they are asked for again: a tenth of SRDiff's
    training step on CPU. What the process takes at most stays the same.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, -1)


def keep_interrupts() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again: MindSpore's compiler turns it into a silent SIGTERM."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
