"""Device, launcher, log, bar, exit code, run folder: what a user sees of them."""

import logging
import os
import platform
import pty
import re
import select
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from common import UserError, runtime
from common import runtime as console
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.config import options as config
from common.config.options import option
from common.runtime import Runtime
from common.training import runs

STEERS = ("MS_", "RANK_", "MINDSPORE_HCCL", "OMPI_", "DEVICE_ID", "ZOO_", "DEVICE_TARGET", "ONEDNN", "GLOG")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No launcher and no device in the environment; the log as it was."""
    for name in os.environ:
        if name.startswith(STEERS):
            monkeypatch.delenv(name)
    yield
    runtime.start_log()


def python(code, root, *words, **environment):
    """Run some lines of Python in a process of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STEERS)}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**kept, "PYTHONPATH": str(root), **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- environment


def test_environment_before_mindspore(root):
    code = (
        "import os, common; print(*(os.environ[n] for n in ('ONEDNN_MAX_CPU_ISA', 'GLOG_v', 'MS_CPU_COMM_OP_TIMEOUT')))"
    )
    assert python(code, root).stdout.split() == ["AVX2", "3", "7200"]
    mine = {"ONEDNN_MAX_CPU_ISA": "SSE41", "GLOG_v": "1", "MS_CPU_COMM_OP_TIMEOUT": "5"}
    assert python(code, root, **mine).stdout.split() == ["SSE41", "1", "5"], "the user's values stay"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's memory")
def test_freed_memory_is_kept(root):
    """256 MiB that were written and freed: the process still has them, or not."""
    code = (
        "import sys; from pathlib import Path; from common import runtime\n"
        "if sys.argv[1] == 'keep': runtime.keep_freed_memory()\n"
        "block = bytearray(b'1' * 2**28); del block\n"
        "print(int(Path('/proc/self/statm').read_text().split()[1]) * 4096 // 2**20)"
    )
    assert int(python(code, root, "keep").stdout) > 256 > 128 > int(python(code, root, "not").stdout)


# --------------------------------------------------------------------------------------------------------------- device

START = """
import common.runtime as runtime
def main():
    runtime.start_log()
    runtime.start(sys.argv[1])
    import mindspore as ms
    print(ms.get_context("device_target"))
import sys
runtime.run_main(main)
"""


