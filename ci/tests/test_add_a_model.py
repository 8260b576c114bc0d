"""ci/ADD_A_MODEL.md, followed: its blocks, put into a copy of the repository, are a model that does what it must.

One process runs all commands of the new model, since each start of MindSpore takes seconds. The truth is a network
written here in NumPy, which stands for the authors' code: it makes the reference values and judges the pictures.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import save_file

from ci.tests import clone, training
from common import images

ROOT = clone.ROOT
PAGE, PAGE_CN = ROOT / "ci" / "ADD_A_MODEL.md", ROOT / "ci" / "ADD_A_MODEL_CN.md"
BLOCK = re.compile(r"^`([\w./]+)`\n\n(`{3,4})\w+\n(.*?)^\2$", re.MULTILINE | re.DOTALL)  # a path, and what it holds
PICTURE = "ci/sample/DIV2K/DIV2K_train_LR_bicubic/X2/0009x2.png"
GOLDEN, BROKEN = "sixth_x2.npz", "conv2.weight"
CONFIG = {"scale": 2, "n_feats": 6, "lr": 0.01}
SEED = 8

# ------------------------------------------------------------------- the network, its gradients and Adam, in NumPy


def windows(x, side):
    """(N, C, H, W) -> (N, C, H, W, side, side): what a convolution with `same` zero padding sees."""
    edge = side // 2
    padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    return sliding_window_view(padded, (side, side), axis=(2, 3))


def convolve(x, weight, bias):
    return np.einsum("nchwij,ocij->nohw", windows(x, weight.shape[-1]), weight) + bias[:, None, None]


def shuffle(x, scale):
    """Channel (colour, row, column) to place (colour, height * row, width * column)."""
    count, channels, height, width = x.shape
    x = x.reshape(count, channels // scale**2, scale, scale, height, width)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(count, -1, height * scale, width * scale)


def unshuffle(y, scale):
    count, colours, height, width = y.shape
    y = y.reshape(count, colours, height // scale, scale, width // scale, scale)
    return y.transpose(0, 1, 3, 5, 2, 4).reshape(count, -1, height // scale, width // scale)


def layers(state, lr):
    """The inputs of the three convolutions, and the result of the last."""
    seen = [lr]
    for number in (1, 2, 3):
        seen.append(convolve(np.maximum(seen[-1], 0), state[f"conv{number}.weight"], state[f"conv{number}.bias"]))
    return seen


def enlarge(state, lr, scale=2):
    return shuffle(layers(state, lr)[-1], scale)


def loss_and_gradients(state, lr, hr, scale):
    """The mean absolute difference, and its derivatives by the chain rule, layer by layer from the last."""
    seen = layers(state, lr)
    difference = shuffle(seen[3], scale) - hr
    gradient, found = unshuffle(np.sign(difference) / difference.dtype.type(difference.size), scale), {}
    for number in (3, 2, 1):
        name, weight = f"conv{number}", state[f"conv{number}.weight"]
        entered = np.maximum(seen[number - 1], 0)
        found[f"{name}.weight"] = np.einsum("nohw,nchwij->ocij", gradient, windows(entered, weight.shape[-1]))
        found[f"{name}.bias"] = gradient.sum((0, 2, 3))
        turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        gradient = convolve(gradient, turned, np.zeros(len(turned), lr.dtype)) * (seen[number - 1] > 0)
    return np.abs(difference).mean(), found


def references(kind):
    """Everything that a file of reference values holds, computed in this float type from the same float32 values."""
    rng, features = np.random.default_rng(SEED), CONFIG["n_feats"]
    shapes = ((features, 3, 5, 5), (features // 2, features, 3, 3), (12, features // 2, 3, 3))
    state = {}
    for number, shape in enumerate(shapes, 1):
        state[f"conv{number}.weight"] = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        state[f"conv{number}.bias"] = rng.standard_normal(shape[0]).astype(np.float32) / 4
    lr, hr = (rng.random((2, 3, 7 * s, 10 * s)).astype(np.float32).astype(kind) for s in (1, CONFIG["scale"]))
    state = {name: array.astype(kind) for name, array in state.items()}
    arrays = {f"state/{name}": array for name, array in state.items()} | {"in/lr": lr, "in/hr": hr}
    arrays["out/sr"] = enlarge(state, lr)
    first, second, losses = dict.fromkeys(state, 0), dict.fromkeys(state, 0), []
    for step in (1, 2, 3):
        loss, gradients = loss_and_gradients(state, lr, hr, CONFIG["scale"])
        losses.append(loss)
        if step == 1:
            arrays |= {"loss/l1": loss} | {f"grad/{name}": gradient for name, gradient in gradients.items()}
        for name, gradient in gradients.items():  # Kingma and Ba, algorithm 1
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            state[name] = (state[name] - CONFIG["lr"] * mean / (np.sqrt(square) + 1e-8)).astype(kind)
    arrays |= {"adam/l1": np.array(losses, kind)} | {f"after/{name}": array for name, array in state.items()}
    return {key: np.asarray(array) for key, array in arrays.items()}


def authors_weights():
    """The weights by the authors' names, and nothing that says what they are."""
    return {key[6:]: array for key, array in references(np.float32).items() if key.startswith("state/")}


