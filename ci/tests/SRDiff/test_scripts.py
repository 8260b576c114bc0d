"""SRDiff/scripts/*.sh: what they hand to python, and how they refuse. The programs are stand-ins."""

import json
import os
import re
import shutil
import signal

import pytest

from ci.tests.clone import arguments, make_clone, run, start, wait_for
from common.config import parse
from SRDiff.src.model_utils.options import TrainConfig
from SRDiff.src.model_utils.use_options import EvalConfig

DEVICES = {"gpu": "GPU", "ascend": "Ascend"}
STANDALONE = {f"run_standalone_train_{end}.sh": device for end, device in DEVICES.items()}
EVALUATION = {f"run_eval_{end}.sh": device for end, device in DEVICES.items()}
DISTRIBUTED = {f"run_distribute_train_{end}.sh": device for end, device in DEVICES.items()}
SCRIPTS = (*STANDALONE, *EVALUATION, *DISTRIBUTED)
USAGE = {
    **dict.fromkeys(STANDALONE, "CONFIG DATASET_PATH"),
    **dict.fromkeys(EVALUATION, "DATASET_PATH CHECKPOINT_PATH"),
    "run_distribute_train_gpu.sh": "DEVICE_NUM CONFIG DATASET_PATH",
    "run_distribute_train_ascend.sh": "RANK_TABLE_FILE|DEVICE_NUM CONFIG DATASET_PATH",
}
TABLE = {"server_list": [{"server_id": "a", "device": [{"device_id": "0"}, {"device_id": "1"}]}]}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = make_clone(tmp_path_factory.mktemp("scripts") / "my clone", "SRDiff", "scripts")
    (folder / "SRDiff" / "configs").mkdir()
    for name in ("theirs.yaml", "both.yaml"):
        (folder / "SRDiff" / "configs" / name).touch()
    return folder


@pytest.fixture
def here(tmp_path):
    """The caller's folder, with configurations, data, a checkpoint and a rank table."""
    folder = tmp_path / "some where"
    (folder / "my data").mkdir(parents=True)
    (folder / "sub").mkdir()
    for name in ("my own.yaml", "both.yaml", "sub/theirs.yaml", "set.mindrecord", "last.ckpt"):
        (folder / name).touch()
    (folder / "rank table").write_text(json.dumps(TABLE))
    return folder


