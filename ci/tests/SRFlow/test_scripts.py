"""SRFlow/scripts/*.sh: what they hand to python, and how they refuse. The programs are stand-ins."""

import json
import os
import re
import shutil
import signal

import pytest

from ci.tests.clone import arguments, make_clone, run, start, wait_for
from common.config import parse
from SRFlow.src.model_utils.options import TrainConfig

DEVICES = {"gpu": "GPU", "ascend": "Ascend"}
STANDALONE = {f"run_standalone_train_{end}.sh": device for end, device in DEVICES.items()}
EVALUATION = {f"run_standalone_eval_{end}.sh": device for end, device in DEVICES.items()}
DISTRIBUTED = {f"run_distribute_train_{end}.sh": device for end, device in DEVICES.items()}
ALONE = (*STANDALONE, *EVALUATION)
SCRIPTS = (*ALONE, *DISTRIBUTED)
USAGE = {
    **dict.fromkeys(ALONE, "CONFIG DEVICE_ID"),
    "run_distribute_train_gpu.sh": "DEVICE_NUM CONFIG",
    "run_distribute_train_ascend.sh": "RANK_TABLE_FILE|DEVICE_NUM CONFIG",
}
TABLE = {"server_list": [{"server_id": "a", "device": [{"device_id": "0"}, {"device_id": "1"}]}]}
# Also tells the number of the device.
PROGRAM = "import os\nprint('device', os.environ.get('DEVICE_ID'), flush=True)\n"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = make_clone(tmp_path_factory.mktemp("scripts") / "my clone", "SRFlow", "scripts")
    (folder / "SRFlow" / "theirs.yml").touch()
    (folder / "SRFlow" / "both.yml").touch()
    for program in ("train.py", "eval.py"):
        path = folder / "SRFlow" / program
        path.write_text(PROGRAM + path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture
def here(tmp_path):
    """The caller's folder, with two configurations and a rank table."""
    folder = tmp_path / "some where"
    (folder / "sub").mkdir(parents=True)
    for name in ("my own.yml", "both.yml", "sub/theirs.yml"):
        (folder / name).touch()
    (folder / "rank table").write_text(json.dumps(TABLE))
    return folder


# ------------------------------------------------------------------------------------------------- what python is given


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "sh", "dash", "zsh") if shutil.which(shell)])
@pytest.mark.parametrize("script", ALONE)
def test_one_process_gets_the_options(clone, here, script, shell):
    words = ("my own.yml", "3", "--niter", "7", "--name", "two words")
    done = run(shell, clone / "SRFlow/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    kind, device = ("train", STANDALONE[script]) if script in STANDALONE else ("eval", EVALUATION[script])
    program, flag, config, *options = arguments(done.stdout)
    assert (program, flag, config) == (str(clone / f"SRFlow/{kind}.py"), "--opt", str(here / "my own.yml"))
    found = parse(TrainConfig, options, description="")
    assert (found.niter, found.name, found.device_target) == (7, "two words", "auto")
    assert f"prefers {device}\n" in done.stdout
    assert "device 3\n" in done.stdout
    assert arguments((here / f"{kind}.log").read_text()) == [program, flag, config, *options]


@pytest.mark.parametrize("script", ["run_standalone_train_gpu.sh", "run_standalone_eval_gpu.sh"])
def test_configuration_is_looked_for_here_then_in_the_model_folder(clone, here, script):
    wanted = {
        "theirs.yml": clone / "SRFlow" / "theirs.yml",
        "both.yml": here / "both.yml",
        "sub/theirs.yml": here / "sub" / "theirs.yml",
        str(here / "both.yml"): here / "both.yml",
    }
    for word, path in wanted.items():
        done = run("bash", clone / "SRFlow/scripts" / script, word, "0", cwd=here)
        assert arguments(done.stdout)[2] == str(path)


def test_both_ways_of_the_readmes(clone, here):
    """From the model folder, as the seed has it, and from the clone."""
    seed = run("bash", "./scripts/run_standalone_train_gpu.sh", "theirs.yml", "0", cwd=clone / "SRFlow")
    root = run("bash", "SRFlow/scripts/run_standalone_eval_gpu.sh", "theirs.yml", "0", cwd=clone)
    for done, program in ((seed, "train.py"), (root, "eval.py")):
        assert done.returncode == 0, done.stderr
        assert arguments(done.stdout)[:3] == [
            str(clone / "SRFlow" / program),
            "--opt",
            str(clone / "SRFlow" / "theirs.yml"),
        ]


def test_own_values_come_last(clone, here):
    """DEVICE_TARGET chooses the device."""
    script = clone / "SRFlow/scripts/run_standalone_train_gpu.sh"
    done = run("bash", script, "theirs.yml", "0", "--device_target", "GPU", cwd=here, DEVICE_TARGET="CPU")
    assert arguments(done.stdout)[3:] == ["--device_target", "CPU", "--device_target", "GPU"]


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
        ("run_distribute_train_gpu.sh", "2", "my own.yml", "GPU"),
        ("run_distribute_train_ascend.sh", "rank table", "theirs.yml", "Ascend"),
        ("run_distribute_train_ascend.sh", "2", "both.yml", "Ascend"),
    ]
    (here / "python").write_text(MSRUN)
    (here / "python").chmod(0o755)
    started = []
    for number, (script, first, config, device) in enumerate(forms):
        folder = shutil.copytree(here, here.with_name(f"job {number}"))
        words = (first, config, "--batch_size", "3", "--name", "two words")
        process = start("sh", clone / "SRFlow/scripts" / script, *words, cwd=folder, PYTHON=str(folder / "python"))
        path = clone / "SRFlow" / config if config == "theirs.yml" else folder / config
        started.append((process, folder, device, path))
    for process, folder, device, path in started:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        workers, preferred, program, flag, config, *options = (folder / "said").read_text().splitlines()
        assert (workers, preferred) == (f"--local_worker_num={min(2, len(os.sched_getaffinity(0)))}", device)
        assert (program, flag, config) == (str(clone / "SRFlow/train.py"), "--opt", str(path))
        found = parse(TrainConfig, options, description="")
        assert (found.batch_size, found.name, found.device_target) == (3, "two words", "auto")
        assert found.run_distribute is True


