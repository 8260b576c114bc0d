"""ci/check_goldens.py on IRN's committed reference values, and the proof that its runners can fail.

What belongs to every model (damaged folders, the criterion, files without a runner) is in WDSR's test of this name.
"""

import numpy as np
import pytest

from ci import check_goldens
from ci.golden_runners import folder, registry
from ci.golden_runners.core import FAIL, PASS, Golden
from ci.tests.goldens import Recorded, moved, prepared, rows_of  # noqa: F401
from ci.tests.IRN.test_model import simulated_rates
from IRN.src.options.options import TrainConfig

GROUPS = {"out/", "mid/", "loss/", "grad/", "adam/", "after/"}
SMALLEST = "irn_x3_convdown.npz"  # one coupling


@pytest.mark.parametrize("name", ["irn_x3", "irn_x4", "irn_x8", "irn_quantization"])
def test_irn_is_the_authors(goldens_dir, name):
    """Every array that is no weight and no input is compared, and the names are the authors'.

    x3 in graph mode; x4 in PyNative, trained for one step: all else takes minutes, and check_goldens.py has it.
    """
    fixtures, inventories = folder.read_folder(goldens_dir, name)
    modes, groups = registry.MODES, GROUPS
    if name == "irn_x4":
        modes, groups = [registry.PYNATIVE], GROUPS - {"after/"}
        for fixture in fixtures:
            shorten(fixture.arrays)
    if name == "irn_x3":
        modes = [registry.GRAPH]
    rows = list(check_goldens.run(fixtures, inventories, mode=modes[0] if len(modes) == 1 else ""))
    assert {row.verdict for row in rows} == {PASS}
    assert [row.quantity for row in rows if not row.mode] == ["names and shapes", "trained values"] * len(inventories)
    assert (len(fixtures), len(inventories)) == {"irn_x8": (0, 1), "irn_quantization": (1, 0)}.get(name, (1, 1))
    for fixture in fixtures:
        results = [key for key in fixture.arrays if key.split("/")[0] not in ("state", "in")]
        for mode in modes:
            arrays = {row.quantity: row.arrays for row in rows if row.mode == mode}
            assert sum(arrays.values()) - arrays.pop("out/ of the inference form", 0) == len(results)
            assert set(arrays) == ({"out/"} if name == "irn_quantization" else groups)


def shorten(arrays: dict[str, np.ndarray]) -> None:
    """To one step of training."""
    for key in list(arrays):
        if key.startswith("after/"):
            del arrays[key]
        elif key == "in/z_steps" or key.startswith("adam/"):
            arrays[key] = arrays[key][:1]


def test_schedules_of_irn(goldens_dir):
    rows = rows_of(goldens_dir, "lr_schedules")
    verdicts = {row.quantity: row.verdict for row in rows if row.quantity.startswith("irn_")}
    assert len(verdicts) == 7
    assert set(verdicts.values()) == {PASS}


# ------------------------------------------------------------------ other folders


OTHERS = {
    "irn_warmup7_multistep": {"lr_steps": (12, 12, 30), "lr_gamma": 0.3, "warmup_iter": 7},
    "irn_more_multistep": {"lr_steps": (4, 30), "lr_gamma": 0.1, "restarts": (10, 35), "restart_weights": (2.0, 1.5)},
    "irn_warmup7_cosine": {"T_period": (33,), "eta_min": 3e-6, "warmup_iter": 7},
    "irn_long_cosine": {"T_period": (90,), "eta_min": 2e-5},  # never comes to its lowest rate
    "irn_short_cosine": {"T_period": (8, 11), "eta_min": 0.0, "restarts": (20,), "restart_weights": (0.9,)},
    "irn_flat_multistep": {"lr_steps": ()},
}


def verdict_of(name: str, rates: list[float]) -> str:
    golden = Golden("x.npz", {f"{name}/k": np.arange(len(rates)), f"{name}/lr": np.array(rates)}, {}, {"rel": 1e-6})
    golden.compare(f"{name}/lr", registry.find_schedule(name).function(golden, name), bounds=golden.tolerance)
    return golden.rows(finished=False)[0].verdict


@pytest.mark.parametrize("name", OTHERS)
def test_schedule_with_other_parameters(name):
    scheme = "CosineAnnealingLR_Restart" if "cosine" in name else "MultiStepLR"
    rates = simulated_rates(TrainConfig(lr=7e-4, lr_scheme=scheme, **OTHERS[name]), 60)
    assert verdict_of(name, rates) == PASS
    if name != "irn_flat_multistep":
        rates[45] *= 0.999
        assert verdict_of(name, rates) == FAIL


# ------------------------------------------------------------------ it can fail


def test_every_array_counts(goldens_dir):
    """Each reference value, moved by a little more than the tolerance, fails."""
    golden = Recorded(goldens_dir, SMALLEST)
    keys = moved(golden.arrays, golden.tolerance, 20)
    registry.find_fixture(SMALLEST).function(golden)
    rows = golden.rows(every_array=True)
    assert {row.quantity for row in rows} == GROUPS | {"out/ of the inference form"} | keys
    assert {row.verdict for row in rows} == {FAIL}


def test_quantisation_that_stops_the_gradient(goldens_dir, monkeypatch):
    golden = Recorded(goldens_dir, "irn_quantization.npz")
    monkeypatch.setattr("IRN.src.network.Invnet.Quantization.bprop", lambda self, x, out, gradient: (gradient * 0,))
    registry.find_fixture("irn_quantization.npz").function(golden)
    assert [(row.verdict, "1 of 2 beyond: out/grad_x" in row.detail) for row in golden.rows()] == [(FAIL, True)]
