"""Validation during training, by PSNR."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from common.metrics import Convention
from common.pairs import Pair, read_pair
from common.pixels import to_float, to_uint8
from common.resize import imresize

EXACT = 60.0  # dB, beyond which nobody sees a difference
log = logging.getLogger(__name__)
Enlarge = Callable[[np.ndarray], np.ndarray]  # (h, w, 3) float32 in [0, 1] -> (h * scale, w * scale, 3)


def psnr_validation(
    pairs: Sequence[Pair], scale: int, convention: Convention, upscaler: Callable[..., Enlarge]
) -> Callable[..., dict[str, float]] | None:
    """Return network -> its mean PSNR over some pairs, which are decoded once, and log bicubic's; None without pairs.

    Args:
        upscaler: network -> what enlarges a picture with the weights that it has now.
    """
    if not pairs:
        return None
    pictures = [read_pair(pair, scale) for pair in pairs]
    name = convention.label("PSNR")
    bicubic = mean_psnr([convention.psnr(imresize(lr, scale), hr) for hr, lr in pictures])
    log.info("%d validation images, bicubic: %s %.4f", len(pictures), name, bicubic)

    def validate(network: object) -> dict[str, float]:
        upscale = upscaler(network)
        return {name: mean_psnr([convention.psnr(to_uint8(upscale(to_float(lr))), hr) for hr, lr in pictures])}

    return validate


def mean_psnr(values: Sequence[float]) -> float:
    """Return the mean in dB; above `EXACT` values count as it, so that an exact image (inf) does not decide alone."""
    return float(np.mean(np.minimum(values, EXACT)))
