"""What the flow reads of the LR picture, in the inference form: encoder, and each step's first convolution.

The features are the widest input of all, and the same for every step of a level, so what can be worked out once for a
level is: the sums of pixels that a fast convolution multiplies. This is F(2x2, 3x3) of Lavin and Gray, Fast Algorithms
for Convolutional Neural Networks, CVPR 2016, section 4.1: 16 products for 2x2 results instead of 36. A picture that has
been enlarged to twice its size has two equal pixels in the middle of each tile of 4x4, whereby one of four sums along
an axis vanishes and 9 products remain.
"""

import math
from collections.abc import Mapping

import numpy as np
from mindspore import Tensor, nn, ops

from .Flow import enlarge
from .RRDBNet import RESIDUAL, SLOPE
from .SRFlowNet import Hyper

OF_PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64)
OF_ENLARGED = OF_PIXELS @ np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
OF_FILTERS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float64)
SUMS = tuple((row, column) for row in range(4) for column in range(4))
DENSE_LAYERS = 5
TOGETHER = 4  # steps whose first convolutions are one


class Conditions(nn.Cell):
    """lr_image (N, 3, h, w) in [0, 1] -> for each level, from the largest, what its steps read."""

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper) -> None:
        super().__init__()

        def layer(name: str) -> nn.Conv2d:
            return convolution(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

        self.conv_first, self.trunk_conv = layer("RRDB.conv_first"), layer("RRDB.trunk_conv")
        self.blocks = nn.CellList([Block(arrays, f"RRDB.RRDB_trunk.{number}") for number in range(hyper.num_blocks)])
        self.doublings, self.stack = round(math.log2(hyper.scale)), hyper.stack
        self.upconvs = nn.CellList([layer(f"RRDB.upconv{number}") for number in range(1, self.doublings)])
        self.activation = nn.LeakyReLU(SLOPE)
        self.half_level = hyper.levels > self.doublings
        self.mean_of_four = per_channel(np.full((2, 2), 0.25), hyper.num_features, stride=2)
        self.first_of_four = per_channel(np.ones((1, 1)), len(self.stack) * hyper.num_features, stride=2)
        self.tiles = nn.CellList([make_tiles(hyper, number) for number in range(hyper.levels)])

    def construct(self, lr_image: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        x, results = self.conv_first(lr_image), ()
        for number in range(len(self.blocks)):
            x = self.blocks[number](x)
            if number in self.stack:
                results = (*results, x)
        features, stacked = x + self.trunk_conv(x), ops.concat(results, 1)
        found = ((features, stacked),)
        if self.half_level:
            found = (*found, (self.mean_of_four(features), self.first_of_four(stacked)))
        for upconv in self.upconvs:
            features = self.activation(upconv(enlarge(features)))
            found = ((features, stacked), *found)
            stacked = enlarge(stacked)
        conditions = ()
        for number in range(len(self.tiles)):
            own, stacked = found[number]
            conditions = (*conditions, self.tiles[number](own, stacked))
        return conditions


class Block(nn.Cell):
    """RRDB: three dense blocks, identity around them."""

    def __init__(self, arrays: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__()
        self.dense = nn.CellList([DenseSum(arrays, f"{name}.RDB{number}") for number in (1, 2, 3)])

    def construct(self, x: Tensor) -> Tensor:
        y = x
        for dense in self.dense:
            y = dense(y)
        return x + RESIDUAL * y


class DenseSum(nn.Cell):
    """ResidualDenseBlock_5C; the factor of its residual branch is in the last filters."""

    def __init__(self, arrays: Mapping[str, np.ndarray], name: str) -> None:
        super().__init__()
        layers = []
        for number in range(1, DENSE_LAYERS + 1):
            weight, bias = (arrays[f"{name}.conv{number}.{kind}"] for kind in ("weight", "bias"))
            factor = RESIDUAL if number == DENSE_LAYERS else 1
            layers.append(convolution(weight * factor, bias * factor))
        self.layers, self.activation = nn.CellList(layers), nn.LeakyReLU(SLOPE)

    def construct(self, x: Tensor) -> Tensor:
        seen = (x,)
        for number in range(DENSE_LAYERS - 1):
            seen = (*seen, self.activation(self.layers[number](ops.concat(seen, 1))))
        return x + self.layers[DENSE_LAYERS - 1](ops.concat(seen, 1))


# ------------------------------------------------------------------------------ the features, and a step's view of them


class Tiles(nn.Cell):
    """The sums over all tiles of 4x4 pixels, 2 apart, of the features beside the stacked ones.

    Args:
        own, stacked: channels of each.
        enlarged: whether the stacked features have half the size, each of their pixels standing for four.
    """

    def __init__(self, own: int, stacked: int, enlarged: bool) -> None:
        super().__init__()
        kernels = {place: np.outer(OF_PIXELS[place[0]], OF_PIXELS[place[1]]) for place in SUMS}
        self.own = nn.CellList([per_channel(kernels[place], own, 2, 1) for place in SUMS])
        if enlarged:
            kernels = {place: np.outer(OF_ENLARGED[place[0]], OF_ENLARGED[place[1]]) for place in SUMS}
        stride = 1 if enlarged else 2
        self.present = tuple(bool(kernels[place].any()) for place in SUMS)
        self.stacked = nn.CellList(
            [per_channel(kernels[place], stacked, stride, 1) for place in SUMS if kernels[place].any()]
        )

    def construct(self, own: Tensor, stacked: Tensor) -> tuple[Tensor, ...]:
        """(N, own, 2h, 2w) and (N, stacked, 2h, 2w) or (N, stacked, h, w) -> 16 of (N, own + stacked or own, h, w)."""
        sums, place = (), 0
        for number in range(len(SUMS)):
            found = self.own[number](own)
            if self.present[number]:
                found = ops.concat((found, self.stacked[place](stacked)), 1)
                place += 1
            sums = (*sums, found)
        return sums


class Whole(nn.Cell):
    """The features beside the stacked ones, both of one size, as they are: for sides that may be odd."""

    def construct(self, own: Tensor, stacked: Tensor) -> tuple[Tensor, ...]:
        return (ops.concat((own, stacked), 1),)


class Readers(nn.Cell):
    """The first convolutions of a level's steps, of several steps together: fewer and larger operators.

    All of them together would be a picture of 2 K hidden_channels in memory.

    Args:
        weight, bias: (K, out, condition, 3, 3) and (K, out).
        level: its number.

    Attributes:
        groups: the steps that are read together.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, hyper: Hyper, level: int) -> None:
        super().__init__()
        self.groups = tuple(
            tuple(range(first, min(first + TOGETHER, hyper.steps))) for first in range(0, hyper.steps, TOGETHER)
        )
        cells = []
        for steps in self.groups:
            filters, biases = np.concatenate(weight[list(steps)]), np.concatenate(bias[list(steps)])
            if has_even_sides(hyper, level):
                cells.append(ReadTiles(filters, biases, hyper.num_features, doublings_of(hyper, level) > 0))
            else:
                cells.append(ReadWhole(filters, biases))
        self.convolutions = nn.CellList(cells)

    def construct(self, condition: tuple[Tensor, ...], group: int) -> tuple[Tensor, ...]:
        """For each step of the group what fFeatures and what fAffine makes of the features (N, hidden, h', w')."""
        return ops.chunk(self.convolutions[group](condition), 2 * len(self.groups[group]), 1)


class ReadTiles(nn.Cell):
    """A 3x3 convolution of the features from the sums of their tiles."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, own: int, enlarged: bool) -> None:
        super().__init__()
        products = []
        for row, column in SUMS:
            filters = np.einsum("ocij,i,j->oc", weight.astype(np.float64), OF_FILTERS[row], OF_FILTERS[column])
            if enlarged and not (OF_ENLARGED[row].any() and OF_ENLARGED[column].any()):
                filters = filters[:, :own]
            products.append(convolution(filters[:, :, None, None], bias if row == column == 1 else None))
        self.products, self.join = nn.CellList(products), ops.DepthToSpace(2)

    def construct(self, sums: tuple[Tensor, ...]) -> Tensor:
        rows = ((), ())
        for column in range(4):
            a, b, c, d = (self.products[4 * row + column](sums[4 * row + column]) for row in range(4))
            rows = ((*rows[0], a + b + c), (*rows[1], b - c - d))
        pixels = ()
        for a, b, c, d in rows:
            pixels = (*pixels, a + b + c, b - c - d)
        return self.join(ops.concat(pixels, 1))


class ReadWhole(nn.Cell):
    """A 3x3 convolution of the features as they are."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.convolution = convolution(weight, bias)

    def construct(self, features: tuple[Tensor, ...]) -> Tensor:
        return self.convolution(features[0])


def doublings_of(hyper: Hyper, level: int) -> int:
    """How often the features of a level are enlarged to twice the LR size; -1: they are halved."""
    return round(math.log2(hyper.scale)) - 1 - level


def has_even_sides(hyper: Hyper, level: int) -> bool:
    """Whether a level's sides are multiples of 2 for all LR pictures that the network takes."""
    return level < hyper.levels - 1 or doublings_of(hyper, level) > 0


def make_tiles(hyper: Hyper, level: int) -> nn.Cell:
    """What brings the features of a level, from 0, into the form that its steps read."""
    stacked = len(hyper.stack) * hyper.num_features
    if has_even_sides(hyper, level):
        return Tiles(hyper.num_features, stacked, doublings_of(hyper, level) > 0)
    return Whole()


def convolution(filters: np.ndarray, biases: np.ndarray | None = None, stride: int = 1) -> nn.Conv2d:
    """A convolution with filters (out, in, k, k), with `same` zero padding at stride 1."""
    out_channels, in_channels, side, _ = filters.shape
    return nn.Conv2d(
        in_channels,
        out_channels,
        side,
        stride,
        pad_mode="pad",
        padding=(side - 1) // 2 if stride == 1 else 0,
        has_bias=biases is not None,
        weight_init=Tensor(np.ascontiguousarray(filters, np.float32)),
        bias_init=None if biases is None else Tensor(np.ascontiguousarray(biases, np.float32)),
    )


def per_channel(kernel: np.ndarray, channels: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """Every channel by itself convolved with one kernel (k, k)."""
    filters = np.broadcast_to(kernel.astype(np.float32), (channels, 1, *kernel.shape))
    return nn.Conv2d(
        channels, channels, len(kernel), stride, pad_mode="pad", padding=padding, group=channels, has_bias=False,
        weight_init=Tensor(np.ascontiguousarray(filters)),
    )  # fmt: skip
