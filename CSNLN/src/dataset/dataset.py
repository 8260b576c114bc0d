"""The training set: images, patches, and the order in which they are shown."""

from common.data import BatchStream, PictureSet, split_names, training_pictures
from common.images import Pair
from common.runtime import Runtime

from ..config import TrainConfig
from ..CSNLN import Hyper
from .common import PatchMaker, collate
from .div2k import parse_ranges
from .srdata import data_folder, find_set


def training_set(options: TrainConfig, scale: int) -> PictureSet:
    """Return what `--data_train` names: sets joined by +, or one packed .mindrecord."""
    root, names = data_folder(options.data_path), options.data_train

    def pairs() -> list[Pair]:
        numbers, sets = parse_ranges(options.data_range)[0], split_names(names, root).values()
        return [pair for name in sets for pair in find_set(root, name, numbers, scale)]

    path = str(root / names) if (root / names).exists() else names
    return training_pictures(path, pairs, scale, options.lr_patch(), options.cache_gb)


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    pictures = training_set(options, hyper.scale)
    patches = PatchMaker(hyper.scale, options.lr_patch(), not options.no_augment)
    return BatchStream(pictures, patches, collate, options.batch_size, options.seed, here.rank, here.world_size)
