"""ci/check_goldens.py on SRFlow's committed reference values, and the proof that its runners can fail.

What belongs to every model (damaged folders, the criterion, files without a runner) is in WDSR's test of this name.
Here the network runs op by op and is trained for one step; `check_goldens.py --only srflow` compiles it as well, trains
it for five, and takes minutes for it.
"""

from pathlib import Path

import numpy as np
import pytest

from ci import check_goldens
from ci.golden_runners import folder, registry, srflow
from ci.golden_runners.core import FAIL, PASS, Golden
from ci.tests.SRFlow.test_model import simulated_rates
from SRFlow.src.model.FlowStep import FlowStep

GROUPS = {"out/", "mid/", "loss/", "grad/", "adam/"}
PARTS = "srflow_parts.npz"
COUNTS = {"SRFlow_DF2K_4X": 39_541_811, "SRFlow_DF2K_8X": 50_821_891, "SRFlow_CelebA_8X": 40_030_531}


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    monkeypatch.setattr("common.runtime.start_log", lambda: None)  # pytest's own log handlers stay
    monkeypatch.setattr("common.runtime.start", lambda device: None)  # a device is set once in a process
    registry.load_runners()


class Recorded(Golden):
    """A fixture that keeps what it was compared with."""

    def __init__(self, goldens: Path, name: str, mode: str = registry.PYNATIVE) -> None:
        super().__init__(*folder.read_folder(goldens, name)[0][0], mode)
        self.values = []

    def compare(self, key, value, *, bounds=None, quantity=""):
        super().compare(key, value, bounds=bounds, quantity=quantity)
        self.values.append((key, value, bounds, quantity))

    def results(self) -> set[str]:
        return {key for key in self.arrays if key.split("/")[0] not in ("state", "in")}

    def verdicts(self) -> set[str]:
        return {row.verdict for row in self.rows()}

    def judged_by_moved_references(self) -> list:
        """The rows of all arrays, had the largest value of each reference been a little more than the tolerance off."""
        arrays = {}
        for key in self.results():
            arrays[key], tolerance = self.arrays[key].copy(), self.tolerance[key.split("/")[0] + "/"]
            values = arrays[key].reshape(-1)
            share = tolerance.get("atol_relative_to_max_abs", 0) + tolerance.get("rel_l2", 0)
            values[np.abs(values).argmax()] *= 1 + 3 * share * np.sqrt(values.size)
            values += 3 * tolerance.get("atol_absolute", 0)
            if not values.any():  # the log-determinant of a squeeze
                values += 1e-6
        moved = Golden(self.name, arrays, self.config, self.tolerance, self.mode)
        for key, value, bounds, _ in self.values:
            moved.compare(key, value, bounds=bounds, quantity=key)
        return moved.rows()


@pytest.fixture(scope="module")
def whole(goldens_dir) -> Recorded:
    """The network, with one step of its training."""
    registry.load_runners()
    golden = Recorded(goldens_dir, "srflow_4x")
    golden.arrays = {key: array for key, array in golden.arrays.items() if not key.startswith("after/")}
    golden.arrays["adam/nll_mean"] = golden["adam/nll_mean"][:1]
    registry.find_fixture(golden.name).function(golden)
    return golden


# ------------------------------------------------------------------ the committed values


def test_srflow_is_the_authors(whole):
    """Every array that is no weight and no input is compared, none beyond a third of its tolerance."""
    assert {key for key, *_ in whole.values} == whole.results()
    rows = whole.rows()
    assert {row.quantity: row.verdict for row in rows} == dict.fromkeys(GROUPS, PASS)
    assert max(row.share for row in rows) < 1 / 3  # the rest is for machines that round otherwise


@pytest.mark.parametrize("name", ["srflow_parts", "srflow_actnorm_init"])
def test_parts_and_first_batch_are_the_authors(goldens_dir, name):
    golden = Recorded(goldens_dir, name)
    registry.find_fixture(golden.name).function(golden)
    assert {key for key, *_ in golden.values} == golden.results()
    assert golden.verdicts() == {PASS}
    assert max(row.share for row in golden.rows()) < 1 / 3


