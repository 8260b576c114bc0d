"""A network of CSNLN that is cheap to compile, and images for it."""

import numpy as np
from mindspore import Tensor

from ci.tests import naive
from CSNLN.src.CSNLN import CSNLN, Hyper

TINY = Hyper(n_feats=4, depth=2)


def shaken(hyper: Hyper = TINY, rows: int = 0) -> CSNLN:
    """A network whose every parameter is away from its first value, so that none can be left out unnoticed."""
    return naive.shaken(CSNLN(hyper, rows=rows), 1, share=(0.02, 0.1))


def batch(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """(count, 3, height, width) float32 in [0, 1]."""
    return np.random.default_rng(seed).random((count, 3, height, width), np.float32)


def restored(network: CSNLN, lr: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) -> (N, 3, sH, sW), of the images with reflection padding, cut back."""
    padding = [(0, -side % network.hyper.attention_scale) for side in lr.shape[2:]]
    found = network(Tensor(np.pad(lr, [(0, 0), (0, 0), *padding], mode="reflect"))).asnumpy()
    height, width = (network.hyper.scale * side for side in lr.shape[2:])
    return found[:, :, :height, :width]


def upscale(network: CSNLN, lr: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3), 8 or 16 bit -> (sH, sW, 3), 1.0 is white."""
    unit = (lr / np.iinfo(lr.dtype).max).transpose(2, 0, 1)[None].astype(np.float32)
    return restored(network, unit)[0].transpose(1, 2, 0)
