"""What several of SRDiff's tests share."""

import pytest

from ci.tests.SRDiff import nets


@pytest.fixture(scope="session")
def tiny():
    """scale -> a tiny network, not to be changed."""
    return {scale: nets.make(hyper) for scale, hyper in nets.TINY.items()}
