"""What using a trained network needs of its weights, worked out once and in float64, in NumPy.

ActNorm and 1x1 convolution of each step become one affine map, of which the inverse stands there too; the transition
steps go into the map of the step behind them. The conditioners' ActNorms and factors go into their filters. What the
steps of a level have alike lies in one array, the step's number first. The encoder's arrays stay as they are; its head
and what else nothing reads is left out.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from common import UserError

from .Flow import LOGS_FACTOR
from .FlowAffineCouplingsAblation import SHIFT_OF_LOGIT
from .FlowUpsamplerNet import COLORS, PLAIN, TRANSITION_STEPS
from .SRFlowNet import Hyper

Arrays = dict[str, np.ndarray]
FLOW = "flowUpsamplerNet.layers"


def fold(weights: Mapping[str, np.ndarray], hyper: Hyper) -> Arrays:
    """The weights of SRFlowNet by the authors' names -> float32 arrays, whose names `shapes` lists.

    Raises:
        UserError: weights that are no numbers, or a 1x1 convolution that cannot be inverted.
    """
    if bad := [name for name, array in weights.items() if not np.isfinite(array).all()]:
        raise UserError(f"{bad[0]} holds values that are no numbers: take another checkpoint")
    wide = {name: array.astype(np.float64) for name, array in weights.items() if name.startswith(FLOW)}
    result = {name: array for name, array in weights.items() if is_read(name, hyper)}
    place, splits = 0, max(hyper.levels - 2, 0)
    for level in range(hyper.levels):
        numbers = range(place + 1, place + PLAIN + hyper.steps)
        found = fold_maps(wide, numbers) | fold_couplings(wide, numbers[TRANSITION_STEPS:])
        place += PLAIN + hyper.steps
        if level < splits:
            weight, bias = from_zeros(wide, f"{FLOW}.{place}.conv")
            found |= {"split.weight": weight, "split.bias": bias}
            place += 1
        result |= {f"levels.{level}.{name}": array.astype(np.float32) for name, array in found.items()}
    return result


def is_read(name: str, hyper: Hyper) -> bool:
    """Whether it belongs to the encoder, and the flow depends on it: the head and the last enlargement do not count."""
    doublings = round(math.log2(hyper.scale))
    enlargements = tuple(f"RRDB.upconv{number}." for number in range(1, doublings))
    return name.startswith(("RRDB.conv_first.", "RRDB.RRDB_trunk.", "RRDB.trunk_conv.", *enlargements))


def shapes(hyper: Hyper) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all arrays that `fold` gives."""
    result, channels, k, h = encoder_shapes(hyper), COLORS, hyper.steps, hyper.hidden_channels
    for level in range(hyper.levels):
        channels *= 4
        found = {
            "matrices": (k, channels, channels),  # forwards, y = M x + b
            "shifts": (k, channels),
            "inverse_matrices": (k, channels, channels),
            "inverse_shifts": (k, channels),
            "logdet": (1,),  # of all maps together, for one pixel of this level
            "read.weight": (k, 2 * h, hyper.condition, 3, 3),  # of the features: fFeatures' part, then fAffine's
            "read.bias": (k, 2 * h),
            "read_z.weight": (k, h, channels // 2, 3, 3),
            "features.middle.weight": (k, h, h, 1, 1),
            "features.middle.bias": (k, h),
            "features.last.weight": (k, 2 * channels, h, 3, 3),  # shifts, then a quarter of the scales' logits
            "features.last.bias": (k, 2 * channels),
            "affine.middle.weight": (k, h, h, 1, 1),
            "affine.middle.bias": (k, h),
            "affine.last.weight": (k, channels, h, 3, 3),
            "affine.last.bias": (k, channels),
        }
        if level < hyper.levels - 2:
            channels //= 2
            found |= {"split.weight": (2 * channels, channels, 3, 3), "split.bias": (2 * channels,)}
        result |= {f"levels.{level}.{name}": shape for name, shape in found.items()}
    return result


def encoder_shapes(hyper: Hyper) -> dict[str, tuple[int, ...]]:
    """The encoder's share of them."""
    width, growth, doublings = hyper.num_features, hyper.growth, round(math.log2(hyper.scale))
    layers = {"conv_first": (width, COLORS), "trunk_conv": (width, width)}
    layers |= {f"upconv{number}": (width, width) for number in range(1, doublings)}
    for block, dense, number in itertools.product(range(hyper.num_blocks), (1, 2, 3), (1, 2, 3, 4, 5)):
        channels = growth if number < 5 else width, width + (number - 1) * growth
        layers[f"RRDB_trunk.{block}.RDB{dense}.conv{number}"] = channels
    result = {}
    for name, (outputs, inputs) in layers.items():
        result |= {f"RRDB.{name}.weight": (outputs, inputs, 3, 3), f"RRDB.{name}.bias": (outputs,)}
    return result


def fold_maps(weights: Mapping[str, np.ndarray], numbers: Sequence[int]) -> Arrays:
    """The affine maps of a level's layers; those of the transition steps, which come first, go into the next one."""
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


def fold_couplings(weights: Mapping[str, np.ndarray], numbers: Sequence[int]) -> Arrays:
    """The conditioners of a level's flow steps."""
    steps = [fold_coupling(weights, f"{FLOW}.{number}.affine") for number in numbers]
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def fold_coupling(weights: Mapping[str, np.ndarray], name: str) -> Arrays:
    """Both conditioners of one step."""
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
    """Filters and biases of a convolution and its ActNorm."""
    scale = np.exp(weights[f"{name}.actnorm.logs"].reshape(-1))
    return weights[f"{name}.weight"] * scale[:, None, None, None], weights[f"{name}.actnorm.bias"].reshape(-1) * scale


def from_zeros(weights: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Filters and biases of a Conv2dZeros; of its outputs 0, 2, 4 ... come first, then 1, 3, 5 ..."""
    scale = np.exp(LOGS_FACTOR * weights[f"{name}.logs"].reshape(-1))
    filters, biases = weights[f"{name}.weight"] * scale[:, None, None, None], weights[f"{name}.bias"] * scale
    return np.concatenate((filters[0::2], filters[1::2])), np.concatenate((biases[0::2], biases[1::2]))
