"""The models' shell scripts: what they hand to python, how they are started, how they refuse. Programs are stand-ins.

What they have in common, `common/launch.sh`, is tested by one of them; its functions and jobs of several workers by
common/test_launch.py; that real workers train by test_distribution.py.
"""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from ci.tests import script_table as table
from ci.tests.clone import PROGRAM, arguments, make_clone, run, start, wait_for
from ci.tests.script_table import SCRIPTS, Script
from common.config.options import parse

pytestmark = pytest.mark.usefixtures("all_cores")

# Also tells the devices that it was given.
VISIBLE = "CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"
TELLING = f"import os\nprint('device', *(os.environ.get(name) for name in {('DEVICE_ID', *VISIBLE)}), flush=True)\n"
# Stands for the interpreter: counts the devices of the rank table, finds a port; as msrun it says what it is given.
MSRUN = """#!/usr/bin/env bash
case $2 in
    *mindspore*) ;;
    *json*) echo 2; exit ;;
    *) echo 54321; exit ;;
esac
workers=$4
until [[ $1 == */train.py ]]; do shift; done
visible="${CUDA_VISIBLE_DEVICES:-}|${ASCEND_RT_VISIBLE_DEVICES:-}|${DEVICE_ID:-}"
printf '%s\\n' "$workers" "$ZOO_PREFERRED_DEVICE" "$visible" "$@" >said
"""
SHELLS = {os.path.realpath(path): name for name in ("sh", "dash", "bash", "zsh") if (path := shutil.which(name))}
MORE = {"train": ["--batch_size", "3", "--name", "two words"], "eval": ["--limit", "3", "--output", "two words"]}
GPU_TRAIN = "WDSR/script/run_gpu_standalone.sh"


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """A clone for each model, whose programs are stand-ins."""
    made = {}
    for model in table.MODELS:
        folder = tmp_path_factory.mktemp("scripts") / f"clone of {model}"
        first, *others = sorted({Path(path).parts[1] for path in table.in_the_tree() if path.startswith(f"{model}/")})
        made[model] = make_clone(folder, model, first)
        for name in others:
            shutil.copytree(table.ROOT / model / name, folder / model / name)
        for program in ("train.py", "eval.py"):
            (folder / model / program).write_text(TELLING + PROGRAM, encoding="utf-8")
        for name in table.OURS.get(model, ()):
            (folder / model / name).parent.mkdir(exist_ok=True)
            (folder / model / name).touch()
    return made


@pytest.fixture
def here(tmp_path):
    """The caller's folder."""
    folder = tmp_path / "some where"
    folder.mkdir()
    for name in table.HERE:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    (folder / "rank table").write_text(json.dumps(table.TABLE))
    return folder


def only(path: str) -> Script:
    """The script of this path."""
    return next(script for script in SCRIPTS if script.path == path)


def assert_understood(script: Script, options: list[str]) -> object:
    """That the program takes the options, the last of them `MORE`; what it makes of them."""
    found = parse(script.options(), options[2:] if options[0] in ("--opt", "--config") else options, description="")
    taken = (found.batch_size, found.name) if script.kind == "train" else (found.limit, found.output)
    assert (*taken, found.device_target) == (3, "two words", "auto")
    return found


# ------------------------------------------------------------------------------------------------- what python is given

STANDALONE = [script for script in (*SCRIPTS, *table.OTHER_CALLS) if not script.workers]
BY_SHELLS = [(script, name) for script in table.ONE_OF_EACH for name in SHELLS.values() if name != "sh"]


