"""What train.py, eval.py, infer.py and export.py put together: a network from a checkpoint, and what one says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError
from common.checkpoint import Checkpoint, trained
from common.config import TrainedOptions

from ..model.SRFlowNet import Hyper, SRFlowNet
from ..model.SRFlowNet import load_weights as put_weights
from . import official
from .options import DEMO_SCALE

MODEL = "SRFlow"
DEMO_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
ENCODER = "RRDB."  # opens the names of the encoder's parameters in a whole network


def describe(hyper: Hyper, config: Mapping[str, Any], stage: str = "flow") -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return trained.describe(MODEL, hyper, config, stage=stage)


def load_weights(network: SRFlowNet, path: str) -> None:
    """Put the weights of a checkpoint, ours or the authors', into a network of the same shape.

    Raises:
        UserError: no such file, not SRFlow's, or weights that do not fit.
    """
    put_weights(network, read(path).weights, path)


def load_network(options: TrainedOptions) -> tuple[SRFlowNet, Checkpoint, str]:
    """The network that a checkpoint holds, rebuilt from what the file says; without one, the demo weights.

    Returns:
        (network, checkpoint, name of the source).

    Raises:
        UserError: no such file, not SRFlow's, not the network that was asked for, or weights that do not fit.
    """
    if options.random_weights and not options.ckpt_path:
        return trained.untrained(SRFlowNet(options.hyper()), describe, "the flow turns latents into noise")
    saved, hyper, source = find(options)
    network = SRFlowNet(hyper)
    put_weights(network, saved.weights, source)
    return network, saved, source


def find(options: TrainedOptions) -> tuple[Checkpoint, Hyper, str]:
    """(checkpoint, what it says of its network, name of its file): the one that is named, or the demo weights.

    Raises:
        UserError: no such file, not SRFlow's, or not the network that was asked for.
    """
    if options.ckpt_path and not Path(options.ckpt_path).exists():
        raise UserError(
            f"checkpoint not found: {options.ckpt_path}: python SRFlow/train2test.py makes one of a trained run; or "
            f"type --checkpoint with the authors' file, or with the demo weights {DEMO_WEIGHTS}/srflow_small_x4.ckpt"
        )
    source = options.ckpt_path or str(trained.demo_weights(DEMO_WEIGHTS, options.scale or DEMO_SCALE))
    saved = read(source)
    hyper = hyper_of(saved, source, options)
    trained.refuse_contradiction(options, hyper, source)
    return saved, hyper, source


def hyper_of(saved: Checkpoint, source: str, options: TrainedOptions) -> Hyper:
    """What a checkpoint says of its network, or what can be read off its weights."""
    meta = saved.meta.get("hyper")
    hyper = Hyper(**meta) if meta else official.hyper_of(saved.weights, source, options.stack, options.eps)
    return replace(hyper, bound=options.bound or hyper.bound)


def read(path: str) -> Checkpoint:
    """A file with a whole SRFlow in it.

    Raises:
        UserError: no such file, another model's, or the encoder alone.
    """
    saved = trained.read(path, MODEL, official.ROOTS)
    if saved.meta.get("stage", "flow") != "flow":
        raise UserError(f"{path} holds the encoder alone (--stage rrdb): train the flow with --rrdb_path {path}")
    return saved


def read_encoder(path: str) -> dict[str, np.ndarray]:
    """The encoder's weights, by their names in `RRDBNet`: of a file that holds it alone, or in a whole network.

    Raises:
        UserError: no such file, or another model's.
    """
    weights = trained.read(path, MODEL, official.ROOTS).weights
    inside = {name.removeprefix(ENCODER): array for name, array in weights.items() if name.startswith(ENCODER)}
    return inside or dict(weights)
