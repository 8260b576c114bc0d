"""How WDSR is trained: the rate, the plan of a run, and what a step is made of."""

from collections.abc import Callable

from common.training import Plan, memory, recipe

from .args import TrainConfig
from .model import WDSR


def learning_rate(options: TrainConfig) -> Callable[[int], float]:
    """Step (from 0) -> rate. `--decay 200`: times gamma every 200 epochs; `20-25`: at these; `cosine`: to zero."""
    epoch, base, gamma = options.test_every, options.lr, options.gamma
    if options.decay == "cosine":
        return recipe.cosine_rate(base, options.epochs * epoch)
    falls = [n * epoch for n in recipe.epochs_of(options.decay, "a number of epochs, epochs joined by - (20-25)")]
    return recipe.regular_rate(base, *falls, gamma) if len(falls) == 1 else recipe.falling_rate(base, falls, gamma)


def plan(options: TrainConfig) -> Plan:
    """Steps, rate and intervals of a run."""
    return recipe.plan_in_epochs(options, learning_rate(options))


def step_work(network: WDSR, options: TrainConfig) -> memory.Work:
    """Return what a training step is made of; all its convolutions are on LR pixels."""
    pixels = options.batch_size * options.lr_patch() ** 2
    return memory.of_convolutions(network.trainable_params(), lambda name: pixels)
