"""IRN for eval, infer and export: the same functions in operators that leave height and width free in ONNX."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn, ops

from common.export import Engine, Graph, Port, make_engine
from common.layers import Convolution

from .network.Invnet import COLORS, HAAR, ConvDownsampling, InvBlockExp, InvRescaleNet, bounded, levels_of
from .network.util import SLOPE, DenseBlock

DIRECTIONS = ("downscale", "upscale")
# Largest error of an exported graph, of the largest value. The couplings multiply by up to e^8 (clamp times their
# number), and with it the rounding of float32, 6e-8; this is a twentieth of a grey level.
TOLERANCE = 2e-4
CHECK_SIZES = ((6, 8), (9, 7))  # LR pixels, an export is compared at both
MEANING = {"z": "standard normal times the scale of the latent; all zeros for the most likely image"}


def graph_of(network: InvRescaleNet, direction: str, batch_size: int | str = 1) -> Graph:
    """Return "downscale" (hr_image -> lr_image) or "upscale" (lr_image, z -> hr_image), free in height and width."""
    hyper = network.hyper

    def port(name: str, channels: int) -> Port:
        return Port(name, (batch_size, channels, "height", "width"))

    if direction == "downscale":
        sizes = [{"height": rows * hyper.scale, "width": columns * hyper.scale} for rows, columns in CHECK_SIZES]
        return Graph(Downscale(network), [port("hr_image", COLORS)], ["lr_image"], sizes, TOLERANCE)
    sizes = [{"height": rows, "width": columns} for rows, columns in CHECK_SIZES]
    inputs = [port("lr_image", COLORS), port("z", hyper.z_channels)]
    return Graph(Upscale(network), inputs, ["hr_image"], sizes, TOLERANCE)


def engine_of(
    network: InvRescaleNet, direction: str, kind: str, cache: Path | None = None, digest: str = "", batch: int = 1
) -> Engine:
    """Make the engine of a direction; its export is cached by the direction and the weights' digest."""
    own = hashlib.sha256(f"{digest} {direction}".encode()).hexdigest()
    return make_engine(kind, graph_of(network, direction), cache, own, batch)


class Downscale(nn.Cell):
    """hr_image (N, 3, sH, sW) in [0, 1] -> lr_image (N, 3, H, W), not clipped and not rounded."""

    def __init__(self, network: InvRescaleNet) -> None:
        super().__init__()
        self.levels = nn.CellList([Level(*level) for level in levels_of(network)])

    def construct(self, hr_image: Tensor) -> Tensor:
        low, high = self.levels[0].forward(hr_image)
        for level in self.levels[1:]:
            low, high = level.forward(ops.concat((low, high), 1))
        return low


class Upscale(nn.Cell):
    """lr_image (N, 3, H, W) in [0, 1] and z (N, 3 s^2 - 3, H, W) -> hr_image (N, 3, sH, sW), not clipped."""

    def __init__(self, network: InvRescaleNet) -> None:
        super().__init__()
        self.levels = nn.CellList([Level(*level) for level in levels_of(network)[::-1]])

    def construct(self, lr_image: Tensor, z: Tensor) -> Tensor:
        x = self.levels[0].inverse(lr_image, z)
        for level in self.levels[1:]:
            x = level.inverse(x[:, :COLORS], x[:, COLORS:])
        return x


class Level(nn.Cell):
    """One transform and its couplings; low and high frequencies stay apart, and there are no log-determinants."""

    def __init__(self, transform: nn.Cell, blocks: Sequence[InvBlockExp]) -> None:
        super().__init__()
        learned = isinstance(transform, ConvDownsampling)
        channels = COLORS if learned else transform.haar_weights.shape[0] // 4
        matrix = transform.conv_weights.asnumpy() if learned else HAAR / np.float32(4)  # a square's pixels to bands
        inverse = np.linalg.inv(matrix.astype(np.float64)).astype(np.float32)
        side, channel = round(len(matrix) ** 0.5), np.eye(channels, dtype=np.float32)
        # All channels' first bands, then the second ones; pixels in the order of DepthToSpace.
        filters = np.einsum("kj,cd->kcdj", matrix, channel).reshape(-1, channels, side, side)
        self.to_bands = Convolution(filters, stride=side)
        self.to_pixels = Convolution(np.kron(inverse, channel)[..., None, None])
        self.shuffle = ops.DepthToSpace(side)
        self.blocks = nn.CellList([Coupling(block) for block in blocks])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, sH, sW) -> low (N, 3, H, W) and high frequencies (N, s^2 C - 3, H, W)."""
        bands = self.to_bands(x)
        low, high = bands[:, :COLORS], bands[:, COLORS:]
        for block in self.blocks:
            low, high = block.forward(low, high)
        return low, high

    def inverse(self, low: Tensor, high: Tensor) -> Tensor:
        for place in range(len(self.blocks) - 1, -1, -1):
            low, high = self.blocks[place].inverse(low, high)
        return self.shuffle(self.to_pixels(ops.concat((low, high), 1)))


class Coupling(nn.Cell):
    """`InvBlockExp` on (low, high)."""

    def __init__(self, block: InvBlockExp) -> None:
        super().__init__()
        self.F, self.G, self.H, self.clamp = DenseSum(block.F), DenseSum(block.G), DenseSum(block.H), block.clamp

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = low + self.F(high)
        return low, high * ops.exp(bounded(self.H(low), self.clamp)) + self.G(low)

    def inverse(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        high = (high - self.G(low)) * ops.exp(-bounded(self.H(low), self.clamp))
        return low - self.F(high), high


class DenseSum(nn.Cell):
    """DenseBlock with a convolution for each pair of a source and what uses it, added up.

    ONNX Runtime keeps images in blocks of 16 channels. It adds a convolution to an image as it goes, while the
    concatenations and slices of the other forms make it take the blocks apart: this one is 1.3 times faster.
    """

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        layers = block.conv1, block.conv2, block.conv3, block.conv4, block.conv5
        widths = [layers[0].weight.shape[1]] + [block.growth] * 4
        pairs = []
        for number, layer in enumerate(layers):
            starts = np.cumsum([0, *widths[: number + 1]])
            bias = layer.bias.asnumpy()
            for start, stop in pairwise(starts):
                pairs.append(Convolution(layer.weight.asnumpy()[:, start:stop], None if start else bias))
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
