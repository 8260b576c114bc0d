"""Weights: reading, writing, and fitting them into a network."""

from common.checkpoint.files import Checkpoint, digest, read, save
from common.checkpoint.fitting import CheckpointError, convolution, describe, load_into
from common.checkpoint.trained import ModelWeights, cache_of, digest_of, weights_of

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ModelWeights",
    "cache_of",
    "convolution",
    "describe",
    "digest",
    "digest_of",
    "load_into",
    "read",
    "save",
    "weights_of",
]
