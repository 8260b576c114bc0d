"""DenseBlock and how it begins: the transformation inside IRN's couplings (paper, section 3.2 and its supplement)."""

import math

import numpy as np
from mindspore import Tensor, nn, ops

SLOPE = 0.2  # of the leaky ReLU
INIT_SCALE = 0.1


class DenseBlock(nn.Cell):
    """Five 3x3 convolutions, each fed with the input and all results before it; the last one is linear.

    Its last filters begin as zeros, so that an untrained IRN is the plain Haar transform.

    Args:
        in_channels, out_channels: channels before and after.
        growth: channels of each result between.
        rng: source of the initial filters.
        init: "xavier" or "kaiming", the normal distributions of these names, times 0.1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, growth: int, rng: np.random.Generator, init: str = "xavier"
    ) -> None:
        super().__init__()
        widths = [in_channels + i * growth for i in range(5)]
        for number, width in enumerate(widths[:4], 1):
            setattr(self, f"conv{number}", conv3x3(initial_filters((growth, width, 3, 3), rng, init)))
        self.conv5 = conv3x3(np.zeros((out_channels, widths[4], 3, 3), np.float32))

    def construct(self, x: Tensor) -> Tensor:
        x1 = ops.leaky_relu(self.conv1(x), SLOPE)
        x2 = ops.leaky_relu(self.conv2(ops.concat((x, x1), 1)), SLOPE)
        x3 = ops.leaky_relu(self.conv3(ops.concat((x, x1, x2), 1)), SLOPE)
        x4 = ops.leaky_relu(self.conv4(ops.concat((x, x1, x2, x3), 1)), SLOPE)
        return self.conv5(ops.concat((x, x1, x2, x3, x4), 1))


def initial_filters(shape: tuple[int, int, int, int], rng: np.random.Generator, init: str) -> np.ndarray:
    """Random filters (out, in, k, k), small so that the couplings begin near the identity."""
    out_channels, in_channels, *sides = shape
    area = math.prod(sides)
    fan = in_channels * area if init == "kaiming" else (in_channels + out_channels) * area
    return (INIT_SCALE * math.sqrt(2 / fan) * rng.standard_normal(shape)).astype(np.float32)


def conv3x3(filters: np.ndarray) -> nn.Conv2d:
    """A 3x3 convolution with `same` zero padding that begins with these filters and no bias."""
    out_channels, in_channels, side, _ = filters.shape
    return nn.Conv2d(
        in_channels,
        out_channels,
        side,
        pad_mode="pad",
        padding=side // 2,
        has_bias=True,
        weight_init=Tensor(filters),
        bias_init="zeros",
    )
