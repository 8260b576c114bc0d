"""Every entry point with every kind of wrong input: one sentence that names it, exit code 2, nothing left behind."""

import re

import pytest

from ci import bad_input_table as table

CASES = [(program, kind) for program in table.PROGRAMS for kind in table.KINDS if kind in program.cases]
NAMED_BY_ITSELF = ("unknown option", "option without its value", "unknown choice", "wrong type", "out of range")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """(program, kind) -> what it answered; each is asked once."""
    workspace, found = table.make_workspace(tmp_path_factory.mktemp("bad_input")), {}

    def ask(program, kind):
        key = program.name, kind
        if key not in found:
            found[key] = table.answer(program, kind, workspace)
        return found[key]

    return ask


@pytest.mark.parametrize(("program", "kind"), CASES, ids=lambda value: getattr(value, "name", value))
def test_one_sentence_and_nothing_else(answers, program, kind):
    answer, case = answers(program, kind), program.case(kind)
    assert answer.code == 2
    assert answer.unasked == [], "more than one sentence"
    assert answer.output == ""
    names = case.names or (case.words.split()[-1],)
    if kind in NAMED_BY_ITSELF:
        names = (*names, case.words.split()[0].lstrip("-"))
    for name in names:
        assert name in answer.error
    assert "Traceback" not in answer.error
    assert not re.search(r"[.!?] [A-Z]", answer.error), "two sentences"
    assert [path for path in answer.left if not re.fullmatch(case.leaves[0], path)] == []


def test_every_pair_is_asked_or_left_out_for_a_reason():
    for program in table.PROGRAMS:
        assert set(program.cases) <= set(table.KINDS)
        missing = [kind for kind in table.KINDS if kind not in program.cases and not table.why_left_out(program, kind)]
        assert missing == [], program.name


def test_every_entry_point_is_there(root):
    """Whatever has a `main` that `run_main` runs; IRN/val.py is IRN/eval.py by the seed's name."""
    places = [root / "common", *(path.parent for path in root.glob("*/train.py"))]
    found = {
        path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        for place in places
        for path in place.rglob("*.py")
        if "run_main(main)" in path.read_text(encoding="utf-8")
    }
    assert {program.module for program in table.PROGRAMS} == found - {"IRN.val"}


def test_the_page_says_what_the_programs_answer(answers):
    found = {(program.name, kind): answers(program, kind) for program, kind in CASES}
    assert table.PAGE.read_text(encoding="utf-8") == table.page(found), "python ci/bad_input_table.py writes it anew"
