"""Ctrl-C and SIGTERM as a request that a loop honours between two steps."""

import contextlib
import os
import select
import signal
import threading
import time
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
APART = 1.0  # seconds: `timeout` and some schedulers send SIGTERM twice at once, which is one request


class StopRequest:
    """Within its block a first Ctrl-C or SIGTERM only sets `number`; a later one ends the program at once.

    Attributes:
        number: of the signal that came; 0 for none.
    """

    def __init__(self) -> None:
        self.number, self._since, self._heard, self._said = 0, 0.0, False, False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(read,), daemon=True, name="signals").start()
        return self

    def listen(self) -> None:
        """Take the signals (again: MindSpore's compiler leaves a handler behind that turns SIGINT into SIGTERM)."""
        for number in SIGNALS:
            signal.signal(number, self._ask)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._before_fd)
        os.close(self._write)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._heard = True
        if not self.number:
            self.number, self._since = number, time.monotonic()
            self._say()
        elif time.monotonic() - self._since > APART:
            raise KeyboardInterrupt

    def _say(self, why: bytes = b"") -> None:
        if not self._said:
            self._said = True
            os.write(
                2, b"\nstopping after this step" + why + b"; once more ends at once\n"
            )  # a log could be in mid-line

    def _watch(self, pipe: int) -> None:
        """Answer for the main thread while the compiler keeps it, in which no handler of Python's runs."""
        with contextlib.closing(os.fdopen(pipe, "rb", 0)) as signals:
            while select.select([signals], [], []):
                time.sleep(APART)
                if not signals.read(1024):
                    return
                if self._heard:
                    self._heard = False
                elif self._said:
                    os.write(2, b"\ninterrupted\n")
                    os._exit(128 + signal.SIGINT)
                else:
                    self._say(b", which waits for the compiler if it is not compiled yet")