def has(device):
    """Whether this machine's MindSpore answers for the device; asked in a process of its own."""
    return device in subprocess.run(
        [sys.executable, "-c", f"import common, mindspore as ms; ms.set_device({device!r}); print({device!r})"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip


def test_device_that_is_not_there(root):
    device = next((device for device in ("GPU", "Ascend") if not has(device)), None)
    if device is None:
        pytest.skip("this MindSpore has every backend")
    done = python(START, root, device)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: this MindSpore has no {device} backend; type --device_target auto (takes what there is) or install "
        f"the MindSpore build for {device}\n"
    ), "one line, and none of MindSpore's own"


def test_preferred_device_that_is_not_there_is_said_once(root):
    if has("GPU") or has("Ascend"):
        pytest.skip("needs a MindSpore for the CPU alone")
    done = python(START, root, "auto", ZOO_PREFERRED_DEVICE="GPU")
    assert (done.returncode, done.stdout) == (0, "CPU\n")
    assert done.stderr == "no GPU backend in this MindSpore: running on CPU (DEVICE_TARGET overrides)\n"
    for quiet in ({}, {"ZOO_PREFERRED_DEVICE": "CPU"}, {"ZOO_PREFERRED_DEVICE": "auto"}):
        done = python(START, root, "auto", **quiet)
        assert (done.returncode, done.stdout, done.stderr) == (0, "CPU\n", ""), quiet


def test_unknown_device():
    with pytest.raises(UserError, match="--device_target must be one of auto, Ascend, GPU, CPU, not 'TPU'"):
        runtime.start("TPU")


@pytest.fixture
def backends(monkeypatch):
    """Stand-ins: `backends(names)` makes these devices answer; the list gets every call of set_device that succeeds."""
    import mindspore as ms

    calls = []

    def install(*names):
        def set_device(*arguments):
            if arguments[0] not in names:
                raise RuntimeError("Unsupported device target")
            calls.append(arguments)

        monkeypatch.setattr(ms, "set_device", set_device)
        return calls

    return install


@pytest.mark.parametrize(
    ("names", "preferred", "found"),
    [
        (("Ascend", "GPU", "CPU"), None, "Ascend"),
        (("GPU", "CPU"), None, "GPU"),
        (("Ascend", "GPU", "CPU"), "GPU", "GPU"),
        (("Ascend", "CPU"), "GPU", "Ascend"),
        (("Ascend", "CPU"), "CPU", "CPU"),
    ],
)
def test_choice_of_the_device(backends, monkeypatch, names, preferred, found):
    calls = backends(*names)
    if preferred:
        monkeypatch.setenv("ZOO_PREFERRED_DEVICE", preferred)
    assert runtime.choose_device("auto") == found
    assert calls == [(found,)]


@pytest.mark.parametrize(
    ("environment", "call"),
    [
        ({}, ("Ascend",)),
        ({"DEVICE_ID": "3"}, ("Ascend", 3)),  # a rank table's start; mpirun: MindSpore sets it from the local rank
        ({"DEVICE_ID": "3", "MS_ROLE": "MS_WORKER"}, ("Ascend",)),  # msrun hands out the devices itself
    ],
)
def test_number_of_the_device(backends, monkeypatch, environment, call):
    calls = backends("Ascend", "CPU")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime.choose_device("Ascend") == "Ascend"
    assert runtime.choose_device("CPU") == "CPU"
    assert calls == [call, ("CPU",)]


def test_number_of_the_device_that_is_none(backends, monkeypatch):
    backends("GPU")
    monkeypatch.setenv("DEVICE_ID", "two")
    with pytest.raises(UserError, match="DEVICE_ID must be the number of a device, not 'two'"):
        runtime.choose_device("GPU")


def test_graph_mode_is_put_back():
    import mindspore as ms

    runtime.start("CPU", seed=1)

    def broken():
        with runtime.graph_mode():
            assert ms.get_context("mode") == ms.GRAPH_MODE
            with runtime.graph_mode(False):
                assert ms.get_context("mode") == ms.PYNATIVE_MODE
            assert ms.get_context("mode") == ms.GRAPH_MODE
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert ms.get_context("mode") == ms.PYNATIVE_MODE


# ------------------------------------------------------------------------------------------------------------- launcher

MSRUN = {  # what MindSpore 2.10's msrun gives its workers
    "RANK_SIZE": "2", "RANK_ID": "1", "MS_WORKER_NUM": "2", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "8118",
    "MS_TOPO_TIMEOUT": "600", "MS_ROLE": "MS_WORKER", "DEVICE_ID": "1", "MS_NODE_ID": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "launched"),
    [
        (MSRUN, True),
        ({**MSRUN, "MS_ROLE": "MS_SCHED"}, True),
        ({**MSRUN, "RANK_SIZE": "1", "MS_WORKER_NUM": "1"}, True),  # its scheduler must not train a model of its own
        ({"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "0"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"RANK_TABLE_FILE": "/hccl.json", "RANK_SIZE": "8", "RANK_ID": "0"}, True),
        ({"MINDSPORE_HCCL_CONFIG_PATH": "/hccl.json", "RANK_SIZE": "8", "RANK_ID": "0"}, True),
        ({"RANK_TABLE_FILE": "/hccl.json", "RANK_SIZE": "1"}, False),
        ({}, False),
        ({"MS_WORKER_NUM": "16", "MASTER_ADDR": "10.0.0.1"}, False),  # meant for the script that starts msrun
        ({"RANK_SIZE": "8"}, False),
    ],
)
def test_who_was_launched(monkeypatch, environment, launched):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime.was_launched() is launched


def test_who_joins(monkeypatch):
    joined = []
    monkeypatch.setattr(runtime, "_join", lambda device: joined.append(device) or Runtime(device, 1, 2))
    assert runtime.start("CPU", distribute=None) == Runtime("CPU")
    with pytest.raises(UserError, match="--run_distribute needs a launcher: use the folder's distributed script"):
        runtime.start("CPU", distribute=True)
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    assert runtime.start("CPU", distribute=False) == Runtime("CPU")
    assert not joined
    for wanted in (None, True):
        assert runtime.start("CPU", distribute=wanted) == Runtime("CPU", 1, 2)
    assert joined == ["CPU", "CPU"]
    assert not Runtime("CPU", 1, 2).is_main


# ------------------------------------------------------------------------------------------------------------ exit code


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return None", 0, ""),
        ("return 143", 143, ""),
        ("raise common.UserError('expected this, found that')", 2, "error: expected this, found that\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("open('/no/where')", 2, "error: No such file or directory: /no/where\n"),
        ("'\\udce9t\\xe9'.encode()", 2, "error: \\udce9t\xe9 has no form in utf-8: rename it, or set LC_ALL=C.UTF-8\n"),
        ("raise KeyError('a bug')", 1, "KeyError: 'a bug'\n"),
        ("raise RuntimeError('another')", 1, "RuntimeError: another\n"),
    ],
)
def test_exit_codes(root, body, code, said):
    done = python(f"import common, common.runtime\ndef main():\n    {body}\ncommon.runtime.run_main(main)", root)
    assert done.returncode == code
    assert done.stderr.endswith(said)
    assert ("Traceback" in done.stderr) is (code == 1), "a bug shows where it is, a user's mistake does not"


def test_closed_pipe(root):
    code = "import common.runtime\ncommon.runtime.run_main(lambda: [print(n) for n in range(10**6)] and None)"
    done = subprocess.run(
        f'{{ "{sys.executable}" -c "{code}"; echo "code $?" >&2; }} | head -n 1',
        shell=True, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "code 141\n")


def test_full_disk_behind_the_output(root):
    code = "import os, common.runtime as r\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nr.run_main(lambda: print(1))"
    done = python(code, root)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")


# ----------------------------------------------------------------------------------------------------- log and progress


def test_log_goes_to_the_file_and_the_terminal(tmp_path, capsys, caplog):
    runtime.start_log(tmp_path / "train.log")
    log = logging.getLogger("some.model")
    log.info("step %d", 5, extra={"bar": True})
    log.debug("unseen")
    runtime.start_log(tmp_path / "other.log", quiet=True)
    log.warning("only in the file")
    log.error("everywhere")
    assert capsys.readouterr().err == "step 5\neverywhere\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO step 5\n", (tmp_path / "train.log").read_text())
    assert [line.split(" ", 2)[2] for line in (tmp_path / "other.log").read_text().splitlines()] == [
        "WARNING only in the file",
        "ERROR everywhere",
    ]
    assert "everywhere" in caplog.text, "other handlers are left alone"


