"""Building blocks of WDSR: weight-normalised convolution and the residual blocks.

Written from the papers (weight normalisation: Salimans and Kingma, arXiv:1602.07868, eq. 2; WDSR: arXiv:1808.08718,
figure 2). Parameters are named as in the authors' PyTorch code, so that their weights load by name.
"""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops


class WeightNormConv2d(nn.Cell):
    """Convolution with `same` zero padding whose filters are g * v / ||v||, one length g per output channel.

    Direction and length are learned apart, which is what lets WDSR train at ten times the usual rate (section 3.3).

    Args:
        in_channels, out_channels: channels of the image before and after.
        kernel_size: odd side of the filter.
        gain: initial length of each filter; None keeps the length that the random direction has.
        rng: source of the initial values, uniform in +-1/sqrt(fan_in) as in PyTorch.
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
        self.padding = kernel_size // 2
        # A product with a vector of ones: reductions are 60 times slower than that on CPU (spec/platform.md, C).
        self.ones = Tensor(np.ones((fan_in, 1)), ms.float32)
        self.rows = (out_channels, fan_in)

    def effective_weight(self) -> Tensor:
        """The filters (out, in, k, k) that the convolution applies."""
        direction = self.weight_v.reshape(self.rows)
        length = ops.sqrt(ops.matmul(direction * direction, self.ones))
        return (direction * (self.weight_g.reshape((-1, 1)) / length)).reshape(self.weight_v.shape)

    def construct(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.effective_weight(), self.bias, pad_mode="pad", padding=self.padding)


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

    def construct(self, x: Tensor) -> Tensor:
        return residual(x, self.body(x), self.res_scale)


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

    def construct(self, x: Tensor) -> Tensor:
        return residual(x, self.body(x), self.res_scale)


def residual(x: Tensor, branch: Tensor, res_scale: float) -> Tensor:
    """x + res_scale * branch, without the product where it would be by one."""
    return x + branch if res_scale == 1 else x + branch * res_scale
