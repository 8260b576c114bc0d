"""SRFlow for eval, infer and export: both directions in operators that leave height and width free in ONNX.

Nothing here is trained: the cells are built from the arrays of `folding.fold`.
"""

from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from .reading import Conditions, Readers, convolution
from .SRFlowNet import Hyper

OF_LEVEL = ("logdet", "split.weight", "split.bias")  # arrays that are not one for each step


class Decode(nn.Cell):
    """lr_image (N, 3, h, w) in [0, 1] and latents (see `Hyper.latent_shapes`) -> hr_image (N, 3, sh, sw), not clipped.

    The sides of lr_image must be multiples of `Hyper.lr_multiple`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper) -> None:
        super().__init__()
        self.conditions, self.splits = Conditions(arrays, hyper), max(hyper.levels - 2, 0)
        self.levels = nn.CellList([DownLevel(of_level(arrays, n), hyper, n) for n in range(hyper.levels)])

    def construct(self, lr_image: Tensor, *latents: Tensor) -> Tensor:
        conditions = self.conditions(lr_image)
        x = latents[-1]
        for level in range(len(conditions) - 1, -1, -1):
            latent = latents[level] if level < self.splits else None
            x = self.levels[level](x, latent, conditions[level])
        return x


class Encode(nn.Cell):
    """hr_image (N, 3, sh, sw) and lr_image (N, 3, h, w), both in [0, 1] -> the latents, and a map for each level.

    A map (N, 1, h', w') has what each pixel of its level adds to the log-determinant.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper) -> None:
        super().__init__()
        self.conditions, self.splits = Conditions(arrays, hyper), max(hyper.levels - 2, 0)
        self.levels = nn.CellList([UpLevel(of_level(arrays, n), hyper, n) for n in range(hyper.levels)])

    def construct(self, hr_image: Tensor, lr_image: Tensor) -> tuple[Tensor, ...]:
        conditions = self.conditions(lr_image)
        x, latents, maps = hr_image, (), ()
        for level in range(len(conditions)):
            x, latent, logdet = self.levels[level](x, conditions[level])
            maps = (*maps, logdet)
            if level < self.splits:
                latents = (*latents, latent)
        return (*latents, x, *maps)


