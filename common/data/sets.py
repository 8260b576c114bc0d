"""Which images a path or a name means: folders, data sets by name, packed sets of patches (.mindrecord)."""

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.config import StepOptions, typed
from common.data import div2k
from common.data.batches import ImageSet, Patch, middle_crop
from common.images import NoSuchSetError, Pair, PairedImages, folder_like, pairs_of, read_pair, told_apart
from common.mindrecord import PatchRecords, open_patches, set_exists

log = logging.getLogger(__name__)
RECORDS = ".mindrecord"
NOT_VALIDATED = "the run is not validated, last.ckpt is its result"
OTHER_NAMES = {"B100": "BSD100", "BSD100": "B100"}
Find = Callable[[str, str, int, str], list[Pair]]  # path of HR, of LR, scale, "train" or "test" -> a model's pairs


class ImagePair(NamedTuple):
    """HR (sH, sW, 3) and LR (H, W, 3), uint8, and their name; `made` says that LR was made of HR."""

    name: str
    hr: np.ndarray
    lr: np.ndarray
    made: bool = False


# ------------------------------------------------------------------------------------------------------------- folders


def existing_folder(path: str, option: str, hint: str = "") -> Path:
    """Return the path, which `option` gave; `hint` follows in the error."""
    if not Path(path).is_dir():
        raise UserError(f"{option} is not a folder: {path}{hint}")
    return Path(path)


def lr_folder(path: str) -> Path | None:
    """Return the LR images that --dataset_LQ_path names; None where it names none."""
    if path and not Path(path).exists():
        raise UserError(f"--dataset_LQ_path is not a folder: {path}")
    return Path(path) if path else None


def stem_of(path: str | Path) -> str:
    """Return the name of a set's results, one part of a path; the set is given by its path or its name."""
    return Path(os.path.abspath(path)).name or "images"


def split_names(names: str, root: Path) -> dict[str, str]:
    """Return {stem: name or path} of `Set5+Set14`, no stem twice; a + in an existing folder's name is a part of it."""
    parts, stems = names.split("+"), {}
    while parts:
        joined = ("+".join(parts[:count]) for count in range(len(parts), 1, -1))
        name = next((name for name in joined if any(map(os.path.exists, _places(name, root)))), parts[0])
        parts = parts[name.count("+") + 1 :]
        if not name:
            raise UserError(f"{names!r} has a set without a name: join data sets by one +, as Set5+Set14")
        numbered = itertools.chain([stem_of(name)], (f"{stem_of(name)}-{n}" for n in itertools.count(2)))
        if name not in stems.values():
            stems[next(stem for stem in numbered if stem.casefold() not in map(str.casefold, stems))] = name
    return stems


def _places(name: str, root: Path) -> list[Path]:
    names = name, OTHER_NAMES.get(name, name)
    places = [place for one in names for place in (root / "benchmark" / one, root / one, Path(one))]
    is_root = root.name == name or (name == "DIV2K" and (root / div2k.HR["test"]).is_dir())
    return [*places, root] if is_root else places


def find_place(name: str, root: Path) -> Path:
    """Return a set's folder: in benchmark/ of the root, in the root, a path of its own, the root; or NoSuchSetError."""
    places = _places(name, root)
    if place := next(filter(os.path.isdir, places), None):
        return place
    raise NoSuchSetError(f"no data set {name!r}: expected {', '.join(dict.fromkeys(map(str, places)))}")


def named_sets(names: str, root: Path, lr_path: str) -> Iterator[tuple[str, Path, str]]:
    """Yield (stem, folder, LR path) of each set; `lr_path`: LR images, or folders of them by the sets' names, or ""."""
    for stem, name in split_names(names, root).items():
        beside = Path(lr_path) / stem
        yield stem, find_place(name, root), str(beside) if lr_path and beside.is_dir() else lr_path


def hr_inside(place: Path) -> Path:
    """Return its HR/, or itself."""
    return folder_like(place, "HR") or place


def benchmark_pairs(place: Path, scale: int) -> list[Pair]:
    """Return the pairs of a benchmark: HR/ or its own images, and LR_bicubic/X2/, or LR made by bicubic."""
    return pairs_of(hr_inside(place), None, scale)