# -------------------------------------------------------------------------------------------- the page, followed once

# Runs shell lines one after another in this process: each `python X.py WORDS` as the module's main(WORDS), with the
# words as bash expands them at that moment. Prints a JSON line for each: exit code and what it said.
DRIVER = r"""
import contextlib, importlib, io, json, subprocess, sys, traceback
import common
shown = sys.stdout
for line in json.load(sys.stdin):
    words = ["bash", "-ec", "python() { printf '%s\\0' \"$@\"; }\n" + line]
    program, *words = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            code = importlib.import_module(program.removesuffix(".py").replace("/", ".")).main(words)
        except common.UserError as error:
            code = 2
            print("error:", error)
        except Exception:
            code = "traceback"
            traceback.print_exc()
    print(json.dumps({"line": line, "code": code, "said": said.getvalue()}), file=shown, flush=True)
"""


class Answer(NamedTuple):
    """How a line ended, and what it said."""

    code: int | str
    said: str


class Followed(NamedTuple):
    """The copy of the repository, and what its commands answered: each line's last answer."""

    copy: Path
    answers: dict[str, Answer]

    def answer(self, words):
        """The answer to the one line with these words."""
        (found,) = (answer for line, answer in self.answers.items() if words in line)
        return found


def blocks(page):
    """Path -> content."""
    return {path: text for path, _, text in BLOCK.findall(page.read_text(encoding="utf-8"))}


def load(path):
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(copy):
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": paths, "PYTHONPATH": str(copy)}


