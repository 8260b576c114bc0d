"""IRN/scripts/*.sh: what they hand to python, both historic forms, and how they refuse. The programs are stand-ins."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from ci.tests.clone import arguments, make_clone, run, start, wait_for
from common.config import parse
from IRN.src.options.options import EvalConfig, TrainConfig

PREFERRED = {"": None, "_gpu": "GPU", "_ascend": "Ascend"}
STANDALONE = {f"run_standalone_train{end}.sh": device for end, device in PREFERRED.items()}
EVALUATION = {f"run_eval{end}.sh": device for end, device in PREFERRED.items()}
DISTRIBUTED = ("run_distribute_train.sh", "run_distribute_train_gpu.sh", "run_distribute_train_ascend.sh")
SCRIPTS = (*STANDALONE, *EVALUATION, *DISTRIBUTED)
USAGE = {
    **dict.fromkeys(STANDALONE, "SCALE DATASET_GT_PATH"),
    **dict.fromkeys(EVALUATION, "SCALE DATASET_PATH CHECKPOINT_PATH"),
    **dict.fromkeys(DISTRIBUTED, "RANK_TABLE_FILE|DEVICE_NUM SCALE DATASET_GT_PATH"),
    "run_distribute_train_gpu.sh": "DEVICE_NUM SCALE DATASET_GT_PATH",
}
TABLE = {"server_list": [{"server_id": "a", "device": [{"device_id": "0"}, {"device_id": "1"}]}]}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return make_clone(tmp_path_factory.mktemp("scripts") / "my clone", "IRN", "scripts")


@pytest.fixture
def here(tmp_path):
    """The caller's folder, with pictures, a checkpoint and a rank table."""
    folder = tmp_path / "some where"
    (folder / "my data").mkdir(parents=True)
    (folder / "x.ckpt").touch()
    (folder / "rank table").write_text(json.dumps(TABLE))
    return folder


