"""What eval.py measures on: folders of pictures, data sets by name, and packed sets of patches."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.evaluation import told_apart
from common.mindrecord import open_patches
from common.pairs import Pair, read_pair
from common.resize import imresize

from ..dataset.folders import RECORDS, find_pictures
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
        raise UserError("which pictures? type --dataset_GT_path FOLDER, or FILE.mindrecord")
    root = Path(path)
    if path.endswith(RECORDS):
        open_patches(path, scale)  # says no before anything is exported
        return {options.data_name or root.stem: path}
    if not options.data_test:
        return {options.data_name or root.resolve().name: find_pictures(path, lr_path, scale, "test")}
    sets = {}
    for name in options.data_test.split("+"):
        places = [root / "benchmark" / name, root / name, *([root] if root.name == name else [])]
        place = next((place for place in places if place.is_dir()), None)
        if place is None:
            raise UserError(f"no data set {name!r}: looked for {', '.join(map(str, places))}")
        beside = Path(lr_path) / name
        sets[name] = find_pictures(str(place), str(beside) if lr_path and beside.is_dir() else lr_path, scale, "test")
    return sets


def pictures_of(title: str, pairs: Sequence[Pair] | str, scale: int, options: EvalConfig) -> Iterator[Picture]:
    """The pictures of a set, read one by one, and cut to `cut_to`.

    Raises:
        UserError: two pictures have one name, or one is too small.
    """
    multiple = math.lcm(scale, options.cut_to)
    if isinstance(pairs, str):
        records = open_patches(pairs, scale)
        count = min(options.limit or len(records), len(records))
        for hr, lr, name in records.read(range(count)):
            yield cut(Picture(name, hr, lr), multiple, False)
        return
    for pair in told_apart(title, pairs)[: options.limit or None]:
        yield cut(Picture(pair.name, *read_pair(pair, scale)), multiple, pair.lr is None)


def cut(picture: Picture, multiple: int, made: bool) -> Picture:
    """The picture with HR's sides cut to multiples of a number, and LR's as well.

    Args:
        made: LR is made of HR, and anew when HR is cut.

    Raises:
        UserError: nothing would be left.
    """
    name, hr, lr = picture
    height, width = (side - side % multiple for side in hr.shape[:2])
    if not height or not width:
        raise UserError(
            f"{name} is smaller than {multiple}x{multiple}, and pictures are cut to multiples of it (--cut_to)"
        )
    if (height, width) == hr.shape[:2]:
        return picture
    scale, hr = hr.shape[0] // lr.shape[0], hr[:height, :width]
    return Picture(name, hr, imresize(hr, 1 / scale) if made else lr[: height // scale, : width // scale])