# ------------------------------------------------------------------------------------------------- what python is given


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "sh", "dash", "zsh") if shutil.which(shell)])
@pytest.mark.parametrize("script", STANDALONE)
def test_training_gets_the_options(clone, here, script, shell):
    words = ("my own.yaml", "my data", "--max_updates", "7", "--name", "two words")
    done = run(shell, clone / "SRDiff/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    program, flag, config, *options = arguments(done.stdout)
    assert (program, flag, config) == (str(clone / "SRDiff/train.py"), "--config", str(here / "my own.yaml"))
    found = parse(TrainConfig, options, description="")
    assert (found.max_updates, found.name, found.device_target) == (7, "two words", "auto")
    assert found.dataset_GT_path == str(here / "my data")
    assert f"prefers {STANDALONE[script]}\n" in done.stdout
    assert arguments((here / "train.log").read_text()) == [program, flag, config, *options]


@pytest.mark.parametrize("script", EVALUATION)
def test_evaluation_gets_the_options(clone, here, script):
    words = ("my data", "last.ckpt", "--limit", "2", "--name", "two words")
    done = run("sh", clone / "SRDiff/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    program, *options = arguments(done.stdout)
    assert program == str(clone / "SRDiff/eval.py")
    found = parse(EvalConfig, options, description="")
    assert (found.dataset_GT_path, found.ckpt_path) == (str(here / "my data"), str(here / "last.ckpt"))
    assert (found.limit, found.name, found.device_target) == (2, "two words", "auto")
    assert f"prefers {EVALUATION[script]}\n" in done.stdout
    assert arguments((here / "eval.log").read_text()) == [program, *options]


def test_configuration_is_looked_for_here_then_among_ours(clone, here):
    wanted = {
        "theirs.yaml": clone / "SRDiff" / "configs" / "theirs.yaml",
        "both.yaml": here / "both.yaml",
        "sub/theirs.yaml": here / "sub" / "theirs.yaml",
        str(here / "both.yaml"): here / "both.yaml",
    }
    script = clone / "SRDiff/scripts/run_standalone_train_gpu.sh"
    for word, path in wanted.items():
        assert arguments(run("bash", script, word, "set.mindrecord", cwd=here).stdout)[2] == str(path)
    done = run("bash", "SRDiff/scripts/run_standalone_train_gpu.sh", "SRDiff/configs/both.yaml", str(here), cwd=clone)
    assert arguments(done.stdout)[2] == str(clone / "SRDiff" / "configs" / "both.yaml")


def test_own_values_come_last(clone, here):
    """DEVICE_TARGET chooses the device."""
    script = clone / "SRDiff/scripts/run_standalone_train_gpu.sh"
    done = run("bash", script, "theirs.yaml", "my data", "--device_target", "GPU", cwd=here, DEVICE_TARGET="CPU")
    assert arguments(done.stdout)[5:] == ["--device_target", "CPU", "--device_target", "GPU"]


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
        ("run_distribute_train_gpu.sh", "2", "my own.yaml", "GPU"),
        ("run_distribute_train_ascend.sh", "rank table", "theirs.yaml", "Ascend"),
        ("run_distribute_train_ascend.sh", "2", "both.yaml", "Ascend"),
    ]
    (here / "python").write_text(MSRUN)
    (here / "python").chmod(0o755)
    started = []
    for number, (script, first, config, device) in enumerate(forms):
        folder = shutil.copytree(here, here.with_name(f"job {number}"))
        words = (first, config, "my data", "--batch_size", "3", "--name", "two words")
        process = start("sh", clone / "SRDiff/scripts" / script, *words, cwd=folder, PYTHON=str(folder / "python"))
        path = clone / "SRDiff" / "configs" / config if config == "theirs.yaml" else folder / config
        started.append((process, folder, device, path))
    for process, folder, device, path in started:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        workers, preferred, program, flag, config, *options = (folder / "said").read_text().splitlines()
        assert (workers, preferred) == (f"--local_worker_num={min(2, len(os.sched_getaffinity(0)))}", device)
        assert (program, flag, config) == (str(clone / "SRDiff/train.py"), "--config", str(path))
        found = parse(TrainConfig, options, description="")
        assert (found.batch_size, found.name, found.device_target) == (3, "two words", "auto")
        assert found.dataset_GT_path == str(folder / "my data")
        assert found.run_distribute is True


# ------------------------------------------------------------------------------------------------- how they are started


def test_every_way_to_name_a_script(clone, here, tmp_path):
    """Through a symbolic link to the clone, to the script, and by the script's own folder."""
    script = "SRDiff/scripts/run_standalone_train_gpu.sh"
    (tmp_path / "link").symlink_to(clone)
    (tmp_path / "train-srdiff").symlink_to(clone / script)
    commands = [
        (["bash", "../link/" + script], here),
        (["sh", "../train-srdiff"], here),
        (["bash", "run_standalone_train_gpu.sh"], clone / "SRDiff/scripts"),
        (["./" + script], clone),
    ]
    for command, folder in commands:
        done = run(*command, "theirs.yaml", str(here / "my data"), cwd=folder)
        assert done.returncode == 0, (command, done.stderr)
        program, _, config = arguments(done.stdout)[:3]
        assert (program, config) == (str(clone / "SRDiff/train.py"), str(clone / "SRDiff" / "configs" / "theirs.yaml"))


def test_exit_code_background_and_signals(clone, here):
    """The exit code is python's; BACKGROUND=1 returns at once; Ctrl-C on a run in the foreground reaches python."""
    script = clone / "SRDiff/scripts/run_standalone_train_gpu.sh"
    words = ("theirs.yaml", "my data")
    assert run("bash", script, *words, cwd=here, TEST_PROGRAM="exit 7").returncode == 7
    (here / "train.log").unlink()
    done = run("sh", script, *words, cwd=here, BACKGROUND="1", TEST_PROGRAM="wait")
    found = re.fullmatch(rf"started, pid (\d+), log {here}/train.log\n", done.stdout)
    assert done.returncode == 0
    wait_for("prefers GPU", here / "train.log")
    os.kill(int(found[1]), signal.SIGTERM)
    wait_for("saved", here / "train.log")
    (here / "train.log").unlink()
    process = start("bash", script, *words, cwd=here, TEST_PROGRAM="wait")
    wait_for("prefers GPU", here / "train.log")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output.endswith("saved\n")


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("script", SCRIPTS)
def test_too_few_arguments_show_the_usage(clone, here, script):
    path = clone / "SRDiff/scripts" / script
    done = run("sh", path, "both.yaml", cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"usage: bash {path} {USAGE[script]} [python options")
    assert run("bash", path, "--help", cwd=here).stdout == done.stderr
    assert not list(here.glob("*.log")), "a refused start leaves no log"


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        *((script, ["nope.yaml", "my data"], "CONFIG is not a file: nope.yaml") for script in STANDALONE),
        *((script, ["both.yaml", "nope"], "DATASET_PATH is not a file or folder: nope") for script in STANDALONE),
        *((script, ["2", "sub", "my data"], "CONFIG is not a file: sub") for script in DISTRIBUTED),
        *((script, ["2", "both.yaml", "nope"], "DATASET_PATH is not a file or folder: nope") for script in DISTRIBUTED),
        *((script, ["nope", "last.ckpt"], "DATASET_PATH is not a file or folder: nope") for script in EVALUATION),
        *((script, ["my data", "nope.ckpt"], "CHECKPOINT_PATH is not a file: nope.ckpt") for script in EVALUATION),
        ("run_distribute_train_gpu.sh", ["0", "both.yaml", "sub"], "DEVICE_NUM is not a number of 1 or more: 0"),
        ("run_distribute_train_ascend.sh", ["nope", "both.yaml", "sub"], "RANK_TABLE_FILE is not a file: nope"),
    ],
)
def test_wrong_arguments_are_named(clone, here, script, words, message):
    done = run("bash", clone / "SRDiff/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
    assert not list(here.glob("*.log"))


def test_these_are_all_and_can_be_executed(root):
    folder = root / "SRDiff" / "scripts"
    assert {path.name for path in folder.iterdir()} == {*SCRIPTS, "configured.sh"}
    assert all(os.access(folder / script, os.X_OK) for script in SCRIPTS)
