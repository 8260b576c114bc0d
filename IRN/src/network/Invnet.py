"""IRN: Invertible Image Rescaling (Xiao et al., ECCV 2020, arXiv:2005.05650).

One invertible network goes from the high-resolution image to the low-resolution image and z, everything else, which
training makes standard normal; run backwards with any such z it upscales. Figure 2 of the paper: for each factor of two
a Haar transform, then couplings of the three low-frequency channels with the rest.

Every layer keeps one contract: forward(x) -> (y, logdet) and inverse(y) -> (x, logdet), where logdet (N,) is the
natural logarithm of the absolute determinant of the Jacobian in that direction.
"""

import math
from dataclasses import dataclass

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common import UserError

from .util import DenseBlock

COLORS = 3
BLOCKS_PER_LEVEL = {2: (8,), 3: (12,), 4: (8, 8), 8: (8, 8, 8)}  # the authors' networks
HAAR = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32)
"""Rows: mean, and differences of columns, rows and diagonals; columns: the pixels of a 2x2 square, row by row."""


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters, from which the network is built again; saved in every checkpoint.

    Attributes:
        scale: 2, 4 or 8 by Haar transforms; 3 by a learned transform of 3x3 squares.
        block_num: couplings after each transform.
        growth: channels that each convolution of a DenseBlock adds.
        clamp: bound of the logarithm of each coupling's factor.
    """

    scale: int = 4
    block_num: tuple[int, ...] = (8, 8)
    growth: int = 32
    clamp: float = 1.0
    init: str = "xavier"

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_num", tuple(self.block_num))  # JSON gives a list
        if self.scale not in BLOCKS_PER_LEVEL:
            raise UserError(f"IRN is built for the scales 2, 3, 4 and 8, not {self.scale}")
        levels = len(BLOCKS_PER_LEVEL[self.scale])
        if len(self.block_num) != levels or min(self.block_num) < 1 or self.growth < 1:
            raise UserError(
                f"IRN x{self.scale} takes {levels} number(s) of blocks and a growth, all 1 or more, "
                f"not {list(self.block_num)} and {self.growth}"
            )
        if not 0 < self.clamp < math.inf:
            raise UserError(f"clamp bounds a logarithm and must be above 0, not {self.clamp}")
        if self.init not in ("xavier", "kaiming"):
            raise UserError(f"init is xavier or kaiming, not {self.init!r}")

    @property
    def z_channels(self) -> int:
        return COLORS * (self.scale**2 - 1)

    @property
    def receptive_radius(self) -> int:
        """Return the LR pixels on each side that can change one output pixel, down or up: so much overlap is exact.

        A DenseBlock reaches 5 pixels of its level. Forwards F adds to the low frequencies what it sees, and H and G see
        the sum: 10 pixels a coupling; backwards G and H come first and F sees theirs: 10, too.
        """
        if self.scale == 3:
            return 10 * self.block_num[0]
        return sum(-(-10 * blocks // 2**level) for level, blocks in enumerate(reversed(self.block_num)))


class HaarDownsampling(nn.Cell):
    """2x2 Haar transform of every channel: C channels -> 4C, first the C means, then the C differences of each kind."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # What the authors' files hold, filters of a grouped convolution; the transform itself is made of faster sums.
        filters = np.tile(HAAR.reshape(4, 1, 2, 2), (channels, 1, 1, 1))
        self.haar_weights = Parameter(Tensor(filters), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, 4C, H/2, W/2)."""
        a, b, c, d = ops.chunk(space_to_depth(x, 2) * 0.25, 4, 1)
        left, right, upper, lower = a + c, b + d, a - c, b - d
        bands = ops.concat((left + right, left - right, upper + lower, upper - lower), 1)
        return bands, constant_logdet(x, math.log(1 / 16) / 4)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 4C, H, W) -> (N, C, 2H, 2W)."""
        mean, columns, rows, diagonals = ops.chunk(y, 4, 1)
        left, right, upper, lower = mean + columns, mean - columns, rows + diagonals, rows - diagonals
        pixels = ops.concat((left + upper, right + lower, left - upper, right - lower), 1)
        return depth_to_space(pixels, 2), constant_logdet(y, math.log(16) / 4)


