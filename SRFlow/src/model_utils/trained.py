"""A trained network ready to be used, from a checkpoint of training or from the inference form of one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.checkpoint import Checkpoint, CheckpointError, cache_of, digest_of, weights_of
from common.config import TrainedOptions

from ..model.folding import fold, shapes
from ..model.SRFlowNet import Hyper, SRFlowNet
from . import util

FORM, INFERENCE = "form", "inference"  # what the metadata of a converted checkpoint say


class Trained(NamedTuple):
    """What the programs need of a trained network.

    Attributes:
        hyper: its shape.
        arrays: its weights as `folding.fold` leaves them.
        source: name of the file.
        digest: tells the function of these weights from all others; that of a converted checkpoint is its original's.
        heat: what its file recommends for samples of it, if it does.
    """

    hyper: Hyper
    arrays: dict[str, np.ndarray]
    source: str
    digest: str
    heat: float | None = None

    @property
    def cache(self) -> Path | None:
        """Where exports are kept, see `common.checkpoint.cache_of`."""
        return cache_of(self.source)


def load_trained(options: TrainedOptions) -> Trained:
    """What a checkpoint of either kind holds; without one, the demo weights.

    Raises:
        UserError: no such file, not SRFlow's, not the network that was asked for, or weights that do not fit.
    """
    if options.random_weights and not options.ckpt_path:
        return from_network(*util.load_network(options))
    saved, hyper, source = util.find(options)
    if saved.meta.get(FORM) == INFERENCE:
        check_arrays(saved.weights, hyper, source)
        return Trained(hyper, saved.weights, source, saved.meta["digest"], saved.meta.get("heat"))
    network = SRFlowNet(hyper)
    util.put_weights(network, saved.weights, source)
    return from_network(network, saved, source)


def from_network(network: SRFlowNet, saved: Checkpoint, source: str) -> Trained:
    """What is folded of a network whose weights are those of `saved`.

    Raises:
        UserError: they cannot be folded.
    """
    hyper = network.hyper
    try:
        arrays = fold(weights_of(network), hyper)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    return Trained(hyper, arrays, source, digest_of(hyper, saved), saved.meta.get("heat"))


def to_checkpoint(trained: Trained, saved: Checkpoint) -> Checkpoint:
    """The inference form of the checkpoint that `trained` came from."""
    kept = {key: saved.meta[key] for key in ("step", "epoch", "heat", "config") if key in saved.meta}
    meta = {**kept, **util.describe(trained.hyper, saved.meta.get("config", {}))}
    return Checkpoint(trained.arrays, {**meta, FORM: INFERENCE, "digest": trained.digest})


def check_arrays(arrays: dict[str, np.ndarray], hyper: Hyper, source: str) -> None:
    """Whether a converted checkpoint holds what its hyper-parameters describe.

    Raises:
        CheckpointError: it does not.
    """
    wanted = shapes(hyper)
    found = {name: array.shape for name, array in arrays.items()}
    wrong = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    if wrong:
        raise CheckpointError(
            f"{source} is not the network that it says it is: {len(wrong)} of its arrays are missing, unknown or of "
            f"another shape ({', '.join(sorted(wrong)[:5])})"
        )
