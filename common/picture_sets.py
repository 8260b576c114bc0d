"""Which pictures a path or a name means: folders, data sets by name, packed sets of patches (.mindrecord)."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from common import UserError
from common.data import PictureSet, middle_crop
from common.mindrecord import PatchRecords, open_patches
from common.pairs import Pair, PairedPictures, find_pairs, read_pair, told_apart

log = logging.getLogger(__name__)
RECORDS = ".mindrecord"
Find = Callable[[str, str, int, str], list[Pair]]  # path of HR, of LR, scale, "train" or "test" -> a model's pairs
Patch = tuple[np.ndarray, np.ndarray]


class Picture(NamedTuple):
    """HR (sH, sW, 3) and LR (H, W, 3), uint8, and their name; `made` says that LR was made of HR."""

    name: str
    hr: np.ndarray
    lr: np.ndarray
    made: bool = False


class LookOptions(Protocol):
    """Options about the pictures to look at while training."""

    dataset_GT_path: str  # noqa: N815
    val_GT_path: str  # noqa: N815
    val_LQ_path: str  # noqa: N815
    test_pictures: int


# ------------------------------------------------------------------------------------------------------------- folders


def existing_folder(path: str, option: str, hint: str = "") -> Path:
    """The path.

    Args:
        option: what gave it, as the user knows it.
        hint: what else to say.

    Raises:
        UserError: not a folder.
    """
    if not Path(path).is_dir():
        raise UserError(f"{option} is not a folder: {path}{hint}")
    return Path(path)


def lr_folder(path: str) -> Path | None:
    """The LR pictures that --dataset_LQ_path names; None where it names none.

    Raises:
        UserError: not there.
    """
    if path and not Path(path).exists():
        raise UserError(f"--dataset_LQ_path is not a folder: {path}")
    return Path(path) if path else None


def find_place(name: str, places: Sequence[Path]) -> Path:
    """The first of the places of a data set that is a folder.

    Raises:
        UserError: none is.
    """
    if place := next((place for place in places if place.is_dir()), None):
        return place
    raise UserError(f"no data set {name!r}: looked for {', '.join(dict.fromkeys(map(str, places)))}")


def named_sets(names: str, root: Path, lr_path: str, is_root: Callable[[str], bool]) -> Iterator[tuple[str, Path, str]]:
    """(name, folder, path of its LR pictures) of each set in `Set5+Set14`, in the root or its benchmark/.

    Args:
        lr_path: LR pictures, or folders of them by the names of the sets; "" for none.
        is_root: name -> whether the root itself is the set.

    Raises:
        UserError: a set that is not there.
    """
    for name in names.split("+"):
        place = find_place(name, [root / "benchmark" / name, root / name, *([root] if is_root(name) else [])])
        beside = Path(lr_path) / name
        yield name, place, str(beside) if lr_path and beside.is_dir() else lr_path


def hr_inside(place: Path) -> Path:
    """Its HR/, or itself."""
    return place / "HR" if (place / "HR").is_dir() else place


def benchmark_pairs(place: Path, scale: int) -> list[Pair]:
    """The pairs of a benchmark: HR/ or its own pictures, and LR_bicubic/X2/, or LR made by bicubic.

    Raises:
        UserError: LR pictures that are missing in their folder.
    """
    beside = place / "LR_bicubic" / f"X{scale}"
    return find_pairs(hr_inside(place), beside if beside.is_dir() else None, scale)


# ------------------------------------------------------------------------------------------------------------ training


def training_pictures(
    path: str,
    pairs: Callable[[], list[Pair]],
    scale: int,
    lr_patch: int,
    cache_gb: float,
    load: Callable[[Pair, int], Patch] = read_pair,
) -> PictureSet:
    """What training cuts its patches from: the packed set `path`, or where it is none the pairs that are found.

    Args:
        lr_patch: side of the LR patches, which the pictures must have.
        cache_gb, load: memory for decoded pictures, in GiB, and how a pair is read, see `PairedPictures`.

    Raises:
        UserError: no pictures, or none that is as large as the patch.
    """
    if path.endswith(RECORDS):
        return open_patches(path, scale, lr_patch * scale)
    pictures = PairedPictures(pairs(), scale, int(cache_gb * 2**30), load)
    pictures.drop_small(lr_patch)
    return pictures


def patches_to_look_at(
    options: LookOptions,
    find: Find,
    beside: Callable[[str], str],
    scale: int,
    lr_patch: int,
    hint: str = "",
) -> list[Patch]:
    """(hr, lr) uint8 HWC of the size that is trained on: the middle of each picture.

    Of a packed set, whose patches are sorted by picture, --test_pictures are taken at equal distances; of a folder the
    first ones. None at all, and a line of the log, when there is nothing to look at.

    Args:
        beside: path of the training pictures -> of those that are validated on with them; "" for none.
        hint: said of a --val_GT_path that is not there.

    Raises:
        UserError: pictures that are named are not there, or none is large enough.
    """
    if options.val_GT_path and not Path(options.val_GT_path).exists():
        raise UserError(f"--val_GT_path is not there: {options.val_GT_path}{hint}")
    if options.val_LQ_path and not Path(options.val_LQ_path).exists():
        raise UserError(f"--val_LQ_path is not there: {options.val_LQ_path}")
    path = options.val_GT_path or beside(options.dataset_GT_path)
    if not path:
        log.info("no --val_GT_path and none beside the training pictures: the run is not validated")
        return []
    patches = [
        middle_crop(hr, lr, lr_patch, scale)
        for hr, lr in _some_pictures(find, path, options.val_LQ_path, scale, options.test_pictures)
        if min(lr.shape[:2]) >= lr_patch
    ]
    if not patches:
        raise UserError(f"every picture of {path} is smaller than --patch_size {lr_patch * scale}")
    return patches


def _some_pictures(find: Find, path: str, lr_path: str, scale: int, count: int) -> Iterator[Patch]:
    if path.endswith(RECORDS):
        records = open_patches(path, scale)
        count = min(count or len(records), len(records))
        yield from (pair[:2] for pair in records.read(i * len(records) // count for i in range(count)))
    else:
        pairs = find(path, lr_path, scale, "test")
        yield from (read_pair(pair, scale) for pair in pairs[: count or None])


# ---------------------------------------------------------------------------------------------------------- evaluation


def packed_set(path: str, name: str, scale: int) -> dict[str, PatchRecords]:
    """A packed set by its name, or by the file's; nothing for a folder.

    Raises:
        UserError: no path, or a packed set that cannot be measured on.
    """
    if not path:
        raise UserError("which pictures? type --dataset_GT_path FOLDER, or FILE.mindrecord")
    if not path.endswith(RECORDS):
        return {}
    return {name or Path(path).stem: open_patches(path, scale)}


def pictures_of(
    title: str,
    pairs: Sequence[Pair] | PatchRecords,
    scale: int,
    limit: int,
    share: Callable[[Sequence], Sequence] = list,
) -> Iterator[Picture]:
    """The pictures of a set, or a worker's `share` of them, read one by one.

    Args:
        pairs: or a packed set.
        limit: only so many; 0: all.

    Raises:
        UserError: two pictures have one name.
    """
    if isinstance(pairs, PatchRecords):
        count = min(limit or len(pairs), len(pairs))
        return (Picture(name, hr, lr) for hr, lr, name in pairs.read(share(range(count))))
    pairs = share(told_apart(title, pairs)[: limit or None])
    return (Picture(pair.name, *read_pair(pair, scale), pair.lr is None) for pair in pairs)
