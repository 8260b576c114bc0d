"""WDSR: Wide Activation for Efficient and Accurate Image Super-Resolution (Yu et al., arXiv:1808.08718).

The network of the paper's figure 1: a head convolution, residual blocks with wide activation, a tail convolution and
a 5x5 skip from the input, added before one pixel shuffle. Every convolution carries weight normalisation, which the
older MindSpore port left out. Two conventions of the authors are kept, told apart by `normalization`:

    ntire2018   x -> (x - mean * 255) / 127.5, DIV2K's mean colour (the challenge code, WDSR-A and WDSR-B)
    ychfan      x -> x / 255 - 0.5 (the later re-implementation, WDSR-A), with its own initial filter lengths
"""

from dataclasses import dataclass, replace

import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError

from .common import BlockA, BlockB, WeightNormConv2d

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's training images, in [0, 1]
EXPANSION = {"A": 4.0, "B": 6.0}
SCALES = (1, 2, 3, 4)


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters, from which the network is built again; saved in every checkpoint.

    Attributes:
        variant: "A" (two 3x3 per block) or "B" (1x1, 1x1, 3x3 with a linear low rank).
        scale: 1 to 4.
        expand, linear: width of the activation, and rank of WDSR-B's bottleneck, over num_features.
        res_scale: factor on each residual branch; 0.1 steadies very deep nets.
        normalization: "ntire2018" or "ychfan"; rgb_mean in [0, 1] is for the former.
        rgb_range: value of white in the input and the output.
        num_colors: 3 for RGB, 1 for luma.
    """

    variant: str = "B"
    scale: int = 2
    num_features: int = 64
    num_blocks: int = 32
    expand: float = 6.0
    linear: float = 0.8
    res_scale: float = 1.0
    normalization: str = "ntire2018"
    rgb_range: float = 255.0
    rgb_mean: tuple[float, float, float] = RGB_MEAN
    num_colors: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "rgb_mean", tuple(self.rgb_mean))  # JSON gives a list
        if self.variant not in EXPANSION:
            raise UserError(f"WDSR has the variants A and B, not {self.variant!r}")
        if self.scale not in SCALES:
            raise UserError(f"WDSR is built for the scales 1, 2, 3 and 4, not {self.scale}")
        if self.normalization not in ("ntire2018", "ychfan"):
            raise UserError(f"normalization is ntire2018 or ychfan, not {self.normalization!r}")
        if self.num_colors not in (1, 3) or len(self.rgb_mean) != 3:
            raise UserError(f"WDSR takes 1 or 3 colours with 3 means, not {self.num_colors} with {self.rgb_mean}")
        widths = self.num_features, self.num_blocks, self.num_features * self.expand, self.num_features * self.linear
        if not min(widths) >= 1:
            raise UserError(f"no WDSR has {self.num_blocks} blocks, {self.num_features} features, expand {self.expand}")
        numbers = self.res_scale, self.rgb_range, *self.rgb_mean
        if not (self.rgb_range > 0 and np.isfinite(numbers).all()):
            raise UserError(f"res_scale, rgb_range and rgb_mean must be finite, rgb_range above 0, not {numbers}")

    @property
    def shift_and_width(self) -> tuple[np.ndarray, float]:
        """Return what makes (x - shift) / width of the input; shift has the shape (1, colors, 1, 1)."""
        mean = np.array(self.rgb_mean if self.normalization == "ntire2018" else (0.5, 0.5, 0.5), np.float32)
        if self.num_colors == 1:
            mean = mean.mean(keepdims=True)
        width = self.rgb_range / 2 if self.normalization == "ntire2018" else self.rgb_range
        return mean.reshape(1, -1, 1, 1) * np.float32(self.rgb_range), width

    @property
    def receptive_radius(self) -> int:
        """Return the LR pixels on each side that can change one output pixel; so much overlap makes tiles exact."""
        per_block = 2 if self.variant == "A" else 1
        return max(2, 2 + per_block * self.num_blocks)


class WDSR(nn.Cell):
    """The training form, with weight normalisation.

    Input (N, colors, H, W) and output (N, colors, scale*H, scale*W), float32 in 0..rgb_range, not clipped.
    """

    def __init__(self, hyper: Hyper, seed: int = 0) -> None:
        super().__init__()
        self.hyper = hyper
        rng = np.random.default_rng(seed)
        colors, features, sub_pixels = hyper.num_colors, hyper.num_features, hyper.num_colors * hyper.scale**2
        gain = 1.0 if hyper.normalization == "ychfan" else None
        self.head = nn.SequentialCell(WeightNormConv2d(colors, features, 3, rng, gain))
        self.body = nn.SequentialCell(*(build_block(hyper, rng) for _ in range(hyper.num_blocks)))
        self.tail = nn.SequentialCell(WeightNormConv2d(features, sub_pixels, 3, rng, gain))
        self.skip = nn.SequentialCell(WeightNormConv2d(colors, sub_pixels, 5, rng, gain))
        shift, self.width = hyper.shift_and_width
        self.shift = Tensor(shift)

    def construct(self, lr_image: Tensor) -> Tensor:
        x = (lr_image - self.shift) / self.width
        sub_pixels = self.tail(self.body(self.head(x))) + self.skip(x)
        return ops.pixel_shuffle(sub_pixels, self.hyper.scale) * self.width + self.shift


def build_block(hyper: Hyper, rng: np.random.Generator) -> nn.Cell:
    if hyper.variant == "B":
        return BlockB(hyper.num_features, hyper.expand, hyper.linear, hyper.res_scale, rng)
    gains = (2.0, hyper.num_blocks**-0.5) if hyper.normalization == "ychfan" else (None, None)
    return BlockA(hyper.num_features, hyper.expand, hyper.res_scale, rng, gains)


def count_parameters(network: nn.Cell) -> int:
    return sum(int(np.prod(parameter.shape)) for parameter in network.trainable_params())


PRESETS = {
    "wdsr_b_small": replace(Hyper(), num_features=32, num_blocks=16),
    "wdsr_b": Hyper(),
    "wdsr_a": replace(Hyper(), variant="A", num_features=32, num_blocks=16, expand=EXPANSION["A"]),
}
"""Named sizes; the scale is given apart."""
