"""A tiny network of WDSR, and what it makes of an image."""

import numpy as np
from mindspore import Tensor

from WDSR.src.model import WDSR, Hyper

TINY = Hyper(scale=2, num_features=4, num_blocks=2)


def make(hyper: Hyper = TINY) -> WDSR:
    """A network with random filters, whose result is not far from an upscalement."""
    return WDSR(hyper, seed=3)


def upscale(network: WDSR, lr: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3), 8 or 16 bit -> (sH, sW, 3), 1.0 is white, not clipped."""
    batch = (lr / np.iinfo(lr.dtype).max * 255).transpose(2, 0, 1)[None].astype(np.float32)
    return network(Tensor(batch)).asnumpy()[0].transpose(1, 2, 0) / 255
