"""Device, launcher, log, bar, exit code, run folder: what a user sees of them."""

import contextlib
import fcntl
import os
import platform
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from common import UserError, runtime
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.config import options as config
from common.runtime import Runtime
from common.training import runs
from WDSR.src.args import TrainConfig

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
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_environment_before_mindspore(root):
    names = "ONEDNN_MAX_CPU_ISA", "GLOG_v", "MS_CPU_COMM_OP_TIMEOUT"
    code = f"import os, sys, common; print(*(os.environ[n] for n in {names}), 'mindspore' in sys.modules)"
    assert python(code, root).stdout.split() == ["AVX2", "3", "7200", "False"]
    mine = dict(zip(names, ("SSE41", "1", "5"), strict=True))
    assert python(code, root, **mine).stdout.split() == [*mine.values(), "False"], "the user's values stay"


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


@pytest.mark.parametrize(
    ("names", "asked", "environment", "call"),
    [
        ("Ascend GPU CPU", "auto", {}, ("Ascend",)),
        ("GPU CPU", "auto", {}, ("GPU",)),
        ("Ascend GPU CPU", "auto", {"ZOO_PREFERRED_DEVICE": "GPU"}, ("GPU",)),
        ("Ascend CPU", "auto", {"ZOO_PREFERRED_DEVICE": "GPU"}, ("Ascend",)),
        ("Ascend CPU", "auto", {"ZOO_PREFERRED_DEVICE": "CPU"}, ("CPU",)),
        ("Ascend CPU", "CPU", {"DEVICE_ID": "3"}, ("CPU",)),
        ("Ascend CPU", "Ascend", {"DEVICE_ID": "3"}, ("Ascend", 3)),  # of a rank table; MindSpore sets mpirun's itself
        ("Ascend CPU", "Ascend", {"DEVICE_ID": "3", "MS_ROLE": "MS_WORKER"}, ("Ascend",)),  # msrun hands devices out
    ],
)
def test_choice_of_the_device(monkeypatch, caplog, names, asked, environment, call):
    import mindspore as ms

    def set_device(*arguments):
        if arguments[0] not in names.split():
            raise RuntimeError("Unsupported device target")
        calls.append(arguments)

    calls = []
    monkeypatch.setattr(ms, "set_device", set_device)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime.choose_device(asked) == call[0]
    assert calls == [call]
    refused = environment.get("ZOO_PREFERRED_DEVICE") not in (None, call[0])
    assert ("no GPU backend in this MindSpore: running on" in caplog.text) == refused


# ------------------------------------------------------------------------------------------------------------- launcher

MSRUN = {"MS_ROLE": "MS_WORKER", "RANK_SIZE": "2", "RANK_ID": "1", "MS_WORKER_NUM": "2"}  # gives its workers


@pytest.mark.parametrize(
    ("environment", "launched"),
    [
        (MSRUN, True),
        ({**MSRUN, "RANK_SIZE": "1", "MS_WORKER_NUM": "1"}, True),  # its scheduler must not train a model of its own
        ({"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "0"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"RANK_TABLE_FILE": "/hccl.json", "RANK_SIZE": "8", "RANK_ID": "0"}, True),
        ({"MINDSPORE_HCCL_CONFIG_PATH": "/hccl.json", "RANK_SIZE": "8", "RANK_ID": "0"}, True),
        ({"RANK_TABLE_FILE": "/hccl.json", "RANK_SIZE": "1"}, False),
        ({"MS_WORKER_NUM": "16", "MASTER_ADDR": "10.0.0.1"}, False),  # meant for the script that starts msrun
        ({"RANK_SIZE": "8"}, False),
    ],
)
def test_who_was_launched(monkeypatch, environment, launched):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime.was_launched() is launched


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return 143", 143, ""),
        ("raise common.UserError('expected this, found that')", 2, "error: expected this, found that\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("open('/no/where')", 2, "error: No such file or directory: /no/where\n"),
        ("'\\udce9t\\xe9'.encode()", 2, "error: \\udce9t\xe9 has no form in utf-8: rename it, or set LC_ALL=C.UTF-8\n"),
        ("os.dup2(os.open('/dev/full', os.O_WRONLY), 1), print(1)", 2, "error: No space left on device\n"),
        ("pipe = os.pipe(); os.close(pipe[0]); os.dup2(pipe[1], 1); print(1)", 141, ""),
        ("raise KeyError('a bug')", 1, "KeyError: 'a bug'\n"),
    ],
)
def test_exit_codes(root, body, code, said):
    done = python(f"import os, common, common.runtime\ndef main():\n    {body}\ncommon.runtime.run_main(main)", root)
    assert done.returncode == code
    assert done.stderr.endswith(said)
    assert ("Traceback" in done.stderr) is (code == 1), "a bug shows where it is, a user's mistake does not"


def test_ctrl_c_while_a_program_is_imported(root):
    """MindSpore's import takes seconds, and no `run_main` is there yet."""
    done = python("import common\nraise KeyboardInterrupt", root)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "interrupted\n")