# ------------------------------------------------------------------------------------------------- how they are started


def test_every_way_to_name_a_script(clone, here, tmp_path):
    """Through a symbolic link to the clone, to the script, and by the script's own folder."""
    script = "SRFlow/scripts/run_standalone_train_gpu.sh"
    (tmp_path / "link").symlink_to(clone)
    (tmp_path / "train-srflow").symlink_to(clone / script)
    commands = [
        (["bash", "../link/" + script], here),
        (["sh", "../train-srflow"], here),
        (["bash", "run_standalone_train_gpu.sh"], clone / "SRFlow/scripts"),
        (["./" + script], clone),
    ]
    for command, folder in commands:
        done = run(*command, "theirs.yml", "1", cwd=folder)
        assert done.returncode == 0, (command, done.stderr)
        program, _, config = arguments(done.stdout)[:3]
        assert (program, config) == (str(clone / "SRFlow/train.py"), str(clone / "SRFlow" / "theirs.yml"))


def test_exit_code_background_and_signals(clone, here):
    """The exit code is python's; BACKGROUND=1 returns at once; Ctrl-C on a run in the foreground reaches python."""
    script = clone / "SRFlow/scripts/run_standalone_train_gpu.sh"
    assert run("bash", script, "theirs.yml", "0", cwd=here, TEST_PROGRAM="exit 7").returncode == 7
    (here / "train.log").unlink()
    done = run("sh", script, "theirs.yml", "0", cwd=here, BACKGROUND="1", TEST_PROGRAM="wait")
    found = re.fullmatch(rf"started, pid (\d+), log {here}/train.log\n", done.stdout)
    assert done.returncode == 0
    wait_for("prefers GPU", here / "train.log")
    os.kill(int(found[1]), signal.SIGTERM)
    wait_for("saved", here / "train.log")
    (here / "train.log").unlink()
    process = start("bash", script, "theirs.yml", "0", cwd=here, TEST_PROGRAM="wait")
    wait_for("prefers GPU", here / "train.log")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output.endswith("saved\n")


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("script", SCRIPTS)
def test_too_few_arguments_show_the_usage(clone, here, script):
    path = clone / "SRFlow/scripts" / script
    done = run("sh", path, "both.yml", cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"usage: bash {path} {USAGE[script]} [python options")
    assert run("bash", path, "--help", cwd=here).stdout == done.stderr
    assert not list(here.glob("*.log")), "a refused start leaves no log"


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        *((script, ["nope.yml", "0"], "CONFIG is not a file: nope.yml") for script in ALONE),
        *((script, ["2", "sub"], "CONFIG is not a file: sub") for script in DISTRIBUTED),
        *((script, ["both.yml", "-1"], "DEVICE_ID is not the number of a device: -1") for script in ALONE),
        ("run_standalone_train_gpu.sh", ["0", "both.yml"], "CONFIG is not a file: 0"),
        ("run_standalone_train_gpu.sh", ["both.yml", "0,1"], "DEVICE_ID is not the number of a device: 0,1"),
        ("run_distribute_train_gpu.sh", ["0", "both.yml"], "DEVICE_NUM is not a number of 1 or more: 0"),
        ("run_distribute_train_ascend.sh", ["nope", "both.yml"], "RANK_TABLE_FILE is not a file: nope"),
    ],
)
def test_wrong_arguments_are_named(clone, here, script, words, message):
    done = run("bash", clone / "SRFlow/scripts" / script, *words, cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
    assert not list(here.glob("*.log"))


def test_these_are_all_and_can_be_executed(root):
    folder = root / "SRFlow" / "scripts"
    assert {path.name for path in folder.iterdir()} == {*SCRIPTS, "configured.sh"}
    assert all(os.access(folder / script, os.X_OK) for script in SCRIPTS)
