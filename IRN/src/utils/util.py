"""Checkpoints: their metadata, and the network that they hold."""

from common.checkpoint import Checkpoint, ModelWeights
from common.config import TrainedOptions

from ..network.Invnet import Hyper, InvRescaleNet
from ..official import hyper_of, read


def hyper_of_file(saved: Checkpoint, path: str, options: TrainedOptions) -> Hyper:
    meta = saved.meta.get("hyper")
    return Hyper(**meta) if meta else hyper_of(saved.weights, path, options.hyper().clamp)


WEIGHTS = ModelWeights("IRN", InvRescaleNet, read, hyper_of_file, "the plain Haar transform, to which z is noise")
describe, load_weights, load_network = WEIGHTS.describe, WEIGHTS.load_weights, WEIGHTS.load_network
