"""The authors' files: they name and shape the weights as we do, but do not say what network they are of."""

import itertools
import re
from collections.abc import Mapping

import numpy as np

from common.checkpoint import CheckpointError

from ..model.SRFlowNet import Hyper
from .options import NAMED

OF_ENCODER = "conv_first", "RRDB_trunk", "trunk_conv", "upconv1", "upconv2", "upconv3", "HRconv", "conv_last"
ROOTS = ("RRDB", "flowUpsamplerNet", *OF_ENCODER)  # the latter in a file with the encoder alone
BLOCK = re.compile(r"RRDB\.RRDB_trunk\.(\d+)\.RDB1\.conv1\.weight")
STEP = re.compile(r"flowUpsamplerNet\.layers\.(\d+)\.affine\.fAffine\.0\.weight")
UPCONV = re.compile(r"RRDB\.upconv(\d)\.weight")
DEFAULT_EPS = 1e-4


def hyper_of(weights: Mapping[str, np.ndarray], source: str, stack: tuple[int, ...] = (), eps: float = 0.0) -> Hyper:
    """Return the network that a file without metadata describes, read off its names and shapes.

    Shapes tell neither which blocks the flow reads (`stack`; by default the named network's that has as many of
    everything) nor the smallest scale of a coupling (`eps`; 0 takes the authors'). CheckpointError for no SRFlow, or
    without a `stack`.
    """
    blocks = {int(match[1]): array for name, array in weights.items() if (match := BLOCK.fullmatch(name))}
    steps = {int(match[1]): array for name, array in weights.items() if (match := STEP.fullmatch(name))}
    doublings = sum(1 for name in weights if UPCONV.fullmatch(name))
    if not blocks or not steps or not doublings:
        raise CheckpointError(f"{source} is no SRFlow: it has {', '.join(sorted(weights)[:4])} ...")
    places = sorted(steps)
    levels = 1 + sum(1 for one, other in itertools.pairwise(places) if other > one + 1)
    growth, num_features = blocks[0].shape[:2]
    own = steps[places[0]].shape[1] - 6  # of 12 channels of the first level, half go into fAffine
    found = {
        "scale": 2**doublings,
        "num_features": num_features,
        "num_blocks": len(blocks),
        "growth": growth,
        "levels": levels,
        "steps": len(steps) // levels,
        "hidden_channels": steps[places[0]].shape[0],
        "eps": eps or DEFAULT_EPS,
    }
    stacked = own // num_features - 1
    alike = ("scale", "num_features", "num_blocks", "growth")
    named = (hyper for hyper in NAMED.values() if all(getattr(hyper, name) == found[name] for name in alike))
    stack = stack or next((hyper.stack for hyper in named if len(hyper.stack) == stacked), ())
    if len(stack) != stacked:
        raise CheckpointError(f"{source} does not tell which {stacked} block(s) its flow reads: type --stack, as 1,3")
    return Hyper(stack=stack, **found)
