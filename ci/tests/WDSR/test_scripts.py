"""WDSR/script/*.sh: what they hand to python, how they fail, what they leave behind. The programs are stand-ins."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from ci.tests.clone import arguments, make_clone, run, start, wait_for
from common.config import parse
from WDSR.src.args import EvalConfig, TrainConfig

STANDALONE = ("run_ascend_standalone.sh", "run_gpu_standalone.sh")
EVALUATION = ("run_eval.sh", "run_eval_gpu.sh")
DISTRIBUTED = ("run_ascend_distribute.sh", "run_gpu_distribute.sh")


@pytest.fixture
def clone(tmp_path):
    return make_clone(tmp_path / "my clone", "WDSR", "script")


@pytest.fixture
def here(tmp_path):
    """The caller's folder, with a dataset and a checkpoint."""
    folder = tmp_path / "some where"
    (folder / "my data").mkdir(parents=True)
    (folder / "x.ckpt").touch()
    return folder


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "sh", "dash", "zsh") if shutil.which(shell)])
@pytest.mark.parametrize("script", STANDALONE)
def test_training_gets_the_options(clone, here, script, shell):
    done = run(shell, clone / "WDSR/script" / script, "my data", "--epochs", "1", "--name", "two words", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    program, *options = arguments(done.stdout)
    assert program == str(clone / "WDSR/train.py")
    config = parse(TrainConfig, options, description="")
    assert config.dir_data == str(here / "my data")
    assert (config.epochs, config.name, config.device_target) == (1, "two words", "auto")
    assert f"prefers {'GPU' if 'gpu' in script else 'Ascend'}\n" in done.stdout


@pytest.mark.parametrize("script", EVALUATION)
def test_evaluation_gets_the_options(clone, here, script):
    done = run("bash", clone / "WDSR/script" / script, "my data", "x.ckpt", "Set5", "--scale", "3", cwd=here)
    program, *options = arguments(done.stdout)
    config = parse(EvalConfig, options, description="")
    assert program == str(clone / "WDSR/eval.py")
    assert (config.dir_data, config.ckpt_path) == (str(here / "my data"), str(here / "x.ckpt"))
    assert (config.data_test, config.scale, done.returncode) == ("Set5", "3", 0)
    assert arguments((here / "eval.log").read_text()) == [program, *options]


def test_device_target_overrides(clone, here):
    done = run("bash", clone / "WDSR/script/run_gpu_standalone.sh", "my data", cwd=here, DEVICE_TARGET="CPU")
    assert parse(TrainConfig, arguments(done.stdout)[1:], description="").device_target == "CPU"


@pytest.mark.parametrize("script", STANDALONE + EVALUATION + DISTRIBUTED)
def test_too_few_arguments_show_the_usage(clone, here, script):
    done = run("sh", clone / "WDSR/script" / script, cwd=here)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"usage: bash {clone / 'WDSR/script' / script} ")
    assert "DATASET_PATH" in done.stderr
    assert not list(here.glob("*.log")), "a refused start leaves no log"


