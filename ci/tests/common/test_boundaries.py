"""Who may import whom, in which order, and how long a program may be."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODELS = tuple(sorted(path.parent.name for path in ROOT.glob("*/train.py")))
PROGRAM_LINES = 150


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


PACKAGES = sources("common", *MODELS)
EVERYTHING = [*PACKAGES, *sources("ci")]
PROGRAMS = [path for path in PACKAGES if path.parent.name in MODELS and path.name != "__init__.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    """`WDSR/src/model.py` -> WDSR.src.model; a package's `__init__.py` -> the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that the file imports, wherever in it; also by importlib and a literal name."""
    package = module_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield node.lineno, base
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from ((node.lineno, str(name.value)) for name in node.args[:1] if isinstance(name, ast.Constant))


def imports_from(path: Path, packages: tuple[str, ...]) -> list[str]:
    """`file:line name` of what the file imports from these top-level packages."""
    found = [(line, name) for line, name in imports_of(path) if name.split(".")[0] in packages]
    return [f"{name_of(path)}:{line} {name}" for line, name in found]


def test_there_is_something_to_look_at():
    assert {name_of(path) for path in PROGRAMS} >= {f"WDSR/{name}.py" for name in ("train", "eval", "export", "infer")}
    assert len(PACKAGES) > 20
    assert "WDSR.src.model.Hyper" in {name for _, name in imports_of(ROOT / "WDSR" / "src" / "utils.py")}


def test_the_reader_sees_every_spelling(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "IRN" / "src" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import WDSR.src.model as m\nfrom WDSR import src\n"
        "from . import y\nfrom .. import eval\nfrom ..src.z import w\n"
        "def f():\n    from WDSR.src import utils\n    import importlib\n    importlib.import_module('CSNLN.src')\n"
        "    import src.model\n"
    )
    found = {name for _, name in imports_of(path)}
    assert {"WDSR.src.model", "WDSR.src", "IRN.src.y", "IRN.eval", "IRN.src.z.w", "WDSR.src.utils"} < found
    assert {"CSNLN.src", "src.model"} < found
    assert [line.split(":")[1].split()[0] for line in imports_from(path, ("src",))] == ["10"]


def test_common_imports_no_model():
    assert not [line for path in sources("common") for line in imports_from(path, (*MODELS, "ci"))]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_imports_no_other(model):
    others = (*(other for other in MODELS if other != model), "ci")
    assert not [line for path in sources(model) for line in imports_from(path, others)]


def test_nobody_imports_a_package_called_src():
    """Five folders have one: a plain `src` in sys.modules would be the first that came."""
    assert not [line for path in EVERYTHING for line in imports_from(path, ("src",))]


@pytest.mark.parametrize("path", PROGRAMS, ids=name_of)
def test_length(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= PROGRAM_LINES, f"{name_of(path)} has {lines} lines, {PROGRAM_LINES} are allowed"


# Stands before MindSpore on the path and notes what was there when its import began.
RECORDER = """
import os, sys

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name == "mindspore":
            print("mindspore", os.environ.get("ONEDNN_MAX_CPU_ISA"), "common" in sys.modules)
            raise SystemExit(0)

os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
sys.meta_path.insert(0, Recorder())
sys.path.insert(0, os.getcwd())
import importlib
importlib.import_module(sys.argv[1])
print("none", os.environ.get("ONEDNN_MAX_CPU_ISA"), "common" in sys.modules)
"""


def import_alone(module: str) -> str:
    """Imports the module in a process of its own that ends where MindSpore would be imported."""
    command = [sys.executable, "-c", RECORDER, module]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def imports_mindspore_at_once(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return any(name.startswith(("import mindspore", "from mindspore")) for name in names)


WITH_MINDSPORE = [path for path in PACKAGES if imports_mindspore_at_once(path)]


@pytest.mark.parametrize("path", WITH_MINDSPORE, ids=name_of)
def test_environment_is_set_before_mindspore(path):
    """oneDNN reads its variable once, while MindSpore is imported; each module may be the first that is imported."""
    assert import_alone(module_of(path)) == "mindspore AVX2 True"


@pytest.mark.parametrize("module", [module_of(path) for path in PROGRAMS] + ["ci.check_goldens"])
def test_programs_set_the_environment_before_mindspore(module):
    """A program may also do without MindSpore until its options are read."""
    assert import_alone(module) in ("mindspore AVX2 True", "none AVX2 True")


def test_what_the_user_has_set_stays():
    code = "import common, os; print(os.environ['ONEDNN_MAX_CPU_ISA'])"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "AVX512_CORE"
