"""The authors' files: they name and shape the weights as we do, but do not say what network they are of."""

import re
from collections.abc import Mapping

import numpy as np

from common.checkpoint import Checkpoint, CheckpointError, trained

from .attention import LEAST_NORM, CrossScaleAttention
from .CSNLN import COLORS, CSNLN, Hyper

ROOTS = ("head", "SEM", "tail", "sub_mean", "add_mean")
NO_WEIGHT = re.compile(r"(.*\.)?escape_NaN")  # a buffer of the cross-scale attention: the least norm of a patch


def official_name(name: str) -> str | None:
    """Return the name in the network; None for what is no weight."""
    return None if NO_WEIGHT.fullmatch(name) else name


def read(path: str) -> Checkpoint:
    saved = trained.read(path, "CSNLN", ROOTS)
    weights = {name: array for name, array in saved.weights.items() if official_name(name)}
    return Checkpoint(weights, saved.meta, saved.state)


def to_official(network: CSNLN) -> dict[str, np.ndarray]:
    """Return all arrays of the authors' files, with the buffer that is no weight."""
    cells = network.cells_and_names()
    buffers = [f"{name}.escape_NaN" for name, cell in cells if isinstance(cell, CrossScaleAttention)]
    return trained.weights_of(network) | dict.fromkeys(buffers, np.full(1, LEAST_NORM, np.float32))


def hyper_of(weights: Mapping[str, np.ndarray], source: str) -> Hyper:
    """Return the network that a file without metadata describes, read off its shapes; CheckpointError for no CSNLN."""
    try:
        n_feats = weights["head.0.0.weight"].shape[0]
        read = weights["tail.0.weight"].shape[1]
        kernel = weights["SEM.error_encode.0.weight"].shape[-1]
    except (KeyError, IndexError):
        raise CheckpointError(f"{source} is no CSNLN: it has {', '.join(sorted(weights)[:4])} ...") from None
    if kernel not in (6, 9) or read % n_feats:
        raise CheckpointError(f"{source} is no CSNLN of {COLORS} colours: its filters have other sizes")
    twice = any(name.startswith("SEM.multi_source_projection_2.") for name in weights)
    return Hyper(scale=4 if twice else 3 if kernel == 9 else 2, n_feats=n_feats, depth=read // n_feats)
