"""ci/check_goldens.py on the committed reference values, and the proof that it can fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ci import check_goldens
from ci.golden_runners import folder, registry
from ci.golden_runners.core import FAIL, NO_RUNNER, NOT_COMPARED, PASS, Golden, judge
from ci.golden_runners.wdsr import read_decay
from ci.tests.goldens import moved, prepared, rows_of  # noqa: F401
from common import UserError

GROUPS = {"out/", "out/ of the folded form", "mid/", "loss/", "grad/", "adam/", "after/"}
SMALLEST = "wdsr_b_x4.npz"  # one block: two modes take two seconds
BOUNDS = {"atol_relative_to_max_abs": 2e-6, "rel_l2": 1e-6}


def code_of(goldens: Path, only: str = "") -> int:
    return check_goldens.main(["--goldens", str(goldens), "--only", only])


# ------------------------------------------------------------------ the committed values


def test_wdsr_is_the_authors(goldens_dir, capsys):
    assert code_of(goldens_dir, "wdsr") == 0
    printed = capsys.readouterr().out
    for scale in (2, 3, 4):
        lines = [line for line in printed.splitlines() if line.startswith(f"wdsr_b_x{scale}.npz")]
        assert sorted({line.split()[1] for line in lines}) == ["PyNative", "graph"]
        assert len(lines) == 2 * len(GROUPS)
        assert all(f" {PASS}" in line for line in lines)
    assert printed.count("names and shapes") == printed.count("trained values") == 15
    assert printed.splitlines()[-1] == f"{3 * 2 * len(GROUPS) + 30} {PASS}"


@pytest.mark.parametrize("name", ["metrics.npz", "imresize.npz"])
def test_common_is_the_authors(goldens_dir, name):
    rows = rows_of(goldens_dir, name)
    assert len(rows) >= 5
    assert {row.verdict for row in rows if row.quantity.endswith("ssim_module")} <= {NOT_COMPARED}
    assert {row.verdict for row in rows if not row.quantity.endswith("ssim_module")} == {PASS}
    with np.load(goldens_dir / name) as file:
        assert sum(row.arrays for row in rows) == sum(not key.startswith("in/") for key in file)


def test_schedules_of_wdsr(goldens_dir):
    with np.load(goldens_dir / "lr_schedules.npz") as file:
        yjn, ychfan = "wdsr_yjn_step200_of_300", "wdsr_ychfan_multistep"
        assert read_decay(yjn, file[f"{yjn}/k"] + 1, file[f"{yjn}/lr"]) == ("200", 0.5)
        decay, gamma = read_decay(ychfan, file[f"{ychfan}/k"], file[f"{ychfan}/lr"])
        assert decay.startswith("20-25-")  # the published ones
        assert gamma == pytest.approx(0.2)
    verdicts = {row.quantity: row.verdict for row in rows_of(goldens_dir, "lr_schedules")}
    assert verdicts[yjn] == verdicts[ychfan] == PASS


# ------------------------------------------------------------------ other folders


def test_schedule_with_other_parameters(copy):
    epochs = np.arange(0, 40, 3)
    rates = np.array([2e-3 * 0.3 ** sum(epoch >= drop for drop in (7, 18)) for epoch in epochs])

    def write(arrays, entry):
        arrays.clear()
        arrays.update({"wdsr_two_drops/k": epochs, "wdsr_two_drops/lr": rates})
        arrays.update({"wdsr_yjn_step5_of_40/k": epochs, "wdsr_yjn_step5_of_40/lr": 1e-3 * 0.5 ** ((epochs + 1) // 5)})
        arrays.update({"wdsr_cosine/k": epochs, "wdsr_cosine/lr": 1e-3 * np.cos(epochs / 40)})
        arrays.update({"wdsr_step6/k": epochs, "wdsr_step6/lr": 1e-3 * 0.5 ** (epochs // 7)})
        arrays.update({"nobodys_rate/k": epochs, "nobodys_rate/lr": rates})
        entry.pop("keys")

    verdicts = {row.quantity: row.verdict for row in rows_of(copy("lr_schedules.npz", write))}
    assert verdicts == {
        "wdsr_two_drops": PASS,
        "wdsr_yjn_step5_of_40": PASS,
        "wdsr_cosine": FAIL,
        "wdsr_step6": FAIL,
        "nobodys_rate/lr": NO_RUNNER,
    }


def test_file_without_runner_is_listed(copy, capsys):
    goldens = copy(SMALLEST)
    (goldens / SMALLEST).rename(goldens / "newnet_x2.npz")
    manifest = (goldens / "manifest.json").read_text(encoding="utf-8")
    (goldens / "manifest.json").write_text(manifest.replace(SMALLEST, "newnet_x2.npz"), encoding="utf-8")
    assert code_of(goldens) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{NO_RUNNER}: newnet_x2.npz"


# ------------------------------------------------------------------ it can fail


def test_one_perturbed_weight(copy, capsys):
    def perturb(arrays, entry):
        arrays["state/body.0.body.2.weight_v"][3, 5, 0, 0] *= 1.01

    assert check_goldens.main(["--goldens", str(copy(SMALLEST, perturb)), "--mode", registry.PYNATIVE]) == 1
    assert f"{FAIL}: {SMALLEST}" in capsys.readouterr().out


def test_every_array_counts(copy):
    """Each reference value, moved by a little more than ten times the tolerance, fails, and is found among them."""
    keys = set()

    def perturb(arrays, entry):
        keys.update(moved(arrays, entry["expected_tolerance"], 20))

    rows = rows_of(copy(SMALLEST, perturb), every_array=True, mode=registry.PYNATIVE)
    assert {row.quantity for row in rows} == GROUPS | keys
    assert {row.verdict for row in rows} == {FAIL}


def test_configuration_comes_from_the_manifest(copy):
    goldens = copy(SMALLEST, lambda arrays, entry: entry["config"].update(res_scale=0.5))
    golden = Golden(*folder.read_folder(goldens, "")[0][0], registry.PYNATIVE)
    registry.find_fixture(SMALLEST).function(golden)
    assert {row.verdict for row in golden.rows() if row.quantity in ("out/", "loss/")} == {FAIL}


def test_weights_that_do_not_fit(copy):
    rows = rows_of(copy(SMALLEST, lambda arrays, entry: entry["config"].update(n_feats=20)))
    assert [(row.mode, row.quantity, row.verdict) for row in rows] == [
        (mode, "the whole file", FAIL) for mode in registry.MODES
    ]
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


# ------------------------------------------------------------------ folders that cannot be used


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
        code_of(copy(SMALLEST), "wdrs")


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
