"""CSNLN/scripts/*.sh and script/*.sh: what they hand to python, and how they refuse. The programs are stand-ins."""

import os
import shutil

import pytest

from ci.tests.clone import PROGRAM, arguments, make_clone, run
from CSNLN.src.config import TrainConfig, parse
from CSNLN.src.use_options import EvalConfig

FOLDERS = ("scripts", "script")
DEVICES = {"gpu": "GPU", "ascend": "Ascend"}
VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "ascend": "ASCEND_RT_VISIBLE_DEVICES"}
# Also tells which devices it was given.
TELLING = "import os\nprint('device', *(os.environ.get(name) for name in ('DEVICE_ID', *{})), flush=True)\n"


@pytest.fixture(scope="module")
def clone(root, tmp_path_factory):
    folder = make_clone(tmp_path_factory.mktemp("scripts") / "my clone", "CSNLN", "scripts")
    shutil.copytree(root / "CSNLN" / "script", folder / "CSNLN" / "script")
    for program in ("train.py", "eval.py"):
        said = TELLING.format(tuple(VISIBLE.values()))
        (folder / "CSNLN" / program).write_text(said + PROGRAM, encoding="utf-8")
    return folder


@pytest.fixture
def here(tmp_path):
    """The caller's folder, with a checkpoint."""
    folder = tmp_path / "some where"
    folder.mkdir()
    (folder / "my x2.ckpt").touch()
    return folder


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", DEVICES)
def test_training_on_one_device(clone, here, kind, folder, shell):
    script = clone / "CSNLN" / folder / f"run_train_{kind}.sh"
    done = run(shell, script, "1", "3", "--epochs", "7", "--name", "two words", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    program, *options = arguments(done.stdout)
    assert program == str(clone / "CSNLN/train.py")
    config = parse(TrainConfig, options, "")
    assert (config.epochs, config.name, config.device_target) == (7, "two words", "auto")
    assert f"prefers {DEVICES[kind]}\n" in done.stdout
    assert "device 3 None None\n" in done.stdout
    assert arguments((here / "train.log").read_text()) == [program, *options]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", DEVICES)
def test_evaluation(clone, here, kind, folder):
    """As the seed prints it: with the data set, or without, which is Set5."""
    script = clone / "CSNLN" / folder / f"run_eval_{kind}.sh"
    for words, name in ((["Urban100", "--scale", "4"], "Urban100"), (["--scale", "4"], "Set5"), ([], "Set5")):
        done = run("bash", script, "my x2.ckpt", *words, cwd=here)
        program, *options = arguments(done.stdout)
        assert (done.returncode, program) == (0, str(clone / "CSNLN/eval.py"))
        config = parse(EvalConfig, options, "")
        assert (config.ckpt_file, config.data_test) == (str(here / "my x2.ckpt"), name)
        assert config.scale == (4 if words else 0)
        assert f"prefers {DEVICES[kind]}\n" in done.stdout
    assert "prefers" in (here / "eval.log").read_text()


# Stands for the interpreter: finds a port; as msrun it says what it is given.
MSRUN = """#!/usr/bin/env bash
case $2 in
    *mindspore*) ;;
    *) echo 54321; exit ;;
esac
echo "visible $CUDA_VISIBLE_DEVICES|$ASCEND_RT_VISIBLE_DEVICES|$DEVICE_ID" >"$OUT"
printf '%s\\n' "${@:3}" >>"$OUT"
"""


@pytest.mark.parametrize("kind", DEVICES)
def test_training_on_several_devices(clone, here, kind):
    """The workers see those devices alone; here they are CPU workers, of which two fit."""
    (here / "msrun").write_text(MSRUN)
    (here / "msrun").chmod(0o755)
    changes = {"PYTHON": str(here / "msrun"), "OUT": str(here / "out"), "DEVICE_TARGET": "CPU"}
    done = run("bash", clone / f"CSNLN/scripts/run_train_{kind}.sh", "2", "4,6", "--lr", "1", cwd=here, **changes)
    assert done.returncode == 0, done.stdout + done.stderr
    visible, *words = (here / "out").read_text().splitlines()
    assert visible == ("visible 4,6||" if kind == "gpu" else "visible |4,6|")
    place = words.index(str(clone / "CSNLN/train.py"))
    assert words[place + 1 :] == ["--device_target", "CPU", "--lr", "1", "--run_distribute", "True"]


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("run_train_gpu.sh", ["0", "0"], "DEVICE_NUM is not a number of 1 or more: 0"),
        ("run_train_gpu.sh", ["2", "0"], "DEVICES names 1 device(s), but DEVICE_NUM is 2: 0"),
        ("run_train_ascend.sh", ["1", "0,1"], "DEVICES names 2 device(s), but DEVICE_NUM is 1: 0,1"),
        ("run_train_gpu.sh", ["2", "0,"], "DEVICES is not a list of numbers as 0,1,2: 0,"),
        ("run_train_gpu.sh", ["1", "--epochs"], "DEVICES is not a list of numbers as 0,1,2: --epochs"),
        ("run_eval_gpu.sh", ["nope.ckpt", "Set5"], "CHECKPOINT_PATH is not a file: nope.ckpt"),
    ],
)
def test_wrong_arguments_are_named(clone, here, script, words, message):
    done = run("bash", clone / "CSNLN/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
    assert not list(here.glob("*.log"))


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(("kind", "usage"), [("train", "DEVICE_NUM DEVICES"), ("eval", "CHECKPOINT_PATH [DATASET]")])
def test_too_few_arguments_show_the_usage(clone, here, folder, kind, usage):
    done = run("sh", clone / "CSNLN" / folder / f"run_{kind}_gpu.sh", cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"usage: bash {clone}/CSNLN/")
    assert f"run_{kind}_gpu.sh {usage} " in done.stderr


def test_exit_code_is_pythons(clone, here):
    done = run("bash", clone / "CSNLN/script/run_train_gpu.sh", "1", "0", cwd=here, TEST_PROGRAM="exit 7")
    assert done.returncode == 7


def test_through_a_link(clone, here, tmp_path):
    (tmp_path / "link").symlink_to(clone)
    done = run("bash", "../link/CSNLN/script/run_train_gpu.sh", "1", "0", cwd=here)
    assert arguments(done.stdout)[0] == str(clone / "CSNLN/train.py")


def test_scripts_can_be_executed(root):
    found = [path for folder in FOLDERS for path in (root / "CSNLN" / folder).glob("run_*.sh")]
    assert len(found) == 8
    assert all(os.access(path, os.X_OK) for path in found)
