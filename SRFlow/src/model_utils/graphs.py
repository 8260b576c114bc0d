"""The inference form: the flow folded to affine maps and plain convolutions, as cells that run and export both ways.

`fold` does it once, in float64, in NumPy. ActNorm and 1x1 convolution of each step become one affine map, of which the
inverse is kept too; the transition steps go into the map of the step behind them. The conditioners' ActNorms and
factors go into their filters. What the steps of a level have alike is one array, the step's number first.
"""

import math
from collections.abc import Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError
from common.export import Graph, Port
from common.layers import Convolution

from ..model.Flow import LOGS_FACTOR, Condition
from ..model.FlowAffineCouplingsAblation import SHIFT_OF_LOGIT
from ..model.FlowUpsamplerNet import COLORS, PLAIN, TRANSITION_STEPS
from ..model.RRDBNet import RRDBNet
from ..model.SRFlowNet import Hyper

Arrays = dict[str, np.ndarray]
FLOW = "flowUpsamplerNet.layers"
OF_LEVEL = ("logdet", "split.weight", "split.bias")  # arrays of a level that are not one for each step
TOGETHER = 4  # steps whose first convolutions are one
# Of an axis's 3 taps, those that meet the pixel before and behind a corner, for the result before and behind it.
SUMS_OF_TAPS = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float64)
TOLERANCE = 1e-4  # largest error of an exported graph, of the largest value: the inverse multiplies rounding errors
CHECK_CELLS = ((2, 3), (4, 2))  # an export is compared at both; a cell is a square of `Hyper.lr_multiple` LR pixels
MEANING = {
    "latent": "standard normal times the heat",
    "logdet": "natural logarithm of the Jacobian's determinant, of each pixel of the level; the sum is the image's",
}


def fold(weights: Mapping[str, np.ndarray], hyper: Hyper) -> Arrays:
    """Convert the weights of SRFlowNet to float32 arrays: the encoder's, and those of each level.

    Names and shapes in `levels.N.`, with K steps, C channels, h hidden channels and F channels of features:

        matrices, shifts                  (K, C, C), (K, C)      forwards, y = M x + b
        inverse_matrices, inverse_shifts  (K, C, C), (K, C)
        logdet                            (1,)                   of all maps together, for one pixel of this level
        read.weight, .bias                (K, 2h, F, 3, 3)       of the features: fFeatures' part, then fAffine's
        read_z.weight                     (K, h, C/2, 3, 3)      fAffine's part of z
        features.middle, affine.middle    (K, h, h, 1, 1)        .weight and .bias
        features.last, affine.last        (K, 2C or C, h, 3, 3)  shifts, then a quarter of the scales' logits
        split.weight, .bias               (C, C/2, 3, 3)         means, then logs; not in the last two levels
    """
    if bad := [name for name, array in weights.items() if not np.isfinite(array).all()]:
        raise UserError(f"{bad[0]} holds NaN or Inf: take another checkpoint")
    wide = {name: array.astype(np.float64) for name, array in weights.items() if name.startswith(FLOW)}
    result = {name: array for name, array in weights.items() if is_read(name, hyper)}
    place, splits = 0, max(hyper.levels - 2, 0)
    for level in range(hyper.levels):
        numbers = range(place + 1, place + PLAIN + hyper.steps)
        couplings = [fold_coupling(wide, f"{FLOW}.{number}.affine") for number in numbers[TRANSITION_STEPS:]]
        found = fold_maps(wide, numbers) | {name: np.stack([one[name] for one in couplings]) for name in couplings[0]}
        place += PLAIN + hyper.steps
        if level < splits:
            weight, bias = from_zeros(wide, f"{FLOW}.{place}.conv")
            found |= {"split.weight": weight, "split.bias": bias}
            place += 1
        result |= {f"levels.{level}.{name}": array.astype(np.float32) for name, array in found.items()}
    return result


def is_read(name: str, hyper: Hyper) -> bool:
    """Return whether the flow depends on this parameter of the encoder: not on its head and last upscaling."""
    doublings = round(math.log2(hyper.scale))
    upconvs = tuple(f"RRDB.upconv{number}." for number in range(1, doublings))
    return name.startswith(("RRDB.conv_first.", "RRDB.RRDB_trunk.", "RRDB.trunk_conv.", *upconvs))


