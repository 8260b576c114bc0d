"""The authors' files: they name and shape the weights as we do, but do not say what network they are of."""

import re
from collections.abc import Mapping

import numpy as np

from common.checkpoint import Checkpoint, CheckpointError, trained

from .network.Invnet import HAAR, Hyper

ROOTS = ("operations",)
LAYER = re.compile(r"operations\.(\d+)\.(haar_weights|conv_weights|F\.conv1\.weight)")


def hyper_of(weights: Mapping[str, np.ndarray], source: str, clamp: float) -> Hyper:
    """Return the network that a file without metadata describes, read off its names and shapes, but for `clamp`."""
    layers = sorted((int(match[1]), match[2], name) for name in weights if (match := LAYER.fullmatch(name)))
    transforms = [place for place, (_, kind, _) in enumerate(layers) if not kind.startswith("F")]
    blocks = np.diff([*transforms, len(layers)]) - 1  # couplings from each transform to the next
    first_filters = next((weights[name] for _, kind, name in layers if kind.startswith("F")), None)
    if not transforms or first_filters is None or first_filters.ndim != 4:
        raise CheckpointError(f"{source} is no IRN: it has {', '.join(sorted(weights)[:4])} ...")
    learned = [weights[name].shape for _, kind, name in layers if kind == "conv_weights"]
    if learned not in ([], [(9, 9)]):
        raise CheckpointError(f"{source}: only x3 has learned down-sampling here, but its conv_weights are {learned}")
    return Hyper(3 if learned else 2 ** len(blocks), tuple(blocks.tolist()), len(first_filters), clamp)


def refuse_other_transforms(weights: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse other than Haar transforms: ours is computed, not read."""
    for name, array in weights.items():
        if name.endswith(".haar_weights") and not np.array_equal(array, np.resize(HAAR, array.shape)):
            raise CheckpointError(f"{source}: {name} is not the Haar transform, which is the only one here")


def read(path: str) -> Checkpoint:
    saved = trained.read(path, "IRN", ROOTS)
    refuse_other_transforms(saved.weights, path)
    return saved
