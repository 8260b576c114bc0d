"""SRFlow: Learning the Super-Resolution Space with Normalizing Flow (Lugmayr et al., ECCV 2020, arXiv:2006.14200).

The network of the paper's figure 2: an RRDB encoder reads the LR image, a conditional flow maps the HR image to
standard normal latents. Run backwards with random latents it gives one of the many HR images that fit the LR image.

Every layer keeps one contract: forward(x, ...) -> (y, logdet) and inverse(y, ...) -> (x, logdet) with x and y
(N, C, H, W), where logdet (N,) is the natural logarithm of the absolute determinant of the Jacobian in that direction.
Parameters are named as in the authors' files, which therefore load by name.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from common import UserError
from common.checkpoint import load_into
from common.runtime import graph_mode

from .Flow import Condition
from .FlowUpsamplerNet import COLORS, FlowUpsamplerNet
from .RRDBNet import RRDBNet

UNREAD = ("flowUpsamplerNet.f.0.weight", "flowUpsamplerNet.f.0.bias")
"""Parameters that nothing reads."""

LARGEST_BOUND = 1e6


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters, from which the network is built again; saved in every checkpoint.

    Attributes:
        scale: 2, 4 or 8.
        num_features, num_blocks, growth: of the RRDB encoder.
        stack: numbers of the blocks, from 0, whose results the flow reads besides the encoder's features.
        levels, steps: L and K of the flow.
        eps: smallest scale of a coupling.
        bound: samples keep all values inside the flow in -bound ... bound, see `SRFlowNet.sample`.
    """

    scale: int = 4
    num_features: int = 64
    num_blocks: int = 23
    growth: int = 32
    stack: tuple[int, ...] = (1, 8, 15, 22)
    levels: int = 3
    steps: int = 16
    hidden_channels: int = 64
    eps: float = 1e-4
    bound: float = 64.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stack", tuple(self.stack))  # JSON gives a list
        if self.scale not in (2, 4, 8):
            raise UserError(f"SRFlow is built for the scales 2, 4 and 8, not {self.scale}")
        if min(self.num_features, self.num_blocks, self.growth, self.steps, self.hidden_channels) < 1:
            raise UserError(
                f"no SRFlow has {self.num_features} features, {self.num_blocks} blocks, growth {self.growth}, "
                f"{self.steps} steps and {self.hidden_channels} hidden channels"
            )
        most = round(math.log2(self.scale)) + 1
        if not 1 <= self.levels <= most:
            raise UserError(
                f"at x{self.scale} the flow has 1 to {most} levels, the last at half the LR size, not {self.levels}"
            )
        if not self.stack or not all(0 <= block < self.num_blocks for block in self.stack):
            raise UserError(f"stack numbers blocks from 0 to {self.num_blocks - 1}, not {list(self.stack)}")
        if not 0 < self.eps < 1:
            raise UserError(f"eps bounds scales of about 0.9 below and lies in (0, 1), not {self.eps}")
        if not 1 <= self.bound <= LARGEST_BOUND:
            raise UserError(f"bound limits values of about 10 and lies in 1 ... {LARGEST_BOUND:g}, not {self.bound}")

    @property
    def condition(self) -> int:
        """Return the channels that the flow reads in each level."""
        return self.num_features * (1 + len(self.stack))

    @property
    def lr_multiple(self) -> int:
        """Return what the sides of LR images must be multiples of."""
        return max(1, 2**self.levels // self.scale)

    def latent_shapes(self, lr_height: int, lr_width: int) -> tuple[tuple[int, int, int], ...]:
        """(channels, height, width) of each latent for an LR image of this size."""
        shapes, channels = [], COLORS
        for level in range(1, self.levels + 1):
            channels *= 4
            side = lr_height * self.scale >> level, lr_width * self.scale >> level
            if level < self.levels - 1:
                channels //= 2
                shapes.append((channels, *side))
        return (*shapes, (channels, *side))


PRESETS: Mapping[str, Hyper] = {  # the authors' networks
    "SRFlow_DF2K_4X": Hyper(),
    "SRFlow_DF2K_8X": Hyper(scale=8, stack=(1, 3, 5, 7), levels=4),
    "SRFlow_CelebA_8X": Hyper(scale=8, num_blocks=8, stack=(1, 3, 5, 7), levels=4),
}


class SRFlowNet(nn.Cell):
    def __init__(self, hyper: Hyper, seed: int = 0) -> None:
        super().__init__()
        self.hyper, rng = hyper, np.random.default_rng(seed)
        self.RRDB = RRDBNet(hyper.num_features, hyper.num_blocks, hyper.growth, hyper.scale, rng)
        self.flowUpsamplerNet = FlowUpsamplerNet(
            hyper.levels, hyper.steps, hyper.condition, hyper.hidden_channels, hyper.eps, rng
        )

    def conditions(self, lr_image: Tensor) -> tuple[Condition, ...]:
        """LR image (N, 3, h, w) -> what each level reads, from the largest to half the LR size."""
        return self.RRDB.conditions(lr_image, self.hyper.stack, self.hyper.levels)

    def forward(self, hr_image: Tensor, lr_image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """HR and LR images in [0, 1] -> latents (see `Hyper.latent_shapes`) and log-determinant (N,)."""
        return self.flowUpsamplerNet.forward(hr_image, self.conditions(lr_image))

    def inverse(self, latents: Sequence[Tensor], lr_image: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and LR image -> HR image (N, 3, sh, sw), not clipped, and log-determinant (N,)."""
        return self.flowUpsamplerNet.inverse(latents, self.conditions(lr_image))

    def sample(self, latents: Sequence[Tensor], lr_image: Tensor) -> Tensor:
        """Return the HR image (N, 3, sh, sw) of latents that were drawn, not clipped.

        Where latents are less likely than those of images, a coupling meets values that it has never seen and may
        answer with its smallest scale: the inverse then multiplies by 1/eps, and in a few steps the values overflow. In
        images they stay at about 10 (15.3 at most with the demo weights); limited to `Hyper.bound` after each coupling
        they cannot run away, and samples that do not reach it are the same as those of `inverse`.
        """
        return self.flowUpsamplerNet.inverse(latents, self.conditions(lr_image), self.hyper.bound)[0]

    def initialise(self, hr_image: Tensor, lr_image: Tensor) -> None:
        """Set every ActNorm that has not been set from the first training batch (Glow, section 3.1)."""
        with graph_mode(False):
            self.flowUpsamplerNet.initialise(hr_image, self.conditions(lr_image))


def load_weights(network: SRFlowNet, weights: Mapping[str, np.ndarray], source: str | Path) -> None:
    """Load the authors' weights or ours; what nothing reads may be missing or of another shape.

    Raises:
        CheckpointError: they are another network's.
    """
    unread = {p.name: p.asnumpy() for p in network.get_parameters() if p.name in UNREAD}
    read = {name: array for name, array in weights.items() if name not in unread or array.shape == unread[name].shape}
    load_into(network, unread | read, source=source)


def draw_latents(
    hyper: Hyper, lr_shape: tuple[int, int, int], heat: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw normal latents of deviation `heat` (0 is the most likely; the paper's 0.8 to 0.9) for LR (N, h, w)."""
    number, *sides = lr_shape
    shapes = hyper.latent_shapes(*sides)
    return [np.float32(heat) * rng.standard_normal((number, *shape), np.float32) for shape in shapes]


def count_parameters(network: nn.Cell) -> int:
    return sum(parameter.size for parameter in network.get_parameters())
