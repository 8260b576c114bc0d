"""The noise predictor (SRDiff, section 3.3): a U-Net that is told the step and the encoder's features."""

import math
from itertools import pairwise

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from .layers import Mish, conv, conv_transpose, dense

LONGEST_PERIOD = 10_000  # of the sines that stand for a step, over 2 pi
COLORS = 3


class Block(nn.Cell):
    """3x3 convolution with reflection padding, and Mish."""

    def __init__(self, in_channels: int, out_channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.block = nn.SequentialCell(nn.ReflectionPad2d(1), conv(in_channels, out_channels, 3, rng), Mish())

    def construct(self, x: Tensor) -> Tensor:
        return self.block(x)


class ResnetBlock(nn.Cell):
    """Two blocks, the step's embedding added between them; around them the identity or a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.mlp = nn.SequentialCell(Mish(), dense(time_channels, out_channels, rng))
        self.block1 = Block(in_channels, out_channels, rng)
        self.block2 = Block(out_channels, out_channels, rng)
        same = in_channels == out_channels
        self.res_conv = nn.Identity() if same else conv(in_channels, out_channels, 1, rng)

    def construct(self, x: Tensor, time: Tensor) -> Tensor:
        shift = self.mlp(time)
        return self.block2(self.block1(x) + shift.reshape((-1, shift.shape[1], 1, 1))) + self.res_conv(x)


class Downsample(nn.Cell):
    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.conv = nn.SequentialCell(nn.ReflectionPad2d(1), conv(channels, channels, 3, rng, stride=2))

    def construct(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Cell):
    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.conv = nn.SequentialCell(conv_transpose(channels, channels, 2, rng))

    def construct(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Unet(nn.Cell):
    """eps of x_t.

    Levels downwards: two residual blocks, then half the size, but for the last level. The features (`condition`
    channels) are added behind the blocks of the first level. Upwards as many less one; the first level has no skip
    connection. The step's embedding has as many `channels` as the first level.
    """

    def __init__(
        self, channels: int, multiples: tuple[int, ...], condition: int, scale: int, rng: np.random.Generator
    ) -> None:
        super().__init__()
        widths = list(pairwise((COLORS, *(channels * multiple for multiple in multiples))))
        self.cond_proj = conv_transpose(condition, channels, scale, rng)
        self.mlp = nn.SequentialCell(dense(channels, 4 * channels, rng), Mish(), dense(4 * channels, channels, rng))
        self.downs = nn.CellList([
            nn.CellList([
                ResnetBlock(before, after, channels, rng),
                ResnetBlock(after, after, channels, rng),
                Downsample(after, rng) if level < len(widths) - 1 else nn.Identity(),
            ])
            for level, (before, after) in enumerate(widths)
        ])  # fmt: skip
        self.mid_block1 = ResnetBlock(widths[-1][1], widths[-1][1], channels, rng)
        self.mid_block2 = ResnetBlock(widths[-1][1], widths[-1][1], channels, rng)
        self.ups = nn.CellList([
            nn.CellList([
                ResnetBlock(2 * after, before, channels, rng),
                ResnetBlock(before, before, channels, rng),
                Upsample(before, rng),
            ])
            for before, after in reversed(widths[1:])
        ])  # fmt: skip
        self.final_conv = nn.SequentialCell(Block(channels, channels, rng), conv(channels, COLORS, 1, rng))
        half = channels // 2
        rates = np.exp(-math.log(LONGEST_PERIOD) / (half - 1) * np.arange(half))
        self.rates = Tensor(rates[None], ms.float32)

    def project(self, features: Tensor) -> Tensor:
        """Upscale features (N, condition, h, w) to what is added to the first level, (N, channels, sh, sw)."""
        return self.cond_proj(features)

    def embed(self, t: Tensor) -> Tensor:
        """Steps (N,) -> sines and cosines (N, channels)."""
        angles = t.astype(ms.float32).reshape((-1, 1)) * self.rates
        return ops.concat((ops.sin(angles), ops.cos(angles)), 1)

    def construct(self, x: Tensor, t: Tensor, projected: Tensor) -> Tensor:
        """x_t (N, 3, H, W), steps (N,), `project`'s result -> eps (N, 3, H, W); H, W multiples of 2^(levels - 1)."""
        time, skips = self.mlp(self.embed(t)), ()
        for level, (first, second, down) in enumerate(self.downs):
            x = second(first(x, time), time)
            if level == 0:
                x = x + projected
            skips = (*skips, x)
            x = down(x)
        x = self.mid_block2(self.mid_block1(x, time), time)
        for level, (first, second, up) in enumerate(self.ups):
            x = ops.concat((x, skips[-1 - level]), 1)
            x = up(second(first(x, time), time))
        return self.final_conv(x)
