"""The fit loop: gradient step, guards, validation, checkpoints, exact resume."""

import contextlib
import dataclasses
import json
import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError, __version__, checkpoint, runtime
from common.data import BatchStream
from common.training.optimizer import Adam, MovingAverage
from common.training.record import Record
from common.training.runs import RunFiles, claim, forewarned
from common.training.step import GradientStep
from common.training.validation import Validation

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
APART = 1.0  # seconds: `timeout` and some schedulers send SIGTERM twice at once, which is one request


class StopRequest:
    """Within its block a first Ctrl-C or SIGTERM only sets `number` (0: none came); a later one ends the program."""

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

    def __exit__(self, *_: object) -> None:
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
            words = b"\nstopping after this step" + why + b"; once more ends at once\n"
            os.write(2, words)  # a log could be in mid-line

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


@dataclasses.dataclass
class Guard:
    """Counts non-finite steps and adapts the loss scale: halved at each, doubled after 2,000 good ones in a row."""

    loss_scale: float
    bad_steps: int = 0
    bad_in_a_row: int = 0
    good_in_a_row: int = 0

    def note_good(self, largest_scale: float) -> None:
        self.bad_in_a_row, self.good_in_a_row = 0, self.good_in_a_row + 1
        if self.loss_scale < largest_scale and self.good_in_a_row % 2000 == 0:
            self.loss_scale *= 2

    def note_bad(self, step: int, loss: float, norm: float) -> None:
        self.bad_steps, self.bad_in_a_row, self.good_in_a_row = self.bad_steps + 1, self.bad_in_a_row + 1, 0
        self.loss_scale = max(1.0, self.loss_scale / 2)
        log.warning("step %d skipped: loss %g, gradient norm %g (%d so far)", step, loss, norm, self.bad_steps)


Batches = Iterator[tuple[tuple[np.ndarray, ...], UserError | None]]  # with what is wrong with the next one


@dataclasses.dataclass(frozen=True)
class Plan:
    """Length, rates and intervals of a training run, in steps.

    Attributes:
        learning_rate: step (from 0) -> rate.
        gradient_clip: largest global norm of the gradient; 0 leaves it alone.
        ema_decay: of an exponential moving average of the weights, which is then validated and exported; 0: none.
        save_every: how often last.ckpt is renewed.
        keep_every, keep_at_most: numbered checkpoints beside last and best; 0: none.
        loss_scale: largest factor on the loss, see `Guard`.
        bad_steps_at_most: stop after so many non-finite steps in a row; each is skipped and counted.
    """

    steps: int
    learning_rate: Callable[[int], float]
    gradient_clip: float
    ema_decay: float
    log_every: int
    validate_every: int
    save_every: int
    keep_every: int
    keep_at_most: int
    loss_scale: float
    bad_steps_at_most: int = 20


