"""CSNLN's files: sizes are read off the shapes; a key of theirs that nothing reads; filters of other sizes."""

import json

import numpy as np
import pytest

from ci.tests.CSNLN.nets import shaken
from ci.tests.specs import BY_NAME, weights_of
from ci.tests.test_official import write_pth
from common.checkpoint import CheckpointError
from CSNLN.src.CSNLN import Hyper
from CSNLN.src.official import hyper_of

load = BY_NAME["CSNLN"].load


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_sizes_are_read_off_the_shapes(goldens_dir, tmp_path, scale):
    """And small ones; the authors' files have an escape_NaN besides, which is passed over."""
    listed = json.loads((goldens_dir / "full_size_keys" / f"csnln_x{scale}.json").read_text(encoding="utf-8"))
    weights = {name: np.broadcast_to(np.float32(0), shape) for name, shape in listed["state_dict"].items()}
    assert hyper_of(weights, "x.pt") == Hyper(scale, 128, 12)
    small = weights_of(shaken(Hyper(scale, 6, 1)))
    escapes = {f"SEM.multi_source_projection{n}.up_attention.escape_NaN" for n in ("", "_2" if scale == 4 else "")}
    theirs = small | dict.fromkeys(escapes, np.full(1, 1e-4, np.float32))
    network = load(write_pth(tmp_path / "model_best.pt", theirs))
    assert network.hyper == Hyper(scale, 6, 1)
    for name, array in weights_of(network).items():
        np.testing.assert_array_equal(array, small[name], err_msg=name)


@pytest.mark.parametrize(
    ("name", "shape"), [("SEM.error_encode.0.weight", (4, 4, 5, 5)), ("tail.0.weight", (3, 9, 3, 3))]
)
def test_filters_of_other_sizes_are_refused(tmp_path, name, shape):
    weights = weights_of(shaken()) | {name: np.zeros(shape, np.float32)}
    with pytest.raises(CheckpointError, match="filters have other sizes"):
        load(write_pth(tmp_path / "other.pt", weights))
