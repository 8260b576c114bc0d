"""The READMEs: their commands work word for word, the two languages print the same ones, nothing named is missing."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.options_table import LANGUAGES, page
from ci.tests import forks
from common import checkpoint

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [path.parent.name for path in sorted(ROOT.glob("[!.]*/train.py"))]
PAIRS = [(ROOT / "README.md", ROOT / "README_CN.md")] + [
    (ROOT / folder / "README.md", ROOT / folder / "README_CN.md") for folder in FOLDERS
]
CODE = re.compile(r"```(?:bash|shell|sh|python)\n(.*?)```", re.DOTALL)


def load(name: str):
    """A program of ci/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.parent.name)
def test_both_languages_print_the_same_commands(english, chinese):
    def commands(path):
        lines = (line for block in CODE.findall(path.read_text(encoding="utf-8")) for line in block.splitlines())
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]

    assert commands(english), f"{english} prints no command"
    assert commands(chinese) == commands(english)


@pytest.mark.parametrize("readme", [path for pair in PAIRS for path in pair], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_links_lead_somewhere(readme):
    text = readme.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if "://" not in target:
            assert (readme.parent / target).exists(), f"{readme.name} links to {target}"
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in anchors, f"{readme.name} has no heading #{anchor}"


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_pages_of_options_are_up_to_date(folder, name):
    assert (ROOT / folder / name).read_text(encoding="utf-8") == page(folder, name), "run ci/options_table.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_tree_shows_the_files_that_are_there(folder):
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    tree = re.search(rf"```text\n{folder}\n(.*?)```", text, re.DOTALL)[1]
    for name in re.findall(r"── ([\w./-]+)", tree):
        assert list((ROOT / folder).rglob(Path(name).name)), f"{folder}/README.md shows {name}"
    for place in (".", "script*", "src/**", "configs"):
        for path in (ROOT / folder).glob(f"{place}/*.*"):
            if path.suffix in (".py", ".sh", ".yml", ".yaml") and path.name != "__init__.py":
                assert path.name in tree, f"{folder}/README.md does not show {path.relative_to(ROOT)}"


@pytest.mark.parametrize("readme", [pair[0] for pair in PAIRS], ids=lambda path: path.parent.name)
def test_readmes_are_short(readme):
    text = readme.read_text(encoding="utf-8")
    assert len(text.split()) <= 1500
    assert readme.parent == ROOT or len(text.partition("```bash")[0].split()) <= 120


WORDS = {  # paraphrases -> the field's own terms
    r"values that are no numbers|\bis no number": "NaN or Inf",
    r"\blooks? at (test )?images\b|patches_to_look_at": "validation",
    r"\blooked for\b": "expected, searched",
    r"\bgo(es)? on with\b": "resume, continue",
    r"\bma[dk]es? (it |them )?small(er)?\b": "downscale",
    r"\bma[dk]es? (it |them )?larger?\b": "upscale",
    r"continued by reflection": "reflection padding",
    r"what (a|the|this) network (sees|looks at)": "receptive field",
    r"seed of all that is random": "random seed",
    r"\bfirst (filters|values|weights)\b": "initial weights",
    r"\bstep is made\b(?! of)": "done",
    r"\bgreater is better": "higher is better",
    r"\bin pieces\b(?!\.)": "in tiles",
    r"\b(is|are) let go\b": "freed",
    r"(?<!\b(?:test|read|find)_)(?<!\bwrite_)(?<!manifest\.)picture(?!s: dict)": "image",  # the names that stay
    r"\benlarge(_all)?\b": "upscale, upsample",
}


def test_the_fields_own_terms():
    """In code, messages, help and documents, so that a reader and `grep` find them."""
    found = []
    for path in ROOT.rglob("*.*"):
        place = path.relative_to(ROOT)
        product = (
            place.parts[:2] != ("ci", "tests") and "runs" not in place.parts and not place.parts[0].startswith(".")
        )
        if product and path.suffix in (".py", ".md", ".sh", ".yml", ".yaml", ".html", ".js", ".toml", ".ipynb"):
            text = path.read_text(encoding="utf-8")
            found += [
                f"{place}: {match[0]!r} is {WORDS[word]!r}" for word in WORDS for match in re.finditer(word, text, re.I)
            ]
    assert not found


@pytest.mark.parametrize("folder", FOLDERS)
def test_lines_from_python_are_among_those_run(folder):
    readme = ROOT / folder / "README.md"
    marked = [block.commands for block in load("readme_commands").blocks_of(readme) if block.language == "python"]
    assert [code.strip() for code in re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)] == marked
    assert [re.search(r"import (load|build)\n", code)[1] for code in marked] == ["load", "build"]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A `python` for the commands that needs no seconds to import MindSpore."""
    with forks.python(tmp_path_factory.mktemp("python")) as program:
        yield program


@pytest.mark.slow
@pytest.mark.parametrize("readme", ["README.md", *(f"{folder}/README.md" for folder in FOLDERS)])
def test_marked_commands_work(readme, python, tmp_path):
    clone = tmp_path / "a clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", "*.egg-info"))
    blocks = [block for block in load("readme_commands").blocks_of(clone / readme) if not block.takes_long]
    assert blocks
    environment = os.environ | {
        "PATH": os.pathsep.join(map(str, (python.parent, Path(sys.executable).parent, os.environ["PATH"]))),
        "PYTHON": str(python),
        "PYTHONPATH": str(clone),
    }
    (clone / "runs").mkdir()
    for block in blocks:
        done = subprocess.run(block.words, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == block.code, f"{block.commands}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("weights", sorted(ROOT.glob("*/weights")), ids=lambda path: path.parent.name)
def test_weights_tables_are_what_the_files_say(weights):
    """Written by ci/weights_table.py; a file has at most 4 MB, its figures, and no path of the machine it is from."""
    for name in ("README.md", "README_CN.md"):
        assert (weights / name).read_text(encoding="utf-8") == load("weights_table").page(weights, name)
    for path in weights.glob("*.ckpt"):
        saved = checkpoint.read(str(path))
        assert path.stat().st_size <= 4_000_000
        assert saved.meta["figures"]["Set5"]
        assert not [value for value in saved.meta["config"].values() if isinstance(value, str) and "/" in value]
