"""All data sets by name: which images belong to what `--data_train` and `--data_test` say."""

from pathlib import Path

from common.config import typed
from common.data import existing_folder, split_names, validation_pairs
from common.images import Pair

from ..config import EvalConfig, TrainConfig
from ..CSNLN import Hyper
from .benchmark import find_benchmark
from .div2k import find_div2k, find_root, parse_ranges


def evaluation_sets(options: EvalConfig | TrainConfig, scale: int) -> dict[str, list[Pair]]:
    """Return the pairs of each set in --data_test, by what its results are called."""
    root, numbers = data_folder(options.data_path), parse_ranges(options.data_range)[1]
    return {stem: find_set(root, name, numbers, scale) for stem, name in split_names(options.data_test, root).items()}


def evaluation_pairs(options: TrainConfig, hyper: Hyper) -> list[Pair]:
    """Return the first --test_pictures pairs of the test sets; none where a set that nobody typed is not there."""

    def find() -> list[Pair]:
        return [pair for pairs in evaluation_sets(options, hyper.scale).values() for pair in pairs]

    return validation_pairs(find, typed(options, "data_test"), options.test_pictures)


def find_set(root: Path, name: str, numbers: range, scale: int) -> list[Pair]:
    """Return the pairs of one set; the numbers are of DIV2K's images."""
    if name == "DIV2K" and (find_root(root) or not (root / "HR").is_dir()):
        return find_div2k(root, numbers, scale)
    return find_benchmark(root, name, scale)


def data_folder(path: str) -> Path:
    return existing_folder(path, "data_path", " (set it in default_config.yaml, or type --data_path FOLDER)")