def fold_maps(weights: Mapping[str, np.ndarray], numbers: Sequence[int]) -> Arrays:
    """Fold ActNorm and 1x1 convolution of each layer; the first layers, transition steps, go into the next one."""
    matrices, shifts = [], []
    for number in numbers:
        layer = f"{FLOW}.{number}"
        matrix = weights[f"{layer}.invconv.weight"] * np.exp(weights[f"{layer}.actnorm.logs"].reshape(-1))
        matrices.append(matrix)
        shifts.append(matrix @ weights[f"{layer}.actnorm.bias"].reshape(-1))
    logdet = sum(np.linalg.slogdet(matrix)[1] for matrix in matrices)
    if not np.isfinite(logdet):
        raise UserError(f"a 1x1 convolution of {FLOW}.{numbers[0]} to {numbers[-1]} has no inverse: other weights")
    for _ in range(TRANSITION_STEPS):
        first, second = matrices.pop(0), matrices[0]
        matrices[0], shifts[0:2] = second @ first, [second @ shifts[0] + shifts[1]]
    inverses = np.linalg.inv(matrices)
    return {
        "matrices": np.stack(matrices),
        "shifts": np.stack(shifts),
        "inverse_matrices": inverses,
        "inverse_shifts": -np.einsum("kij,kj->ki", inverses, shifts),
        "logdet": np.array([logdet]),
    }


