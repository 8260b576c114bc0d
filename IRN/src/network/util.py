"""DenseBlock and how it begins: the transformation inside IRN's couplings (paper, section 3.2 and its supplement)."""

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from common.layers import Convolution, convolve
from common.training import settled

SLOPE = 0.2  # of the leaky ReLU
INIT_SCALE = 0.1


class DenseBlock(nn.Cell):
    """Five 3x3 convolutions (*), each of the input and all results before it:

        y_k = leaky_relu(w_k * [x, y_1 ... y_k-1] + b_k), k = 1 ... 4;        result = w_5 * [x, y_1 ... y_4] + b_5

    w_5 and all b begin as zeros, so that an untrained IRN is the plain Haar transform.

    A convolution of concatenated images is the sum of their convolutions. Here each image, once it is there, is
    convolved with what all later convolutions apply to it, as one: the same sums without the concatenation, and with
    two fifths of the copies that a convolution makes of its input, which on CPU saves nearly half of the time.
    """

    def __init__(
        self, in_channels: int, out_channels: int, growth: int, rng: np.random.Generator, init: str = "xavier"
    ) -> None:
        super().__init__()
        self.growth = growth
        widths = [in_channels + i * growth for i in range(5)]
        for number, width in enumerate(widths[:4], 1):
            filters = initial_filters((growth, width, 3, 3), rng, init)
            setattr(self, f"conv{number}", Convolution(filters, np.zeros(growth)))
        self.conv5 = Convolution(np.zeros((out_channels, widths[4], 3, 3)), np.zeros(out_channels))

    def weights(self) -> tuple[Tensor, ...]:
        """Return the filters of its layers, then their biases."""
        layers = (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)
        return *[layer.weight for layer in layers], *[layer.bias for layer in layers]

    def construct(self, x: Tensor) -> Tensor:
        return dense_block((), x, *self.weights())[0].astype(ms.float32)  # half precision ends here


def dense_block(
    known: tuple[Tensor, ...], x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, w4: Tensor, w5: Tensor, *biases: Tensor
) -> tuple[Tensor, ...]:
    """Compute a DenseBlock: its result, and y_1 ... y_4, which may be `known` (`common.training.settled`).

    Written out, since MindSpore compiles a loop over weights in twice the time.
    """
    a, g = x.shape[1], w1.shape[0]
    b, c, d = a + g, a + 2 * g, a + 3 * g
    sums = convolve(x, ops.concat((w1, w2[:, :a], w3[:, :a], w4[:, :a], w5[:, :a])), ops.concat(biases))
    y1, sums = settled(sums[:, :g], known, 0), sums[:, g:]
    sums = sums + convolve(leaky_relu(y1), ops.concat((w2[:, a:], w3[:, a:b], w4[:, a:b], w5[:, a:b])))
    y2, sums = settled(sums[:, :g], known, 1), sums[:, g:]
    sums = sums + convolve(leaky_relu(y2), ops.concat((w3[:, b:], w4[:, b:c], w5[:, b:c])))
    y3, sums = settled(sums[:, :g], known, 2), sums[:, g:]
    sums = sums + convolve(leaky_relu(y3), ops.concat((w4[:, c:], w5[:, c:d])))
    y4, sums = settled(sums[:, :g], known, 3), sums[:, g:]
    return sums + convolve(leaky_relu(y4), w5[:, d:]), y1, y2, y3, y4


def leaky_relu(x: Tensor) -> Tensor:
    """x above 0, SLOPE * x below; this form and its gradient are faster on CPU than `ops.leaky_relu`."""
    return x + (1 - SLOPE) * ops.relu(-x)


def initial_filters(shape: tuple[int, int, int, int], rng: np.random.Generator, init: str) -> np.ndarray:
    """Draw "xavier" or "kaiming" normal filters (out, in, k, k), times 0.1: couplings begin near the identity."""
    out_channels, in_channels, *sides = shape
    area = math.prod(sides)
    fan = in_channels * area if init == "kaiming" else (in_channels + out_channels) * area
    return (INIT_SCALE * math.sqrt(2 / fan) * rng.standard_normal(shape)).astype(np.float32)