@pytest.mark.parametrize("name", COUNTS)
def test_names_and_number_of_parameters(goldens_dir, name):
    rows = list(check_goldens.run(*folder.read_folder(goldens_dir, f"srflow_{name}")))
    assert [(row.quantity, row.verdict) for row in rows] == [("names and shapes", PASS), ("trained values", PASS)]
    assert rows[1].detail == f"{COUNTS[name]:,} values, {COUNTS[name]:,} wanted"


def test_schedules_of_srflow(goldens_dir):
    rows = list(check_goldens.run(*folder.read_folder(goldens_dir, "lr_schedules")))
    verdicts = {row.quantity: row.verdict for row in rows if row.quantity.startswith("srflow_")}
    assert verdicts == {"srflow_official_df2k_4x": PASS, "srflow_with_inverse_steps": PASS}


OTHERS = {
    "srflow_down_only": {"milestones": (4, 9, 9, 30), "gamma": 0.3},
    "srflow_up_first": {"milestones": (30,), "gamma": 0.5, "inverse_milestones": (3, 12, 12, 12)},
    "srflow_flat": {"milestones": (), "gamma": 0.5},
}


@pytest.mark.parametrize("name", OTHERS)
def test_schedule_with_other_parameters(name):
    rates = simulated_rates(7e-4, 40, **OTHERS[name])
    for factor, verdict in ((1, PASS), (0.999, FAIL)):
        wanted = np.array(rates)
        wanted[20] *= 1 if name == "srflow_flat" else factor
        golden = Golden("x.npz", {f"{name}/k": np.arange(40), f"{name}/lr": wanted}, {}, {"rel": 1e-6})
        golden.compare(f"{name}/lr", registry.find_schedule(name).function(golden, name), bounds=golden.tolerance)
        assert golden.rows(finished=False)[0].verdict == (PASS if name == "srflow_flat" else verdict)


# ------------------------------------------------------------------ it can fail


def test_every_array_counts(whole):
    """Each reference value, moved by a little more than the tolerance, fails."""
    rows = whole.judged_by_moved_references()
    assert {row.quantity for row in rows if row.verdict == FAIL} == whole.results()


PORT = {  # what the old port had otherwise
    "eps": {"out/flowstep_forward", "out/flowstep_logdet", "out/flowstep_reverse", "out/flowstep_reverse_logdet"},
    "no log-determinant": {"out/invconv_logdet", "out/flowstep_logdet", "out/flowstep_reverse_logdet"},
}


@pytest.mark.parametrize("change", PORT)
def test_divergences_of_the_old_port_are_found(goldens_dir, monkeypatch, change):
    if change == "eps":
        original = FlowStep.__init__
        monkeypatch.setattr(FlowStep, "__init__", lambda self, c, f, h, eps, rng: original(self, c, f, h, 0.01, rng))
    else:
        monkeypatch.setattr("SRFlow.src.model.FlowStep.log_determinant", lambda logs, weights: logs.sum().float())
        monkeypatch.setattr("SRFlow.src.model.InvertibleConv1x1.InvertibleConv1x1.log_determinant", lambda self: 0.0)
    monkeypatch.setattr(srflow, "step_gradients", lambda *_: None)
    golden = Recorded(goldens_dir, PARTS)
    registry.find_fixture(PARTS).function(golden)
    failed = {row.quantity for row in golden.rows(every_array=True, finished=False) if row.verdict == FAIL}
    assert failed - {"out/"} == PORT[change]


def test_weight_that_is_missing_or_named_otherwise(goldens_dir):
    for change in ("flowUpsamplerNet.layers.4.invconv.weight", "RRDB.RRDB_trunk.1.RDB3.conv5.bias"):
        golden = Recorded(goldens_dir, "srflow_4x")
        golden.arrays[f"state/{change}s"] = golden.arrays.pop(f"state/{change}")
        with pytest.raises(Exception, match=change.replace(".", r"\.")):
            srflow.build(golden)