class ConvDownsampling(nn.Cell):
    """A learned invertible transform of scale x scale squares, the same for every channel, in the order of the Haar.

    It begins as the square's cosine transform (DCT-II), which at 2x2 is the Haar transform.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv_weights = Parameter(Tensor(cosine_transform(scale)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, s^2 C, H/s, W/s)."""
        bands = mix(space_to_depth(x, self.scale), self.conv_weights)
        return bands, constant_logdet(x, 1 / self.scale**2) * self.log_determinant()

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(N, s^2 C, H, W) -> (N, C, sH, sW)."""
        pixels = depth_to_space(mix(y, ops.inverse(self.conv_weights)), self.scale)
        return pixels, constant_logdet(y, -1 / self.scale**2) * self.log_determinant()

    def log_determinant(self) -> Tensor:
        """log |det| of the transform of one square."""
        return ops.slogdet(self.conv_weights)[1]


class InvBlockExp(nn.Cell):
    """Affine coupling of the low-frequency channels with all others (paper, eq. 4 and 5).

    Each direction alone, as it is exported, is in `graphs.py`.

    forward:  low' = low + F(high);  high' = high * exp(rho(low')) + G(low'), rho = clamp * (2 sigmoid(H) - 1)
    """

    def __init__(self, channels: int, hyper: Hyper, rng: np.random.Generator) -> None:
        super().__init__()
        low, high = COLORS, channels - COLORS
        self.clamp = hyper.clamp
        self.F = DenseBlock(high, low, hyper.growth, rng, hyper.init)
        self.G = DenseBlock(low, high, hyper.growth, rng, hyper.init)
        self.H = DenseBlock(low, high, hyper.growth, rng, hyper.init)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = x[:, :COLORS], x[:, COLORS:]
        low = low + self.F(high)
        log_scale = bounded(self.H(low), self.clamp)
        high = high * ops.exp(log_scale) + self.G(low)
        return ops.concat((low, high), 1), log_scale.sum((1, 2, 3))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        low, high = y[:, :COLORS], y[:, COLORS:]
        log_scale = bounded(self.H(low), self.clamp)
        high = (high - self.G(low)) / ops.exp(log_scale)
        low = low - self.F(high)
        return ops.concat((low, high), 1), -log_scale.sum((1, 2, 3))


def bounded(h: Tensor, clamp: float) -> Tensor:
    """rho = clamp * (2 sigmoid(h) - 1) = clamp * tanh(h / 2), by the tanh of half the angle: on CPU, MindSpore's
    sigmoid errs to one side, which sums over an image show, and its tanh is 1 for all above 5."""
    quarter = ops.tanh(0.25 * h)
    return clamp * 2 * quarter / (1 + quarter * quarter)


class InvRescaleNet(nn.Cell):
    """All transforms and couplings."""

    def __init__(self, hyper: Hyper, seed: int = 0) -> None:
        super().__init__()
        self.hyper = hyper
        rng = np.random.default_rng(seed)
        operations, channels = [], COLORS
        for blocks in hyper.block_num:
            operations.append(ConvDownsampling(3) if hyper.scale == 3 else HaarDownsampling(channels))
            channels *= 9 if hyper.scale == 3 else 4
            operations += [InvBlockExp(channels, hyper, rng) for _ in range(blocks)]
        self.operations = nn.CellList(operations)

    def forward(self, hr_image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, sH, sW) in [0, 1] -> (N, 3 s^2, H, W): the LR image, not yet rounded, and z."""
        x, logdet = hr_image, 0.0
        for operation in self.operations:
            x, term = operation.forward(x)
            logdet = logdet + term
        return x, logdet

    def inverse(self, lr_and_z: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3 s^2, H, W) -> (N, 3, sH, sW)."""
        y, logdet = lr_and_z, 0.0
        for place in range(len(self.operations) - 1, -1, -1):  # a slice of the list would rename its parameters
            y, term = self.operations[place].inverse(y)
            logdet = logdet + term
        return y, logdet

    def construct(self, hr_image: Tensor) -> Tensor:
        return self.forward(hr_image)[0]


def levels_of(network: InvRescaleNet) -> list[tuple[nn.Cell, list[InvBlockExp]]]:
    """Return (transform, couplings) of each level, from the HR side."""
    levels: list[tuple[nn.Cell, list[InvBlockExp]]] = []
    for operation in network.operations:
        if isinstance(operation, InvBlockExp):
            levels[-1][1].append(operation)
        else:
            levels.append((operation, []))
    return levels


class Quantization(nn.Cell):
    """Clips to [0, 1] and rounds to 8 bits (halves to even); the gradient passes unchanged, outside [0, 1] as well."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.round(ops.clamp(x, 0.0, 1.0) * 255) / 255

    def bprop(self, x: Tensor, out: Tensor, gradient: Tensor) -> tuple[Tensor]:
        return (gradient,)


def space_to_depth(x: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N, side^2 C, H/side, W/side): all channels' first pixels of a square, then their second ones."""
    n, c, h, w = x.shape
    squares = x.reshape((n, c, h // side, side, w // side, side)).transpose((0, 3, 5, 1, 2, 4))
    return squares.reshape((n, side**2 * c, h // side, w // side))


def depth_to_space(x: Tensor, side: int) -> Tensor:
    n, c, h, w = x.shape
    squares = x.reshape((n, side, side, c // side**2, h, w)).transpose((0, 3, 4, 1, 5, 2))
    return squares.reshape((n, c // side**2, h * side, w * side))


def mix(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply every channel's s^2 values of (N, s^2 C, H, W) by the (s^2, s^2) matrix."""
    n, c, h, w = x.shape
    return ops.matmul(matrix, x.reshape((n, matrix.shape[0], -1))).reshape((n, c, h, w))


def constant_logdet(x: Tensor, per_value: float) -> Tensor:
    """Return (N,): the same for every image, `per_value` for each of its values."""
    n, c, h, w = x.shape
    return ops.full((n,), c * h * w * per_value, dtype=x.dtype)


def cosine_transform(side: int) -> np.ndarray:
    """Return the DCT-II of a square, (side^2, side^2): first the mean; the inverse at 2x2 has entries of 1."""
    k = np.arange(side)
    basis = np.cos(np.pi * (2 * k[None] + 1) * k[:, None] / (2 * side))
    basis[1:] *= math.sqrt(2)
    return (np.kron(basis, basis) / side**2).astype(np.float32)


def count_parameters(network: nn.Cell) -> int:
    """Count the values as published, that is with the constants of the Haar transforms."""
    return sum(math.prod(parameter.shape) for parameter in network.get_parameters())