# ------------------------------------------------------------------------------------------------- what python is given


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "sh", "dash", "zsh") if shutil.which(shell)])
@pytest.mark.parametrize("script", STANDALONE)
def test_training_gets_the_options(clone, here, script, shell):
    done = run(shell, clone / "IRN/scripts" / script, "2", "my data", "--niter", "7", "--name", "two words", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    program, *options = arguments(done.stdout)
    assert program == str(clone / "IRN/train.py")
    config = parse(TrainConfig, options, description="")
    assert (config.scale, config.dataset_GT_path) == (2, str(here / "my data"))
    assert (config.niter, config.name, config.device_target) == (7, "two words", "auto")
    assert f"prefers {STANDALONE[script] or 'auto'}\n" in done.stdout
    assert arguments((here / "train.log").read_text()) == [program, *options]


@pytest.mark.parametrize("script", EVALUATION)
def test_evaluation_gets_the_options(clone, here, script):
    done = run("bash", clone / "IRN/scripts" / script, "4", "my data", "x.ckpt", "--draws", "3", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    program, *options = arguments(done.stdout)
    config = parse(EvalConfig, options, description="")
    assert program == str(clone / "IRN/eval.py")
    assert (config.scale, config.dataset_GT_path, config.ckpt_path) == (4, str(here / "my data"), str(here / "x.ckpt"))
    assert (config.draws, config.device_target) == (3, "auto")
    assert f"prefers {EVALUATION[script] or 'auto'}\n" in done.stdout
    assert arguments((here / "eval.log").read_text()) == [program, *options]


def test_own_values_come_last(clone, here):
    """What the user adds overrides what the script says; DEVICE_TARGET chooses the device."""
    script = clone / "IRN/scripts/run_standalone_train_gpu.sh"
    done = run("bash", script, "4", "my data", "--scale", "8", cwd=here, DEVICE_TARGET="CPU")
    config = parse(TrainConfig, arguments(done.stdout)[1:], description="")
    assert (config.scale, config.device_target) == (8, "CPU")


# Stands for the interpreter: counts the devices of the rank table, finds a port; as msrun it says what it is given.
MSRUN = """#!/usr/bin/env bash
case $2 in
    *mindspore*) ;;
    *json*) echo 2; exit ;;
    *) echo 54321; exit ;;
esac
workers=$4
until [[ $1 == */train.py ]]; do shift; done
printf '%s\\n' "$workers" "$ZOO_PREFERRED_DEVICE" "$@" >said
"""


def test_distributed_training_gets_the_options(clone, here):
    """That real workers train is test_distributed's matter."""
    forms = [
        ("run_distribute_train.sh", "2", "GPU"),
        ("run_distribute_train.sh", "rank table", "Ascend"),
        ("run_distribute_train_gpu.sh", "2", "GPU"),
        ("run_distribute_train_ascend.sh", "rank table", "Ascend"),
        ("run_distribute_train_ascend.sh", "2", "Ascend"),
    ]
    (here / "python").write_text(MSRUN)
    (here / "python").chmod(0o755)
    started = []
    for number, (script, first, device) in enumerate(forms):
        folder = shutil.copytree(here, here.with_name(f"job {number}"))
        words = (first, "4", "my data", "--batch_size", "3", "--name", "two words")
        process = start("sh", clone / "IRN/scripts" / script, *words, cwd=folder, PYTHON=str(folder / "python"))
        started.append((process, folder, device))
    for process, folder, device in started:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        workers, preferred, program, *options = (folder / "said").read_text().splitlines()
        assert (workers, preferred) == (f"--local_worker_num={min(2, len(os.sched_getaffinity(0)))}", device)
        assert program == str(clone / "IRN/train.py")
        config = parse(TrainConfig, options, description="")
        assert (config.scale, config.dataset_GT_path) == (4, str(folder / "my data"))
        assert (config.batch_size, config.name, config.device_target) == (3, "two words", "auto")
        assert config.run_distribute is True


# ------------------------------------------------------------------------------------------------- how they are started


def test_every_way_to_name_a_script(clone, here, tmp_path):
    """From other folders, through a symbolic link to the clone, to the script, and by the script's own folder."""
    script = "IRN/scripts/run_standalone_train.sh"
    (tmp_path / "link").symlink_to(clone)
    (tmp_path / "train-irn").symlink_to(clone / script)
    commands = [
        (["bash", "../link/" + script, "4", "my data"], here),
        (["sh", "../train-irn", "4", "my data"], here),
        (["bash", "run_standalone_train.sh", "4", here / "my data"], clone / "IRN/scripts"),
        (["./" + script, "4", here / "my data"], clone),
    ]
    for command, folder in commands:
        done = run(*command, cwd=folder)
        assert done.returncode == 0, (command, done.stderr)
        program, _, scale, _, data = arguments(done.stdout)[:5]
        assert (program, scale) == (str(clone / "IRN/train.py"), "4")
        assert Path(data).resolve() == here / "my data"


def test_exit_code_is_pythons(clone, here):
    script = clone / "IRN/scripts/run_eval.sh"
    codes = [
        run("bash", script, "4", "my data", "x.ckpt", cwd=here, TEST_PROGRAM=f"exit {n}").returncode for n in (7, 2)
    ]
    assert codes == [7, 2]


def test_background_and_signals(clone, here):
    """BACKGROUND=1 returns at once; Ctrl-C on a run in the foreground reaches python."""
    script = clone / "IRN/scripts/run_standalone_train.sh"
    done = run("sh", script, "4", "my data", cwd=here, BACKGROUND="1", TEST_PROGRAM="wait")
    found = re.fullmatch(rf"started, pid (\d+), log {here}/train.log\n", done.stdout)
    assert done.returncode == 0
    wait_for("prefers auto", here / "train.log")
    os.kill(int(found[1]), signal.SIGTERM)
    wait_for("saved", here / "train.log")
    (here / "train.log").unlink()
    process = start("bash", script, "4", "my data", cwd=here, TEST_PROGRAM="wait")
    wait_for("prefers auto", here / "train.log")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output.endswith("saved\n")


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("script", SCRIPTS)
def test_too_few_arguments_show_the_usage(clone, here, script):
    path = clone / "IRN/scripts" / script
    done = run("sh", path, "4", cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"usage: bash {path} {USAGE[script]} [python options")
    assert run("bash", path, "--help", cwd=here).stdout == done.stderr
    assert not list(here.glob("*.log")), "a refused start leaves no log"


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        *((script, ["5", "my data"], "SCALE is not 2, 3, 4 or 8: 5") for script in STANDALONE),
        *((script, ["x4", "my data", "x.ckpt"], "SCALE is not 2, 3, 4 or 8: x4") for script in EVALUATION),
        *((script, ["2", "16", "my data"], "SCALE is not 2, 3, 4 or 8: 16") for script in DISTRIBUTED),
        *((script, ["4", "nope"], "DATASET_GT_PATH is not a folder: nope") for script in STANDALONE),
        *((script, ["4", "nope", "x.ckpt"], "DATASET_PATH is not a folder: nope") for script in EVALUATION),
        *((script, ["2", "4", "x.ckpt"], "DATASET_GT_PATH is not a folder: x.ckpt") for script in DISTRIBUTED),
        *((script, ["4", "my data", "no.ckpt"], "CHECKPOINT_PATH is not a file: no.ckpt") for script in EVALUATION),
        ("run_standalone_train.sh", ["my data", "4"], "SCALE is not 2, 3, 4 or 8: my data"),
        ("run_distribute_train.sh", ["nope", "4", "my data"], "RANK_TABLE_FILE is not a file: nope"),
        ("run_distribute_train.sh", ["my data", "4", "my data"], "RANK_TABLE_FILE is not a file: my data"),
        ("run_distribute_train_ascend.sh", ["nope", "4", "my data"], "RANK_TABLE_FILE is not a file: nope"),
        ("run_distribute_train_gpu.sh", ["0", "4", "my data"], "DEVICE_NUM is not a number of 1 or more: 0"),
        ("run_distribute_train_gpu.sh", ["x.ckpt", "4", "my data"], "DEVICE_NUM is not a number of 1 or more: x.ckpt"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(clone, here, script, words, message):
    done = run("bash", clone / "IRN/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
    assert not list(here.glob("*.log"))


def test_rank_table_that_is_none(clone, here):
    done = run("bash", clone / "IRN/scripts/run_distribute_train.sh", "x.ckpt", "4", "my data", cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: RANK_TABLE_FILE is not a rank table (JSON with ")


def test_these_are_all_and_can_be_executed(root):
    assert {path.name for path in (root / "IRN/scripts").iterdir()} == set(SCRIPTS)
    for script in SCRIPTS:
        assert os.access(root / "IRN/scripts" / script, os.X_OK), script
