"""ci/check_goldens.py on SRFlow's committed reference values, and the proof that its runners can fail.

What belongs to every model (damaged folders, the criterion, files without a runner) is in WDSR's test of this name.
Here the network runs op by op and is trained for one step; `check_goldens.py --only srflow` compiles it as well, trains
it for five, and takes minutes for it.
"""

import numpy as np
import pytest

from ci.golden_runners import registry, srflow
from ci.golden_runners.core import FAIL, PASS, Golden
from ci.tests.goldens import Recorded, prepared, rows_of  # noqa: F401
from ci.tests.SRFlow.test_model import simulated_rates
from SRFlow.src.model.FlowStep import FlowStep

GROUPS = {"out/", "mid/", "loss/", "grad/", "adam/"}
COUNTS = {"SRFlow_DF2K_4X": 39_541_811, "SRFlow_DF2K_8X": 50_821_891, "SRFlow_CelebA_8X": 40_030_531}


@pytest.fixture(scope="module")
def whole(goldens_dir) -> Recorded:
    """The network, with one step of its training."""
    return Recorded(goldens_dir, "srflow_4x", steps=1).run()


# ------------------------------------------------------------------ the committed values


def test_srflow_is_the_authors(whole):
    """Every array that is no weight and no input is compared, none beyond a third of its tolerance."""
    assert {key for key, *_ in whole.values} == whole.results()
    rows = whole.rows()
    assert {row.quantity: row.verdict for row in rows} == dict.fromkeys(GROUPS, PASS)
    assert max(row.share for row in rows) < 1 / 3  # the rest is for machines that round otherwise


@pytest.mark.parametrize("name", ["srflow_parts", "srflow_actnorm_init"])
def test_parts_and_first_batch_are_the_authors(goldens_dir, name):
    golden = Recorded(goldens_dir, name).run()
    assert {key for key, *_ in golden.values} == golden.results()
    assert {row.verdict for row in golden.rows()} == {PASS}
    assert max(row.share for row in golden.rows()) < 1 / 3


@pytest.mark.parametrize("name", COUNTS)
def test_names_and_number_of_parameters(goldens_dir, name):
    rows = rows_of(goldens_dir, f"srflow_{name}")
    assert [(row.quantity, row.verdict) for row in rows] == [("names and shapes", PASS), ("trained values", PASS)]
    assert rows[1].detail == f"{COUNTS[name]:,} values, {COUNTS[name]:,} wanted"


def test_schedules_of_srflow(goldens_dir):
    rows = rows_of(goldens_dir, "lr_schedules")
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
    golden = Recorded(goldens_dir, "srflow_parts.npz").run()
    failed = {row.quantity for row in golden.rows(every_array=True, finished=False) if row.verdict == FAIL}
    assert failed - {"out/"} == PORT[change]


def test_weight_that_is_missing_or_named_otherwise(goldens_dir):
    for change in ("flowUpsamplerNet.layers.4.invconv.weight", "RRDB.RRDB_trunk.1.RDB3.conv5.bias"):
        golden = Recorded(goldens_dir, "srflow_4x")
        golden.arrays[f"state/{change}s"] = golden.arrays.pop(f"state/{change}")
        with pytest.raises(Exception, match=change.replace(".", r"\.")):
            srflow.build(golden)
