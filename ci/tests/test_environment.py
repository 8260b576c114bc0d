"""ci/environment.sh on machines that lack something: a stand-in for Python says no where a bare Debian would."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "dirname", "readlink", "sha256sum", "cut", "paste", "grep", "rm", "mkdir", "touch")
PINNED = "pip install -c ci/constraints.txt"

# Runs what it is asked to with this test's interpreter, without site-packages; LACKING names modules that it denies.
STAND_IN = """
import os, sys

program, option, code, *words = [*sys.argv[1:], ""][:3] + sys.argv[4:]
sys.version_info = (*map(int, os.environ.get("VERSION", "3.11").split(".")), 0)
sys.modules.update(dict.fromkeys(os.environ.get("LACKING", "").split()))
sys.path.insert(0, os.path.dirname(os.path.dirname(program)) + "/site")
sys.argv = [program, *words]
if option == "--version":
    print("Python", os.environ["VERSION"])
elif option == "-c":
    exec(code)
else:
    with open(os.environ["LOG"], "a") as log:
        print(code, *words, file=log)
    __import__(code)
"""
# As the real one: bin/activate comes last. KILLED=venv kills it and the shell before.
VENV = """
import os, shutil, signal, sys

home = sys.argv[-1]
os.makedirs(home + "/bin", exist_ok=True)
with open(home + "/pyvenv.cfg", "w") as file:
    print(f"include-system-site-packages = {str('--system-site-packages' in sys.argv).lower()}", file=file)
shutil.copy(sys.argv[0], home + "/bin/python")
if os.environ.get("KILLED") == "venv":
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
with open(home + "/bin/activate", "w") as file:
    print(f"VIRTUAL_ENV={home!r}", file=file)
"""
# Installs two modules; KILLED=pip kills it and the shell between them, FAILING=pip is no network.
PIP = """
import os, signal, sys

if os.environ.get("FAILING") == "pip":
    sys.exit(1)
site = sys.path[0]
os.makedirs(site, exist_ok=True)
open(site + "/cv2.py", "w").close()
if os.environ.get("KILLED") == "pip":
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
with open(site + "/mindspore.py", "w") as file:
    file.write(os.environ.get("MINDSPORE", ""))