def test_log_that_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*/none/train\.log: No such file or directory"):
        runtime.start_log(tmp_path / "none" / "train.log")


def test_full_disk_is_said_once(tmp_path, capsys):
    (tmp_path / "train.log").symlink_to("/dev/full")
    runtime.start_log(tmp_path / "train.log")
    for _ in range(3):
        logging.getLogger("x").info("line")
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == ["line"] * 3 + [f"warning: cannot write {tmp_path}/train.log: No space left on device"]
    logging.getLogger().handlers[-1].stream = None  # what is in its buffer cannot be written at the end either


def test_bug_in_a_log_line_is_not_hidden(tmp_path, root):
    code = f"import logging, common.runtime as r; r.start_log({str(tmp_path / 'x.log')!r}); logging.info('%d', 'three')"
    assert python(code, root).stderr.count("TypeError: %d format") == 2, "of the terminal's and of the file's handler"


BAR = """
import logging, sys, time
import common.runtime as runtime
runtime.start_log(sys.argv[1])
log = logging.getLogger("x")
with runtime.progress(40, "train", "step", initial=10) as bar:
    for step in range(11, 41):
        time.sleep(0.02)
        bar.set_postfix_str(f"loss {step / 8:.3f}", refresh=False)
        bar.update(1)
        if step % 10 == 0:
            log.info("step %d/40: loss", step, extra={"bar": True})
        if step == 25:
            log.info("PSNR 31.25")
"""


