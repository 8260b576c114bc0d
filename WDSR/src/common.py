"""Building blocks of WDSR: weight-normalised convolution and the residual blocks.

Written from the papers (weight normalisation: Salimans and Kingma, arXiv:1602.07868, eq. 2; WDSR: arXiv:1808.08718,
figure 2). Parameters are named as in the authors' PyTorch code, so that their weights load by name.
"""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common import layers
from common.training import Row, settled


class WeightNormConv2d(nn.Cell):
    """Convolution with `same` zero padding whose filters are g * v / ||v||, one length g per output channel.

    Direction and length are learned apart, which is what lets WDSR train at ten times the usual rate (section 3.3).
    Filters begin uniform in +-1/sqrt(fan_in) as in PyTorch, with the length `gain`, or if None their own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        rng: np.random.Generator,
        gain: float | None = None,
    ) -> None:
        super().__init__()
        fan_in = in_channels * kernel_size**2
        bound = 1 / math.sqrt(fan_in)
        direction = rng.uniform(-bound, bound, (out_channels, in_channels, kernel_size, kernel_size))
        length = np.sqrt((direction**2).sum((1, 2, 3), keepdims=True))
        bias = rng.uniform(-bound, bound, out_channels)
        if gain is not None:
            length, bias = np.full_like(length, gain), np.zeros_like(bias)
        self.weight_g = Parameter(Tensor(length, ms.float32), name="weight_g")
        self.weight_v = Parameter(Tensor(direction, ms.float32), name="weight_v")
        self.bias = Parameter(Tensor(bias, ms.float32), name="bias")

    def weights(self) -> Row:
        return self.weight_g, self.weight_v, self.bias

    def effective_weight(self) -> Tensor:
        """Return the filters (out, in, k, k) that the convolution applies."""
        return normalised(self.weight_g, self.weight_v)

    def construct(self, x: Tensor) -> Tensor:
        return convolve(x, *self.weights())


def normalised(length: Tensor, direction: Tensor) -> Tensor:
    """Return direction (out, in, k, k) with filters of these lengths (out, 1, 1, 1)."""
    rows = direction.reshape((direction.shape[0], -1))
    # A product with a vector of ones: reductions are 60 times slower than that on CPU (spec/platform.md, C).
    now = ops.sqrt(ops.matmul(rows * rows, ops.ones((rows.shape[1], 1), rows.dtype)))
    return (rows * (length.reshape((-1, 1)) / now)).reshape(direction.shape)


def convolve(x: Tensor, length: Tensor, direction: Tensor, bias: Tensor) -> Tensor:
    return layers.convolve(x, normalised(length, direction), bias)


class BlockA(nn.Cell):
    """WDSR-A (figure 2b): 3x3 to `expand` times the features, ReLU, 3x3 back; identity around it."""

    def __init__(
        self,
        num_features: int,
        expand: float,
        res_scale: float,
        rng: np.random.Generator,
        gains: tuple[float | None, float | None] = (None, None),
    ) -> None:
        super().__init__()
        wide = int(num_features * expand)
        self.body = nn.SequentialCell(
            WeightNormConv2d(num_features, wide, 3, rng, gains[0]),
            nn.ReLU(),
            WeightNormConv2d(wide, num_features, 3, rng, gains[1]),
        )
        self.res_scale = res_scale

    def weights(self) -> Row:
        return self.body[0].weights() + self.body[2].weights()

    def construct(self, x: Tensor) -> Tensor:
        return block_a(x, self.weights(), self.res_scale)[0]


class BlockB(nn.Cell):
    """WDSR-B (figure 2c): 1x1 to `expand` times the features, ReLU, 1x1 to a linear low rank, 3x3 back."""

    def __init__(
        self, num_features: int, expand: float, linear: float, res_scale: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        wide, low_rank = int(num_features * expand), int(num_features * linear)  # the authors truncate
        self.body = nn.SequentialCell(
            WeightNormConv2d(num_features, wide, 1, rng),
            nn.ReLU(),
            WeightNormConv2d(wide, low_rank, 1, rng),
            WeightNormConv2d(low_rank, num_features, 3, rng),
        )
        self.res_scale = res_scale

    def weights(self) -> Row:
        return self.body[0].weights() + self.body[2].weights() + self.body[3].weights()

    def construct(self, x: Tensor) -> Tensor:
        return block_b(x, self.weights(), self.res_scale)[0]


def block_a(x: Tensor, weights: Row, res_scale: float, known: Row = ()) -> Row:
    """Return what BlockA makes of x, and what a backward graph need not compute again (`common.training.settled`)."""
    wide = settled(convolve(x, *weights[:3]), known, 0)
    return residual(x, convolve(ops.relu(wide), *weights[3:]), res_scale), wide


def block_b(x: Tensor, weights: Row, res_scale: float, known: Row = ()) -> Row:
    """Do the same for BlockB; its wide activation, if it were kept, would double the memory and save 15 % of a step."""
    wide = convolve(x, *weights[:3])
    low_rank = settled(convolve(ops.relu(wide), *weights[3:6]), known, 0)
    return residual(x, convolve(low_rank, *weights[6:]), res_scale), low_rank


def residual(x: Tensor, branch: Tensor, res_scale: float) -> Tensor:
    return x + branch if res_scale == 1 else x + branch * res_scale
