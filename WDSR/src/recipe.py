"""How WDSR is trained: the rate, the plan of a run, and the memory of a step."""

import re
from collections.abc import Callable

from mindspore import Tensor, ops

from common.training import Plan, Repeated, Row, Tape, Value, memory, recipe

from .args import TrainConfig
from .common import block_a, block_b, convolve
from .model import WDSR, count_parameters


def learning_rate(options: TrainConfig) -> Callable[[int], float]:
    """Return step -> rate. `--decay 200`: times gamma every 200 epochs; `20-25`: at these; `cosine`: to zero."""
    epoch, base, gamma = options.test_every, options.lr, options.gamma
    if options.decay == "cosine":
        return recipe.cosine_rate(base, options.epochs * epoch)
    falls = [n * epoch for n in recipe.epochs_of(options.decay, "a number of epochs, epochs joined by - (20-25)")]
    return recipe.regular_rate(base, *falls, gamma) if len(falls) == 1 else recipe.falling_rate(base, falls, gamma)


def plan(options: TrainConfig) -> Plan:
    return recipe.plan_in_epochs(options, learning_rate(options))


class LossInBlocks:
    """`L1Loss` of a WDSR, block by block, for `BlockStep`."""

    def __init__(self, network: WDSR) -> None:
        hyper, shift, width = network.hyper, network.shift, network.width
        formula = block_a if hyper.variant == "A" else block_b

        def normalise(lr_image: Tensor) -> Tensor:
            return (lr_image - shift) / width

        def block(known: Row, x: Tensor, *weights: Tensor) -> Row:
            return formula(x, weights, hyper.res_scale, known)

        def distance(of_tail: Tensor, of_skip: Tensor, hr_image: Tensor) -> Tensor:
            sr_image = ops.pixel_shuffle(of_tail + of_skip, hyper.scale) * width + shift
            return ops.abs(sr_image - hr_image).mean()

        self.network, self.block = network, Repeated(block, keeps=True)
        self.normalise, self.layer, self.distance = map(Repeated, (normalise, convolve, distance))

    def __call__(self, tape: Tape, lr_image: Tensor, hr_image: Tensor) -> tuple[Value]:
        network, x = self.network, tape(self.normalise, lr_image)
        features = tape(self.layer, x, *network.head[0].weights())
        for block in network.body:
            features = tape(self.block, features, *block.weights())
        of_tail = tape(self.layer, features, *network.tail[0].weights())
        of_skip = tape(self.layer, x, *network.skip[0].weights())
        return (tape(self.distance, of_tail, of_skip, hr_image),)


def step_work(network: WDSR, options: TrainConfig, is_low: bool) -> memory.Work:
    """Return convolutions and values of a training step; all its convolutions are on LR pixels."""
    pixels, parameters = options.batch_size * options.lr_patch() ** 2, network.trainable_params()
    if not is_low:
        return memory.of_convolutions(parameters, lambda name: pixels)
    kinds = [parameter for parameter in parameters if not re.match(r"body\.[1-9]", parameter.name)]
    of_wide = "body.0.weight_v" if network.hyper.variant == "B" else "none"
    results = [p for p in parameters if p.name.startswith("body.") and p.name.endswith("weight_v")]
    channels = sum(p.shape[0] for p in results if not p.name.endswith(of_wide))
    return memory.of_convolutions(kinds, lambda name: pixels, kept=pixels * channels, weights=count_parameters(network))
