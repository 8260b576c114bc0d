"""CSNLN: Image Super-Resolution with Cross-Scale Non-Local Attention (Mei et al., CVPR 2020, arXiv:2006.01424).

One cell, self-exemplars mining, is applied `depth` times with the same weights; the convolution at the end reads the HR
features of all times (figure 2). Parameters are named as in the authors' files, which therefore load by name.
"""

from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError
from common.training import Row, settled

from .attention import CrossScaleAttention, NonLocalAttention
from .public import MeanShift, ResBlock, conv, conv_prelu, reduce, upsample

COLORS = 3


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters, saved in every checkpoint; the cell is applied `depth` times."""

    scale: int = 2
    n_feats: int = 128
    depth: int = 12

    def __post_init__(self) -> None:
        if self.scale not in (2, 3, 4):
            raise UserError(f"CSNLN is built for the scales 2, 3 and 4, not {self.scale}")
        if self.n_feats < 2 or self.n_feats % 2 or self.depth < 1:
            raise UserError(f"no CSNLN has {self.n_feats} features (an even number) and depth {self.depth}")

    @property
    def attention_scale(self) -> int:
        """Return the scale between compared patches (x4 is two steps of x2), of which LR sides must be multiples."""
        return 3 if self.scale == 3 else 2


class MultisourceProjection(nn.Cell):
    """Mutual-projected fusion (section 3.3), (N, C, H, W) -> (N, C, sH, sW).

    The in-scale attention's result, upscaled, and the refined difference of the cross-scale one's from it.
    """

    def __init__(self, channels: int, scale: int, rng: np.random.Generator, rows: int = 0) -> None:
        super().__init__()
        self.up_attention = CrossScaleAttention(channels, scale, rng, rows)
        self.down_attention = NonLocalAttention(channels, rng, rows)
        self.upsample = upsample(channels, scale, rng)
        self.encoder = ResBlock(channels, rng)

    def construct(self, x: Tensor) -> Tensor:
        return self.projected((), x)[0]

    def projected(self, known: Row, x: Tensor) -> Row:
        """Return the same, and what may be known of it (`common.training.settled`)."""
        found = settled(self.down_attention(x), known, 0)
        upsampled = settled(self.upsample[0](found), known, 1)
        in_scale, encoder = self.upsample[1](upsampled), self.encoder.body
        difference = settled(self.up_attention(x) - in_scale, known, 2)
        inside = settled(encoder[0](difference), known, 3)
        estimate = settled(in_scale + (difference + encoder[2](encoder[1](inside))), known, 4)
        return estimate, found, upsampled, difference, inside, estimate


class SEM(nn.Cell):
    """Self-exemplars mining (section 3.3): an estimate of the HR features, corrected by how far it is from the LR ones
    when downscaled again, and the LR features for the next time."""

    def __init__(self, channels: int, scale: int, rng: np.random.Generator, rows: int = 0) -> None:
        super().__init__()
        first = 3 if scale == 3 else 2
        self.twice = scale == 4
        self.multi_source_projection = MultisourceProjection(channels, first, rng, rows)
        self.down_sample_1 = reduce(channels, first, rng)
        self.error_encode = upsample(channels, first, rng)
        if self.twice:
            self.multi_source_projection_2 = MultisourceProjection(channels, 2, rng, rows)
            self.down_sample_3 = reduce(channels, 4, rng)
            self.down_sample_4 = reduce(channels, 4, rng)
            self.error_encode_2 = upsample(channels, 4, rng)
        else:
            self.down_sample_2 = reduce(channels, first, rng)
        self.post_conv = conv_prelu(channels, channels, 3, rng)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> the same shape, and the estimate (N, C, sH, sW)."""
        return self.estimated((), x)[:2]

    def estimated(self, known: Row, x: Tensor) -> Row:
        """Return the same, and what may be known of it (`common.training.settled`)."""
        found = self.multi_source_projection.projected(known, x)
        smaller = settled(self.down_sample_1[0](found[0]), known, 5)
        error = settled(self.error_encode[0](x - self.down_sample_1[1](smaller)), known, 6)
        estimate, kept = found[0] + self.error_encode[1](error), (*found[1:], smaller, error)
        if self.twice:
            known = known[7:]
            found = self.multi_source_projection_2.projected(known, estimate)
            smaller = settled(self.down_sample_3[0](found[0]), known, 5)
            error = settled(self.error_encode_2[0](x - self.down_sample_3[1](smaller)), known, 6)
            estimate, kept = found[0] + self.error_encode_2[1](error), (*kept, *found[1:], smaller, error)
            smaller = settled(self.down_sample_4[0](estimate), known, 7)
            following = self.down_sample_4[1](smaller)
        else:
            smaller = settled(self.down_sample_2[0](estimate), known, 7)
            following = self.down_sample_2[1](smaller)
        last = settled(self.post_conv[0](following), known, 8)
        return self.post_conv[1](last), estimate, *kept, smaller, last


class CSNLN(nn.Cell):
    """LR image (N, 3, H, W) in [0, 1] -> HR image (N, 3, sH, sW), not clipped.

    The attentions take so many `rows` of queries at a time, 0: all; it changes the memory, not the result.
    """

    def __init__(self, hyper: Hyper, seed: int = 0, rows: int = 0) -> None:
        super().__init__()
        self.hyper, self.depth, rng = hyper, hyper.depth, np.random.default_rng(seed)
        channels = hyper.n_feats
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.SequentialCell(conv_prelu(COLORS, channels, 3, rng), conv_prelu(channels, channels, 3, rng))
        self.SEM = SEM(channels, hyper.scale, rng, rows)
        self.tail = nn.SequentialCell(conv(channels * hyper.depth, COLORS, 3, rng))

    def construct(self, lr_image: Tensor) -> Tensor:
        x, estimates = self.head(self.sub_mean(lr_image)), ()
        for _ in range(self.depth):
            x, estimate = self.SEM(x)
            estimates = (*estimates, estimate)
        return self.add_mean(self.tail(ops.concat(estimates, 1)))


def count_parameters(network: nn.Cell) -> int:
    """Count the values as published, with the mean colours."""
    return sum(parameter.size for parameter in network.get_parameters())
