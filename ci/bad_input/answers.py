"""What a program answers to a mistake: it runs in this process, in the workspace that is made for all."""

import contextlib
import importlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ci.bad_input.mistakes import STAMP, Program
from common import runtime

ROOT = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    """What a program did.

    Attributes:
        code: exit code, or the name of what would be a traceback.
        error: the sentence: what stands behind "error: " on stderr.
        unasked: other lines of stderr, but for those that the program logs when all is well, too.
        output: stdout.
        left: what is there that was not there before, or was changed.
        seconds: of CPU.
    """

    code: object
    error: str
    unasked: list[str]
    output: str
    left: list[str]
    seconds: float


def answer(program: Program, kind: str, workspace: Path) -> Answer:
    """Run a program with a mistake, in the workspace, through the wrapper that its command uses."""
    main = importlib.import_module(program.module).main
    words, before, start = program.words(kind), listing(workspace), time.process_time()
    with working_in(workspace), logged() as notices, captured() as said:
        try:
            runtime.run_main(lambda: main(words))
        except SystemExit as end:
            code: object = end.code
        except Exception as error:  # what a user would see as a traceback
            code = type(error).__name__
    seconds = time.process_time() - start
    left = sorted(path for path, content in listing(workspace).items() if before.get(path, ()) != content)
    for path in sorted(set(left) - before.keys(), reverse=True):
        (workspace / path).rmdir() if path.endswith("/") else (workspace / path).unlink()
    lines = [line for line in said["err"].splitlines() if line not in notices]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    unasked = [line for line in lines if not line.startswith("error: ")] + errors[1:]
    return Answer(code, shortened("".join(errors[:1]), workspace), unasked, said["out"], left, seconds)


@contextlib.contextmanager
def logged() -> Iterator[set[str]]:
    """The lines that are logged in the block, but for errors."""
    lines: set[str] = set()

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.update(record.getMessage().splitlines() if record.levelno < logging.ERROR else ())

    handler = Notes()
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def shortened(text: str, workspace: Path) -> str:
    """Without what differs from machine to machine, from run to run and among versions of Python."""
    for folder in (workspace, ROOT):
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    text = re.sub(r"\(choose from ([^)]*)\)", lambda match: match[0].replace("'", ""), text)
    return re.sub(STAMP, "-TIME", text)


def listing(folder: Path) -> dict[str, tuple[int, int] | None]:
    """path -> size and time of each file; folders end in / and have none."""
    return {
        f"{path.relative_to(folder).as_posix()}{'/' if path.is_dir() else ''}": None
        if path.is_dir()
        else (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """As `cd`."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def captured() -> Iterator[dict[str, str]]:
    """What is said in the block, by Python and by the libraries below it: "out" and "err" when it has ended."""
    said: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        files = {}
        for name, number, redirect in (("out", 1, contextlib.redirect_stdout), ("err", 2, contextlib.redirect_stderr)):
            file = files[name] = stack.enter_context(tempfile.TemporaryFile())
            kept = os.dup(number)
            os.dup2(file.fileno(), number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            stack.enter_context(redirect(stack.enter_context(open(os.dup(number), "w", buffering=1, encoding="utf-8"))))
        yield said
        for name, file in files.items():
            file.seek(0)
            said[name] = file.read().decode()
