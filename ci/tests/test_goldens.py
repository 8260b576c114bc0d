"""ci/check_goldens.py on the committed reference values, and the proof that it can fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ci import check_goldens
from ci.golden_runners import folder, registry
from ci.golden_runners.core import FAIL, NO_RUNNER, NOT_COMPARED, PASS, Golden, judge
from ci.golden_runners.registry import GRAPH, MODES, PYNATIVE
from common import UserError
from common.runtime import graph_mode

SMALLEST = "wdsr_b_x4.npz"  # one block
BOUNDS = {"atol_relative_to_max_abs": 2e-6, "rel_l2": 1e-6}
# File, mode, steps of training where it has more. `python ci/check_goldens.py` takes all in both modes, for minutes.
NETWORKS = [
    ("wdsr_b_x2", PYNATIVE, 0),
    ("wdsr_b_x3", GRAPH, 0),
    ("wdsr_b_x4", GRAPH, 0),
    ("wdsr_b_x4", PYNATIVE, 0),
    ("csnln_x3", PYNATIVE, 1),
    ("csnln_x4", GRAPH, 0),
    ("csnln_inscale_attention", GRAPH, 0),
    ("csnln_crossscale_attention_s2", GRAPH, 0),
    ("csnln_crossscale_attention_s2", PYNATIVE, 0),
    ("csnln_crossscale_attention_s3", PYNATIVE, 0),
    ("irn_x3_convdown", GRAPH, 0),
    ("irn_x4", PYNATIVE, 1),
    ("irn_quantization", GRAPH, 0),
    ("irn_quantization", PYNATIVE, 0),
    ("srflow_4x", PYNATIVE, 1),
    ("srflow_parts", PYNATIVE, 0),
    ("srflow_actnorm_init", PYNATIVE, 0),
    ("srdiff_4x", PYNATIVE, 1),
    ("srdiff_schedules", "", 0),
]


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    """Load the runners, and leave pytest's log handlers and the device alone."""
    monkeypatch.setattr("common.runtime.start_log", lambda: None)
    monkeypatch.setattr("common.runtime.start", lambda device: None)  # a device is set once in a process
    registry.load_runners()


def rows_of(goldens: Path, prefix: str = "", **options: object):
    """What check_goldens.py finds in the files of a folder that begin so."""
    return list(check_goldens.run(*folder.read_folder(goldens, prefix), **options))


def code_of(goldens: Path, *words: str) -> int:
    return check_goldens.main(["--goldens", str(goldens), *words])


@pytest.fixture
def copy(goldens_dir, tmp_path):
    """copy(name, change): a folder with one file of the goldens, whose arrays and manifest entry `change` may edit."""

    def make(name, change=lambda arrays, entry: None):
        entry = json.loads((goldens_dir / "manifest.json").read_text(encoding="utf-8"))["files"][name]
        with np.load(goldens_dir / name) as file:
            arrays = dict(file)
        change(arrays, entry)
        np.savez(tmp_path / name, **arrays)
        (tmp_path / "manifest.json").write_text(json.dumps({"files": {name: entry}}), encoding="utf-8")
        return tmp_path

    return make


# ------------------------------------------------------------------ the committed values


class Recorded(Golden):
    """A fixture that keeps what it was compared with; with `steps`, of a training of so many steps."""

    def __init__(self, goldens: Path, name: str, mode: str, steps: int) -> None:
        super().__init__(*folder.read_folder(goldens, name)[0][0], mode)
        self.values = []
        if steps:
            self.arrays = {key: array for key, array in self.arrays.items() if not key.startswith("after/")}
            shortened = {key for key in self.arrays if key.startswith("adam/") or key == "in/z_steps"}
            self.arrays |= {key: self.arrays[key][:steps] for key in shortened}

    def compare(self, key, value, *, bounds=None, quantity=""):
        super().compare(key, value, bounds=bounds, quantity=quantity)
        self.values.append((key, value, bounds))

    def results(self) -> set[str]:
        """Keys of all arrays that must be compared."""
        return {key for key in self.arrays if key.split("/")[0] not in ("state", "in")} - set(self._set_aside)

    def judged_by_moved_references(self):
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
        other = Golden(self.name, arrays, self.config, self.tolerance, self.mode)
        for key, value, bounds in self.values:
            other.compare(key, value, bounds=bounds, quantity=key)
        return other.rows()


