"""The training set: pictures, patches, and the order in which they are shown."""

from common.data import BatchStream, PictureSet, split_names, training_pictures
from common.images import Pair
from common.runtime import Runtime

from ..config import TrainConfig
from ..CSNLN import Hyper
from .common import PatchMaker, collate
from .div2k import parse_ranges
from .srdata import data_folder, find_set


def training_set(
    data_path: str, names: str, scale: int, data_range: str, cache_gb: float, lr_patch: int = 0
) -> PictureSet:
    """What `--data_train` names: sets joined by +, or one packed .mindrecord.

    Args:
        cache_gb: memory for decoded pictures, in GiB.
        lr_patch: side of the LR patches; smaller pictures are left out, and a packed set of smaller ones is refused.

    Raises:
        UserError: a set that is not there, a MindRecord of another scale or of smaller patches.
    """
    root = data_folder(data_path)

    def pairs() -> list[Pair]:
        numbers = parse_ranges(data_range)[0]
        return [pair for name in split_names(names, root).values() for pair in find_set(root, name, numbers, scale)]

    path = str(root / names) if (root / names).exists() else names
    return training_pictures(path, pairs, scale, lr_patch, cache_gb)


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (lr_image, hr_image) for this worker."""
    where = options.data_path, options.data_train
    pictures = training_set(*where, hyper.scale, options.data_range, options.cache_gb, options.lr_patch())
    patches = PatchMaker(hyper.scale, options.lr_patch(), not options.no_augment)
    return BatchStream(pictures, patches, collate, options.batch_size, options.seed, here.rank, here.world_size)