def fold_coupling(weights: Mapping[str, np.ndarray], name: str) -> Arrays:
    result, first = {}, {}
    for ours, theirs in (("features", "fFeatures"), ("affine", "fAffine")):
        first[ours] = with_actnorm(weights, f"{name}.{theirs}.0")
        middle, last = with_actnorm(weights, f"{name}.{theirs}.2"), from_zeros(weights, f"{name}.{theirs}.4")
        outputs = len(last[1])
        last[1][outputs // 2 :] += SHIFT_OF_LOGIT
        for array in last:
            array[outputs // 2 :] /= 4
        for layer, (weight, bias) in (("middle", middle), ("last", last)):
            result |= {f"{ours}.{layer}.weight": weight, f"{ours}.{layer}.bias": bias}
    half = first["affine"][0].shape[1] - first["features"][0].shape[1]
    of_z, of_features = np.split(first["affine"][0], [half], 1)
    return result | {
        "read.weight": np.concatenate((first["features"][0], of_features)),
        "read.bias": np.concatenate((first["features"][1], first["affine"][1])),
        "read_z.weight": of_z,
    }


def with_actnorm(weights: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    scale = np.exp(weights[f"{name}.actnorm.logs"].reshape(-1))
    return weights[f"{name}.weight"] * scale[:, None, None, None], weights[f"{name}.actnorm.bias"].reshape(-1) * scale


def from_zeros(weights: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return filters and biases of a Conv2dZeros; of its outputs 0, 2, 4 ... come first, then 1, 3, 5 ..."""
    scale = np.exp(LOGS_FACTOR * weights[f"{name}.logs"].reshape(-1))
    filters, biases = weights[f"{name}.weight"] * scale[:, None, None, None], weights[f"{name}.bias"] * scale
    return np.concatenate((filters[0::2], filters[1::2])), np.concatenate((biases[0::2], biases[1::2]))


# ------------------------------------------------------------------------------------------------------------ the cells


class Direction(nn.Cell):
    """The encoder, whose head the flow does not read, and the levels of the flow in one direction."""

    forwards: bool

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper) -> None:
        super().__init__()
        self.hyper, self.splits = hyper, max(hyper.levels - 2, 0)
        shape = hyper.num_features, hyper.num_blocks, hyper.growth, hyper.scale
        encoder = RRDBNet(*shape, np.random.default_rng(0))
        for parameter in encoder.get_parameters():
            if (name := f"RRDB.{parameter.name}") in arrays:
                parameter.set_data(Tensor(arrays[name]))
        self.encoder = encoder  # which renames its parameters
        self.levels = nn.CellList([Level(arrays, hyper, number, self.forwards) for number in range(hyper.levels)])


class Decode(Direction):
    """lr_image (N, 3, h, w) in [0, 1] and latents (see `Hyper.latent_shapes`) -> hr_image (N, 3, sh, sw), not clipped.

    The sides of lr_image must be multiples of `Hyper.lr_multiple`.
    """

    forwards = False

    def construct(self, lr_image: Tensor, *latents: Tensor) -> Tensor:
        read = self.encoder.conditions(lr_image, self.hyper.stack, self.hyper.levels)
        x = latents[-1]
        for level in range(len(read) - 1, -1, -1):
            latent = latents[level] if level < self.splits else None
            x = self.levels[level].go_back(x, latent, read[level])
        return x


class Encode(Direction):
    """hr_image (N, 3, sh, sw) and lr_image (N, 3, h, w), both in [0, 1] -> the latents, and a map for each level.

    A map (N, 1, h', w') has what each pixel of its level adds to the log-determinant.
    """

    forwards = True

    def construct(self, hr_image: Tensor, lr_image: Tensor) -> tuple[Tensor, ...]:
        read = self.encoder.conditions(lr_image, self.hyper.stack, self.hyper.levels)
        x, latents, maps = hr_image, (), ()
        for level in range(len(read)):
            x, latent, logdet = self.levels[level].advance(x, read[level])
            maps = (*maps, logdet)
            if level < self.splits:
                latents = (*latents, latent)
        return (*latents, x, *maps)


class Level(nn.Cell):
    """One level (0 is the largest) in one direction: squeeze, all affine maps and couplings, split."""

    def __init__(self, arrays: Mapping[str, np.ndarray], hyper: Hyper, number: int, forwards: bool) -> None:
        super().__init__()
        prefix = f"levels.{number}."
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        # The stacked features have half the size where the encoder's own are upscaled; each pixel stands for four.
        self.upsampled = number < round(math.log2(hyper.scale)) - 1
        firsts = range(0, hyper.steps, TOGETHER)
        self.groups = tuple(tuple(range(first, min(first + TOGETHER, hyper.steps))) for first in firsts)
        layers = [[np.concatenate(arrays[f"read.{kind}"][list(k)]) for kind in ("weight", "bias")] for k in self.groups]
        own = hyper.num_features
        self.readers = nn.CellList(
            [ReadUpsampled(*layer, own) if self.upsampled else Convolution(*layer) for layer in layers]
        )
        self.steps = nn.CellList([Step(arrays, k, hyper, forwards) for k in range(hyper.steps)])
        self.split = Convolution(arrays["split.weight"], arrays["split.bias"]) if "split.weight" in arrays else None
        self.unsqueeze, channels = ops.DepthToSpace(2), arrays["matrices"].shape[1]
        self.sum = Convolution(np.ones((1, channels + channels // 2, 1, 1)), arrays["logdet"] / hyper.steps)
        self.sum_of_split = Convolution(-np.ones((1, channels // 2, 1, 1)))

    def advance(self, x: Tensor, condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, C/4, 2h', 2w') -> z for the next level, latent (unused where there is no split), log-determinants."""
        z, logdet, features = x, 0.0, self.features(condition)
        for number, group in enumerate(self.groups):
            hidden = self.read(features, number)
            for place, k in enumerate(group):
                z, scales = self.steps[k].advance(z, hidden[2 * place], hidden[2 * place + 1])
                # float32 `log` of MindSpore's CPU errs to one side
                logdet = logdet + self.sum(ops.log(scales.astype(ms.float64)).astype(ms.float32))
        if self.split is None:
            return z, z, logdet
        z1, z2 = ops.chunk(z, 2, 1)
        mean, logs = ops.chunk(self.split(z1), 2, 1)
        return z1, (z2 - mean) * ops.exp(-logs), logdet + self.sum_of_split(logs)

    def go_back(self, z: Tensor, latent: Tensor | None, condition: Condition) -> Tensor:
        """z (N, C, h', w'), or half of it and the latent -> (N, C/4, 2h', 2w')."""
        if self.split is not None:
            mean, logs = ops.chunk(self.split(z), 2, 1)
            z = ops.concat((z, mean + ops.exp(logs) * latent), 1)
        features = self.features(condition)
        for number in range(len(self.groups) - 1, -1, -1):
            hidden, group = self.read(features, number), self.groups[number]
            for place in range(len(group) - 1, -1, -1):
                z = self.steps[group[place]].go_back(z, hidden[2 * place], hidden[2 * place + 1])
        return self.unsqueeze(z)

    def features(self, condition: Condition) -> tuple[Tensor, ...]:
        """Return what the readers take: `Flow.joined` without looking at sizes, which are free here."""
        return condition if self.upsampled else (ops.concat(condition, 1),)

    def read(self, features: tuple[Tensor, ...], group: int) -> tuple[Tensor, ...]:
        """Return for each step of a group fFeatures' and fAffine's first layer of the features (N, hidden, h', w')."""
        return ops.chunk(self.readers[group](*features), 2 * len(self.groups[group]), 1)


class ReadUpsampled(nn.Cell):
    """A 3x3 convolution of `own` channels of features beside stacked ones of half the size, each pixel counting as 2x2.

    A result sees 2x2 of these pixels, by 4 sums of the filter's 9 taps. The 2x2 results around a corner of four pixels
    are the channels of one 2x2 convolution, brought into their places by DepthToSpace: 16 products instead of 36. Half
    of those around the outermost corners lie outside.
    """

    def __init__(self, filters: np.ndarray, biases: np.ndarray, own: int) -> None:
        super().__init__()
        self.own, self.place = Convolution(filters[:, :own], biases), ops.DepthToSpace(2)
        taps = np.einsum("ayi,bxj,ocij->abocyx", SUMS_OF_TAPS, SUMS_OF_TAPS, filters[:, own:].astype(np.float64))
        self.corners = Convolution(taps.reshape(4 * len(filters), -1, 2, 2), padding=1)

    def construct(self, own: Tensor, stacked: Tensor) -> Tensor:
        """(N, own, 2h, 2w) and (N, stacked, h, w) -> (N, out, 2h, 2w)."""
        return self.own(own) + self.place(self.corners(stacked))[:, :, 1:-1, 1:-1]


class Step(nn.Cell):
    """Affine map and both couplings of one step, in one direction.

    The map of a level's first step squeezes as well; backwards its outputs are ordered for `ops.DepthToSpace`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], k: int, hyper: Hyper, forwards: bool) -> None:
        super().__init__()
        one = {name: array[k] for name, array in arrays.items() if name not in OF_LEVEL}

        def layer(name: str) -> Convolution:
            return Convolution(one[f"{name}.weight"], one.get(f"{name}.bias"))

        self.read_z, self.eps, self.bound = layer("read_z"), hyper.eps, hyper.bound
        self.features_middle, self.features_last = layer("features.middle"), layer("features.last")
        self.affine_middle, self.affine_last = layer("affine.middle"), layer("affine.last")
        direction = "" if forwards else "inverse_"
        matrix, shift = one[f"{direction}matrices"], one[f"{direction}shifts"]
        channels = len(matrix)
        if k > 0:
            self.map = Convolution(matrix[:, :, None, None], shift)
        elif forwards:
            self.map = Convolution(matrix.reshape(channels, -1, 2, 2), shift, stride=2)
        else:
            order = np.arange(channels).reshape(-1, 4).T.reshape(-1)  # pixel first, then channel
            self.map = Convolution(matrix[order][:, :, None, None], shift[order])

    def advance(self, z: Tensor, features: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
        """Forwards, by the conditioners' first layers of the features (N, hidden, h', w'); scales (N, 3C/2, h', w')."""
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
        hidden = ops.relu(self.features_middle(ops.relu(features)))
        return self.shift_and_scale(self.features_last(hidden))

    def second(self, z1: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
        hidden = ops.relu(self.affine_middle(ops.relu(self.read_z(z1) + affine)))
        return self.shift_and_scale(self.affine_last(hidden))

    def shift_and_scale(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """`FlowAffineCouplingsAblation.scale_of` of four times as much; the 2 is in the biases."""
        shift, quarter = ops.chunk(found, 2, 1)
        quarter = ops.tanh(quarter)
        more = 1 + quarter
        return shift, more * more / (2 + 2 * (quarter * quarter)) + self.eps


def graph_of(arrays: Arrays, hyper: Hyper, direction: str, batch_size: int | str = 1) -> Graph:
    """Return the graph "decode" or "encode", free in height and width.

    "decode" is lr_image, latent_0 ... -> hr_image; "encode" hr_image, lr_image -> latent_0 ..., logdet_0 ...; sides of
    lr_image are multiples of `Hyper.lr_multiple`.
    """
    shapes = [hyper.latent_shapes(*(side * hyper.lr_multiple for side in cells)) for cells in CHECK_CELLS]
    lr_image = Port("lr_image", (batch_size, COLORS, "height", "width"))
    sizes = [
        dict(zip(("height", "width"), (n * hyper.lr_multiple for n in cells), strict=True)) for cells in CHECK_CELLS
    ]
    names = [f"latent_{number}" for number in range(len(shapes[0]))]
    if direction == "decode":
        latents = [
            Port(name, (batch_size, shape[0], f"height_{number}", f"width_{number}"))
            for number, (name, shape) in enumerate(zip(names, shapes[0], strict=True))
        ]
        for size, found in zip(sizes, shapes, strict=True):
            for number, (_, height, width) in enumerate(found):
                size |= {f"height_{number}": height, f"width_{number}": width}
        return Graph(Decode(arrays, hyper), [lr_image, *latents], ["hr_image"], sizes, TOLERANCE)
    sizes = [size | {f"hr_{side}": length * hyper.scale for side, length in size.items()} for size in sizes]
    hr_image = Port("hr_image", (batch_size, COLORS, "hr_height", "hr_width"))
    maps = [f"logdet_{number}" for number in range(hyper.levels)]
    return Graph(Encode(arrays, hyper), [hr_image, lr_image], [*names, *maps], sizes, TOLERANCE)
