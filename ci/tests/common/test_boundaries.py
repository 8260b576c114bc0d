"""Who may import whom, and how long a program may be."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODELS = tuple(sorted(path.parent.name for path in ROOT.glob("*/train.py")))
ROOMS = re.findall(r"^\| `(\w+)(?:/|\.py)`", (ROOT / "common" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that the file imports, wherever in it; also by importlib and a literal name."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from ((str(name.value), "") for name in node.args[:1] if isinstance(name, ast.Constant))


def imports_from(path: Path, packages: tuple[str, ...]) -> list[str]:
    """Return what the file imports from these top-level packages."""
    found = [f"{module}.{name}" for module, name in imports_of(path)]
    return [f"{name_of(path)}: {name}" for name in found if name.split(".")[0] in packages]


def rooms_of(path: Path) -> set[str]:
    """Return the rooms of common that a file of common imports, but for its own."""
    names = [f"{module}.{name}".split(".") for module, name in imports_of(path)]
    own = path.relative_to(ROOT / "common").parts[0].removesuffix(".py")
    return {name[1] for name in names if name[0] == "common" and name[1] in ROOMS} - {own}


def test_the_map_names_every_room():
    entries = {path.name.removesuffix(".py") for path in (ROOT / "common").iterdir()}
    assert entries - {"__pycache__", "README.md", "launch.sh"} == set(ROOMS)


def test_a_room_imports_only_those_above_it():
    """So no two import each other; the programs `python -m common.ROOM` stand above all rooms."""
    for path in (path for path in sources("common") if path.name != "__main__.py"):
        own = path.relative_to(ROOT / "common").parts[0].removesuffix(".py")
        below = ROOMS[ROOMS.index(own) :] if own != "__init__" else ROOMS[1:]
        assert not rooms_of(path) & set(below), name_of(path)


@pytest.mark.parametrize("room", ["images", "metrics", "mindrecord"])
def test_the_thin_part_serves_alone(room):
    code = f"import sys, common.{room}; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"common.{room}" in found.split()
    assert not {"common.training", "common.evaluation", "common.export", "mindspore"} & set(found.split())


def test_common_imports_no_model():
    assert not [line for path in sources("common") for line in imports_from(path, (*MODELS, "ci"))]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_imports_no_other_and_common_by_its_faces(model):
    others = (*(other for other in MODELS if other != model), "ci")
    assert not [line for path in sources(model) for line in imports_from(path, others)]
    taken = {found for path in sources(model) for found in imports_of(path) if found[0].split(".")[0] == "common"}
    assert not [module for module, _ in taken if module.count(".") > 1]


@pytest.mark.parametrize("model", MODELS)
def test_environment_is_set_before_mindspore(model):
    """oneDNN reads its variable once, while MindSpore is imported: a model's package imports common before all else."""
    tree = ast.parse((ROOT / model / "__init__.py").read_text(encoding="utf-8"))
    found = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [line for line in found if not line.startswith("from typing ")] == ["import common"]