def write_goldens(copy, folder):
    """The reference values, by the page's own program, into ci/goldens; and in `folder` with one weight changed."""
    goldens = load(copy / "goldens.py")
    single, double = references(np.float32), references(np.float64)
    said = {"model": "Sixth x2", "config": CONFIG, "how": "NumPy"}
    goldens.add(copy / "ci" / "goldens", GOLDEN, single, double, **said)
    single[f"state/{BROKEN}"] = single[f"state/{BROKEN}"].copy()
    single[f"state/{BROKEN}"][1, 2, 0, 1] *= 1.01
    folder.mkdir()
    goldens.add(folder, GOLDEN, single, double, **said)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    entry = json.loads((copy / "ci" / "goldens" / "manifest.json").read_text(encoding="utf-8"))["files"][GOLDEN]
    manifest["files"][GOLDEN] = entry  # the broken weight must not widen its own tolerance
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository with what the page adds."""
    copy = tmp_path_factory.mktemp("sixth") / "a clone"
    left = shutil.ignore_patterns(".git", ".venv", "runs", "results", "__pycache__", "*.egg-info", ".*_cache", "*.onnx")
    shutil.copytree(ROOT, copy, ignore=left)
    for path, text in blocks(PAGE).items():
        assert not (copy / path).exists(), f"{path} is there already"
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text, encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def followed(copy, tmp_path_factory):
    """All commands of the new model, run."""
    broken = tmp_path_factory.mktemp("goldens") / "broken"
    write_goldens(copy, broken)
    save_file(authors_weights(), copy / "authors.safetensors")
    (block,) = load(ROOT / "ci" / "readme_commands.py").blocks_of(copy / "Sixth" / "README.md")
    marked = block.commands.splitlines()
    first = next(line for line in marked if line.startswith("python Sixth/train.py --dataset_GT_path"))
    lines = [
        "python ci/options_table.py Sixth/README.md",
        *marked,
        first.replace("--name first", "--name whole").replace("--niter 20", "--niter 40"),
        "python ci/check_goldens.py --only sixth",
        f"python ci/check_goldens.py --only sixth --mode PyNative --goldens '{broken}'",
        "python Sixth/infer.py --input nowhere.png",
        f"python Sixth/infer.py --input {PICTURE}",
        f"python Sixth/infer.py --input {PICTURE} --ckpt_path authors.safetensors --output runs/authors",
        "python Sixth/export.py --ckpt_path WDSR/weights/wdsr_b_small_x2.ckpt --file_name runs/other",
    ]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=copy,
        env=environment(copy),
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["line"] for answer in found] == lines
    return Followed(copy, {answer["line"]: Answer(answer["code"], answer["said"]) for answer in found})


@pytest.fixture(scope="module")
def runs(followed):
    """The runs' folders by name."""
    return {name: next((followed.copy / "runs" / "Sixth").glob(f"{name}-*")) for name in ("first", "whole")}


# -------------------------------------------------------------------------------------------------------- the page


def test_both_languages_have_the_same_blocks():
    assert blocks(PAGE_CN) == blocks(PAGE)
    assert len(blocks(PAGE)) >= 14


@pytest.mark.parametrize("page", [PAGE, PAGE_CN], ids=lambda page: page.name)
def test_what_the_page_names_is_there(page, copy):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"
    for path in re.findall(r"`((?:ci|common|WDSR|Sixth)/[\w./]*\w)`", text):
        assert (copy / path).exists() or path in ("ci/tests/Sixth", "ci/benchmarks/sixth.py"), path
    for module in re.findall(r"`common\.(\w+)`", text):
        assert list((copy / "common").glob(f"{module}*")), f"common.{module}"


def test_a_model_is_short(copy):
    lines = {path: len(text.splitlines()) for path, text in blocks(PAGE).items() if path.endswith(".py")}
    assert sum(lines.values()) - lines.pop("goldens.py") < 550, lines


# ---------------------------------------------------------------------------------------------- what the commands do


def test_all_commands_end_well(followed):
    failed = {line: answer for line, answer in followed.answers.items() if answer.code != 0}
    wanted = {"broken": 1, "nowhere.png": 2, f"--input {PICTURE}": 2, "runs/other": 2}
    for words, code in wanted.items():
        (line,) = (line for line in failed if line.endswith((words, f"{words}'")))
        assert failed.pop(line).code == code
    assert failed == {}


def test_the_loss_is_finite_and_falls(runs):
    losses = training.losses(runs["whole"])
    assert len(losses) == 8
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.6 * losses[0]


def test_a_resumed_run_is_the_uninterrupted_one(followed, runs):
    assert "it begins at step 21 of 40" in followed.answer("--resume").said
    assert training.logged(runs["first"]) == training.logged(runs["whole"])
    resumed, whole = (training.read(runs[name]) for name in ("first", "whole"))
    training.assert_same(resumed.weights, whole.weights)
    training.assert_same(resumed.state, whole.state)


def test_a_checkpoint_says_what_it_is(runs):
    meta = training.read(runs["first"]).meta
    assert (meta["model"], meta["scale"], meta["step"]) == ("Sixth", 2, 40)
    assert meta["hyper"] == {"scale": 2, "num_features": 8}
    assert meta["config"]["patch_size"] == 32


