"""Checkpoints: their metadata, and the network that they hold."""

from common.checkpoint import Checkpoint, ModelWeights
from common.config import TrainedOptions

from .model import WDSR, Hyper
from .official import hyper_of, read, to_official


def hyper_of_file(saved: Checkpoint, path: str, options: TrainedOptions) -> Hyper:
    return Hyper(**saved.meta["hyper"]) if "hyper" in saved.meta else hyper_of(saved, path, options.hyper())


WEIGHTS = ModelWeights("WDSR", WDSR, read, hyper_of_file, "the images will mean nothing", to_official=to_official)
describe, load_weights, load_network = WEIGHTS.describe, WEIGHTS.load_weights, WEIGHTS.load_network
