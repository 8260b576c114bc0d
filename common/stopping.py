"""Ctrl-C and SIGTERM as a request that a loop honours between two steps."""

import os
import signal
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
        self.number, self._since = 0, 0.0

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def listen(self) -> None:
        """Take the signals (again: MindSpore's compiler leaves a handler behind that turns SIGINT into SIGTERM)."""
        for number in SIGNALS:
            signal.signal(number, self._ask)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
            os.write(2, b"\nstopping after this step; once more ends at once\n")  # a log could be in mid-line
        elif time.monotonic() - self._since > APART:
            raise KeyboardInterrupt
