"""The layers that the network is made of; they begin as PyTorch's do, as the authors' network began."""

import math
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common.layers import Convolution, convolve

FIRST_SLOPE = 0.25  # of the PReLUs
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, in [0, 1]


class Resizing(NamedTuple):
    """A convolution that downscales s times, or a transposed one that upscales s times."""

    kernel: int
    stride: int
    padding: int


RESIZING = {2: Resizing(6, 2, 2), 3: Resizing(9, 3, 3), 4: Resizing(8, 4, 2)}


class PReLU(nn.Cell):
    """x where it is positive, else `weight` times x; one weight for all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(Tensor([FIRST_SLOPE], ms.float32), name="weight")

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu(x) - self.weight.astype(x.dtype) * ops.relu(-x)  # also in half precision


class MeanShift(nn.Cell):
    """Adds sign * the mean colour; a 1x1 convolution that is not trained, as in the authors' files."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        identity = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
        mean = sign * np.array(RGB_MEAN, np.float32)
        self.weight = Parameter(Tensor(identity), name="weight", requires_grad=False)
        self.bias = Parameter(Tensor(mean), name="bias", requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)


class ResBlock(nn.Cell):
    """Two 3x3 convolutions with a PReLU between them; identity around them."""

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.body = nn.SequentialCell(conv(channels, channels, 3, rng), PReLU(), conv(channels, channels, 3, rng))

    def construct(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    rng: np.random.Generator,
    stride: int = 1,
    padding: int | None = None,
) -> Convolution:
    bound = 1 / math.sqrt(in_channels * kernel**2)
    filters = rng.uniform(-bound, bound, (out_channels, in_channels, kernel, kernel))
    return Convolution(filters, rng.uniform(-bound, bound, out_channels), stride, padding)


def conv_prelu(in_channels: int, out_channels: int, kernel: int, rng: np.random.Generator) -> nn.SequentialCell:
    return nn.SequentialCell(conv(in_channels, out_channels, kernel, rng), PReLU())


def reduce(channels: int, scale: int, rng: np.random.Generator) -> nn.SequentialCell:
    """(N, C, sH, sW) -> (N, C, H, W), and PReLU."""
    kernel, stride, padding = RESIZING[scale]
    return nn.SequentialCell(conv(channels, channels, kernel, rng, stride, padding), PReLU())


def upsample(channels: int, scale: int, rng: np.random.Generator) -> nn.SequentialCell:
    """(N, C, H, W) -> (N, C, sH, sW), and PReLU."""
    kernel, stride, padding = RESIZING[scale]
    bound = 1 / math.sqrt(channels * kernel**2)
    transposed = nn.Conv2dTranspose(
        channels,
        channels,
        kernel,
        stride,
        pad_mode="pad",
        padding=padding,
        has_bias=True,
        weight_init=uniform((channels, channels, kernel, kernel), bound, rng),
        bias_init=uniform((channels,), bound, rng),
    )
    return nn.SequentialCell(transposed, PReLU())


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator) -> Tensor:
    return Tensor(rng.uniform(-bound, bound, shape), ms.float32)
