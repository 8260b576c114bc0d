"""All data sets by name: DIV2K, the benchmarks (Set5, Set14, B100, Urban100), any folder of images, MindRecord.

benchmark/Set5/HR/baby.png                 (or HR images directly in Set5/)
benchmark/Set5/LR_bicubic/X2/babyx2.png    (made by bicubic where there are none)
"""

from pathlib import Path

import numpy as np

from common.config import typed
from common.data import (
    BatchStream,
    benchmark_pairs,
    existing_folder,
    find_place,
    random_patch,
    split_names,
    stack_nchw,
    training_images,
    validation_pairs,
)
from common.images import Pair, read_pair
from common.runtime import Runtime

from ..args import EvalConfig, TrainConfig
from ..model import Hyper
from .common import to_network
from .decoded import DecodedFiles
from .div2k import find_div2k, find_root, parse_ranges


def evaluation_sets(options: EvalConfig | TrainConfig, scale: int) -> dict[str, list[Pair]]:
    root, numbers = existing_folder(options.dir_data, "--dir_data"), parse_ranges(options.data_range)[1]
    names = split_names(options.data_test, root)
    return {stem: find_set(root, name, numbers, scale, options.track) for stem, name in names.items()}


def evaluation_pairs(options: TrainConfig, hyper: Hyper) -> list[Pair]:
    """Return the first --test_pictures pairs of the test sets; none where a set that nobody typed is not there."""

    def find() -> list[Pair]:
        return [pair for pairs in evaluation_sets(options, hyper.scale).values() for pair in pairs]

    return validation_pairs(find, typed(options, "data_test") or typed(options, "data_range"), options.test_pictures)


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Return the batches of (lr_image, hr_image), as `to_network` gives them, of --data_train for this worker."""
    root, names = existing_folder(options.dir_data, "--dir_data"), options.data_train
    lr_patch, augment = options.lr_patch(), not options.no_augment

    def pairs() -> list[Pair]:
        numbers, sets = parse_ranges(options.data_range)[0], split_names(names, root).values()
        return [pair for name in sets for pair in find_set(root, name, numbers, hyper.scale, options.track)]

    def sample(hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        hr, lr = random_patch(hr, lr, lr_patch, hyper.scale, rng, mirror=augment, turn=augment)
        return to_network(lr, hyper), to_network(hr, hyper)

    path = str(root / names) if (root / names).exists() else names
    load = DecodedFiles() if options.ext == "sep" else read_pair
    images = training_images(path, pairs, hyper.scale, lr_patch, options.cache_gb, load)
    return BatchStream(images, sample, stack_nchw, options.batch_size, options.seed, here.rank, here.world_size)


def find_set(root: Path, name: str, numbers: range, scale: int, track: str) -> list[Pair]:
    """Return the pairs of one set: DIV2K's of these numbers, or those of `common.data.find_place`."""
    if name == "DIV2K":
        if find_root(root) is None and (root / "HR").is_dir():
            return benchmark_pairs(root, scale)
        return find_div2k(root, numbers, scale, track)
    return benchmark_pairs(find_place(name, root), scale)