def test_help_is_no_error(clone, here):
    done = run("bash", clone / "WDSR/script/run_eval.sh", "--help", cwd=here)
    assert done.returncode == 0
    assert "DATASET_PATH CHECKPOINT_PATH DATASET_TYPE" in done.stdout


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("run_gpu_standalone.sh", ["nope"], "DATASET_PATH is not a folder: nope"),
        ("run_ascend_standalone.sh", ["x.ckpt"], "DATASET_PATH is not a folder: x.ckpt"),
        ("run_eval.sh", ["my data", "nope.ckpt", "Set5"], "CHECKPOINT_PATH is not a file: nope.ckpt"),
        ("run_ascend_distribute.sh", ["rank_table", "my data"], "RANK_TABLE_FILE is not a file: rank_table"),
        ("run_ascend_distribute.sh", ["2", "/nope"], "DATASET_PATH is not a folder: /nope"),
        ("run_gpu_distribute.sh", ["my data", "0"], "DEVICES is not a number of 1 or more: 0"),
        ("run_gpu_distribute.sh", ["my data", "0,1"], "DEVICES is not a number of 1 or more: 0,1"),
    ],
)
def test_wrong_arguments_are_named(clone, here, script, words, message):
    done = run("bash", clone / "WDSR/script" / script, *words, cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
    assert not list(here.glob("*.log"))


def test_exit_code_is_pythons_and_the_log_grows(clone, here):
    script = clone / "WDSR/script/run_gpu_standalone.sh"
    (here / "train.log").write_text("mine\n")
    codes = [run("bash", script, "my data", cwd=here, TEST_PROGRAM=f"exit {code}").returncode for code in (7, 2)]
    log = (here / "train.log").read_text()
    assert codes == [7, 2]
    assert log.startswith("mine\n\n=== 20")
    assert len(re.findall(r"^=== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", log, re.MULTILINE)) == 2
    assert log.count("prefers GPU") == 2


def test_every_way_to_name_a_script(clone, here, tmp_path):
    """From other folders, through a symbolic link to the clone, to the script, and by the script's own folder."""
    script = "WDSR/script/run_gpu_standalone.sh"
    (tmp_path / "link").symlink_to(clone)
    (tmp_path / "train-wdsr").symlink_to(clone / script)
    commands = [
        (["bash", "../link/" + script, "my data"], here),
        (["sh", "../train-wdsr", "my data"], here),
        (["sh", "run_gpu_standalone.sh", here / "my data"], clone / "WDSR/script"),
        (["./" + script, f"../{here.name}/my data"], clone),
    ]
    for command, folder in commands:
        done = run(*command, cwd=folder)
        assert done.returncode == 0, (command, done.stderr)
        program, _, data = arguments(done.stdout)[:3]
        assert program == str(clone / "WDSR/train.py")
        assert Path(data).resolve() == here / "my data"
        assert "prefers GPU" in (folder / "train.log").read_text()


def test_log_that_cannot_be_written(clone, here):
    (here / "train.log").mkdir()
    done = run("bash", clone / "WDSR/script/run_gpu_standalone.sh", "my data", cwd=here)
    assert (done.returncode, done.stderr) == (1, f"error: cannot write {here}/train.log\n")


@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_python(clone, here, number, whole_group):
    """A terminal's Ctrl-C goes to the whole process group, `kill PID` to the script alone."""
    script = clone / "WDSR/script/run_gpu_standalone.sh"
    process = start("bash", script, "my data", cwd=here, TEST_PROGRAM="wait")
    wait_for("prefers", here / "train.log")
    (os.killpg if whole_group else os.kill)(process.pid, number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert output.endswith("saved\n"), "the last words arrive"
    assert (here / "train.log").read_text().endswith("saved\n")


def test_background(clone, here):
    command = ["sh", str(clone / "WDSR/script/run_ascend_standalone.sh"), "my data", "--epochs", "1"]
    done = run(*command, cwd=here, BACKGROUND="1", TEST_PROGRAM="wait")
    found = re.fullmatch(rf"started, pid (\d+), log {here}/train.log\n", done.stdout)
    assert done.returncode == 0
    wait_for("prefers Ascend", here / "train.log")
    os.kill(int(found[1]), signal.SIGTERM)
    wait_for("saved", here / "train.log")
    log = (here / "train.log").read_text()
    assert log.count("prefers Ascend") == 1, "each line once"
    assert arguments(log)[-2:] == ["--epochs", "1"]


def test_background_still_refuses_at_once(clone, here):
    done = run("bash", clone / "WDSR/script/run_gpu_standalone.sh", "nope", cwd=here, BACKGROUND="1")
    assert (done.returncode, done.stdout) == (1, "")


def test_scripts_can_be_executed(root):
    for script in STANDALONE + EVALUATION + DISTRIBUTED:
        assert os.access(root / "WDSR/script" / script, os.X_OK), script