def validation_pairs(find: Callable[[], list[Pair]], named: bool, count: int) -> list[Pair]:
    """Return the first pairs (0: all) of a validation set; none, and a warning, where an untyped one is not there."""
    try:
        return find()[: count or None]
    except NoSuchSetError as error:
        if named:
            raise
        log.warning("%s: %s", error, NOT_VALIDATED)
        return []


# ------------------------------------------------------------------------------------------------------------ training


def training_images(
    path: str,
    pairs: Callable[[], list[Pair]],
    scale: int,
    lr_patch: int,
    cache_gb: float,
    load: Callable[[Pair, int], Patch] = read_pair,
) -> ImageSet:
    """Return what LR patches of this side are cut from: the packed set `path`, or where it is none the pairs found."""
    if path.endswith(RECORDS):
        return open_patches(path, scale, lr_patch * scale)
    images = PairedImages(pairs(), scale, int(cache_gb * 2**30), load)
    images.drop_small(lr_patch)
    return images


def validation_folders(options: StepOptions, beside: Callable[[str], str]) -> tuple[str, str]:
    """Return the paths of the HR and LR validation images; ("", "") and a line of the log where there are none.

    `beside` maps the path of training images to that of the validation images that belong to them, or "".
    """
    path, lr_path = options.val_GT_path, options.val_LQ_path
    if path and not set_exists(path):
        if typed(options, "val_GT_path"):
            raise UserError(f"--val_GT_path is not there: {path} (--val_GT_path '' does without)")
        log.warning("val_GT_path is not there: %s", path)
        path = lr_path = ""
    if lr_path and not Path(lr_path).exists():
        raise UserError(f"--val_LQ_path is not there: {lr_path}")
    path = path or beside(options.dataset_GT_path)
    if not path:
        log.info("no --val_GT_path and none beside the training images: %s", NOT_VALIDATED)
    return path, lr_path


def validation_patches(
    options: StepOptions, find: Find, beside: Callable[[str], str], scale: int, lr_patch: int
) -> list[Patch]:
    """Return the middle patches of a folder's first validation images, or of a packed set's at equal distances."""
    path, lr_path = validation_folders(options, beside)
    if not path:
        return []
    if path.endswith(RECORDS):
        records = open_patches(path, scale)
        count = min(options.test_pictures or len(records), len(records))
        images = (pair[:2] for pair in records.read(i * len(records) // count for i in range(count)))
    else:
        pairs = find(path, lr_path, scale, "test")[: options.test_pictures or None]
        images = (read_pair(pair, scale) for pair in pairs)
    large = ((hr, lr) for hr, lr in images if min(lr.shape[:2]) >= lr_patch)
    if not (patches := [middle_crop(hr, lr, lr_patch, scale) for hr, lr in large]):
        raise UserError(f"every image of {path} is smaller than --patch_size {lr_patch * scale}")
    return patches


# ---------------------------------------------------------------------------------------------------------- evaluation


def packed_set(path: str, name: str, scale: int) -> dict[str, PatchRecords]:
    """Return a packed set by its name, or by the file's; nothing for a folder."""
    if not path:
        raise UserError("which images? type --dataset_GT_path FOLDER, or FILE.mindrecord")
    if not path.endswith(RECORDS):
        return {}
    return {stem_of(name or Path(path).stem): open_patches(path, scale)}


def images_of(
    title: str,
    pairs: Sequence[Pair] | PatchRecords,
    scale: int,
    limit: int,
    share: Callable[[Sequence], Sequence] = list,
) -> Iterator[ImagePair]:
    """Yield the images of a set, or a worker's `share` of the first `limit` (0: all), read one by one."""
    if isinstance(pairs, PatchRecords):
        count = min(limit or len(pairs), len(pairs))
        return (ImagePair(Path(name).name, hr, lr) for hr, lr, name in pairs.read(share(range(count))))
    pairs = share(told_apart(title, pairs)[: limit or None])
    return (ImagePair(pair.name, *read_pair(pair, scale), pair.lr is None) for pair in pairs)
