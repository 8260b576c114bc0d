"""From noise to a residual image: the chain of the paper (algorithm 2), and two samplers with fewer steps.

Each step asks the noise predictor once. Its eps gives an estimate of x_0, which is clipped to [-1, 1] as the residuals
are; the samplers differ in how they go from x_t and this estimate to the next x.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from common import UserError

from .schedule import Schedule, weighted

Predict = Callable[[np.ndarray, int], np.ndarray]
"""x_t (N, 3, H, W) float32 and its step t -> eps."""

Draw = Callable[[], np.ndarray]
"""Standard normal noise like x, a new one at each call."""

SAMPLERS = ("ddpm", "ddim", "dpm")


class Way(NamedTuple):
    """How the chain is run, see `sample`; of a part of it, at most `steps`."""

    sampler: str
    steps: int

    def __str__(self) -> str:
        return f"{self.sampler} {self.steps}"


def sample(
    predict: Predict,
    schedule: Schedule,
    x: np.ndarray,
    draw: Draw,
    *,
    sampler: str = "ddpm",
    steps: int = 0,
    first: int | None = None,
    seen: Callable[[int, np.ndarray, np.ndarray], None] | None = None,
) -> np.ndarray:
    """Run the chain backwards from x, which is standard normal noise at step T - 1; returns x_0, not clipped.

    Args:
        draw: the noise of the paper's chain; the other samplers add none.
        sampler: "ddpm", the paper's chain; "ddim" (arXiv:2010.02502, eta 0); "dpm", of second order (DPM-Solver++(2M),
            arXiv:2211.01095, algorithm 2).
        steps: how many to run, evenly spaced; 0 runs all.
        first: step of x; default T - 1.
        seen: is told t, the x that follows and the estimate of x_0.
    """
    times = time_steps(len(schedule) if first is None else first + 1, steps)
    chain = schedule.respaced(times)
    update = {"ddpm": Ancestral, "ddim": Implicit, "dpm": SecondOrder}.get(sampler)
    if update is None:
        raise UserError(f"sampler is one of {', '.join(SAMPLERS)}, not {sampler}")
    update = update(chain, draw)
    for i in range(len(times) - 1, -1, -1):
        start = chain.predict_start(x, i, predict(x, times[i])).clip(-1, 1)
        x = update(x, start, i)
        if seen:
            seen(times[i], x, start)
    return x


def time_steps(count: int, steps: int = 0) -> list[int]:
    """`steps` of the steps 0 ... count - 1, evenly spaced, both ends among them; 0 takes all."""
    if steps > count:
        raise UserError(f"the chain has {count} steps, not {steps}")
    if steps == 1:
        return [count - 1]
    return np.rint(np.linspace(0, count - 1, steps or count)).astype(int).tolist()


class Ancestral:
    """Draw x_{t-1} from its distribution given x_t and x_0."""

    def __init__(self, chain: Schedule, draw: Draw) -> None:
        self.chain, self.draw = chain, draw

    def __call__(self, x: np.ndarray, start: np.ndarray, i: int) -> np.ndarray:
        mean = self.chain.posterior_mean(start, x, i)
        return weighted(1.0, mean, self.chain.posterior_deviation(i), self.draw()) if i else mean


class Implicit:
    """Keep the noise that x_t has beside x_0, as much as there is at the next step."""

    def __init__(self, chain: Schedule, _: Draw) -> None:
        self.chain = chain

    def __call__(self, x: np.ndarray, start: np.ndarray, i: int) -> np.ndarray:
        left = self.chain.alphas_cumprod_prev[i]
        return weighted(np.sqrt(left), start, np.sqrt(1 - left), self.chain.predict_noise(x, i, start))


class SecondOrder:
    """`Implicit` with x_0 extrapolated along the line through this estimate and the one before it.

    The line is over half the logarithm of the signal-to-noise ratio, over which the chain is nearly straight.
    """

    def __init__(self, chain: Schedule, _: Draw) -> None:
        self.left, self.before = chain.alphas_cumprod, None
        self.log_ratio = 0.5 * np.log(self.left / (1 - self.left))

    def __call__(self, x: np.ndarray, start: np.ndarray, i: int) -> np.ndarray:
        if i == 0:
            return start
        width = self.log_ratio[i - 1] - self.log_ratio[i]
        target = start
        if self.before is not None:
            former, former_width = self.before
            share = width / (2 * former_width)
            target = weighted(1 + share, start, -share, former)
        self.before = start, width
        deviation = np.sqrt((1 - self.left[i - 1]) / (1 - self.left[i]))
        return weighted(deviation, x, -np.sqrt(self.left[i - 1]) * np.expm1(-width), target)


def to_image(residual: np.ndarray, lr_up: np.ndarray, rescale: float) -> np.ndarray:
    """The HR image of x_0 and the upscaled LR image, all in [-1, 1]; not clipped."""
    return weighted(1 / rescale, residual.clip(-1, 1), 1.0, lr_up)


def blend(
    schedule: Schedule, residuals: Sequence[np.ndarray], weights: Sequence[float], t: int, draw: Draw
) -> np.ndarray:
    """x_t between several x_0: all get the same amount of noise, a draw each, and are then mixed by the weights."""
    mixed = [
        weight * schedule.q_sample(residual, t, draw()) for residual, weight in zip(residuals, weights, strict=True)
    ]
    return np.asarray(sum(mixed), residuals[0].dtype)
