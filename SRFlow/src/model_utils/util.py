"""What train.py, eval.py, infer.py and export.py put together: a network from a checkpoint, and what one says."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from common import UserError
from common.checkpoint import Checkpoint, ModelWeights, trained
from common.config import TrainedOptions

from ..model.SRFlowNet import Hyper, SRFlowNet
from ..model.SRFlowNet import load_weights as put_weights
from . import official
from .options import DEMO_SCALE

MODEL = "SRFlow"
DEMO_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
ENCODER = "RRDB."  # opens the names of the encoder's parameters in a whole network


def load_weights(network: SRFlowNet, path: str) -> None:
    """Put the weights of a checkpoint, ours or the authors', into a network of the same shape.

    Raises:
        UserError: no such file, not SRFlow's, or weights that do not fit.
    """
    put_weights(network, read(path).weights, path)


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
    if not Path(path).exists():
        raise UserError(
            f"checkpoint not found: {path}: python SRFlow/train2test.py makes one of a trained run; or type "
            f"--checkpoint with the authors' file, or with the demo weights {DEMO_WEIGHTS}/srflow_small_x4.ckpt"
        )
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


WEIGHTS = ModelWeights(
    MODEL,
    SRFlowNet,
    read,
    hyper_of,
    "the flow turns latents into noise",
    put=lambda network, saved, path: put_weights(network, saved.weights, path),
    stage="flow",
    demo_scale=DEMO_SCALE,
)
describe, load_network, find = WEIGHTS.describe, WEIGHTS.load_network, WEIGHTS.find
