"""Weights: reading, writing, and fitting them into a network."""

from common.checkpoint.files import Checkpoint, digest, read, save
from common.checkpoint.fitting import CheckpointError, describe, load_into
from common.checkpoint.trained import ModelWeights, cache_of, digest_of, weights_of
