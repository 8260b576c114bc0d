"""Fixtures for every test: where things are, and fixed random seeds."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

import common  # noqa: F401  (sets the environment before mindspore is imported)
from ci.tests.fixtures import CORES, all_cores, begun, data, python, saved, spec, trained  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config: pytest.Config) -> None:
    """Cache exports here instead of in the home of the user; of several workers each keeps to its own cores."""
    os.environ["XDG_CACHE_HOME"] = str(config.cache.mkdir("user"))
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # else they wait for each other: a sixth of the time
        own = sorted(CORES)[int(worker[2:]) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
        os.sched_setaffinity(0, own or CORES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: nothing else could be run beside them at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_readmes.py", "test_distribution.py", "test_train.py"))


def pytest_collection_finish() -> None:
    gc.freeze()  # as `common.runtime.start` does


@pytest.fixture(autouse=True)
def fixed_seeds():
    np.random.seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sample_dir() -> Path:
    return ROOT / "ci" / "sample"


@pytest.fixture(scope="session")
def goldens_dir() -> Path:
    return ROOT / "ci" / "goldens"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The big data beside the clone (Set5, Set14, ...); tests that ask for it are skipped where it is not."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the big data in {path}")
    return path