class UpLevel(nn.Cell):
    """One level forwards: squeeze, all affine maps and couplings, split."""

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper, number: int) -> None:
        super().__init__()
        self.readers = Readers(arrays["read.weight"], arrays["read.bias"], hyper, number)
        self.steps = nn.CellList([Step(arrays, k, hyper, forwards=True) for k in range(hyper.steps)])
        self.split = convolution(arrays["split.weight"], arrays["split.bias"]) if "split.weight" in arrays else None
        channels = arrays["matrices"].shape[1]
        self.sum = convolution(np.ones((1, channels + channels // 2, 1, 1)), arrays["logdet"] / hyper.steps)
        self.sum_of_split = convolution(-np.ones((1, channels // 2, 1, 1)))

    def construct(self, x: Tensor, condition: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, C/4, 2h', 2w') -> what goes on, the latent (nothing of worth where there is no split), the map."""
        z, logdet = x, 0.0
        for group, steps in enumerate(self.readers.groups):
            hidden = self.readers(condition, group)
            for place, k in enumerate(steps):
                z, scales = self.steps[k].advance(z, hidden[2 * place], hidden[2 * place + 1])
                # float32 `log` of MindSpore's CPU errs to one side
                logdet = logdet + self.sum(ops.log(scales.astype(ms.float64)).astype(ms.float32))
        if self.split is None:
            return z, z, logdet
        z1, z2 = ops.chunk(z, 2, 1)
        mean, logs = ops.chunk(self.split(z1), 2, 1)
        return z1, (z2 - mean) * ops.exp(-logs), logdet + self.sum_of_split(logs)


class DownLevel(nn.Cell):
    """The same backwards."""

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper, number: int) -> None:
        super().__init__()
        self.readers = Readers(arrays["read.weight"], arrays["read.bias"], hyper, number)
        self.steps = nn.CellList([Step(arrays, k, hyper, forwards=False) for k in range(hyper.steps)])
        self.split = convolution(arrays["split.weight"], arrays["split.bias"]) if "split.weight" in arrays else None
        self.unsqueeze = ops.DepthToSpace(2)

    def construct(self, z: Tensor, latent: Tensor | None, condition: tuple[Tensor, ...]) -> Tensor:
        """z (N, C, h', w'), or half of it and the latent -> (N, C/4, 2h', 2w')."""
        if self.split is not None:
            mean, logs = ops.chunk(self.split(z), 2, 1)
            z = ops.concat((z, mean + ops.exp(logs) * latent), 1)
        for group in range(len(self.readers.groups) - 1, -1, -1):
            hidden, steps = self.readers(condition, group), self.readers.groups[group]
            for place in range(len(steps) - 1, -1, -1):
                z = self.steps[steps[place]].go_back(z, hidden[2 * place], hidden[2 * place + 1])
        return self.unsqueeze(z)


class Step(nn.Cell):
    """Affine map and both couplings of one step, in one direction.

    The map of a level's first step squeezes as well; backwards its outputs are ordered for `ops.DepthToSpace`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], k: int, hyper: Hyper, forwards: bool) -> None:
        super().__init__()
        one = {name: array[k] for name, array in arrays.items() if name not in OF_LEVEL}

        def layer(name: str) -> nn.Conv2d:
            return convolution(one[f"{name}.weight"], one.get(f"{name}.bias"))

        self.read_z, self.eps, self.bound = layer("read_z"), hyper.eps, hyper.bound
        self.features_middle, self.features_last = layer("features.middle"), layer("features.last")
        self.affine_middle, self.affine_last = layer("affine.middle"), layer("affine.last")
        direction = "" if forwards else "inverse_"
        matrix, shift = one[f"{direction}matrices"], one[f"{direction}shifts"]
        channels = len(matrix)
        if k > 0:
            self.map = convolution(matrix[:, :, None, None], shift)
        elif forwards:
            self.map = convolution(matrix.reshape(channels, -1, 2, 2), shift, stride=2)
        else:
            order = np.arange(channels).reshape(-1, 4).T.reshape(-1)  # pixel first, then channel
            self.map = convolution(matrix[order][:, :, None, None], shift[order])

    def advance(self, z: Tensor, features: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
        """Forwards; also both couplings' scales (N, C + C/2, h', w').

        Args:
            features, affine: what the conditioners' first layers make of the features (N, hidden, h', w').
        """
        z = self.map(z)
        shift, scale = self.first(features)
        z1, z2 = ops.chunk((z + shift) * scale, 2, 1)
        shift2, scale2 = self.second(z1, affine)
        return ops.concat((z1, (z2 + shift2) * scale2), 1), ops.concat((scale, scale2), 1)

    def go_back(self, z: Tensor, features: Tensor, affine: Tensor) -> Tensor:
        """Backwards, with the limit of `SRFlowNet.sample`."""
        shift, scale = self.first(features)
        z1, z2 = ops.chunk(z, 2, 1)
        shift2, scale2 = self.second(z1, affine)
        z = ops.concat((z1, z2 / scale2 - shift2), 1) / scale - shift
        return self.map(ops.clamp(z, -self.bound, self.bound))

    def first(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale of the first map."""
        hidden = ops.relu(self.features_middle(ops.relu(features)))
        shift, quarter = ops.chunk(self.features_last(hidden), 2, 1)
        return shift, self.scale_of(quarter)

    def second(self, z1: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale of the second map."""
        hidden = ops.relu(self.affine_middle(ops.relu(self.read_z(z1) + affine)))
        shift, quarter = ops.chunk(self.affine_last(hidden), 2, 1)
        return shift, self.scale_of(quarter)

    def scale_of(self, quarter: Tensor) -> Tensor:
        """`FlowAffineCouplingsAblation.scale_of` of four times as much; the 2 is in the biases."""
        quarter = ops.tanh(quarter)
        more = 1 + quarter
        return more * more / (2 + 2 * (quarter * quarter)) + self.eps


def of_level(arrays: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The arrays of one level by their names in it."""
    prefix = f"levels.{number}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
