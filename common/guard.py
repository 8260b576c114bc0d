"""What a training run does about steps whose loss or gradient is not finite."""

import dataclasses
import logging

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Guard:
    """Counts non-finite steps and adapts the loss scale of half-precision training.

    Attributes:
        at_most: so many bad steps in a row are borne.
        largest_scale: where the loss scale starts; 1 in float32.
        loss_scale: factor on the loss now: halved at each bad step, doubled after 2,000 good ones.
        bad_steps: in the whole run.
    """

    at_most: int
    largest_scale: float
    loss_scale: float = dataclasses.field(init=False)
    bad_steps: int = dataclasses.field(default=0, init=False)
    bad_in_a_row: int = dataclasses.field(default=0, init=False)
    good_in_a_row: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        self.loss_scale = self.largest_scale

    @property
    def is_hopeless(self) -> bool:
        """Whether there were too many bad steps in a row."""
        return self.bad_in_a_row >= self.at_most

    def note_good(self) -> None:
        """Count a step that was made."""
        self.bad_in_a_row, self.good_in_a_row = 0, self.good_in_a_row + 1
        if self.loss_scale < self.largest_scale and self.good_in_a_row % 2000 == 0:
            self.loss_scale *= 2

    def note_bad(self, step: int, loss: float, norm: float) -> None:
        """Count a step, named as the log counts (from 1), that was skipped."""
        self.bad_steps, self.bad_in_a_row, self.good_in_a_row = self.bad_steps + 1, self.bad_in_a_row + 1, 0
        self.loss_scale = max(1.0, self.loss_scale / 2)
        log.warning("step %d skipped: loss %g, gradient norm %g (%d so far)", step, loss, norm, self.bad_steps)

    def state(self) -> dict[str, float]:
        """What `load` continues from."""
        names = ("loss_scale", "bad_steps", "bad_in_a_row", "good_in_a_row")
        return {name: getattr(self, name) for name in names}

    def load(self, state: dict[str, float]) -> None:
        """Continue from `state()`."""
        for name in self.state():
            setattr(self, name, state.get(name, getattr(self, name)))
