"""The flow itself (SRFlow, figure 2): levels of squeeze, transition steps, flow steps and split.

Forwards it turns an HR image into latents, which training makes standard normal; backwards latents into an image.
Both ways it is told the features of the LR image.
"""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn

from .Flow import Condition, SqueezeLayer, joined
from .FlowStep import FlowStep, TransitionStep, advance, collect, go_back
from .RRDBNet import default_conv3x3
from .Split import Split2d

COLORS = 3
TRANSITION_STEPS = 2
PLAIN = 1 + TRANSITION_STEPS  # layers of a level before its flow steps: they read no features
UNUSED_CHANNELS = 96


class FlowUpsamplerNet(nn.Cell):
    """All levels in one list, numbered as in the authors' files.

    A level is squeeze, two transition steps, `steps` (the paper's K) flow steps, and a split in all but the last two
    levels. The paper splits in all but the last one; the authors' networks do not. Couplings read `condition` channels.
    """

    def __init__(
        self, levels: int, steps: int, condition: int, hidden_channels: int, eps: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.levels, self.steps, self.splits = levels, steps, max(levels - 2, 0)
        layers, channels = [], COLORS
        for level in range(levels):
            channels *= 4
            layers += [SqueezeLayer(), *(TransitionStep(channels, rng) for _ in range(TRANSITION_STEPS))]
            layers += [FlowStep(channels, condition, hidden_channels, eps, rng) for _ in range(steps)]
            if level < self.splits:
                layers.append(Split2d(channels))
                channels //= 2
        self.layers, self.eps = nn.CellList(layers), eps
        self.flow_steps = tuple(collect(self.level_steps(level)) for level in range(levels))
        # Nothing reads it, but the authors' files have it and their number of parameters counts it.
        self.f = nn.SequentialCell(default_conv3x3(condition, UNUSED_CHANNELS, rng))

    def forward(self, hr_image: Tensor, conditions: Sequence[Condition]) -> tuple[tuple[Tensor, ...], Tensor]:
        """HR image (N, 3, H, W) in [0, 1] -> the latents, those of the splits first, and the log-determinant (N,).

        `conditions` are what each level reads, at half, a quarter ... of the image's sides.
        """
        x, latents, logdet = hr_image, (), 0.0
        for level in range(self.levels):
            x, term = self.enter(level, x)
            logdet = logdet + term
            x, term = advance(self.flow_steps[level], x, conditions[level], self.eps)
            logdet = logdet + term
            if level < self.splits:
                (x, latent), term = self.split(level).forward(x)
                latents, logdet = (*latents, latent), logdet + term
        return (*latents, x), logdet

    def enter(self, level: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layers before its flow steps: (N, C, H, W) -> (N, 4C, H/2, W/2), and (N,)."""
        logdet, begin = 0.0, self.begin(level)
        for place in range(begin, begin + PLAIN):
            x, term = self.layers[place].forward(x)
            logdet = logdet + term
        return x, logdet

    def inverse(
        self, latents: Sequence[Tensor], conditions: Sequence[Condition], bound: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Latents -> HR image (N, 3, H, W), not clipped, and the log-determinant (N,); for `bound` see `go_back`."""
        x, logdet = latents[self.splits], 0.0
        for level in range(self.levels - 1, -1, -1):
            if level < self.splits:
                x, term = self.split(level).inverse(x, latents[level])
                logdet = logdet + term
            x, term = go_back(self.flow_steps[level], x, conditions[level], self.eps, bound)
            logdet = logdet + term
            begin = self.begin(level)
            for place in range(begin + PLAIN - 1, begin - 1, -1):
                x, term = self.layers[place].inverse(x)
                logdet = logdet + term
        return x, logdet

    def initialise(self, hr_image: Tensor, conditions: Sequence[Condition]) -> None:
        """Set every ActNorm that is not yet set, from these images; not compiled."""
        x = hr_image
        for level in range(self.levels):
            begin = self.begin(level)
            x = self.layers[begin].forward(x)[0]
            for place in range(begin + 1, begin + PLAIN):
                x = self.layers[place].initialise(x)
            features = joined(conditions[level])
            for step in self.level_steps(level):
                x = step.initialise(x, features)
            if level < self.splits:
                x = self.split(level).forward(x)[0][0]

    # -------------------------------------------------- the layers of a level; a slice of the list would rename them

    def begin(self, level: int) -> int:
        """Return the number of a level's first layer, the squeeze."""
        return level * (PLAIN + self.steps) + min(level, self.splits)

    def level_steps(self, level: int) -> list[FlowStep]:
        begin = self.begin(level) + PLAIN
        return [self.layers[place] for place in range(begin, begin + self.steps)]

    def split(self, level: int) -> Split2d:
        return self.layers[self.begin(level) + PLAIN + self.steps]
