"""The LR encoder (SRDiff, section 3.3): ESRGAN's residual-in-residual dense blocks, with their RGB head."""

import numpy as np
from mindspore import Tensor, nn, ops

from .layers import conv

SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.2  # factor on each residual branch


class ResidualDenseBlock_5C(nn.Cell):  # noqa: N801  (the authors' name)
    """Five 3x3 convolutions, each fed with the input and all results before it; identity around them."""

    def __init__(self, num_features: int, growth: int, rng: np.random.Generator) -> None:
        super().__init__()
        for number in range(1, 6):
            out_channels = growth if number < 5 else num_features
            setattr(self, f"conv{number}", conv3x3(num_features + (number - 1) * growth, out_channels, rng))

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
    """The encoder; images in [-1, 1]. A dense layer adds num_features / 2 channels; each doubling has an `upconv`."""

    def __init__(self, num_features: int, num_blocks: int, scale: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.doublings = scale.bit_length() - 1
        self.conv_first = conv3x3(3, num_features, rng)
        self.RRDB_trunk = nn.CellList([RRDB(num_features, num_features // 2, rng) for _ in range(num_blocks)])
        self.trunk_conv = conv3x3(num_features, num_features, rng)
        for number in range(1, self.doublings + 1):
            setattr(self, f"upconv{number}", conv3x3(num_features, num_features, rng))
        self.HRconv = conv3x3(num_features, num_features, rng)
        self.conv_last = conv3x3(num_features, 3, rng)

    def features(self, lr_image: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, h, w) in [-1, 1] -> the results of all blocks and what follows them, (N, num_features, h, w) each."""
        first = self.conv_first((lr_image + 1) / 2)
        x, results = first, ()
        for block in self.RRDB_trunk:
            x = block(x)
            results = (*results, x)
        return (*results, first + self.trunk_conv(x))

    def head(self, features: Tensor) -> Tensor:
        """The last features (N, num_features, h, w) -> an HR image (N, 3, sh, sw) in [-1, 1]."""
        for number in range(1, self.doublings + 1):
            features = leaky_relu(getattr(self, f"upconv{number}")(upsample(features)))
        image = self.conv_last(leaky_relu(self.HRconv(features)))
        return image.clamp(0, 1) * 2 - 1

    def construct(self, lr_image: Tensor) -> Tensor:
        return self.head(self.features(lr_image)[-1])


def conv3x3(in_channels: int, out_channels: int, rng: np.random.Generator) -> nn.Conv2d:
    return conv(in_channels, out_channels, 3, rng, padding=1)


def leaky_relu(x: Tensor) -> Tensor:
    """x where it is positive, else 0.2 x; with its gradient faster on CPU than `ops.leaky_relu`."""
    return ops.relu(x) - ops.relu(-SLOPE * x)


def upsample(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W), each pixel four times; by an operator that the ONNX writer has."""
    return ops.DepthToSpace(2)(ops.concat((x, x, x, x), 1))
