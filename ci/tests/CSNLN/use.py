"""What the tests of eval.py, infer.py and export.py share: tiny networks in files, and pictures."""

import numpy as np
import pytest

from ci.tests.CSNLN.nets import shaken
from common.checkpoint import files as checkpoint
from common.images.resize import imresize
from CSNLN.src.CSNLN import Hyper
from CSNLN.src.utils import describe

SCALES = (2, 3, 4)


@pytest.fixture(scope="session")
def used():
    """scale -> a tiny network, not to be changed."""
    return {scale: shaken(Hyper(scale, n_feats=4, depth=2)).set_train(False) for scale in SCALES}


@pytest.fixture(scope="session")
def saved(used, tmp_path_factory):
    """scale -> checkpoint of that network."""
    folder = tmp_path_factory.mktemp("tiny_csnln")
    for scale, network in used.items():
        save(folder / f"tiny_x{scale}.ckpt", network)
    return {scale: folder / f"tiny_x{scale}.ckpt" for scale in SCALES}


def save(path, network):
    weights = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    checkpoint.save(path, checkpoint.Checkpoint(weights, describe(network.hyper, {})))


def picture(height, width, channels=3, dtype=np.uint8):
    """Noise: nothing about it is easy."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height, width, seed=1):
    """Like a photograph, so that a PSNR of it says something."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return imresize(coarse, 4)[:height, :width]


def levels(sr):
    """(1, 3, H, W) of a network -> (H, W, 3) in grey levels, not rounded."""
    return sr[0].transpose(1, 2, 0).clip(0, 1) * 255.0


def batch_of(lr):
    """uint8 (h, w, 3) -> (1, 3, h, w) in [0, 1]."""
    return (lr.astype(np.float32) / 255).transpose(2, 0, 1)[None]