@pytest.mark.parametrize(("name", "mode", "steps"), NETWORKS)
def test_networks_are_the_authors(goldens_dir, name, mode, steps):
    """Every array that is no weight and no input is compared, and fails when moved by a little more than allowed."""
    golden = Recorded(goldens_dir, name, mode, steps)
    if name == "srdiff_4x":
        golden.set_aside("mid/sample_kept_iterations")
    with graph_mode(mode == GRAPH):
        registry.find_fixture(golden.name).function(golden)
    rows = golden.rows()
    assert {row.verdict for row in rows} - {NOT_COMPARED} == {PASS}, rows
    assert {key for key, *_ in golden.values} & golden.arrays.keys() == golden.results()
    if name.startswith("sr"):
        assert max(row.share for row in rows) < 1 / 3  # the rest is for machines that round otherwise
    left_out = {key.split("/")[0] for key in golden.arrays.keys() - golden.results()} - {"state", "in", "mid"}
    assert left_out == ({"out"} if (name, mode) == ("csnln_x4", GRAPH) else set()), "chop and self-ensemble"
    failed = {row.quantity for row in golden.judged_by_moved_references() if row.verdict == FAIL}
    assert failed == golden.results()


@pytest.mark.parametrize("name", ["metrics.npz", "imresize.npz"])
def test_common_is_the_authors(goldens_dir, name):
    rows = rows_of(goldens_dir, name)
    assert len(rows) >= 5
    assert {row.verdict for row in rows if row.quantity.endswith("ssim_module")} <= {NOT_COMPARED}
    assert {row.verdict for row in rows if not row.quantity.endswith("ssim_module")} == {PASS}
    assert (
        max((row.error for row in rows if row.quantity.startswith("psnr")), default=0) < 1e-5
    )  # another luma is 5e-5 off
    with np.load(goldens_dir / name) as file:
        assert sum(row.arrays for row in rows) == sum(not key.startswith("in/") for key in file)


def test_schedules_are_the_authors(goldens_dir):
    rows = rows_of(goldens_dir, "lr_schedules")
    assert len(rows) == 15
    assert {row.verdict for row in rows} == {PASS}


@pytest.mark.parametrize("model", ["wdsr", "irn", "srflow", "srdiff", "csnln"])
def test_names_and_numbers_of_parameters(goldens_dir, model):
    _, inventories = folder.read_folder(goldens_dir, f"{model}_")
    rows = list(check_goldens.run([], inventories))
    assert len(rows) == 2 * len(inventories) > 0
    assert {row.verdict for row in rows} == {PASS}


# ------------------------------------------------------------------ the program, and that it can fail


def test_rows_of_both_modes(goldens_dir, capsys):
    assert code_of(goldens_dir, "--only", "irn_quantization") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted({line.split()[1] for line in lines if line.startswith("irn")}) == ["PyNative", "graph"]
    assert lines[-1] == f"2 {PASS}"


def test_one_perturbed_weight(copy, capsys):
    def perturb(arrays, entry):
        arrays["state/body.0.body.2.weight_v"][3, 5, 0, 0] *= 1.01

    assert code_of(copy(SMALLEST, perturb), "--mode", PYNATIVE) == 1
    assert f"{FAIL}: {SMALLEST}" in capsys.readouterr().out


def test_other_rates(copy):
    def change(arrays, entry):
        arrays["nobodys_rate/k"], arrays["nobodys_rate/lr"] = arrays["irn_official_multistep/k"], np.ones(25)
        for name in ("wdsr_yjn_step200_of_300", "irn_warmup10_cosine", "srflow_with_inverse_steps"):
            arrays[f"{name}/lr"][40] *= 0.999

    verdicts = {row.quantity: row.verdict for row in rows_of(copy("lr_schedules.npz", change))}
    assert verdicts.pop("nobodys_rate/lr") == NO_RUNNER
    assert sorted(name for name, verdict in verdicts.items() if verdict == FAIL) == [
        "irn_warmup10_cosine",
        "srflow_with_inverse_steps",
        "wdsr_yjn_step200_of_300",
    ]


def test_file_without_runner_is_listed(copy, capsys):
    goldens = copy(SMALLEST)
    (goldens / SMALLEST).rename(goldens / "newnet_x2.npz")
    manifest = (goldens / "manifest.json").read_text(encoding="utf-8")
    (goldens / "manifest.json").write_text(manifest.replace(SMALLEST, "newnet_x2.npz"), encoding="utf-8")
    assert code_of(goldens) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{NO_RUNNER}: newnet_x2.npz"


