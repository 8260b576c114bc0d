"""Which function runs which fixture; the package says how a function is registered."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple, TypeVar

PYNATIVE, GRAPH = "PyNative", "graph"
MODES = (PYNATIVE, GRAPH)

F = TypeVar("F", bound=Callable)


class Runner(NamedTuple):
    """A function for what matches `pattern`, and the modes of MindSpore to run it in ("" for NumPy alone)."""

    pattern: str
    function: Callable
    modes: Sequence[str]


_runners: dict[str, list[Runner]] = {"fixture": [], "schedule": [], "full_size": []}


def _register(kind: str, pattern: str, modes: Sequence[str] = ("",)) -> Callable[[F], F]:
    def add(function: F) -> F:
        _runners[kind].append(Runner(pattern, function, modes))
        return function

    return add


def _find(kind: str, name: str) -> Runner | None:
    return next((runner for runner in _runners[kind] if fnmatchcase(name, runner.pattern)), None)


fixture = partial(_register, "fixture")  # (golden: Golden) -> None, called once for each mode with a Golden of its own
schedule = partial(_register, "schedule")  # (golden: Golden, name: str) -> rates, for each array <name>/k
full_size = partial(_register, "full_size")  # (inventory: Inventory) -> nn.Cell, the network of full_size_keys/<name>
find_fixture, find_schedule, find_full_size = (partial(_find, kind) for kind in _runners)  # None: there is none yet


def load_runners() -> None:
    """Import every module of this package, which fills the registry."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