"""


class Machine:
    """A clone on a machine that has a few tools and, at first, a stand-in for python3."""

    def __init__(self, folder: Path):
        self.clone, self.log, self.bin = folder / "my clone", folder / "log", folder / "usr/bin"
        (self.clone / "ci").mkdir(parents=True)
        (self.clone / "ci/environment.sh").write_bytes((ROOT / "ci/environment.sh").read_bytes())
        (self.clone / "pyproject.toml").write_text("first\n")
        (self.clone / "ci/constraints.txt").touch()
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(next(filter(Path.exists, (Path(f"/usr/bin/{tool}"), Path(f"/bin/{tool}")))))
        for name, code in {"stand_in": STAND_IN, "venv": VENV, "pip": PIP, "ensurepip": ""}.items():
            (folder / f"{name}.py").write_text(code)
        self.python = self.bin / "python3"
        start = f'#!/bin/sh\nexec "{sys.executable}" -S "{folder}/stand_in.py" "$0" "$@"\n'
        self.python.write_text(start)
        self.python.chmod(0o755)

    def ready(self, extras: str = "ui,onnx", libraries: str = "libc.so.6", **variables: str):
        """Source environment.sh and ask for `extras`; of the system's libraries it looks for these alone."""
        code = """
. ci/environment.sh
ENVIRONMENT_LIBRARIES=()
for name in $1; do ENVIRONMENT_LIBRARIES+=("$name $name-deb $name-rpm"); done
environment_ready "$2"
echo "ready: $PYTHON"
"""
        words = ["bash", "-c", code, "bash", libraries, extras]
        environment = {"PATH": str(self.bin), "HOME": "/nowhere", "LOG": str(self.log), **variables}
        return subprocess.run(words, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def asked(self) -> list[str]:
        """What venv, pip and ensurepip were started with since the last call, without what is always the same."""
        said = self.log.read_text().replace(str(self.clone / ".venv"), ".venv") if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        return [re.sub(r" --quiet \S+| -e\b| --config-settings.*", "", line) for line in said.splitlines()]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One sentence with these words, exit code 1."""
    assert (done.returncode, done.stderr[:7], done.stderr.count("\n")) == (1, "error: ", 1)
    assert [word for word in words if word not in done.stderr] == []


def test_makes_and_fills_an_environment_once(machine):
    """Anew with another pyproject.toml or other constraints, and for all extras that were ever asked for."""
    done = machine.ready()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"ready: {machine.clone}/.venv/bin/python\n")
    assert machine.asked() == ["venv .venv", f"{PINNED} .[ui,onnx]"]
    assert machine.ready().stdout == f"ready: {machine.clone}/.venv/bin/python\n"
    assert machine.asked() == [], "nothing is installed twice"
    (machine.clone / "pyproject.toml").write_text("second\n")
    machine.ready("ui,onnx,dev")
    machine.ready()
    assert machine.asked() == [f"{PINNED} .[ui,onnx,dev]"]
    (machine.clone / "ci/constraints.txt").write_text("numpy==1.26.4\n")
    machine.ready()
    assert machine.asked() == [f"{PINNED} .[ui,onnx]"]
    for _ in range(2):
        machine.ready(ZOO_NEWEST="1")
    assert machine.asked() == ["pip install --upgrade --upgrade-strategy eager .[ui,onnx]"]
    (machine.clone / ".venv/site/mindspore.py").unlink()
    machine.ready()
    assert machine.asked() == [f"{PINNED} .[ui,onnx]"], "MindSpore was removed"


def test_mindspore_of_the_machine_is_used(machine):
    (machine.bin.parent / "site").mkdir()
    (machine.bin.parent / "site/mindspore.py").touch()
    machine.ready()
    assert machine.asked() == ["venv --system-site-packages .venv", "pip install .[ui,onnx]"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PYTHON": "/nope/python"}, ["found no /nope/python;"]),
        ({"VERSION": "3.9"}, ["needs Python 3.10, 3.11 or 3.12", "python3, which is Python 3.9;"]),
        ({"VERSION": "3.13"}, ["python3, which is Python 3.13;"]),
        ({"LACKING": "ensurepip", "VERSION": "3.12"}, ["apt-get install python3.12-venv\n"]),
    ],
)
def test_python_that_does_not_do(machine, settings, words):
    assert_refused(machine.ready(**settings), *words)
    assert not (machine.clone / ".venv").exists()


def test_no_python(machine):
    machine.python.unlink()
    assert_refused(machine.ready(), "found no python3", "apt-get install python3 python3-venv libc.so.6-deb,")


def test_missing_libraries_are_named_together_before_the_download(machine):
    done = machine.ready(libraries="libnope.so.1 libc.so.6 libneither.so.2")
    debian, other = (f"libnope.so.1-{kind} libneither.so.2-{kind}" for kind in ("deb", "rpm"))
    said = "lacks: libnope.so.1 libneither.so.2;", f"apt-get install {debian},", f"dnf install {other}\n"
    assert_refused(done, *said)
    assert machine.asked() == ["venv .venv"], "before pip is started"


@pytest.mark.parametrize("killed", ["venv", "pip"])
def test_killed_while_the_environment_was_made(machine, killed):
    assert machine.ready(KILLED=killed).returncode == -signal.SIGKILL
    assert (machine.clone / ".venv/unfinished").exists()
    machine.asked()
    assert machine.ready().returncode == 0
    assert machine.asked() == [*(["venv .venv"] if killed == "venv" else []), f"{PINNED} .[ui,onnx]"]
    assert not (machine.clone / ".venv/unfinished").exists()


def test_pip_fails(machine):
    assert_refused(machine.ready(FAILING="pip"), "pip could not install", "is a package index reachable")
    assert machine.ready().returncode == 0
    machine.asked()
    assert machine.ready("ui,onnx,dev", FAILING="pip").returncode == 1
    assert machine.ready().returncode == 0
    assert machine.asked() == [f"{PINNED} .[ui,onnx,dev]"], "what was complete before still is"


def test_mindspore_that_does_not_load(machine):
    assert_refused(
        machine.ready(MINDSPORE="raise ImportError('libnccl.so.2: no such file')"),
        f"mindspore does not load in {machine.clone}/.venv: ImportError: libnccl.so.2: no such file\n",
    )


def test_copied_clone(machine):
    machine.ready()
    machine.clone = Path(shutil.copytree(machine.clone, machine.clone.with_name("copy")))
    assert_refused(machine.ready(), f"{machine.clone}/.venv was made for another folder")


def test_the_readmes_name_what_is_looked_for():
    code = '. ci/environment.sh; echo "python3 python3-venv $(environment_packages 2)"'
    said = subprocess.run(["bash", "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    for readme in ("README.md", "README_CN.md"):
        assert f"apt-get install {said.stdout.strip()}`" in (ROOT / readme).read_text(encoding="utf-8"), readme
