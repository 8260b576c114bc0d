"""What several of SRFlow's tests share."""

import pytest

from ci.tests.SRFlow import nets
from SRFlow.src.model_utils.util import describe

USED = {scale: nets.TINY[scale] for scale in (2, 4)}
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
