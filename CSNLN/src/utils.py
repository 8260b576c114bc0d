"""Checkpoints: their metadata, and the network that they hold."""

from typing import Any

from common.checkpoint import Checkpoint, ModelWeights

from .CSNLN import CSNLN, Hyper
from .official import hyper_of, read, to_official


def hyper_of_file(saved: Checkpoint, path: str, options: Any) -> Hyper:
    return Hyper(**saved.meta["hyper"]) if "hyper" in saved.meta else hyper_of(saved.weights, path)


WEIGHTS = ModelWeights(
    "CSNLN", CSNLN, read, hyper_of_file, "the images will mean nothing", flag="--ckpt_file", to_official=to_official
)
describe, load_weights, load_network = WEIGHTS.describe, WEIGHTS.load_weights, WEIGHTS.load_network
