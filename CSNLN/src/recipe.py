"""How CSNLN is trained: the rate, the plan of a run, and the memory of a step."""

from collections.abc import Callable

from common.training import Plan, memory, recipe

from .config import TrainConfig
from .CSNLN import CSNLN


def learning_rate(options: TrainConfig) -> Callable[[int], float]:
    """Step (from 0) -> rate. `--decay 200-400`: times gamma after 200 and after 400 epochs; `cosine`: to zero."""
    epoch = options.test_every
    if options.decay == "cosine":
        return recipe.cosine_rate(options.lr, options.epochs * epoch)
    falls = [n * epoch for n in recipe.epochs_of(options.decay, "epochs joined by - (200-400-600-800)")]
    return recipe.falling_rate(options.lr, falls, options.gamma)


def plan(options: TrainConfig) -> Plan:
    return recipe.plan_in_epochs(options, learning_rate(options))


def step_work(network: CSNLN, options: TrainConfig, is_low: bool) -> memory.Work:
    """Return convolutions and values of a training step; with --recompute for so many images of the batch."""
    hyper, pixels = network.hyper, options.lr_patch() ** 2
    depth, images = 1 if is_low else hyper.depth, options.recompute or options.batch_size
    on_hr, on_reduced = hyper.scale**2, 1 / hyper.scale**2

    def area(name: str) -> float:
        here = (
            on_hr if ".encoder." in name or name.startswith("tail.") else on_reduced if ".conv_match_2." in name else 1
        )
        return images * pixels * here

    kept = images * pixels * hyper.depth * hyper.n_feats * (5 + 7 * on_hr) if is_low else 0
    work = memory.of_convolutions(
        network.trainable_params(), area, lambda name: depth if name.startswith("SEM.") else 1, kept=kept
    )
    passes = (1, 4) if hyper.scale == 4 else (1,)  # x4 is made in two steps, the second on x2
    tables = sum((factor * pixels) ** 2 for factor in passes) * (1 + 1 / hyper.attention_scale**2)
    return work._replace(tables=images * depth * tables)