def in_terminal(command, **environment):
    """Run a command with a terminal of 100 columns; what it shows there."""
    leader, follower = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env={**os.environ, **environment})
    os.close(follower)
    shown = b""
    while process.poll() is None or select.select([leader], [], [], 0)[0]:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # Linux's way to say that nobody writes any more
                break
    os.close(leader)
    assert process.wait(timeout=20) == 0
    return shown.decode()


def test_bar_on_a_terminal(tmp_path, root):
    """With loss, step and time left; log lines stand above it, whole; the file has them all and no bar."""
    pytest.importorskip("tqdm")
    shown = in_terminal([sys.executable, "-c", BAR, str(tmp_path / "train.log")], PYTHONPATH=str(root))
    drawn = [line for line in re.split(r"[\r\n]+", shown) if "step/s" in line or "s/step" in line]
    assert re.search(r"train: 100%\|█+\| 40/40 \[00:0\d<00:00, +\d+\.\d+step/s, loss 5\.000\]", drawn[-1])
    assert " 10/40 " in drawn[0], "a run that goes on starts where it was"
    assert re.search(r"<00:0\d, .*loss \d\.\d{3}", drawn[len(drawn) // 2])
    assert re.search(r"\rPSNR 31\.25\r\n", shown), "a line of its own"
    assert "step 20/40" not in shown, "the bar says it"
    log = (tmp_path / "train.log").read_text()
    assert [line.split(" ", 3)[3] for line in log.splitlines()] == [
        "step 20/40: loss", "PSNR 31.25", "step 30/40: loss", "step 40/40: loss",
    ]  # fmt: skip
    assert not set("█▏▎▍▌▋▊▉\r\x1b") & set(log)


def test_plain_lines_without_a_terminal(tmp_path, root):
    done = python(BAR, root, str(tmp_path / "train.log"))
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["step 20/40: loss", "PSNR 31.25", "step 30/40: loss", "step 40/40: loss"]


def test_no_bar_without_tqdm(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert not console.shows_bar()
    with runtime.progress(3, "read") as bar:
        bar.update(2)
        bar.set_postfix_str("fine")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds, text):
    assert runtime.duration(seconds) == text


# ----------------------------------------------------------------------------------------------------------- run folder


@dataclass(frozen=True)
class Options:
    lr: float = option(0.1, "rate")
    steps: int = option(5, "how many")
    resume: str = option("", "go on with; default: nothing")


def save(path, options, **meta):
    meta = {"model": "Net", "config": config.to_dict(options), "counters": {}, "step": 3, **meta}
    checkpoint.save(path, Checkpoint({}, {key: value for key, value in meta.items() if value is not None}))
    return path


def resume(path, *words):
    return runs.resumed(Options, ["--resume", str(path), *words], str(path), "", "Net")


def test_new_run_folder(tmp_path):
    options = Options(lr=0.5)
    folders = [runs.open_run(options, Runtime("CPU"), tmp_path / "runs", "net") for _ in range(3)]
    assert len(set(folders)) == 3, "nothing is overwritten"
    assert re.fullmatch(r"net-\d{8}-\d{6}", folders[0].name)
    assert sorted(path.name for path in folders[0].iterdir()) == ["config.yaml", "environment.txt", "train.log"]
    assert config.load(Options, folders[0] / "config.yaml") == options
    environment = (folders[0] / "environment.txt").read_text()
    command = f"command: {shlex.quote(sys.executable)}"
    for line in (command, "mindspore: ", "numpy: 1.", "device: CPU, 1 worker(s)", "ONEDNN"):
        assert line in environment
    other = runs.open_run(options, Runtime("CPU", 1, 2), tmp_path / "nowhere", "net")
    assert not (tmp_path / "nowhere").exists(), f"{other}: only the main worker writes"


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot make the run folder .*file/net-.*: Not a directory"):
        runs.open_run(Options(), Runtime("CPU"), tmp_path / "file", "net")
    folder = runtime.make_run_folder(tmp_path, "net")
    (folder / "environment.txt").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*environment\.txt: Is a directory"):
        runs.open_run(Options(), Runtime("CPU"), tmp_path, "net", folder=folder)


def test_resumed_run(tmp_path, capsys):
    """Saved options, those of the command line over them; what has changed is said, and kept in the run's log."""
    folder = runs.open_run(Options(lr=0.5, steps=7), Runtime("CPU"), tmp_path, "net")
    save(folder / "ckpt" / "last.ckpt", Options(lr=0.5, steps=7))
    for path in (folder, folder / "ckpt" / "last.ckpt"):
        options, saved, found = resume(path, "--steps", "9")
        assert (options, found, saved.meta["step"]) == (Options(0.5, 9), folder, 3)
    assert runs.open_run(options, Runtime("CPU"), tmp_path, "net", folder=found, saved=saved) == folder
    assert "changed since the run was stopped: steps: 7 -> 9\n" in capsys.readouterr().err
    assert (folder / "train.log").read_text().count("steps: 7 -> 9") == 1
    assert config.load(Options, folder / "config.yaml").steps == 9
    assert (folder / "environment.txt").read_text().count("command: ") == 2
    assert len(list(tmp_path.iterdir())) == 1, "no second folder"


def test_job_of_several_workers_that_goes_on_alone(tmp_path):
    @dataclass(frozen=True)
    class Distributed(Options):
        run_distribute: bool | None = option(None, "join others; default: when launched")

    folder = runs.open_run(Options(), Runtime("CPU"), tmp_path, "net")
    save(folder / "ckpt" / "last.ckpt", Distributed(steps=7, run_distribute=True))
    for words, expected in (((), None), (("--run_distribute", "True"), True)):
        options, _, _ = runs.resumed(Distributed, ["--resume", str(folder), *words], str(folder), "", "Net")
        assert (options.run_distribute, options.steps) == (expected, 7)


def test_run_that_another_process_is_in(tmp_path, root):
    """Refused before anything is written; the end of the other process, however it comes, is enough to go on."""
    options, here = Options(), Runtime("CPU")
    folder = runtime.make_run_folder(tmp_path, "net")
    code = f"import time, pathlib, common.training.runs as r; r.occupy(pathlib.Path({str(folder)!r}))"
    code += "; print(1, flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
    ) as other:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(UserError, match=r"net-.* is in use: another process trains in it"):
            runs.open_run(options, here, tmp_path, "net", folder=folder)
        assert [path.name for path in folder.iterdir()] == ["environment.txt"]
        other.kill()
    for _ in range(2):
        assert runs.open_run(options, here, tmp_path, "net", folder=folder) == folder, "twice in one process is fine"


def test_run_folder_of_a_checkpoint_that_stands_elsewhere(tmp_path):
    run = runs.open_run(Options(), Runtime("CPU"), tmp_path / "runs", "net")
    elsewhere = save(tmp_path / "ckpt" / "last.ckpt", Options(), folder=str(run))
    assert resume(elsewhere)[2] == run, "the file says which run it belongs to"
    (run / "ckpt").symlink_to(tmp_path / "ckpt")
    assert resume(run)[2] == run
    moved = run.rename(tmp_path / "moved")
    assert resume(moved)[2] == moved
    assert resume(elsewhere)[2] is None, "only the file is left: a new folder will be made"


def test_things_that_cannot_be_resumed(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"nothing to resume in .*empty: expected .*empty/ckpt/last\.ckpt"):
        resume(tmp_path / "empty")
    with pytest.raises(UserError, match=r"checkpoint not found: .*nothing"):
        resume(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"a\.ckpt \(IRN, step 3\) cannot be resumed here: expected Net"):
        resume(save(tmp_path / "a.ckpt", Options(), model="IRN"))
    with pytest.raises(
        UserError, match=r"b\.ckpt was not written by a training run: start from its weights with --ckpt_"
    ):
        resume(save(tmp_path / "b.ckpt", Options(), counters=None))
    (tmp_path / "c.ckpt").write_bytes(b"\x0a\x05")
    with pytest.raises(UserError, match=r"c\.ckpt is damaged or no MindSpore checkpoint"):
        resume(tmp_path / "c.ckpt")


def test_python_path_of_the_tests_is_this_clone(root):
    assert Path(runtime.__file__).is_relative_to(root)
