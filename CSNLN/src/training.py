"""How CSNLN is trained: the rate, the plan of a run, and what is measured on the way."""

from collections.abc import Callable

import numpy as np
from mindspore import Tensor

from common import recipe
from common.metrics import Convention
from common.pairs import Pair
from common.training import Plan
from common.validation import psnr_validation

from .chop import chopped
from .config import TrainConfig
from .CSNLN import CSNLN, Hyper
from .dataset.common import Upscaler


def learning_rate(options: TrainConfig) -> Callable[[int], float]:
    """Step (from 0) -> rate. `--decay 200-400`: times gamma after 200 and after 400 epochs; `cosine`: to zero.

    Raises:
        UserError: --decay is neither.
    """
    epoch = options.test_every
    if options.decay == "cosine":
        return recipe.cosine_rate(options.lr, options.epochs * epoch)
    falls = [n * epoch for n in recipe.epochs_of(options.decay, "epochs joined by - (200-400-600-800)")]
    return recipe.falling_rate(options.lr, falls, options.gamma)


def plan(options: TrainConfig) -> Plan:
    """Steps, rate and intervals of a run."""
    return recipe.plan_in_epochs(options, learning_rate(options))


def make_validation(pairs: list[Pair], hyper: Hyper) -> Callable[[CSNLN], dict[str, float]] | None:
    """Return network -> its mean PSNR-Y, eager, of images chopped as the authors do; None without pairs."""

    def upscaler(network: CSNLN) -> Callable[[np.ndarray], np.ndarray]:
        return chopped(Upscaler(lambda batch: network(Tensor(batch)).asnumpy(), hyper), hyper.scale)

    measure = psnr_validation(pairs, hyper.scale, Convention("y", hyper.scale), upscaler)
    if measure is None:
        return None

    def validate(network: CSNLN) -> dict[str, float]:
        network.set_train(False)
        scores = measure(network)
        network.set_train(True)
        return scores

    return validate
