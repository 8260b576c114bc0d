"""Which function runs which fixture."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .core import Golden
from .folder import Inventory

if TYPE_CHECKING:
    import mindspore

PYNATIVE, GRAPH = "PyNative", "graph"
MODES = (PYNATIVE, GRAPH)

F = TypeVar("F", bound=Callable)


class Runner(NamedTuple):
    """A function for the files that match `pattern`, and the modes of MindSpore to run it in ("" for NumPy alone)."""

    pattern: str
    function: Callable
    modes: Sequence[str] = ("",)


_fixtures: list[Runner] = []
_schedules: list[Runner] = []
_full_sizes: list[Runner] = []


def fixture(pattern: str, modes: Sequence[str] = ("",)) -> Callable[[F], F]:
    """Registers `function(golden: Golden) -> None`, called once for each mode with a Golden of its own."""
    return _register(_fixtures, pattern, modes)


def schedule(pattern: str) -> Callable[[F], F]:
    """Registers `function(golden: Golden, name: str) -> rates`, one for each entry of the array `<name>/k`."""
    return _register(_schedules, pattern)


def full_size(pattern: str) -> Callable[[F], F]:
    """Registers `function(inventory: Inventory) -> nn.Cell`, which builds the network of full_size_keys/<name>.json."""
    return _register(_full_sizes, pattern)


def find_fixture(name: str) -> Runner | None:
    """The runner of a file like "wdsr_b_x2.npz"; None when there is none yet."""
    return _find(_fixtures, name)


def find_schedule(name: str) -> Callable[[Golden, str], Sequence[float]] | None:
    """The function of a schedule like "irn_cosine_restart_a"; None when there is none yet."""
    runner = _find(_schedules, name)
    return runner and runner.function


def find_full_size(name: str) -> "Callable[[Inventory], mindspore.nn.Cell] | None":
    """The function of a full-size network like "irn_x4"; None when there is none yet."""
    runner = _find(_full_sizes, name)
    return runner and runner.function


def load_runners() -> None:
    """Imports every module of this package, which fills the registry."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def _register(runners: list[Runner], pattern: str, modes: Sequence[str] = ("",)) -> Callable[[F], F]:
    def add(function: F) -> F:
        runners.append(Runner(pattern, function, tuple(modes)))
        return function

    return add


def _find(runners: list[Runner], name: str) -> Runner | None:
    matching = [runner for runner in runners if fnmatchcase(name, runner.pattern)]
    if len(matching) > 1:
        raise ValueError(f"{name} has {len(matching)} runners: {', '.join(runner.pattern for runner in matching)}")
    return matching[0] if matching else None
