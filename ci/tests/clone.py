"""A small clone to test the shell scripts in: the real scripts, and programs that only say how they were called."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Prints its arguments as a Python list; TEST_PROGRAM says what it does then. As msrun's scheduler it leaves at once.
PROGRAM = """
import os, signal, sys, time

def leave(number, frame):
    time.sleep(0.3)
    print("saved", flush=True)
    sys.exit(128 + number)

signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
rank, plan = os.environ.get("RANK_ID", "0"), os.environ.get("TEST_PROGRAM", "")
if os.environ.get("MS_ROLE") != "MS_SCHED":
    print(sys.argv, "prefers", os.environ.get("ZOO_PREFERRED_DEVICE"), flush=True)
    if plan.startswith("exit"):
        sys.exit(int(plan.split()[1]))
    if plan == "rank 1 fails" and rank == "1":
        raise RuntimeError("worker 1 has had enough")
    if plan:
        time.sleep(600)
"""


def make_clone(folder: Path, model: str, scripts: str, programs: tuple[str, ...] = ("train.py", "eval.py")) -> Path:
    """Put `model`'s real scripts beside stand-ins for its programs; returns the clone."""
    (folder / "common").mkdir(parents=True)
    shutil.copy2(ROOT / "common" / "launch.sh", folder / "common")
    shutil.copytree(ROOT / model / scripts, folder / model / scripts)
    for program in programs:
        (folder / model / program).write_text(PROGRAM, encoding="utf-8")
    return folder


STEERS = (
    "DEVICE_TARGET",
    "BACKGROUND",
    "EVAL_",
    "OMP_",
    "MS_",
    "MASTER_",
    "NODE_",
    "RANK_",
    "ZOO_",
    "WATCHDOG",
    "STOP_",
)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what steers the scripts, with this interpreter, and with `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STEERS)}
    return {**kept, "PYTHON": sys.executable, **changes}


def run(*command: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end (four minutes at most, since the machine may be busy) with captured output."""
    settings = {"cwd": cwd, "env": environment(**changes), "timeout": 240}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **settings)


def start(*command: object, cwd: Path, **changes: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a terminal does; both outputs go to one pipe."""
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen(list(map(str, command)), cwd=cwd, env=environment(**changes), **pipe)


def arguments(text: str) -> list[str]:
    """What a stand-in that said this was called with, its own path first."""
    return ast.literal_eval(re.search(r"^\[.*\]", text, re.MULTILINE).group())


def wait_for(text: str, file: Path, seconds: float = 240) -> None:
    """Until the file holds the text."""
    end = time.monotonic() + seconds
    while not (file.exists() and text in file.read_text(encoding="utf-8")):
        assert time.monotonic() < end, f"{file} never said {text!r}"
        time.sleep(0.05)
