"""Every program with every kind of wrong input: exit code 2, one sentence, nothing written outside its output.

`wrong_input.txt` has the sentences. After a change on purpose, read its diff when this has written it anew:

    REWRITE=1 python -m pytest ci/tests/test_wrong_input.py
"""

import importlib
import logging
import os
import re
from pathlib import Path

import pytest

from ci.tests.wrong_input import PROGRAMS, make_workspace
from common import runtime

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).with_name("wrong_input.txt")
STAMP = r"-\d{8}-\d{6}(-\d+)?"  # of a run's folder


def title(program):
    return f"{program.name} {program.good}".strip()


def snapshot():
    """The heading of each program -> its lines."""
    sections, lines = {}, []
    for line in SNAPSHOT.read_text(encoding="utf-8").splitlines() if SNAPSHOT.is_file() else ():
        if line.startswith("    "):
            lines.append(line.strip())
        else:
            lines = sections[line] = []
    return sections


def write(sections):
    lines = [line for title, found in sections.items() for line in (title, *(f"    {said}" for said in found))]
    SNAPSHOT.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("wrong_input"))


@pytest.fixture
def answer(workspace, monkeypatch, capfd, caplog):
    """Run a program with a mistake; returns the exit code, the sentence, and what is left below out/."""
    monkeypatch.chdir(workspace)

    def ask(program, mistake):
        before = listing(workspace)
        capfd.readouterr()
        caplog.clear()
        with pytest.raises(SystemExit) as ended:
            runtime.run_main(lambda: importlib.import_module(program.module).main(program.words(mistake)))
        said = capfd.readouterr()
        notices = {line for record in caplog.records if record.levelno < logging.ERROR for line in lines_of(record)}
        errors = [line for line in said.err.splitlines() if line not in notices]
        left = sorted(path for path, content in listing(workspace).items() if before.get(path, ()) != content)
        for path in reversed(left):
            (workspace / path).rmdir() if path.endswith("/") else (workspace / path).unlink()
        assert (ended.value.code, said.out, len(errors)) == (2, "", 1), (mistake, said)
        assert re.fullmatch(r"error: (?!.*[.!?] [A-Z]).*", errors[0]), (mistake, "not one sentence", errors[0])
        assert all(path.startswith("out/") for path in left), (mistake, left)
        found = [path for path in left if not any(other != path and other.startswith(path) for other in left)]
        return shortened(f"{errors[0]}{''.join(f' [leaves {path}]' for path in found)}", workspace)

    return ask


def lines_of(record):
    return record.getMessage().splitlines()


def shortened(text, workspace):
    """Without what differs from machine to machine, from run to run and among versions of Python."""
    for folder in (workspace, ROOT):
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    text = re.sub(r"\(choose from ([^)]*)\)", lambda match: match[0].replace("'", ""), text)
    return re.sub(STAMP, "-TIME", text)


def listing(folder):
    """path -> size and time of each file; folders end in / and have none."""
    return {
        f"{path.relative_to(folder).as_posix()}{'/' if path.is_dir() else ''}": None
        if path.is_dir()
        else (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("program", PROGRAMS, ids=title)
def test_answers(answer, program):
    lines = [f"{mistake or '(nothing)'} -> 2 {answer(program, mistake)}" for mistake in program.mistakes]
    if os.environ.get("REWRITE"):
        sections = snapshot() | {title(program): lines}
        write({title(each): sections[title(each)] for each in PROGRAMS if title(each) in sections})
    assert lines == snapshot()[title(program)]


def test_the_snapshot_has_the_programs_and_no_others():
    assert list(snapshot()) == [title(program) for program in PROGRAMS]


def test_every_entry_point_is_there():
    """Whatever has a `main` that `run_main` runs; IRN/val.py is IRN/eval.py by the seed's name."""
    places = [ROOT / "common", *(path.parent for path in ROOT.glob("*/train.py"))]
    found = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for place in places
        for path in place.rglob("*.py")
        if "run_main(main)" in path.read_text(encoding="utf-8")
    }
    assert {program.module for program in PROGRAMS} == found - {"IRN.val"}
