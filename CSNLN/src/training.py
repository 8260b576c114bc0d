"""How CSNLN is trained: the loss, the rate, the plan of a run, and what is measured on the way."""

import logging
import math
from collections.abc import Callable

import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError
from common.metrics import Convention
from common.pairs import Pair, read_pair
from common.pixels import to_float, to_uint8
from common.resize import imresize
from common.training import Plan

from .chop import chopped
from .config import TrainConfig
from .CSNLN import CSNLN, Hyper
from .dataset.common import Upscaler

log = logging.getLogger(__name__)


class L1Loss(nn.Cell):
    """Mean absolute difference, of values in [0, 1]."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor, hr_image: Tensor) -> tuple[Tensor]:
        return (ops.abs(self.network(lr_image) - hr_image).mean(),)


def learning_rate(options: TrainConfig) -> Callable[[int], float]:
    """Step (from 0) -> rate. `--decay 200-400`: times gamma after 200 and after 400 epochs; `cosine`: to zero.

    Raises:
        UserError: --decay is neither.
    """
    steps_per_epoch, base, gamma = options.test_every, options.lr, options.gamma
    if options.decay == "cosine":
        total = options.epochs * steps_per_epoch
        return lambda step: base * 0.5 * (1 + math.cos(math.pi * min(step / total, 1)))
    words = options.decay.split("-")
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise UserError(f"--decay must be epochs joined by - (200-400-600-800), or cosine, not {options.decay!r}")
    epochs = [int(word) for word in words]
    return lambda step: base * gamma ** sum(step // steps_per_epoch >= epoch for epoch in epochs)


def plan(options: TrainConfig) -> Plan:
    """Steps, rate and intervals of a run; the options count in epochs of --test_every steps."""
    return Plan(
        steps=options.epochs * options.test_every,
        learning_rate=learning_rate(options),
        gradient_clip=options.gclip,
        ema_decay=options.ema,
        log_every=options.log_every,
        validate_every=options.test_every,
        save_every=options.save_every,
        keep_every=options.ckpt_save_interval * options.test_every,
        keep_at_most=options.ckpt_save_max,
        loss_scale=options.loss_scale if options.amp_level != "O0" else 1.0,
    )


def make_validation(pairs: list[Pair], hyper: Hyper) -> Callable[[CSNLN], dict[str, float]]:
    """Mean PSNR-Y of the network, eager, over some pairs; these are decoded once and chopped as the authors do."""
    pictures = [read_pair(pair, hyper.scale) for pair in pairs]
    convention = Convention("y", hyper.scale)
    bicubic = np.mean([convention.psnr(imresize(lr, hyper.scale), hr) for hr, lr in pictures])
    log.info("%d test pictures, bicubic: %s %.4f", len(pictures), convention.label("PSNR"), bicubic)

    def validate(network: CSNLN) -> dict[str, float]:
        network.set_train(False)
        upscale = chopped(Upscaler(lambda batch: network(Tensor(batch)).asnumpy(), hyper), hyper.scale)
        scores = [convention.psnr(to_uint8(upscale(to_float(lr))), hr) for hr, lr in pictures]
        network.set_train(True)
        return {convention.label("PSNR"): float(np.mean(scores))}

    return validate
