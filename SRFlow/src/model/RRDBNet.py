"""The LR encoder: residual-in-residual dense blocks (ESRGAN, arXiv:1809.00219, figure 4), with its RGB head.

The flow reads the encoder's features; the head serves only to train the encoder beforehand. Other than in ESRGAN, the
long skip goes around `trunk_conv` alone.
"""

import math
from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common.layers import Convolution, convolve
from common.training import Repeated, Tape, Value, settled

from .Flow import Condition, upsample

SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.2  # factor on each residual branch
INIT_SCALE = 0.1  # on the initial weights of the dense blocks


class ResidualDenseBlock_5C(nn.Cell):  # noqa: N801  (the authors' name)
    """Five 3x3 convolutions, each fed with the input and all results before it; identity around them."""

    def __init__(self, num_features: int, growth: int, rng: np.random.Generator) -> None:
        super().__init__()
        for number in range(1, 6):
            in_channels = num_features + (number - 1) * growth
            shape = (growth if number < 5 else num_features, in_channels, 3, 3)
            filters = INIT_SCALE * math.sqrt(2 / (9 * in_channels)) * rng.standard_normal(shape)
            setattr(self, f"conv{number}", Convolution(filters, np.zeros(shape[0])))

    def weights(self) -> tuple[Tensor, ...]:
        """Return the filters of its layers, then their biases."""
        layers = (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)
        return *[layer.weight for layer in layers], *[layer.bias for layer in layers]

    def construct(self, x: Tensor) -> Tensor:
        found = (x,)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            found = (*found, leaky_relu(layer(ops.concat(found, 1) if len(found) > 1 else x)))
        return x + RESIDUAL * self.conv5(ops.concat(found, 1))


def dense_block(
    known: tuple[Tensor, ...], x: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, w4: Tensor, w5: Tensor, *biases: Tensor
) -> tuple[Tensor, ...]:
    """Compute a dense block for training: its result, and those of its first four convolutions (`settled`).

    A convolution of concatenated features is the sum of their convolutions: each result is convolved once, with what
    all later layers apply to it. On CPU a convolution copies its input nine times; this form copies two fifths of that.
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
    return x + RESIDUAL * (sums + convolve(leaky_relu(y4), w5[:, d:])), y1, y2, y3, y4


class RRDB(nn.Cell):
    """Three dense blocks, identity around them."""

    def __init__(self, num_features: int, growth: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.RDB1 = ResidualDenseBlock_5C(num_features, growth, rng)
        self.RDB2 = ResidualDenseBlock_5C(num_features, growth, rng)
        self.RDB3 = ResidualDenseBlock_5C(num_features, growth, rng)

    def construct(self, x: Tensor) -> Tensor:
        return around(x, self.RDB3(self.RDB2(self.RDB1(x))))


def around(x: Tensor, branch: Tensor) -> Tensor:
    """Identity around a residual branch."""
    return x + RESIDUAL * branch


class RRDBNet(nn.Cell):
    """The encoder; a dense layer adds `growth` channels, and the head has an `upconv` for each doubling."""

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
        return results, self.features(x)

    def features(self, x: Tensor) -> Tensor:
        """Of the last block's result."""
        return x + self.trunk_conv(x)

    def upsampled(self, features: Tensor, doublings: int) -> tuple[Tensor, ...]:
        """Return the features at 2, 4 ... 2^doublings times their size, each after its activation."""
        results = ()
        for number in range(1, doublings + 1):
            features = leaky_relu(getattr(self, f"upconv{number}")(upsample(features)))
            results = (*results, features)
        return results

    def conditions(self, lr_image: Tensor, stack: tuple[int, ...], levels: int) -> tuple[Condition, ...]:
        """Return what each level of the flow reads of the LR image (N, 3, H, W), from the largest to half the LR size.

        `stack` numbers the blocks whose results are read beside the features.
        """
        blocks, features = self.trunk(lr_image)
        return self.read(features, ops.concat([blocks[number] for number in stack], 1), levels)

    def read(self, features: Tensor, stacked: Tensor, levels: int) -> tuple[Condition, ...]:
        """Compute `conditions` from the features and the stacked results."""
        found = ((features, stacked),)
        if levels > self.doublings:
            found = (*found, (ops.avg_pool2d(features, 2, 2), ops.avg_pool2d(stacked, 1, 2)))
        for larger in self.upsampled(features, self.doublings - 1):
            found = ((larger, stacked), *found)
            stacked = upsample(stacked)
        return found[:levels]

    def construct(self, lr_image: Tensor) -> Tensor:
        """(N, 3, H, W) -> the head's (N, 3, sH, sW), both in [0, 1], not clipped."""
        return self.head(self.trunk(lr_image)[1])

    def head(self, features: Tensor) -> Tensor:
        """Compute the HR image from the features."""
        return self.conv_last(leaky_relu(self.HRconv(self.upsampled(features, self.doublings)[-1])))


class TrunkInBlocks:
    """`RRDBNet.trunk` dense block by dense block, for `common.training.BlockStep`: (tape, LR image) -> results of all
    RRDBs."""

    def __init__(self, encoder: RRDBNet) -> None:
        self.encoder, self.convolve, self.around = encoder, Repeated(convolve), Repeated(around)
        self.dense = Repeated(dense_block, keeps=True)

    def __call__(self, tape: Tape, lr_image: Tensor) -> list[Value]:
        first = self.encoder.conv_first
        results = [tape(self.convolve, lr_image, first.weight, first.bias)]
        for block in self.encoder.RRDB_trunk:
            branch = results[-1]
            for part in (block.RDB1, block.RDB2, block.RDB3):
                branch = tape(self.dense, branch, *part.weights())
            results.append(tape(self.around, results[-1], branch))
        return results[1:]


def outside_trunk(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Return those of the encoder that `TrunkInBlocks` does not read."""
    encoder = [p for p in parameters if "flowUpsamplerNet." not in p.name]
    return [p for p in encoder if "RRDB_trunk." not in p.name and "conv_first." not in p.name]


def leaky_relu(x: Tensor) -> Tensor:
    """x where it is positive, else 0.2 x; a quarter of the operators that `ops.leaky_relu` and its gradient have."""
    return ops.relu(x) - ops.relu(-SLOPE * x)


def default_conv3x3(in_channels: int, out_channels: int, rng: np.random.Generator) -> Convolution:
    """Build a 3x3 convolution that begins as PyTorch's do: uniform in +-1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(9 * in_channels)
    filters = rng.uniform(-bound, bound, (out_channels, in_channels, 3, 3))
    return Convolution(filters, rng.uniform(-bound, bound, out_channels))
