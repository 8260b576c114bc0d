"""What several of IRN's tests share."""

import pytest

from ci.tests.IRN import nets


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """scale -> checkpoint of a tiny network; its exports are kept beside it, so each is made once."""
    folder = tmp_path_factory.mktemp("tiny")
    return {scale: nets.save(folder / f"tiny_x{scale}.ckpt", nets.make(hyper)) for scale, hyper in nets.TINY.items()}
