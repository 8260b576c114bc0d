"""IRN for eval, infer and export: the same functions in operators that leave height and width free in ONNX."""

from itertools import pairwise

import numpy as np
from mindspore import Tensor, nn, ops

from common.checkpoint import convolution

from .Invnet import COLORS, HAAR, ConvDownsampling, InvBlockExp, InvRescaleNet
from .util import SLOPE, DenseBlock


class Downscale(nn.Cell):
    """hr_image (N, 3, sH, sW) in [0, 1] -> lr_image (N, 3, H, W), not clipped and not rounded."""

    def __init__(self, network: InvRescaleNet) -> None:
        super().__init__()
        self.levels = nn.CellList([DownLevel(transform, blocks) for transform, blocks in levels_of(network)])

    def construct(self, hr_image: Tensor) -> Tensor:
        low, high = self.levels[0](hr_image)
        for level in self.levels[1:]:
            low, high = level(ops.concat((low, high), 1))
        return low


class Upscale(nn.Cell):
    """lr_image (N, 3, H, W) in [0, 1] and z (N, 3 s^2 - 3, H, W) -> hr_image (N, 3, sH, sW), not clipped."""

    def __init__(self, network: InvRescaleNet) -> None:
        super().__init__()
        self.levels = nn.CellList([UpLevel(transform, blocks) for transform, blocks in levels_of(network)[::-1]])

    def construct(self, lr_image: Tensor, z: Tensor) -> Tensor:
        picture = self.levels[0](lr_image, z)
        for level in self.levels[1:]:
            picture = level(picture[:, :COLORS], picture[:, COLORS:])
        return picture


class DownLevel(nn.Cell):
    """One transform and its couplings, forwards; low and high frequencies stay apart."""

    def __init__(self, transform: nn.Cell, blocks: list[InvBlockExp]) -> None:
        super().__init__()
        matrix, channels = matrix_of(transform)
        side = round(len(matrix) ** 0.5)
        self.transform = convolution(down_filters(matrix, channels), side)
        self.blocks = nn.CellList([Coupling(block) for block in blocks])

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        bands = self.transform(x)
        low, high = bands[:, :COLORS], bands[:, COLORS:]
        for block in self.blocks:
            low, high = block(low, high)
        return low, high


class UpLevel(nn.Cell):
    """The same backwards."""

    def __init__(self, transform: nn.Cell, blocks: list[InvBlockExp]) -> None:
        super().__init__()
        matrix, channels = matrix_of(transform)
        inverse = np.linalg.inv(matrix.astype(np.float64)).astype(np.float32)
        self.transform = convolution(up_filters(inverse, channels), 1)
        self.shuffle = ops.DepthToSpace(round(len(matrix) ** 0.5))
        self.blocks = nn.CellList([InverseCoupling(block) for block in blocks[::-1]])

    def construct(self, low: Tensor, high: Tensor) -> Tensor:
        for block in self.blocks:
            low, high = block(low, high)
        return self.shuffle(self.transform(ops.concat((low, high), 1)))


class Coupling(nn.Cell):
    """InvBlockExp.forward on (low, high)."""

    def __init__(self, block: InvBlockExp) -> None:
        super().__init__()
        self.F, self.G, self.H, self.clamp = DenseSum(block.F), DenseSum(block.G), DenseSum(block.H), block.clamp

    def construct(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = low + self.F(high)
        return low, high * ops.exp(self.clamp * ops.tanh(0.5 * self.H(low))) + self.G(low)


class InverseCoupling(nn.Cell):
    """InvBlockExp.inverse on (low, high)."""

    def __init__(self, block: InvBlockExp) -> None:
        super().__init__()
        self.F, self.G, self.H, self.clamp = DenseSum(block.F), DenseSum(block.G), DenseSum(block.H), block.clamp

    def construct(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        high = (high - self.G(low)) * ops.exp(-self.clamp * ops.tanh(0.5 * self.H(low)))
        return low - self.F(high), high


class DenseSum(nn.Cell):
    """DenseBlock with a convolution for each pair of a source and what uses it, added up.

    ONNX Runtime keeps pictures in blocks of 16 channels. It adds a convolution to a picture as it goes, while the
    concatenations and slices of the other forms make it take the blocks apart: this one is 1.3 times faster.
    """

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        layers = block.conv1, block.conv2, block.conv3, block.conv4, block.conv5
        widths = [layers[0].in_channels] + [block.growth] * 4
        pairs = []
        for number, layer in enumerate(layers):
            starts = np.cumsum([0, *widths[: number + 1]])
            bias = layer.bias.asnumpy()
            for start, stop in pairwise(starts):
                pairs.append(convolution(layer.weight.asnumpy()[:, start:stop], None if start else bias))
        self.pairs = nn.CellList(pairs)
        self.activation = nn.LeakyReLU(SLOPE)

    def construct(self, x: Tensor) -> Tensor:
        sources, place, total = (x,), 0, x
        for number in range(5):
            total = self.pairs[place](x)
            for source in range(1, number + 1):
                total = total + self.pairs[place + source](sources[source])
            place += number + 1
            sources = (*sources, self.activation(total))
        return total


def levels_of(network: InvRescaleNet) -> list[tuple[nn.Cell, list[InvBlockExp]]]:
    """(transform, couplings) of each level, from the HR side."""
    levels: list[tuple[nn.Cell, list[InvBlockExp]]] = []
    for operation in network.operations:
        if isinstance(operation, InvBlockExp):
            levels[-1][1].append(operation)
        else:
            levels.append((operation, []))
    return levels


def matrix_of(transform: nn.Cell) -> tuple[np.ndarray, int]:
    """The transform of one square (s^2, s^2), pixels to bands, and the number of channels it works on."""
    if isinstance(transform, ConvDownsampling):
        return transform.conv_weights.asnumpy(), COLORS
    return HAAR / np.float32(4), transform.haar_weights.shape[0] // 4


def down_filters(matrix: np.ndarray, channels: int) -> np.ndarray:
    """Filters (s^2 C, C, s, s) of a convolution with stride s that gives all channels' first bands, then the second."""
    side = round(len(matrix) ** 0.5)
    filters = np.einsum("kj,cd->kcdj", matrix, np.eye(channels, dtype=np.float32))
    return filters.reshape(-1, channels, side, side)


def up_filters(matrix: np.ndarray, channels: int) -> np.ndarray:
    """Filters (s^2 C, s^2 C, 1, 1) from bands to pixels, in the order of DepthToSpace (pixel first, then channel)."""
    return np.kron(matrix, np.eye(channels, dtype=np.float32))[..., None, None]
