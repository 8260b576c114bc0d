"""Where a program runs: device, distributed start, seeds, log, progress bar, exit code."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from common import UserError

DEVICES = ("Ascend", "GPU", "CPU")
DEVICE_CHOICES = ("auto", *DEVICES)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What `start` found: the device, and this process's place among the workers."""

    device: str
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run an entry point: a UserError becomes one line on stderr and exit code 2, Ctrl-C exit code 130."""
    try:
        code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        code = 130
    except BrokenPipeError:  # `... | head` closed our output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code or 0)


def start(device_target: str = "auto", *, seed: int | None = None, distribute: bool | None = False) -> Runtime:
    """Choose the device, join the other workers if there are any, and seed MindSpore.

    Args:
        device_target: "auto" takes the first backend that answers (Ascend, GPU, CPU; ZOO_PREFERRED_DEVICE is tried before
            the others, and a line says so when it does not answer); a named device must be there.
        distribute: True demands a launcher, None joins one if it started this process, False stays alone.

    Raises:
        UserError: the named device or the launcher is not there.
    """
    import mindspore as ms

    device = choose_device(device_target)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    if seed is not None:
        ms.set_seed(seed)
    launched = was_launched()
    if distribute and not launched:
        raise UserError(
            "--run_distribute needs a launcher: use the folder's distributed script, or msrun --worker_num=N train.py"
        )
    if not launched or distribute is False:
        return Runtime(device)
    return _join(device)


def choose_device(wanted: str) -> str:
    """The device that MindSpore is then set to."""
    if wanted not in DEVICE_CHOICES:
        raise UserError(f"--device_target must be one of {', '.join(DEVICE_CHOICES)}, not {wanted!r}")
    if wanted != "auto":
        if not _answers(wanted):
            raise UserError(
                f"this MindSpore has no {wanted} backend; type --device_target auto (takes what there is) or install "
                f"the MindSpore build for {wanted}"
            )
        return wanted
    preferred = os.environ.get("ZOO_PREFERRED_DEVICE")
    if preferred in DEVICES and preferred != "CPU":
        if _answers(preferred):
            return preferred
        log.warning("no %s backend in this MindSpore: looking for another (DEVICE_TARGET overrides)", preferred)
    return next(device for device in DEVICES if _answers(device))


@contextlib.contextmanager
def graph_mode(on: bool = True) -> Iterator[None]:
    """Within the block MindSpore runs in graph mode (or, with False, op by op); the mode of before is then restored.

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


def was_launched() -> bool:
    """Whether msrun, a rank table or mpirun started this process as one of several workers."""
    counts = ("MS_WORKER_NUM", "RANK_SIZE", "OMPI_COMM_WORLD_SIZE")
    return any(os.environ.get(name, "1") not in ("", "0", "1") for name in counts)


def start_log(file: Path | None = None, *, quiet: bool = False) -> None:
    """Send the log to the terminal and, when given, to the end of a file.

    Records marked `extra={"bar": True}` say what the progress bar already shows: they go to the terminal only when it
    shows no bar.
    """
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in list(root.handlers):
        root.removeHandler(handler)
    console = _Console()
    console.setLevel(logging.ERROR if quiet else logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    console.addFilter(lambda record: not (getattr(record, "bar", False) and shows_bar()))
    root.addHandler(console)
    if file is not None:
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(handler)


def shows_bar() -> bool:
    """Whether a progress bar is drawn: on a terminal, when tqdm is installed."""
    return sys.stderr.isatty() and _tqdm() is not None


@contextlib.contextmanager
def progress(total: int, description: str, unit: str = "it", initial: int = 0) -> Iterator[Any]:
    """A bar with `update(n)` and `set_postfix_str(text)`; it does nothing where no bar is shown."""
    if not shows_bar():
        yield _NoBar()
        return
    settings = {"total": total, "desc": description, "unit": unit, "initial": initial}
    with _tqdm()(**settings, dynamic_ncols=True, leave=True) as bar:
        yield bar


class _NoBar:
    def update(self, n: int = 1) -> None:
        pass

    def set_postfix_str(self, text: str) -> None:
        pass


class _Console(logging.StreamHandler):
    """Writes above a progress bar rather than through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = _tqdm()
        if tqdm is None or not shows_bar():
            self.setStream(sys.stderr)
            super().emit(record)
        else:
            tqdm.write(self.format(record), file=sys.stderr)


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def _answers(device: str) -> bool:
    import mindspore as ms
    from mindspore import log as mindspore_log

    logger = mindspore_log._get_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # a backend that is not there is an answer, not an error to be shown
    try:
        ms.set_device(device)
    except (RuntimeError, ValueError):
        return False
    finally:
        logger.setLevel(level)
    return True


def _join(device: str) -> Runtime:
    from mindspore import communication

    try:
        communication.init()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the workers could not find each other on {device}: {reason}") from None
    return Runtime(device, communication.get_rank(), communication.get_group_size())


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
