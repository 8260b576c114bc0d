"""The fit loop of all five models: gradient step, guards, validation, checkpoints, exact resume.

A model hands over a network, a loss and a stream of batches; `Trainer.fit` runs it. The step (forward, backward,
all-reduce, gradient norm and clip) is one compiled graph; the optimizer stands outside, which is faster on CPU.
"""

import contextlib
import dataclasses
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common import UserError, __version__, checkpoint, runtime
from common.data import BatchStream
from common.gradient import GradientStep
from common.optimizer import Adam
from common.record import Record

log = logging.getLogger(__name__)
Scores = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one training run does.

    Attributes:
        steps: optimizer steps of the whole run.
        learning_rate: step (from 0) -> rate.
        gradient_clip: largest global norm of the gradient; 0 leaves it alone.
        ema_decay: keep an exponential moving average of the weights, which is then validated and exported; 0 for none.
        log_every, validate_every, save_every: in steps; save_every is how often last.ckpt is renewed.
        keep_every, keep_at_most: numbered checkpoints beside last and best; 0 for none.
        bad_steps_at_most: stop after so many non-finite steps in a row; each is skipped and counted.
        loss_scale: factor on the loss while gradients are in half precision; halved when they overflow.
    """

    steps: int
    learning_rate: Callable[[int], float]
    gradient_clip: float = 0.0
    ema_decay: float = 0.0
    log_every: int = 50
    validate_every: int = 1000
    save_every: int = 500
    keep_every: int = 0
    keep_at_most: int = 5
    bad_steps_at_most: int = 20
    loss_scale: float = 1.0


class Trainer:
    """One training run.

    Args:
        network: what is trained; its trainable parameters are saved under their own names.
        loss: (*batch tensors) -> (loss to minimise, parts to log ...); a Cell or function over `network`.
        part_names: names of the parts.
        stream: the batches of this worker.
        validate: network -> scores, the first of which decides the best checkpoint (greater is better); None for none.
        meta: what the checkpoint says of itself: model, scale, hyper, config.
        folder: the run's folder; the main worker writes there.
    """

    def __init__(
        self,
        network: nn.Cell,
        loss: Callable[..., tuple],
        stream: BatchStream,
        plan: Plan,
        here: runtime.Runtime,
        folder: Path,
        meta: Mapping[str, Any],
        *,
        optimizer: Adam | None = None,
        part_names: tuple[str, ...] = (),
        validate: Callable[[nn.Cell], Scores] | None = None,
        checkpoint_folder: Path | None = None,
    ) -> None:
        self.network, self.stream, self.plan, self.here = network, stream, plan, here
        self.folder, self.meta, self.part_names, self.validate = folder, dict(meta), part_names, validate
        self.checkpoints = checkpoint_folder or folder / "ckpt"
        self.parameters = ms.ParameterTuple(network.trainable_params())
        self.optimizer = optimizer or Adam(self.parameters)
        self.gradient_step = GradientStep(loss, self.parameters, plan.gradient_clip, here.world_size)
        self.averages = [Parameter(p.value(), name=f"ema.{p.name}") for p in self.parameters] if plan.ema_decay else []
        self.step, self.bad_steps, self.bad_in_a_row = 0, 0, 0
        self.loss_scale, self.good_in_a_row = plan.loss_scale, 0
        self.best: dict[str, Any] | None = None
        self.signal, self.stopping = 0, False

    # ------------------------------------------------------------------------------------------------------ the loop

    def fit(self) -> int:
        """Train to the end of the plan, or until Ctrl-C or SIGTERM; returns the exit code.

        Raises:
            UserError: the loss stayed non-finite, or a checkpoint could not be written.
        """
        record = Record(self.folder, self.step) if self.here.is_main else contextlib.nullcontext()
        with (
            record,
            self._signals(),
            runtime.graph_mode(),
            runtime.progress(self.plan.steps, "train", "step", self.step) as bar,
        ):
            since, started = self.step, time.perf_counter()
            for batch in self.stream.prefetched(self.step, self.plan.steps):
                values, norm = self.train_step(batch)
                self.step += 1
                bar.update(1)
                bar.set_postfix_str(f"loss {values[0]:.4g}")
                last = self.step == self.plan.steps
                if self.step % self.plan.log_every == 0 or last:
                    seconds = (time.perf_counter() - started) / (self.step - since)
                    self._log(record, values, norm, seconds)
                    since, started = self.step, time.perf_counter()
                if self.validate and (self.step % self.plan.validate_every == 0 or last):
                    pause = time.perf_counter()
                    self._validate(record)
                    started += time.perf_counter() - pause
                self._save_when_due(last)
                if self.stopping and not last:
                    return self._stop()
        return 0

    def train_step(self, batch: tuple[np.ndarray, ...]) -> tuple[list[float], float]:
        """One optimizer step on one batch of arrays; a non-finite one changes no weight. Returns (values, norm)."""
        control = Tensor([self.loss_scale, self.signal != 0], ms.float32)
        values, gradients, norm, stop = self.gradient_step(control, *(Tensor(array) for array in batch))
        values, norm, self.stopping = [float(value) for value in values], float(norm), float(stop) > 0
        if math.isfinite(values[0]) and math.isfinite(norm):
            self.optimizer.step(gradients, self.plan.learning_rate(self.step))
            self._average_weights()
            self.bad_in_a_row = 0
            self._raise_loss_scale()
        else:
            self._skip(values[0], norm)
        return values, norm

    def _skip(self, loss: float, norm: float) -> None:
        self.bad_steps, self.bad_in_a_row, self.good_in_a_row = self.bad_steps + 1, self.bad_in_a_row + 1, 0
        if self.loss_scale > 1:
            self.loss_scale = max(1.0, self.loss_scale / 2)
        log.warning("step %d skipped: loss %g, gradient norm %g (%d so far)", self.step + 1, loss, norm, self.bad_steps)
        if self.bad_in_a_row >= self.plan.bad_steps_at_most:
            raise UserError(
                f"the loss was not finite for {self.bad_in_a_row} steps in a row: stopped at step {self.step + 1}. "
                f"The last good checkpoint is {self._last_good()}; try a smaller --lr or a gradient clip"
            )

    def _last_good(self) -> str:
        last = self.checkpoints / "last.ckpt"
        return str(last) if last.exists() else "none (no step was saved yet)"

    def _raise_loss_scale(self) -> None:
        """Double a dynamic loss scale after 2,000 good steps, up to where it started."""
        self.good_in_a_row += 1
        if self.loss_scale < self.plan.loss_scale and self.good_in_a_row % 2000 == 0:
            self.loss_scale *= 2

    def _average_weights(self) -> None:
        decay = self.plan.ema_decay
        for average, parameter in zip(self.averages, self.parameters, strict=False):
            average.set_data(average * decay + parameter * (1 - decay))

    # ---------------------------------------------------------------------------------------- validation, checkpoints

    def _log(self, record: Record, values: list[float], norm: float, seconds: float) -> None:
        rate = self.plan.learning_rate(self.step - 1)
        names = ("loss", *self.part_names)
        row = dict(zip(names, values, strict=False)) | {"learning_rate": rate, "gradient_norm": norm}
        left = runtime.duration(seconds * (self.plan.steps - self.step))
        shown = ", ".join(f"{name} {value:.5g}" for name, value in zip(names, values, strict=False))
        message = (
            f"step {self.step}/{self.plan.steps}: {shown}, lr {rate:.3g}, {1000 * seconds:.0f} ms/step, {left} left"
        )
        log.info(message, extra={"bar": True})
        if self.here.is_main:
            record.add(self.step, row | {"seconds_per_step": round(seconds, 4)})

    def _validate(self, record: Record) -> None:
        with self.averaged_weights(), runtime.graph_mode(False):
            scores = self.validate(self.network) if self.here.is_main else {}
            if not scores:
                return
            name, score = next(iter(scores.items()))
            better = self.best is None or score > self.best["score"]
            if better:
                self.best = {"name": name, "score": score, "step": self.step}
            log.info("step %d: %s%s", self.step, _listed(scores), " (best so far)" if better else "")
            record.add(self.step, scores)
            record.draw()
            if better:
                self._save("best.ckpt", state={})

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within the block the network has the moving average of its weights, when one is kept."""
        trained = [parameter.asnumpy().copy() for parameter in self.parameters] if self.averages else []
        self._assign([average.asnumpy() for average in self.averages])
        try:
            yield
        finally:
            self._assign(trained)

    def _assign(self, arrays: list[np.ndarray]) -> None:
        """Overwrite the weights in place: a compiled step does not see `set_data`."""
        for parameter, array in zip(self.parameters, arrays, strict=False):
            ops.assign(parameter, Tensor(array))

    def _save_when_due(self, last: bool) -> None:
        if self.step % self.plan.save_every == 0 or last:
            self._save("last.ckpt", self._state())
        if self.plan.keep_every and (self.step % self.plan.keep_every == 0 or last):
            self._save(f"step_{self.step:07d}.ckpt", self._state())
            for old in sorted(self.checkpoints.glob("step_*.ckpt"))[: -self.plan.keep_at_most]:
                old.unlink()

    def _save(self, name: str, state: dict[str, np.ndarray]) -> None:
        if not self.here.is_main:
            return
        weights = {parameter.name: parameter.asnumpy() for parameter in self.network.get_parameters()}
        counters = {"bad_steps": self.bad_steps, "loss_scale": self.loss_scale, "good_in_a_row": self.good_in_a_row}
        meta = self.meta | {"step": self.step, "best": self.best, "version": __version__, "counters": counters}
        checkpoint.save(self.checkpoints / name, checkpoint.Checkpoint(weights, meta, state))

    def _state(self) -> dict[str, np.ndarray]:
        return self.optimizer.state() | {average.name: average.asnumpy() for average in self.averages}

    def resume(self, saved: checkpoint.Checkpoint, source: str) -> None:
        """Take weights, optimizer, averages and counters from a last.ckpt, so that `fit` goes on as if never stopped.

        Raises:
            UserError: the file holds weights only, or those of another network.
        """
        checkpoint.load_into(self.network, saved.weights, source=source)
        try:
            self.optimizer.load(saved.state)
            for average in self.averages:
                average.set_data(Tensor(saved.state[average.name]))
        except KeyError as error:
            raise UserError(
                f"{source} cannot be resumed: it has no {error.args[0]} (best.ckpt holds weights only: take last.ckpt, or "
                "start a new run from these weights)"
            ) from None
        counters = saved.meta["counters"]
        self.step, self.best = int(saved.meta["step"]), saved.meta["best"]
        self.bad_steps, self.good_in_a_row = counters["bad_steps"], counters["good_in_a_row"]
        self.loss_scale = counters["loss_scale"]

    # ------------------------------------------------------------------------------------------------------- stopping

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Within the block Ctrl-C and SIGTERM end the run after the current step; a second one ends it at once."""

        def ask(number: int, frame: Any) -> None:
            if self.signal:
                raise KeyboardInterrupt
            self.signal = number

        old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _stop(self) -> int:
        self._save("last.ckpt", self._state())
        log.info("stopped at step %d; go on with: --resume %s", self.step, self.folder)
        return 128 + (self.signal or signal.SIGTERM)


def _listed(scores: Scores) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
