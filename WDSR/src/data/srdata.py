"""All data sets by name: DIV2K, the benchmarks (Set5, Set14, B100, Urban100), any folder of pictures, MindRecord.

benchmark/Set5/HR/baby.png                 (or HR pictures directly in Set5/)
benchmark/Set5/LR_bicubic/X2/babyx2.png    (made by bicubic where there are none)
"""

import hashlib
import tokenize
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import UserError
from common.atomic import replacing
from common.data import BatchStream, PictureSet
from common.pairs import Pair, PairedPictures, find_pairs, read_pair
from common.runtime import Runtime

from ..args import TrainConfig
from ..model import Hyper
from .common import PatchMaker, collate
from .div2k import find_div2k, find_root, parse_ranges


def evaluation_sets(dir_data: str, names: str, scale: int, *, data_range: str, track: str) -> dict[str, list[Pair]]:
    """The pairs of each set in `Set5+Set14+DIV2K`.

    Raises:
        UserError: a set that is not there, or LR pictures that do not match.
    """
    root, numbers = existing_folder(dir_data), parse_ranges(data_range)[1]
    return {name: find_set(root, name, numbers, scale, track) for name in names.split("+")}


def training_set(
    dir_data: str,
    names: str,
    scale: int,
    *,
    data_range: str,
    track: str,
    ext: str,
    cache_bytes: int,
    patch: int = 0,
) -> PictureSet:
    """What `--data_train` names: sets joined by +, or one packed .mindrecord.

    Args:
        patch: side of the HR patches, which packed pictures must have.

    Raises:
        UserError: a set that is not there, a MindRecord of another scale or of smaller patches.
    """
    root = existing_folder(dir_data)
    if names.endswith(".mindrecord"):
        from common.mindrecord import open_patches

        return open_patches(root / names if (root / names).exists() else names, scale, patch)
    numbers = parse_ranges(data_range)[0]
    pairs = [pair for name in names.split("+") for pair in find_set(root, name, numbers, scale, track)]
    return PairedPictures(pairs, scale, cache_bytes, read_decoded if ext == "sep" else read_pair)


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (lr_image, hr_image) for this worker."""
    pictures = training_set(
        options.dir_data,
        options.data_train,
        hyper.scale,
        data_range=options.data_range,
        track=options.track,
        ext=options.ext,
        cache_bytes=int(options.cache_gb * 2**30),
        patch=options.lr_patch() * hyper.scale,
    )
    if isinstance(pictures, PairedPictures):
        pictures.drop_small(options.lr_patch())
    patches = PatchMaker(hyper, options.lr_patch(), not options.no_augment)
    return BatchStream(pictures, patches, collate, options.batch_size, options.seed, here.rank, here.world_size)


def evaluation_pairs(options: TrainConfig, hyper: Hyper) -> list[Pair]:
    """The first --test_pictures pairs of the test sets."""
    sets = evaluation_sets(
        options.dir_data, options.data_test, hyper.scale, data_range=options.data_range, track=options.track
    )
    return [pair for pairs in sets.values() for pair in pairs][: options.test_pictures or None]


def find_set(root: Path, name: str, numbers: range, scale: int, track: str) -> list[Pair]:
    """The pairs of one set, looked for as DIV2K, below `benchmark/`, below `root`, and as a path of its own."""
    if name == "DIV2K":
        if find_root(root) is None and (root / "HR").is_dir():
            return _folder_pairs(root, scale)
        return find_div2k(root, numbers, scale, track)
    places = [root / "benchmark" / name, root / name, Path(name)]
    place = next((place for place in places if place.is_dir()), None)
    if place is None and root.name == name:
        place = root
    if place is None:
        raise UserError(f"no data set {name!r}: looked for {', '.join(map(str, places))}")
    return _folder_pairs(place, scale)


def _folder_pairs(place: Path, scale: int) -> list[Pair]:
    hr_folder = place / "HR" if (place / "HR").is_dir() else place
    lr_folder = place / "LR_bicubic" / f"X{scale}"
    return find_pairs(hr_folder, lr_folder if lr_folder.is_dir() else None, scale)


def existing_folder(path: str) -> Path:
    """The path.

    Raises:
        UserError: not a folder.
    """
    if not Path(path).is_dir():
        raise UserError(f"--dir_data is not a folder: {path}")
    return Path(path)


def read_decoded(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """`read_pair` through .npy files in a `decoded` folder beside the pictures', mapped instead of loaded."""
    stamp = f"{pair.hr.stat().st_mtime_ns}-{pair.lr and pair.lr.stat().st_mtime_ns}-{scale}-{pair.lr}"
    stem = f"{pair.name}x{scale}-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}"
    folder = pair.hr.parent.with_name(pair.hr.parent.name + "_decoded")
    paths = folder / f"{stem}-hr.npy", folder / f"{stem}-lr.npy"
    if not all(path.exists() for path in paths):
        for path, picture in zip(paths, read_pair(pair, scale), strict=True):
            _write(path, lambda file, picture=picture: np.save(file, picture))
    try:
        hr, lr = (np.load(path, mmap_mode="r") for path in paths)
    except (OSError, EOFError, ValueError, tokenize.TokenError) as error:
        raise UserError(
            f"{paths[0]} or {paths[1].name} is damaged ({error}): remove both to have them made again"
        ) from None
    return hr, lr


def _write(path: Path, save: Callable) -> None:
    try:
        with replacing(path) as temporary:
            save(temporary)
    except OSError as error:
        raise UserError(f"--ext sep cannot write {path} ({error.strerror}); --ext img needs no space") from None
