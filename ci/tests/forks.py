"""A `python` that starts in a tenth of a second: for each call, a process that has imported MindSpore is forked.

`python -m ci.tests.forks PLACE` is that process. It answers at the socket PLACE until its standard input ends, and has
imported what is not ours alone: the clone that a program belongs to is imported anew. `PROGRAM`, written as `python`
into a folder of PATH, passes words, environment, folder and streams on, and ends as the fork does.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

PROGRAM = """#!{python} -IS
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({place!r})
socket.send_fds(line, [b"!"], [0, 1, 2])
line.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
line.shutdown(socket.SHUT_WR)
sys.exit((line.recv(1) or b"\\1")[0])
"""


@contextmanager
def python(folder: Path) -> Iterator[Path]:
    """Start the process; the program that calls it is `folder`/python."""
    place, program = folder / "socket", folder / "python"
    program.write_text(PROGRAM.format(python=sys.executable, place=str(place)), encoding="utf-8")
    program.chmod(0o755)
    words, pipe = [sys.executable, "-m", "ci.tests.forks", str(place)], subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[2]) as server:
        assert server.stdout.readline() == b"ready\n"
        yield program
        server.stdin.close()


def serve(place: str) -> None:
    """Fork for each caller."""
    import common

    for name in ("cv2", "mindspore", "onnx", "onnxruntime", "scipy.signal", "matplotlib.pyplot", "tensorboardX"):
        try:
            __import__(name)
        except ImportError:  # an extra
            continue
    for name in [name for name in sys.modules if name.partition(".")[0] in (common.__name__, "ci")]:
        del sys.modules[name]
    sys.excepthook = sys.__excepthook__
    gc.freeze()  # nor does a fork copy the memory that a collection would write to
    assert len(os.listdir("/proc/self/task")) == 1, "what a thread holds would be held in the fork for ever"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            line, _ = listener.accept()
            if not os.fork():
                answer(line)
            line.close()


def answer(line: socket.socket) -> NoReturn:
    """Do what `python WORDS` would; its exit code is the answer."""
    _, streams, *_ = socket.recv_fds(line, 1, 3)
    words, folder, environment = json.loads(b"".join(iter(lambda: line.recv(2**20), b"")))
    encoding, _, errors = environment.get("PYTHONIOENCODING", "utf-8").partition(":")
    for number, (stream, name) in enumerate(zip(streams, ("stdin", "stdout", "stderr"), strict=True)):
        os.dup2(stream, number)
        os.close(stream)
        text = {"buffering": 1, "encoding": encoding, "errors": errors or None, "closefd": False}
        setattr(sys, name, open(number, "w" if number else "r", **text))  # noqa: SIM115
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = ended(lambda: run(words))
    line.sendall(bytes([code]))
    os._exit(code)


def ended(work: Callable[[], object]) -> int:
    """Do all of a process's work; the exit code that Python would end with."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run(words: list[str]) -> None:
    """Run a program, a module or lines of Python as `__main__`."""
    kind, own = words[0], {"-c": "", "-m": os.getcwd()}.get(words[0], os.path.dirname(os.path.abspath(words[0])))
    sys.argv = words if kind not in ("-c", "-m") else words[1:] if kind == "-m" else ["-c", *words[2:]]
    sys.path[:1] = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if kind == "-c":
        exec(words[1], {"__name__": "__main__"})
    elif kind == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
