"""CSNLN against the authors' values, as ci/check_goldens.py compares them, and the proof that it can fail."""

import numpy as np
import pytest

from ci import check_goldens
from ci.golden_runners import folder, registry
from ci.golden_runners.core import FAIL, NOT_COMPARED, PASS
from ci.tests.goldens import moved, prepared, rows_of  # noqa: F401

GROUPS = {"out/", "mid/", "loss/", "grad/", "adam/", "after/"}
ATTENTIONS = ("csnln_inscale_attention.npz", "csnln_crossscale_attention_s2.npz", "csnln_crossscale_attention_s3.npz")


# ------------------------------------------------------------------ the committed values


@pytest.mark.parametrize(("scale", "mode"), [(3, registry.PYNATIVE), (4, registry.GRAPH)])
def test_csnln_is_the_authors(goldens_dir, scale, mode):
    """One mode for each of two scales; `python ci/check_goldens.py --only csnln` takes both."""
    rows = rows_of(goldens_dir, f"csnln_x{scale}.npz", mode=mode)
    compared = {row.quantity: row.verdict for row in rows if row.verdict != NOT_COMPARED}
    assert compared == dict.fromkeys(GROUPS, PASS), rows
    with np.load(goldens_dir / f"csnln_x{scale}.npz") as file:
        pictures = sum(key.startswith("out/") for key in file) - 1
        assert sum(row.arrays for row in rows) == sum(not key.startswith(("in/", "state/")) for key in file)
    assert len(rows) - len(compared) == (pictures if mode == registry.GRAPH else 0), "chop and self-ensemble"


@pytest.mark.parametrize("gone", ["chop", "in/hr"])
def test_what_a_fixture_does_not_hold_is_not_compared(copy, gone):
    """A quantity less is no row; an input less ends the runner where it is needed, which is no failure."""

    def drop(arrays, entry):
        for key in [key for key in arrays if gone in key or key == "loss/l1"]:
            del arrays[key]
        entry["keys"] = sorted(arrays)

    rows = rows_of(copy("csnln_x2.npz", drop), mode=registry.PYNATIVE)
    found = {row.quantity: row.verdict for row in rows}
    assert found == (dict.fromkeys(GROUPS - {"loss/"}, PASS) if gone == "chop" else {"the rest": NOT_COMPARED})


@pytest.mark.parametrize(("name", "mode"), list(zip(ATTENTIONS, ("graph", "", "PyNative"), strict=True)))
def test_attentions_are_the_authors(goldens_dir, name, mode):
    rows = rows_of(goldens_dir, name, mode=mode)
    groups = {"out/", "grad/"} | ({"mid/"} if "cross" in name else set())
    modes = [mode] if mode else registry.MODES
    assert {(row.quantity, row.mode) for row in rows} == {(group, one) for group in groups for one in modes}
    assert {row.verdict for row in rows} == {PASS}, rows


def test_full_size_networks(goldens_dir):
    _, inventories = folder.read_folder(goldens_dir, "csnln_x")
    assert {inventory.name: inventory.details["parameters"] for inventory in inventories} == {
        "csnln_x2": 3_061_289,
        "csnln_x3": 6_010_409,
        "csnln_x4": 6_568_627,
    }
    rows = list(check_goldens.run([], inventories))
    assert [row.verdict for row in rows] == 6 * [PASS], rows


def test_schedules(goldens_dir):
    verdicts = {row.quantity: row.verdict for row in rows_of(goldens_dir, "lr_schedules")}
    assert verdicts["csnln_decay_200"] == verdicts["csnln_decay_200_400_600_800"] == PASS


# ------------------------------------------------------------------ it can fail


def test_one_perturbed_weight(copy):
    def perturb(arrays, entry):
        arrays["state/conv_match_2.0.weight"][1, 2] *= 1.001

    rows = rows_of(copy(ATTENTIONS[1], perturb), mode=registry.PYNATIVE)
    assert {row.quantity: row.verdict for row in rows}["out/"] == FAIL


def test_every_array_counts(copy):
    """Each reference value, moved by a little more than the tolerance, fails, and is found among the arrays."""
    keys = set()

    def perturb(arrays, entry):
        keys.update(moved(arrays, entry["expected_tolerance"], 3))

    rows = rows_of(copy(ATTENTIONS[1], perturb), every_array=True, mode=registry.PYNATIVE)
    assert {row.quantity for row in rows} == {"out/", "mid/", "grad/"} | keys
    assert {row.verdict for row in rows} == {FAIL}
