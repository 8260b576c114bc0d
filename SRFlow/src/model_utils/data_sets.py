"""What eval.py measures on: folders of pictures, data sets by name, and packed sets of patches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.evaluation import told_apart
from common.mindrecord import open_patches
from common.pairs import Pair, read_pair

from ..dataloader.pictures import DIV2K, RECORDS, find_hr_folders, find_pictures
from .use_options import EvalConfig


class Picture(NamedTuple):
    """HR (sH, sW, 3) and LR (H, W, 3), uint8, and their name."""

    name: str
    hr: np.ndarray
    lr: np.ndarray


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | str]:
    """What there is to measure: for the name of each set its pictures, or the path of a packed set.

    Raises:
        UserError: none given, or one that is not there.
    """
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if not path:
        path, lr_path = options.val_GT_path, options.val_LQ_path
    if not path:
        raise UserError("which pictures? type --dataset_GT_path FOLDER, or FILE.mindrecord")
    root = Path(path)
    if path.endswith(RECORDS):
        open_patches(path, scale)  # says no before anything is exported
        return {options.data_name or root.stem: path}
    if not options.data_test:
        (folder,) = hr_folders(root)
        name = options.data_name or (folder.parent if folder.name == "HR" else folder).resolve().name
        return {name: find_pictures(str(folder), lr_path, scale, "test")}
    sets = {}
    for name in options.data_test.split("+"):
        is_root = root.name == name or (name == "DIV2K" and (root / DIV2K["test"]).is_dir())
        places = [root / "benchmark" / name, root / name, *([root] if is_root else [])]
        place = next((place for place in places if place.is_dir()), None)
        if place is None:
            raise UserError(f"no data set {name!r}: looked for {', '.join(map(str, places))}")
        beside = Path(lr_path) / name
        (folder,) = hr_folders(place)
        sets[name] = find_pictures(str(folder), str(beside) if lr_path and beside.is_dir() else lr_path, scale, "test")
    return sets


def by_patches(options: EvalConfig, pairs: Sequence[Pair] | str) -> bool:
    """Whether a set is measured by the seed's protocol."""
    return options.protocol == "patches" or (options.protocol == "auto" and isinstance(pairs, str))


def hr_folders(root: Path) -> list[Path]:
    """The HR pictures of one set; in a DIV2K root its validation pictures.

    Raises:
        UserError: no such folder, or a DIV2K root without validation pictures.
    """
    folders = find_hr_folders(str(root), "test")
    if folders == [root] and (root / DIV2K["train"]).is_dir():
        raise UserError(
            f"{root} has no {DIV2K['test']}; for the training pictures type --dataset_GT_path {root / DIV2K['train']}"
        )
    return folders


def pictures_of(title: str, pairs: Sequence[Pair] | str, scale: int, limit: int) -> Iterator[Picture]:
    """The pictures of a set, read one by one.

    Raises:
        UserError: two pictures have one name.
    """
    if isinstance(pairs, str):
        records = open_patches(pairs, scale)
        count = min(limit or len(records), len(records))
        return (Picture(name, hr, lr) for hr, lr, name in records.read(range(count)))
    pairs = told_apart(title, pairs)[: limit or None]
    return (Picture(pair.name, *read_pair(pair, scale)) for pair in pairs)
