"""What every program answers to every kind of wrong input: writes ci/BAD_INPUT.md.

    python ci/bad_input_table.py            # writes ci/BAD_INPUT.md
    python ci/bad_input_table.py WDSR       # prints the answers of the programs that begin so, with their seconds

`bad_input/programs.py` lists the programs, each with a command line that would do its work, and for each kind of
mistake the words that spoil it (added at the end, where the last one counts), or the reason why the program cannot be
given that mistake. Everything runs in this process and in a folder of its own (`bad_input/workspace.py`), with networks
of one block.
"""

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ci.bad_input.answers import Answer, answer  # noqa: E402
from ci.bad_input.mistakes import KINDS  # noqa: E402
from ci.bad_input.programs import PROGRAMS, why_left_out  # noqa: E402
from ci.bad_input.workspace import make_workspace  # noqa: E402

PAGE = ROOT / "ci" / "BAD_INPUT.md"
INTRODUCTION = """# What the programs answer to wrong input

Each mistake ends with exit code 2 and one sentence on stderr, which names what is wrong; nothing is left behind but
what a row says. `python ci/bad_input_table.py` writes this page; `ci/tests/test_bad_input.py` makes each of these
mistakes and compares. What is typed is added to a command line that would do its work. Of the files `a.png` is a
picture, `a.txt` a text, `nowhere` is not there, `cut` ends too early, `words/0001.png` is a text; `empty` and `texts`
are folders without pictures; in `missized` LR does not belong to HR, in `lacking` it is not there; in `dots` is a
picture of one pixel; `weights/` holds a whole checkpoint of each model.
"""


def page(answers: Mapping[tuple[str, str], Answer]) -> str:
    """Markdown: for each kind of mistake what was typed, the sentences, and who says them."""
    parts = [INTRODUCTION]
    for kind, meaning in KINDS.items():
        said: dict[tuple[str, str, str], list[str]] = {}
        for program in PROGRAMS:
            if kind in program.cases:
                case = program.case(kind)
                typed = case.words or f"without {' '.join(case.without) or 'any word'}"
                sentence = answers[program.name, kind].error
                said.setdefault((sentence, typed, case.leaves[1]), []).append(program.name)
        parts.append(
            f"\n## {kind[0].upper()}{kind[1:]}\n\n" + (f"{meaning[0].upper()}{meaning[1:]}.\n\n" if meaning else "")
        )
        parts.append("| typed | answer | programs |\n|---|---|---|\n")
        for (sentence, typed, stays), names in said.items():
            note = f" ({stays})" if stays else ""
            parts.append(f"| `{typed}` | {escaped(sentence)}{note} | {', '.join(names)} |\n")
    return "".join([*parts, not_asked()])


def not_asked() -> str:
    """Markdown: the pairs that make no sense, by their reason."""
    programs: dict[tuple[str, str], list[str]] = {}  # of each reason and kinds
    for program in PROGRAMS:
        kinds: dict[str, list[str]] = {}
        for kind in KINDS:
            if kind not in program.cases:
                kinds.setdefault(why_left_out(program, kind), []).append(kind)
        for reason, found in kinds.items():
            told = "all others" if len(found) > len(KINDS) / 2 else ", ".join(found)
            programs.setdefault((reason, told), []).append(program.name)
    rows = [f"| {reason} | {kinds} | {', '.join(names)} |\n" for (reason, kinds), names in sorted(programs.items())]
    return "".join(["\n## What is not asked\n\n| reason | mistakes | programs |\n|---|---|---|\n", *rows])


def escaped(text: str) -> str:
    """As Markdown shows it word for word in a table."""
    return re.sub(r"([|<>*_])", r"\\\1", text)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or print the answers of some programs."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder))
        chosen = [program for program in PROGRAMS if program.name.startswith(tuple(arguments) or "")]
        answers = {
            (program.name, kind): answer(program, kind, workspace)
            for program in chosen
            for kind in KINDS
            if kind in program.cases
        }
    if not arguments:
        if broken := [f"{name}, {kind}: {found.code}" for (name, kind), found in answers.items() if found.code != 2]:
            print(f"{PAGE} is not written, since there is no sentence of", *broken, sep="\n", file=sys.stderr)
            return 1
        PAGE.write_text(page(answers), encoding="utf-8")
        return 0
    for (name, kind), found in answers.items():
        print(f"{name}, {kind}: {found.error} [{found.code}, {found.seconds:.1f} s]")
        for line in (*found.unasked, *found.output.splitlines(), *(f"left: {path}" for path in found.left)):
            print(f"    {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