class Trainer:
    """One training run.

    Args:
        loss: (*batch) -> (loss, parts to log ...), called `part_names`.
        open_folder: makes the run's folder, or takes up that of a resumed run, once the run is accepted.
        meta: of the checkpoints: model, scale, hyper, config.
        step: as `GradientStep`, by the optimizer's parameters; default: of the loss, by the trainable ones.
        checkpoint_folder: None for ckpt/ in the run's folder.
    """

    def __init__(
        self,
        network: nn.Cell,
        loss: Callable[..., tuple],
        stream: BatchStream,
        plan: Plan,
        here: runtime.Runtime,
        open_folder: Callable[[], Path],
        meta: Mapping[str, Any],
        *,
        optimizer: Adam | None = None,
        step: Callable[..., tuple] | None = None,
        part_names: tuple[str, ...] = (),
        validate: Validation | None = None,
        checkpoint_folder: Path | None = None,
    ) -> None:
        self.network, self.stream, self.plan, self.here, self.open_folder = network, stream, plan, here, open_folder
        self.meta, self.names, self.validate = dict(meta), ("loss", *part_names), validate
        self.checkpoint_folder, self.guard = checkpoint_folder, Guard(plan.loss_scale)
        parameters = ms.ParameterTuple(network.trainable_params())
        self.optimizer = optimizer or Adam(parameters)
        self.average = MovingAverage(parameters, plan.ema_decay)
        self.gradient_step = step or GradientStep(loss, parameters, plan.gradient_clip, here.world_size)
        self.stop, self.stopping, self.step = StopRequest(), False, 0
        self.damage: UserError | None = None  # why there is no batch after this one
        self.best: dict[str, Any] | None = None

    def fit(self) -> int:
        """Train to the end of the plan, or until Ctrl-C or SIGTERM; return the exit code."""
        if self.step >= self.plan.steps:
            done = f"{self.step} of {self.plan.steps} steps are done"
            log.info("nothing to do: %s; raise --epochs or --niter to continue", done)
            return 0
        if self.here.is_main:
            claim(self.checkpoint_folder, new=self.step == 0)
        with contextlib.closing(self.stream.prefetched(self.step, self.plan.steps)) as batches:
            return self._fit(forewarned(batches))

    def _fit(self, batches: Batches) -> int:
        self.folder = self.open_folder()
        self.files = RunFiles(self.folder, self.checkpoint_folder, self.plan.keep_at_most)
        if self.here.is_main:
            self.files.open()
        with (
            Record(self.folder, self.step) if self.here.is_main else contextlib.nullcontext() as record,
            self.stop,
            runtime.graph_mode(),
            runtime.progress(self.plan.steps, "train", "step", self.step) as bar,
        ):
            code = self._loop(batches, record, bar)
            if self.here.world_size > 1:  # a worker that leaves while the main one saves would end the job
                code = 2 if ops.AllReduce()(Tensor(bool(self.damage), ms.float32)).asnumpy() else code
        if self.damage:
            run = self.folder if self.here.is_main else "RUN"  # the main worker alone knows when it was made
            raise UserError(f"{self.damage}; step {self.step} is saved, resume with: --resume {run}")
        if self.here.is_main and not code:
            self.files.tell(self.best, self.meta)
        return code

    def _loop(self, batches: Batches, record: Record | None, bar: Any) -> int:
        log.info("compiling the training step; it begins at step %d of %d", self.step + 1, self.plan.steps)
        begin, since, started = self.step, self.step, time.perf_counter()
        for batch, self.damage in batches:
            values, norm = self.train_step(batch)
            self.stop.listen()
            self.step += 1
            bar.set_postfix_str(f"loss {values[0]:.4g}", refresh=False)  # the bar redraws when it is due, not each step
            bar.update(1)
            if self._due(self.plan.log_every):
                self._log(record, values, norm, (time.perf_counter() - started) / (self.step - since))
            if self._due(self.plan.log_every) or self.step == begin + 1:  # the first step's time is the compiler's
                since, started = self.step, time.perf_counter()
            pause = time.perf_counter()
            if record is not None:
                self._validate_and_save_when_due(record)
            started += time.perf_counter() - pause
            if self.stopping and self.step < self.plan.steps:
                if self.here.is_main:
                    self.files.save("last.ckpt", self._content())
                log.info("stopped at step %d; resume with: --resume %s", self.step, self.folder)
                return 128 + (self.stop.number or signal.SIGTERM)
        return 0

    def _due(self, interval: int) -> bool:
        """Return whether the interval, or the whole run, is complete at this step; 0 is never."""
        return bool(interval) and (self.step % interval == 0 or self.step == self.plan.steps)

    def train_step(self, batch: tuple[np.ndarray, ...]) -> tuple[list[float], float]:
        """Run one step and return (values, norm); a non-finite one changes no weight.

        To be called in graph mode: a step compiled in PyNative mode does not see weights that change later.
        """
        control = Tensor([self.guard.loss_scale, bool(self.stop.number or self.damage)], ms.float32)
        values, gradients, norm, stop = self.gradient_step(control, *(Tensor(array) for array in batch))
        values, norm, self.stopping = [float(value) for value in values], float(norm), float(stop) > 0
        if math.isfinite(values[0]) and math.isfinite(norm):
            self.optimizer.step(gradients, self.plan.learning_rate(self.step))
            self.average.update()
            self.guard.note_good(self.plan.loss_scale)
        else:
            self.guard.note_bad(self.step + 1, values[0], norm)
        if self.guard.bad_in_a_row >= self.plan.bad_steps_at_most:
            last = self.files.last if self.files.last.exists() else "none (no step was saved yet)"
            raise UserError(
                f"stopped at step {self.step + 1}: the loss was not finite for {self.guard.bad_in_a_row} steps in a "
                f"row; the last good checkpoint is {last}; try a smaller --lr or a gradient clip"
            )
        return values, norm

    def _log(self, record: Record | None, values: list[float], norm: float, seconds: float) -> None:
        rate = self.plan.learning_rate(self.step - 1)
        row = dict(zip(self.names, values, strict=True))
        shown = ", ".join(f"{name} {value:.5g}" for name, value in row.items())
        left = runtime.duration(seconds * (self.plan.steps - self.step))
        shown += f", lr {rate:.3g}, {1000 * seconds:.0f} ms/step, {left} left"
        log.info("step %d/%d: %s", self.step, self.plan.steps, shown, extra={"bar": True})
        if record is not None:
            row |= {"learning_rate": rate, "gradient_norm": norm, "seconds_per_step": round(seconds, 4)}
            record.add(self.step, row)

    def _validate_and_save_when_due(self, record: Record) -> None:
        if self.validate and self._due(self.plan.validate_every):
            self._validate(record)
        if self._due(self.plan.save_every):
            self.files.save("last.ckpt", self._content())
        if self.plan.keep_at_most and self._due(self.plan.keep_every):
            self.files.save_numbered(self.step, self._content())

    def _validate(self, record: Record) -> None:
        with self.average.in_place(), runtime.graph_mode(False):
            scores = self.validate(self.network)
            better, note = self.validate.better(self.best, scores, self.step)
            log.info("step %d: %s%s", self.step, ", ".join(f"{name} {x:.4f}" for name, x in scores.items()), note)
            record.add(self.step, scores)
            record.draw()
            if better:
                self.best = better
                self.files.save("best.ckpt", self._content(resumable=False))

    def _content(self, resumable: bool = True) -> checkpoint.Checkpoint:
        weights = {parameter.name: parameter.asnumpy() for parameter in self.network.get_parameters()}
        meta = {"step": self.step, "best": self.best, "version": __version__, "folder": str(self.folder.resolve())}
        meta["epoch"] = self.step * self.stream.global_batch_size / len(self.stream.images)  # passes over the data
        state = self.optimizer.state() | self.average.state() if resumable else {}
        return checkpoint.Checkpoint(weights, self.meta | meta | {"counters": dataclasses.asdict(self.guard)}, state)

    def resume(self, saved: checkpoint.Checkpoint, source: str) -> None:
        """Take weights, optimizer, averages and counters from a last.ckpt, for an exact resume."""
        try:
            checkpoint.load_into(self.network, saved.weights, source=source)
        except checkpoint.CheckpointError:
            was, now = (json.loads(json.dumps(meta.get("hyper", {}))) for meta in (saved.meta, self.meta))
            changed = [f"{key} {was[key]}, not {value}" for key, value in now.items() if was.get(key, value) != value]
            if not changed:
                raise
            raise UserError(f"{source} has {', '.join(changed)}: leave the option out to resume") from None
        try:
            self.optimizer.load(saved.state)
        except KeyError as error:
            raise UserError(
                f"{source} cannot be resumed: it has no {error.args[0]} (best.ckpt holds weights only: take last.ckpt, "
                "or start a new run from these weights)"
            ) from None
        self.average.load(saved.state)
        self.step, self.best = int(saved.meta["step"]), saved.meta["best"]
        self.guard = Guard(**dataclasses.asdict(self.guard) | saved.meta["counters"])
