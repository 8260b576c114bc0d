"""The training set: pictures, patches, and the order in which they are shown."""

from common.data import BatchStream, PictureSet
from common.pairs import PairedPictures
from common.runtime import Runtime

from ..config import TrainConfig
from ..CSNLN import Hyper
from .common import PatchMaker, collate
from .div2k import parse_ranges
from .srdata import existing_folder, find_set


def training_set(
    data_path: str, names: str, scale: int, data_range: str, cache_bytes: int, patch: int = 0
) -> PictureSet:
    """What `--data_train` names: sets joined by +, or one packed .mindrecord.

    Args:
        patch: side of the HR patches, which packed pictures must have.

    Raises:
        UserError: a set that is not there, a MindRecord of another scale or of smaller patches.
    """
    root = existing_folder(data_path)
    if names.endswith(".mindrecord"):
        from common.mindrecord import open_patches

        return open_patches(root / names if (root / names).exists() else names, scale, patch)
    numbers = parse_ranges(data_range)[0]
    return PairedPictures(
        [pair for name in names.split("+") for pair in find_set(root, name, numbers, scale)], scale, cache_bytes
    )


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (lr_image, hr_image) for this worker."""
    cache_bytes, patch = int(options.cache_gb * 2**30), options.lr_patch() * hyper.scale
    pictures = training_set(options.data_path, options.data_train, hyper.scale, options.data_range, cache_bytes, patch)
    if isinstance(pictures, PairedPictures):
        pictures.drop_small(options.lr_patch())
    patches = PatchMaker(hyper.scale, options.lr_patch(), not options.no_augment)
    return BatchStream(pictures, patches, collate, options.batch_size, options.seed, here.rank, here.world_size)
