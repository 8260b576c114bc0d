"""What a program says while it runs: log, progress bar, durations."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import UserError

log = logging.getLogger(__name__)
PATIENCE = 30  # seconds between lines of the log that say how far a long piece of work is


def start_log(file: Path | None = None, *, quiet: bool = False) -> None:
    """Send the log to the terminal and, when given, to the end of a file, and nowhere else that this function opened.

    Records marked `extra={"bar": True}` say what the progress bar already shows: they go to the terminal only when it
    shows no bar.

    Raises:
        UserError: the file cannot be opened.
    """
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its fonts
    for handler in [handler for handler in root.handlers if isinstance(handler, (_Console, _LogFile))]:
        root.removeHandler(handler)
        handler.close()
    console = _Console()
    console.setLevel(logging.ERROR if quiet else logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    console.addFilter(lambda record: not (getattr(record, "bar", False) and shows_bar()))
    root.addHandler(console)
    if file is not None:
        try:
            handler = _LogFile(file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UserError(f"cannot write {file}: {error.strerror}") from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(handler)


def open_streams() -> None:
    """Let no stream end a program: what a console cannot show is escaped; what is closed (2>&-) leads nowhere."""
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:  # or the next file opened would be C's stderr
        pass
    os.close(handle)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")


def shows_bar() -> bool:
    """Whether a progress bar is drawn: on a terminal, when tqdm is installed."""
    return sys.stderr.isatty() and _tqdm() is not None


@contextlib.contextmanager
def progress(
    total: int, description: str, unit: str = "it", initial: int = 0, *, in_log: bool = False
) -> Iterator[Any]:
    """Show a bar with `update(n)` and `set_postfix_str(text, refresh)`.

    Where no bar is shown it does nothing, or with `in_log` logs how long it will take once it knows, and then how far
    it is every `PATIENCE` seconds; what takes less is not told.
    """
    if not shows_bar():
        yield _Lines(total, description, unit) if in_log else _NoBar()
        return
    settings = {"total": total, "desc": description, "unit": unit, "initial": initial}
    with _tqdm()(**settings, dynamic_ncols=True, leave=True) as bar:
        yield bar


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class _NoBar:
    def update(self, n: int = 1) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass


class _Lines(_NoBar):
    def __init__(self, total: int, description: str, unit: str) -> None:
        self.done, self.total, self.description, self.unit = 0, total, description, unit
        self.start = self.told = time.monotonic()

    def update(self, n: int) -> None:
        first, now = self.done == 0, time.monotonic()
        self.done += n
        left = (now - self.start) / self.done * (self.total - self.done)
        if left > 0 and (now - self.told >= PATIENCE or (first and left >= PATIENCE)):
            self.told = now
            done = f"{self.done} of {self.total} {self.unit}s"
            log.info("%s: %s, about %s left", self.description, done, duration(left))


class _Console(logging.StreamHandler):
    """Writes above a progress bar rather than through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = _tqdm()
        if tqdm is None or not shows_bar():
            self.stream = sys.stderr  # it may have been exchanged, and the old one closed
            super().emit(record)
        else:
            tqdm.write(self.format(record), file=sys.stderr)


class _LogFile(logging.FileHandler):
    """A full disk ends no training by way of its log, nor does it fill the terminal: one line says so."""

    said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.said:
            self.said = True
            print(f"warning: cannot write {self.baseFilename}: {error.strerror}", file=sys.stderr)  # noqa: T201


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