@pytest.mark.parametrize(
    ("script", "shell"),
    [*((script, "sh") for script in STANDALONE), *BY_SHELLS],
    ids=lambda value: value if isinstance(value, str) else f"{value.path} {value.words}",
)
def test_python_gets_the_options(clones, here, script, shell):
    clone = clones[script.model]
    done = run(shell, clone / script.path, *script.call(), *MORE[script.kind], cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    given, wanted = arguments(done.stdout), script.wanted(clone, here)
    assert given == [*wanted, "--device_target", "auto", *MORE[script.kind]]
    assert_understood(script, given[1:])
    assert f"prefers {script.device}\n" in done.stdout
    assert arguments((here / f"{script.kind}.log").read_text()) == given
    if script.usage in ("CONFIG DEVICE_ID", "DEVICE_NUM DEVICES"):
        assert "device 3 None None\n" in done.stdout


def test_distributed_training_gets_the_options(clones, here):
    """All at once, since each waits more than it works. CSNLN's workers see the devices that are named alone."""
    (here / "python").write_text(MSRUN)
    (here / "python").chmod(0o755)
    started = []
    for script in (script for script in (*SCRIPTS, *table.OTHER_CALLS) if script.workers):
        folder = shutil.copytree(here, here.with_name(f"job {len(started)}"))
        words = "sh", clones[script.model] / script.path, *script.call(), *MORE["train"]
        started.append((script, folder, start(*words, cwd=folder, PYTHON=str(folder / "python"))))
    assert len(started) == 16
    for script, folder, process in started:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        workers, preferred, visible, *given = (folder / "said").read_text().splitlines()
        assert workers == f"--local_worker_num={min(script.workers, len(os.sched_getaffinity(0)))}"
        assert preferred == script.device
        wanted = script.wanted(clones[script.model], folder)
        assert given == [*wanted, "--device_target", "auto", *MORE["train"], "--run_distribute", "True"]
        assert assert_understood(script, given[1:]).run_distribute is True
        if script.model == "CSNLN":
            assert visible == {"GPU": "4,6||", "Ascend": "|4,6|"}[preferred]


@pytest.mark.parametrize("script", table.ONE_OF_EACH, ids=lambda script: script.model)
def test_own_values_come_last(clones, here, script):
    """What the user adds overrides what the script says; DEVICE_TARGET chooses the device."""
    path, own = clones[script.model] / script.path, ("--device_target", "GPU")
    done = run("bash", path, *script.call(), *own, cwd=here, DEVICE_TARGET="CPU")
    assert arguments(done.stdout)[-4:] == ["--device_target", "CPU", *own]


@pytest.mark.parametrize(("model", "ending", "ours"), [("SRFlow", "yml", ""), ("SRDiff", "yaml", "configs")])
def test_configuration_is_looked_for_here_then_among_ours(clones, here, model, ending, ours):
    script = only(f"{model}/scripts/run_standalone_train_gpu.sh")
    clone, last = clones[model], script.call()[-1]
    for word, found in {
        f"theirs.{ending}": clone / model / ours / f"theirs.{ending}",
        f"both.{ending}": here / f"both.{ending}",
        f"sub/theirs.{ending}": here / "sub" / f"theirs.{ending}",
        str(here / f"both.{ending}"): here / f"both.{ending}",
    }.items():
        assert arguments(run("bash", clone / script.path, word, last, cwd=here).stdout)[2] == str(found)


@pytest.mark.parametrize("script", table.ONE_OF_EACH, ids=lambda script: script.model)
def test_every_way_to_name_a_script(clones, here, tmp_path, script):
    """From other folders, through a symbolic link to the clone, to the script, and from the model's folder."""
    clone, path = clones[script.model], Path(script.path)
    (tmp_path / "link").symlink_to(clone)
    (tmp_path / "train").symlink_to(clone / path)
    words = [str(here / word) if (here / word).exists() else word for word in script.call()]
    for command, folder in (
        (["bash", f"../link/{path}", *script.call()], here),
        (["sh", "../train", *script.call()], here),
        (["bash", Path(".") / path.parts[1] / path.name, *words], clone / script.model),
        ([f"./{path}", *words], clone),
    ):
        done = run(*command, cwd=folder)
        assert done.returncode == 0, (command, done.stderr)
        assert real(arguments(done.stdout)[:-2]) == real(script.wanted(clone, here))


def real(words):
    return [os.path.realpath(word) if "/" in word else word for word in words]


@pytest.mark.parametrize("path", [GPU_TRAIN, "IRN/scripts/run_eval.sh"])
def test_exit_code_is_pythons(clones, here, path):
    """And the log grows."""
    log = here / f"{only(path).kind}.log"
    log.write_text("mine\n")
    for code in (7, 2):
        done = run("bash", clones[only(path).model] / path, *only(path).call(), cwd=here, TEST_PROGRAM=f"exit {code}")
        assert done.returncode == code
    assert log.read_text().startswith("mine\n\n=== 20")
    assert log.read_text().count("prefers ") == 2


@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_python(clones, here, number, whole_group):
    """A terminal's Ctrl-C goes to the whole process group, `kill PID` to the script alone."""
    process = start("bash", clones["WDSR"] / GPU_TRAIN, "my data", cwd=here, TEST_PROGRAM="wait")
    wait_for("prefers", here / "train.log")
    (os.killpg if whole_group else os.kill)(process.pid, number)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 128 + number
    assert output.endswith("saved\n"), "the last words arrive"
    assert (here / "train.log").read_text().endswith("saved\n")


def test_background(clones, here):
    for script in table.ONE_OF_EACH[:2]:
        path, words = clones[script.model] / script.path, [*script.call(), *MORE["train"]]
        done = run("sh", path, *words, cwd=here, BACKGROUND="1", TEST_PROGRAM="wait")
        found = re.fullmatch(rf"started, pid (\d+), log {here}/train.log\n", done.stdout)
        wait_for(f"prefers {script.device}", here / "train.log")
        os.kill(int(found[1]), signal.SIGTERM)
        wait_for("saved", here / "train.log")
        assert arguments((here / "train.log").read_text())[-4:] == MORE["train"]
        (here / "train.log").unlink()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.path)
def test_too_few_arguments_show_the_usage(clones, here, script):
    path = clones[script.model] / script.path
    done = run("sh", path, *script.call()[:-1], cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    forwards = script.path.startswith("CSNLN/script/")
    said = path.parent / ".." / "scripts" / path.name if forwards else path
    assert done.stderr.startswith(f"usage: bash {said} {script.usage} [options of the python program]")
    assert not list(here.glob("*.log")), "a refused start leaves no log"


@pytest.mark.parametrize("message", table.MISTAKES)
def test_wrong_arguments_are_named(clones, here, message):
    for pattern, words in table.MISTAKES[message].items():
        for path in table.expanded(pattern):
            call = only(path)._replace(words=words)
            done = run("bash", clones[call.model] / path, *call.call(), cwd=here)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n"), path
    assert not list(here.glob("*.log"))


def test_these_are_all_and_can_be_executed():
    assert table.in_the_tree() == {script.path for script in SCRIPTS}
    for script in SCRIPTS:
        assert os.access(table.ROOT / script.path, os.X_OK), script.path
