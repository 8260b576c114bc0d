"""A network of CSNLN that is cheap to compile, images for it, and its attention told by naive float64 NumPy."""

import numpy as np
from mindspore import Tensor

from ci.tests import naive
from CSNLN.src.attention import CrossScaleAttention
from CSNLN.src.CSNLN import CSNLN, Hyper

TINY = Hyper(n_feats=4, depth=2)


def shaken(hyper: Hyper = TINY, rows: int = 0) -> CSNLN:
    """A network whose every parameter is away from its first value, so that none can be left out unnoticed."""
    return naive.shaken(CSNLN(hyper, rows=rows), 1, share=(0.02, 0.1))


def batch(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """(count, 3, height, width) float32 in [0, 1]."""
    return np.random.default_rng(seed).random((count, 3, height, width), np.float32)


def embedded(layers, x: np.ndarray) -> np.ndarray:
    """1x1 convolution and PReLU of (C, H, W), in float64."""
    convolution, activation = layers
    weight, bias = convolution.weight.asnumpy().astype(np.float64)[:, :, 0, 0], convolution.bias.asnumpy()
    y = np.tensordot(weight, x.astype(np.float64), 1) + bias[:, None, None]
    return np.where(y > 0, y, activation.weight.asnumpy() * y)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def cross_scale_weights(x: np.ndarray, layer: CrossScaleAttention, s: int, row: int, column: int) -> np.ndarray:
    """(H / s, W / s): how the paper's equations 4 to 6 weigh the patches for one pixel of (C, H, W), in float64."""
    small = x.reshape(-1, x.shape[1] // s, s, x.shape[2] // s, s)
    small = small.mean((2, 4)) if s == 2 else small[:, :, 1, :, 1]
    edge, scores = ((0, 0), (1, 1), (1, 1)), np.empty(small.shape[1:])
    query = np.pad(embedded(layer.conv_match_1, x), edge)[:, row : row + 3, column : column + 3]
    keys = np.pad(embedded(layer.conv_match_2, small), edge)
    for a, b in np.ndindex(*scores.shape):
        key = keys[:, a : a + 3, b : b + 3]
        scores[a, b] = (query * key).sum() / max(np.sqrt((key**2).sum()), 1e-4)
    return softmax(10 * scores)


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
