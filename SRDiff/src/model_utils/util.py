"""Checkpoints: read, built into networks, and brought into the inference form."""

from typing import NamedTuple

from common import UserError
from common.checkpoint import Checkpoint, ModelWeights, digest_of, load_into, trained
from common.config import TrainedOptions, asked

from ..model.srdiff import Hyper, SRDiffNet
from . import official
from .graphs import prepare
from .options import DEMO_SCALE

MODEL = "SRDiff"


def load_weights(network: SRDiffNet, path: str) -> None:
    """Load a checkpoint, ours or the authors', into a network to be trained."""
    saved = read(path)
    weights = official.network_weights(saved.weights, network.hyper, path)
    trained.start_from(network, Checkpoint(weights, saved.meta), path)


def put_weights(network: SRDiffNet, saved: Checkpoint, source: str) -> None:
    load_into(network, official.network_weights(saved.weights, network.hyper, source), source=source)


def load_encoder(network: SRDiffNet, path: str) -> None:
    """Load the encoder from a file of it alone, or of a whole network."""
    weights = trained.read(path, MODEL, official.ROOTS).weights
    load_into(network.rrdb, official.encoder_weights(weights, path), source=path)


def hyper_of(saved: Checkpoint, source: str, options: TrainedOptions) -> Hyper:
    meta = saved.meta.get("hyper")
    return Hyper(**meta) if meta else official.hyper_of(saved.weights, source, asked(options))


def read(path: str) -> Checkpoint:
    saved = trained.read(path, MODEL, official.ROOTS)
    if saved.meta.get("stage", "diffusion") != "diffusion":
        raise UserError(
            f"{path} holds the encoder alone (--stage rrdb): train the noise predictor with --rrdb_path {path}"
        )
    return saved


WEIGHTS = ModelWeights(
    MODEL,
    SRDiffNet,
    read,
    hyper_of,
    "the images are noise",
    put=put_weights,
    stage="diffusion",
    demo_scale=DEMO_SCALE,
    to_official=official.to_official,
)
describe, load_network = WEIGHTS.describe, WEIGHTS.load_network


class Trained(NamedTuple):
    """A trained network in the form of `graphs.prepare`, the file it is of, and a digest of its weights."""

    network: SRDiffNet
    source: str
    digest: str

    @property
    def hyper(self) -> Hyper:
        return self.network.hyper


def load_trained(options: TrainedOptions) -> Trained:
    network, saved, source = load_network(options)
    return Trained(prepare(network), source, digest_of(network.hyper, saved))
