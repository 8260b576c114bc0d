"""What several of SRFlow's tests share."""

from dataclasses import replace

import pytest

from ci.tests.SRFlow import nets
from SRFlow.src.model_utils.util import describe

# Five steps: more than are read together, and no multiple of it.
USED = {2: nets.TINY[2], 4: replace(nets.TINY[4], steps=5)}
SHAKEN = 0.02  # so little that the inverse enlarges nothing beyond measure


@pytest.fixture(scope="session")
def used():
    """scale -> a tiny network as if trained."""
    return {scale: nets.make(hyper, SHAKEN) for scale, hyper in USED.items()}


@pytest.fixture(scope="session")
def tiny(used, tmp_path_factory):
    """scale -> checkpoint of that network; its exports are kept beside it, so each is made once."""
    folder = tmp_path_factory.mktemp("tiny")
    return {
        scale: nets.save(folder / f"tiny_x{scale}.ckpt", network, describe(network.hyper, {}))
        for scale, network in used.items()
    }