def test_what_a_fixture_does_not_hold_is_not_compared(copy):
    """A quantity less is no row; an input less ends the runner where it is needed, which is no failure."""

    def drop(arrays, entry):
        for key in ("in/hr", "out/sr"):
            del entry["keys"][key]
            del arrays[key]

    (row,) = rows_of(copy(SMALLEST, drop), mode=PYNATIVE)
    assert (row.quantity, row.verdict) == ("the rest", NOT_COMPARED)


def test_weights_that_do_not_fit(copy):
    rows = rows_of(copy(SMALLEST, lambda arrays, entry: entry["config"].update(n_feats=20)))
    assert [(row.mode, row.quantity, row.verdict) for row in rows] == [(mode, "the whole file", FAIL) for mode in MODES]
    assert all("does not fit this network" in row.detail for row in rows)


@pytest.mark.parametrize(
    ("change", "quantity", "said"),
    [
        (lambda shapes: shapes.pop("skip.0.bias"), "names and shapes", "added: skip.0.bias"),
        (lambda shapes: shapes.update({"gamma": [2]}), "names and shapes", "missing: gamma"),
        (lambda shapes: shapes.update({"head.0.bias": [8, 8]}), "names and shapes", "shape: head.0.bias"),
        (None, "trained values", "605,988 values, 605,989 wanted"),
    ],
)
def test_wrong_full_size_network(copy, goldens_dir, change, quantity, said):
    goldens, name = copy("metrics.npz"), "wdsr_b_8blocks_64feats_x2.json"
    content = json.loads((goldens_dir / folder.KEYS / name).read_text(encoding="utf-8"))
    if change:
        change(content["state_dict"])
    else:
        content["trainable_parameters"] += 1
    (goldens / folder.KEYS).mkdir()
    (goldens / folder.KEYS / name).write_text(json.dumps(content), encoding="utf-8")
    rows = rows_of(goldens, "wdsr")
    assert [(row.quantity, row.detail) for row in rows if row.verdict == FAIL] == [(quantity, said)]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, r"must be a folder whose manifest\.json"),
        (lambda goldens: (goldens / "manifest.json").write_text("{"), r"must be a folder whose manifest\.json"),
        (lambda goldens: (goldens / SMALLEST).unlink(), rf"{SMALLEST} is missing or damaged"),
        (lambda goldens: damage(goldens / SMALLEST), rf"{SMALLEST} is missing or damaged"),
        (lambda goldens: shutil.copy(goldens / SMALLEST, goldens / "more.npz"), r"more\.npz is not listed"),
        (lambda goldens: np.savez(goldens / SMALLEST, a=np.zeros(2)), rf"{SMALLEST} lacks 40 arrays .*: in/lr"),
    ],
)
def test_unusable_folder(copy, spoil, message):
    goldens = copy(SMALLEST)
    spoil(goldens)
    with pytest.raises(UserError, match=message) as caught:
        code_of(goldens)
    assert "\n" not in str(caught.value)


def test_no_such_prefix(copy):
    with pytest.raises(UserError, match=r"no file in .* begins with 'wdrs'.*it has wdsr_b_x4\.npz"):
        code_of(copy(SMALLEST), "--only", "wdrs")


# ------------------------------------------------------------------ the criterion


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ([10, 0, 0, 0], 0),
        ([10, 2e-5, 0, 0], 2),  # 2e-6 of the norm 10 is beyond 1e-6, though 2e-6 of the maximum is not
        ([10, 5e-6, 5e-6, 5e-6], 3**0.5 / 2),
        ([10, 0, 0, np.nan], np.inf),
        ([np.inf, 0, 0, 0], np.inf),
        ([[10, 0, 0, 0]], np.inf),  # a shape of its own
    ],
)
def test_both_criteria_count(value, share):
    found = judge("out/x", np.array([10.0, 0, 0, 0]), np.array(value, float), BOUNDS).share
    assert found == pytest.approx(share, rel=1e-6)


def test_group_without_tolerance_fails():
    golden = Golden("x.npz", {"out/y": np.ones(2)}, {}, {"mid/": BOUNDS})
    golden.compare("out/y", np.ones(2))
    assert [(row.verdict, "no tolerance" in row.detail) for row in golden.rows()] == [(FAIL, True)]