def expected(weights, lr):
    """The picture (H, W, 3) in 0..255, not rounded, that NumPy makes of another with these weights."""
    state = {name: array.astype(np.float64) for name, array in weights.items()}
    return enlarge(state, lr.transpose(2, 0, 1)[None] / 255)[0].transpose(1, 2, 0).clip(0, 1) * 255


def test_infer_gives_the_networks_picture(followed, runs):
    made = images.read_rgb(followed.copy / "runs" / "enlarged" / "0009x2_x2.png")
    wanted = expected(training.read(runs["first"]).weights, images.read_rgb(followed.copy / PICTURE))
    assert np.abs(made - wanted).max() < 0.501
    assert wanted.std() > 5  # not one grey


def test_the_authors_file_is_known_by_names_and_shapes(followed):
    made = images.read_rgb(followed.copy / "runs" / "authors" / "0009x2_x2.png")
    wanted = expected(authors_weights(), images.read_rgb(followed.copy / PICTURE))
    assert np.abs(made - wanted).max() < 0.501


def test_eval_measures_beside_bicubic(followed):
    folder = followed.copy / "runs" / "measured"
    said = followed.answer("eval.py").said
    assert "PSNR-Y (crop 2)" in said
    assert "bicubic" in said
    table = (folder / "DIV2K_train_HR.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in table] == ["picture", "0001", "0002"]
    assert sorted(path.name for path in folder.rglob("SR/*")) == ["0001.png", "0002.png"]
    column = table[0].split(",").index("PSNR-Y (crop 2): SR")
    luma = np.array([65.481, 128.553, 24.966]) / 255  # BT.601; the 16 falls out of the difference
    for line in table[1:]:
        name, *_ = cells = line.split(",")
        sr, hr = (
            images.read_rgb(path).astype(float)
            for path in (next(folder.rglob(f"SR/{name}.png")), ROOT / f"ci/sample/DIV2K/DIV2K_train_HR/{name}.png")
        )
        error = ((sr - hr) @ luma)[2:-2, 2:-2]
        assert float(cells[column]) == pytest.approx(10 * np.log10(255**2 / (error**2).mean()), abs=1e-6)


def test_the_export_is_the_network(followed, runs):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert "loaded again and compared at 24x32 and 37x29" in followed.answer('export.py --ckpt_path "$(').said
    session = onnxruntime.InferenceSession(str(followed.copy / "runs" / "sixth_x2.onnx"))
    lr = np.random.default_rng(1).integers(0, 256, (9, 13, 3))
    (made,) = session.run(["sr_image"], {"lr_image": (lr.transpose(2, 0, 1)[None] / 255).astype(np.float32)})
    np.testing.assert_allclose(
        made[0].transpose(1, 2, 0).clip(0, 1) * 255, expected(training.read(runs["first"]).weights, lr), atol=1e-3
    )


def test_mistakes_are_one_sentence(followed):
    assert "there is no nowhere.png" in followed.answer("nowhere.png").said
    assert "no demo weights for x2" in followed.answers[f"python Sixth/infer.py --input {PICTURE}"].said
    assert "holds WDSR, not Sixth" in followed.answer("runs/other").said
    assert not (followed.copy / "runs" / "other.mindir").exists()


# ------------------------------------------------------------------------------------------------ reference values


def test_gradients_of_the_truth():
    """The NumPy gradients against differences of the NumPy loss, in the direction of each parameter's gradient."""
    arrays = references(np.float64)
    state = {key.removeprefix("state/"): array for key, array in arrays.items() if key.startswith("state/")}
    for name in state:
        gradient, losses = arrays[f"grad/{name}"], []
        for sign in (1, -1):
            moved = state | {name: state[name] + sign * 1e-7 * gradient / np.abs(gradient).max()}
            losses.append(loss_and_gradients(moved, arrays["in/lr"], arrays["in/hr"], 2)[0])
        slope = (losses[0] - losses[1]) / 2e-7
        assert slope == pytest.approx((gradient**2).sum() / np.abs(gradient).max(), rel=1e-5), name


def test_the_goldens_pass(followed):
    said = followed.answers["python ci/check_goldens.py --only sixth"].said
    rows = [line.split() for line in said.splitlines() if line.startswith(GOLDEN)]
    groups = {"out/", "loss/", "grad/", "adam/", "after/"}
    assert {row[2] for row in rows} == groups
    assert {row[1] for row in rows} == {"PyNative", "graph"}
    assert said.splitlines()[-1] == f"{2 * (len(groups) + 1) + 2} pass"
    assert "26,796 values, 26,796 wanted" in said


def test_a_broken_weight_fails_the_goldens(followed):
    said = followed.answer("broken").said
    assert said.splitlines()[-1] == f"FAIL: {GOLDEN}"
    verdicts = {line.split()[2]: "FAIL" in line for line in said.splitlines() if line.startswith(GOLDEN)}
    assert verdicts["out/"]
    assert verdicts["grad/"]


def test_the_manifest_keeps_its_other_entries(followed):
    old = (ROOT / "ci" / "goldens" / "manifest.json").read_text(encoding="utf-8")
    new = (followed.copy / "ci" / "goldens" / "manifest.json").read_text(encoding="utf-8")
    assert new.startswith(old.rstrip("\n} ")), "the entries of before are written otherwise"
    entry = json.loads(new)["files"][GOLDEN]
    assert set(entry) == {"file", "model", "config", "how", "keys", "float32_vs_float64", "expected_tolerance"}
    bounds = entry["expected_tolerance"]["out/"]
    assert 2e-6 <= bounds["atol_relative_to_max_abs"] < 2e-5


# ---------------------------------------------------------------------------------------------- the tests of the zoo


def test_the_zoos_own_tests_see_the_model(followed):
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-k"]
    command += ["(Sixth or common_imports or nobody_imports) and not marked"]
    command += ["ci/tests/common/test_boundaries.py", "ci/tests/test_readmes.py"]
    done = subprocess.run(
        command, cwd=followed.copy, env=environment(followed.copy), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = {line.rpartition("::")[2] for line in done.stdout.splitlines() if line.startswith("PASSED")}
    assert passed >= {
        "test_common_imports_no_model",
        "test_a_model_imports_no_other[Sixth]",
        "test_length[Sixth/train.py]",
        "test_environment_is_set_before_mindspore[Sixth/src/model.py]",
        "test_programs_set_the_environment_before_mindspore[Sixth.train]",
        "test_both_languages_print_the_same_commands[Sixth-Sixth]",
        "test_links_lead_somewhere[Sixth-README_CN.md]",
        "test_the_table_of_options_is_up_to_date[Sixth]",
        "test_every_file_that_the_tree_shows_exists[Sixth]",
    }


def test_ruff_and_shellcheck_are_content(copy):
    files = [path for path in blocks(PAGE) if path.endswith(".py")]
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", *files]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    if shutil.which("shellcheck"):
        done = subprocess.run(
            ["shellcheck", "-x", *(path for path in blocks(PAGE) if path.endswith(".sh"))],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_script_starts_the_program(copy, tmp_path):
    """From another folder, with a relative path that has a space in it; the program is a stand-in."""
    small, data = tmp_path / "a clone", tmp_path / "my pictures"
    for path in ("common/launch.sh", "Sixth/scripts/run_standalone_train.sh"):
        (small / path).parent.mkdir(parents=True)
        shutil.copy2(copy / path, small / path)
    (small / "Sixth" / "train.py").write_text(clone.PROGRAM, encoding="utf-8")
    data.mkdir()
    script = small / "Sixth" / "scripts" / "run_standalone_train.sh"
    done = clone.run("bash", script, "my pictures", "--niter", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = ["--dataset_GT_path", str(data), "--device_target", "auto", "--niter", "5"]
    assert clone.arguments(done.stdout)[1:] == wanted
    assert (tmp_path / "train.log").exists()
    for words, said in (((), "usage: bash"), (("nowhere",), "DATASET_GT_PATH is not a folder: nowhere")):
        done = clone.run("bash", script, *words, cwd=tmp_path)
        assert done.returncode == 1
        assert said in done.stderr
