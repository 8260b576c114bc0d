"""The LR encoder: residual-in-residual dense blocks (ESRGAN, arXiv:1809.00219, figure 4), with its RGB head.

The flow reads the encoder's features; the head serves only to train the encoder beforehand. Other than in ESRGAN, the
long skip goes around `trunk_conv` alone.
"""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from .Flow import Condition, convolve, enlarge

SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.2  # factor on each residual branch
INIT_SCALE = 0.1  # on the initial weights of the dense blocks


class Conv3x3(nn.Cell):
    """A 3x3 convolution with `same` zero padding that begins with these filters (out, in, 3, 3) and biases (out,).

    `nn.Conv2d` does the same, but a network of hundreds of them takes longer to compile.
    """

    def __init__(self, filters: np.ndarray, biases: np.ndarray) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(filters, ms.float32), name="weight")
        self.bias = Parameter(Tensor(biases, ms.float32), name="bias")

    def construct(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)


class ResidualDenseBlock_5C(nn.Cell):  # noqa: N801  (the authors' name)
    """Five 3x3 convolutions, each fed with the input and all results before it; identity around them."""

    def __init__(self, num_features: int, growth: int, rng: np.random.Generator) -> None:
        super().__init__()
        for number in range(1, 6):
            in_channels = num_features + (number - 1) * growth
            shape = (growth if number < 5 else num_features, in_channels, 3, 3)
            filters = INIT_SCALE * math.sqrt(2 / (9 * in_channels)) * rng.standard_normal(shape)
            setattr(self, f"conv{number}", Conv3x3(filters, np.zeros(shape[0])))

    def construct(self, x: Tensor) -> Tensor:
        x1 = leaky_relu(self.conv1(x))
        x2 = leaky_relu(self.conv2(ops.concat((x, x1), 1)))
        x3 = leaky_relu(self.conv3(ops.concat((x, x1, x2), 1)))
        x4 = leaky_relu(self.conv4(ops.concat((x, x1, x2, x3), 1)))
        return x + RESIDUAL * self.conv5(ops.concat((x, x1, x2, x3, x4), 1))


class RRDB(nn.Cell):
    """Three dense blocks, identity around them."""

    def __init__(self, num_features: int, growth: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.RDB1 = ResidualDenseBlock_5C(num_features, growth, rng)
        self.RDB2 = ResidualDenseBlock_5C(num_features, growth, rng)
        self.RDB3 = ResidualDenseBlock_5C(num_features, growth, rng)

    def construct(self, x: Tensor) -> Tensor:
        return x + RESIDUAL * self.RDB3(self.RDB2(self.RDB1(x)))


class RRDBNet(nn.Cell):
    """The encoder.

    Args:
        num_features, num_blocks, growth: channels between the blocks, number of blocks, channels a dense layer adds.
        scale: a power of two; the head has an `upconv` for each factor of two.
        rng: source of the initial weights.
    """

    def __init__(self, num_features: int, num_blocks: int, growth: int, scale: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.doublings = round(math.log2(scale))
        self.conv_first = default_conv3x3(3, num_features, rng)
        self.RRDB_trunk = nn.CellList([RRDB(num_features, growth, rng) for _ in range(num_blocks)])
        self.trunk_conv = default_conv3x3(num_features, num_features, rng)
        for number in range(1, self.doublings + 1):
            setattr(self, f"upconv{number}", default_conv3x3(num_features, num_features, rng))
        self.HRconv = default_conv3x3(num_features, num_features, rng)
        self.conv_last = default_conv3x3(num_features, 3, rng)

    def trunk(self, lr_image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(N, 3, H, W) in [0, 1] -> the results of all blocks and the features, each (N, num_features, H, W)."""
        x, results = self.conv_first(lr_image), ()
        for block in self.RRDB_trunk:
            x = block(x)
            results = (*results, x)
        return results, x + self.trunk_conv(x)

    def enlarged(self, features: Tensor, doublings: int) -> tuple[Tensor, ...]:
        """The features at 2, 4 ... 2^doublings times their size, each after its activation."""
        results = ()
        for number in range(1, doublings + 1):
            features = leaky_relu(getattr(self, f"upconv{number}")(enlarge(features)))
            results = (*results, features)
        return results

    def conditions(self, lr_image: Tensor, stack: tuple[int, ...], levels: int) -> tuple[Condition, ...]:
        """What each level of the flow reads of the LR image (N, 3, H, W), from the largest to half the LR size.

        Args:
            stack: blocks whose results are read beside the features.
        """
        blocks, features = self.trunk(lr_image)
        stacked = ops.concat([blocks[number] for number in stack], 1)
        found = ((features, stacked),)
        if levels > self.doublings:
            found = (*found, (ops.avg_pool2d(features, 2, 2), ops.avg_pool2d(stacked, 1, 2)))
        for larger in self.enlarged(features, self.doublings - 1):
            found = ((larger, stacked), *found)
            stacked = enlarge(stacked)
        return found[:levels]

    def construct(self, lr_image: Tensor) -> Tensor:
        """(N, 3, H, W) -> the head's (N, 3, sH, sW), both in [0, 1], not clipped."""
        features = self.enlarged(self.trunk(lr_image)[1], self.doublings)[-1]
        return self.conv_last(leaky_relu(self.HRconv(features)))


def leaky_relu(x: Tensor) -> Tensor:
    """x where it is positive, else 0.2 x; a quarter of the operators that `ops.leaky_relu` and its gradient have."""
    return ops.relu(x) - ops.relu(-SLOPE * x)


def default_conv3x3(in_channels: int, out_channels: int, rng: np.random.Generator) -> Conv3x3:
    """A 3x3 convolution that begins as PyTorch's do: uniform in +-1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(9 * in_channels)
    filters = rng.uniform(-bound, bound, (out_channels, in_channels, 3, 3))
    return Conv3x3(filters, rng.uniform(-bound, bound, out_channels))