BAR = """
import logging, sys, time
import common.runtime as runtime
runtime.start_log(sys.argv[1])
log = logging.getLogger("x")
log.debug("unseen")
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


def test_bar_on_a_terminal_and_plain_lines_without(tmp_path, root):
    """With loss, step and time left; log lines stand above it, whole; the file has them all and no bar."""
    pytest.importorskip("tqdm")
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    words = [sys.executable, "-c", BAR, str(tmp_path / "train.log")]
    process = subprocess.Popen(words, stdout=follower, stderr=follower, env={**os.environ, "PYTHONPATH": str(root)})
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that nobody writes any more
        while data := os.read(leader, 65536):
            shown += data
    os.close(leader)
    assert process.wait() == 0
    drawn = [line for line in re.split(r"[\r\n]+", shown.decode()) if "step/s" in line or "s/step" in line]
    assert re.search(r"train: 100%\|█+\| 40/40 \[00:\d\d<00:00, +\d+\.\d+step/s, loss 5\.000\]", drawn[-1])
    assert " 10/40 " in drawn[0], "a run that goes on starts where it was"
    assert b"\rPSNR 31.25\r\n" in shown, "a line of its own"
    assert b"step 20/40" not in shown, "the bar says it"
    lines = ["step 20/40: loss", "PSNR 31.25", "step 30/40: loss", "step 40/40: loss"]
    log = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO (.*)\n", (tmp_path / "train.log").read_text(), re.M)
    assert log == lines
    done = python(BAR, root, str(tmp_path / "other.log"))
    assert (done.stdout, done.stderr.splitlines()) == ("", lines)


def test_duration():
    said = {0: "0 s", 59.4: "59 s", 59.6: "1 min 00 s", 200: "3 min 20 s", 3599.7: "1 h 00 min", 7500: "2 h 05 min"}
    assert {seconds: runtime.duration(seconds) for seconds in said} == said


def opened(options, folder=None):
    return runs.Start(options, folder=folder).open(Runtime("CPU"), "about")


def test_new_run_folder(tmp_path):
    folders = [opened(TrainConfig(save_dir=str(tmp_path))) for _ in range(3)]
    assert len(set(folders)) == 3, "nothing is overwritten"
    environment = (folders[0] / "environment.txt").read_text()
    for line in ("command: ", "mindspore: ", "numpy: 1.", "device: CPU, 1 worker(s)", "ONEDNN"):
        assert line in environment


def test_run_of_several_workers_may_be_resumed_alone(tmp_path):
    options = TrainConfig(run_distribute=True, save_dir=str(tmp_path))
    folder = opened(options)
    meta = {"model": "WDSR", "config": config.to_dict(options), "counters": {}, "step": 3}
    checkpoint.save(folder / "ckpt" / "last.ckpt", Checkpoint({}, meta))
    for words, wanted in (((), None), (("--run_distribute", "True"), True)):
        start = runs.begin(TrainConfig(resume=str(folder)), ["--resume", str(folder), *words], "", "WDSR")
        assert (start.folder, start.options.run_distribute) == (folder, wanted)


def test_run_that_another_process_is_in(tmp_path, root):
    """Refused before anything is written; the end of the other process, however it comes, is enough to go on."""
    folder = runtime.make_run_folder(tmp_path, "net")
    code = f"import time, pathlib, common.training.runs as r; r.occupy(pathlib.Path({str(folder)!r}))"
    code += "; print(1, flush=True); time.sleep(60)"
    words, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(UserError, match=r"net-.* is in use: another process trains in it"):
            opened(TrainConfig(), folder)
        assert [path.name for path in folder.iterdir()] == ["environment.txt"]
        other.kill()
    for _ in range(2):  # twice in one process is fine
        assert opened(TrainConfig(), folder) == folder
