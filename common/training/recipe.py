"""From the options of a training program to the plan of a run: its length, its learning rate, its intervals."""

import logging
import math
from collections.abc import Callable, Sequence

from mindspore import Parameter

from common import UserError
from common.config import StepOptions, TrainOptions, counting_number
from common.training.loop import Plan
from common.training.optimizer import Adam

log = logging.getLogger(__name__)
Rate = Callable[[int], float]  # step, from 0 -> learning rate


def plan(options: TrainOptions, steps: int, learning_rate: Rate, *, validate_every: int, keep_every: int) -> Plan:
    return Plan(
        steps=steps,
        learning_rate=learning_rate,
        gradient_clip=options.gclip,
        ema_decay=options.ema,
        log_every=options.log_every,
        validate_every=validate_every,
        save_every=options.save_every,
        keep_every=keep_every,
        keep_at_most=options.ckpt_save_max,
        loss_scale=options.loss_scale if options.amp_level != "O0" else 1.0,
    )


def plan_in_epochs(options: TrainOptions, learning_rate: Rate) -> Plan:
    """Return the plan of a run whose options count in epochs of --test_every steps."""
    epoch = options.test_every
    keep_every = options.ckpt_save_interval * epoch
    return plan(options, options.epochs * epoch, learning_rate, validate_every=epoch, keep_every=keep_every)


def step_counts(steps: int, options: StepOptions, world_size: int, images: int) -> tuple[int, Callable[[int], int]]:
    """Return the steps of a run, or of its `epochs`, and what scales counts written for `schedule_batch` images."""
    global_batch = options.batch_size * world_size
    share = (options.schedule_batch or options.batch_size) / global_batch

    def scaled(count: int) -> int:
        return max(1, round(count * share))

    length = max(1, -(-options.epochs * images // global_batch)) if options.epochs else scaled(steps)
    if share != 1:
        log.info("%d images a step: the recipe's step counts times %.4g, %d steps", global_batch, share, length)
    return length, scaled


def adam(options: TrainOptions, parameters: Sequence[Parameter]) -> Adam:
    return Adam(parameters, (options.beta1, options.beta2), options.epsilon, options.weight_decay)


def falling_rate(base: float, falls: Sequence[int], gamma: float) -> Rate:
    """Return `base`, times gamma at each of these steps."""
    return lambda step: base * gamma ** sum(step >= fall for fall in falls)


def regular_rate(base: float, interval: int, gamma: float) -> Rate:
    """Return `base`, times gamma after each `interval` steps."""
    return lambda step: base * gamma ** (step // interval)


def cosine_rate(base: float, steps: int) -> Rate:
    """Fall from `base` to zero along half a cosine."""
    return lambda step: base * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def epochs_of(decay: str, wanted: str) -> list[int]:
    """Return the epochs of a --decay like `20-25`; `wanted` says what it can be besides `cosine`."""
    epochs = [counting_number(word) for word in str(decay).split("-")]  # a caller in Python may give a number
    if not all(epochs):
        raise UserError(f"--decay must be {wanted}, or cosine, not {decay!r}")
    return [epoch for epoch in epochs if epoch]
