"""ci/check_goldens.py on SRDiff's committed reference values, and the proof that its runners can fail.

What belongs to every model (damaged folders, the criterion, files without a runner) is in WDSR's test of this name.
Here the network runs op by op and is trained for one step; `check_goldens.py --only srdiff` compiles it as well and
trains it for five.
"""

import pytest
from mindspore import nn, ops

from ci import check_goldens
from ci.golden_runners import folder, srdiff
from ci.golden_runners.core import FAIL, PASS
from ci.tests.goldens import Recorded, prepared  # noqa: F401

GROUPS = {"out/", "mid/", "loss/", "grad/", "adam/"}
COUNTS = {"diffsr_df2k4x": 13_234_022, "diffsr_celeb": 12_033_798, "diffsr_df2k4x_rrdb64x17": 25_316_358}


@pytest.fixture(scope="module")
def whole(goldens_dir) -> Recorded:
    """The network, with one step of its training."""
    return Recorded(goldens_dir, "srdiff_4x", steps=1, given=("mid/sample_kept_iterations",)).run()


# ------------------------------------------------------------------ the committed values


def test_srdiff_is_the_authors(whole):
    """Every array that is no weight and no input is compared, none beyond a third of its tolerance."""
    assert {key for key, *_ in whole.values} == whole.results()
    rows = whole.rows()
    assert {row.quantity: row.verdict for row in rows} == dict.fromkeys(GROUPS, PASS)
    assert max(row.share for row in rows) < 1 / 3  # the rest is for machines that round otherwise


def test_schedules_are_the_authors(goldens_dir):
    golden = Recorded(goldens_dir, "srdiff_schedules").run()
    assert {key for key, *_ in golden.values} == golden.results()
    assert {row.verdict for row in golden.rows()} == {PASS}
    moved = golden.judged_by_moved_references()
    assert {row.quantity for row in moved if row.verdict == FAIL} == golden.results()


@pytest.mark.parametrize("name", COUNTS)
def test_names_and_number_of_parameters(goldens_dir, name):
    fixtures, inventories = folder.read_folder(goldens_dir, f"srdiff_{name}")
    inventories = [inventory for inventory in inventories if inventory.name == f"srdiff_{name}"]
    rows = list(check_goldens.run(fixtures, inventories))
    assert [(row.quantity, row.verdict) for row in rows] == [("names and shapes", PASS), ("trained values", PASS)]
    assert rows[1].detail == f"{COUNTS[name]:,} values, {COUNTS[name]:,} wanted"


# ------------------------------------------------------------------ it can fail


def test_every_array_counts(whole):
    """Each reference value, moved by a little more than the tolerance, fails."""
    rows = whole.judged_by_moved_references()
    assert {row.quantity for row in rows if row.verdict == FAIL} == whole.results()


def test_zero_padding_of_the_old_port_fails(goldens_dir, monkeypatch):
    """Its borders were not reflected."""
    golden = Recorded(goldens_dir, "srdiff_4x")
    monkeypatch.setattr(nn.ReflectionPad2d, "construct", lambda _, x: ops.pad(x, (1, 1, 1, 1)))
    srdiff.layers(golden, srdiff.loaded(golden))
    assert {row.quantity: row.verdict for row in golden.rows(finished=False)} == {"mid/": FAIL, "out/": FAIL}
