"""What eval.py measures on: folders of pictures, data sets by name, and packed sets of patches."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from common import UserError
from common.data import Picture, named_sets, packed_set, stem_of
from common.data import sets as picture_sets
from common.images import Pair, imresize
from common.mindrecord import PatchRecords

from ..dataset.folders import find_pictures
from .use_options import EvalConfig


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """What there is to measure: for the name of each set its pictures, or a packed set.

    Raises:
        UserError: none given, or one that is not there.
    """
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if packed := packed_set(path, options.data_name, scale):
        return packed
    root = Path(path)
    if not options.data_test:
        return {stem_of(options.data_name or root.resolve()): find_pictures(path, lr_path, scale, "test")}
    return {
        name: find_pictures(str(place), lr_of_set, scale, "test")
        for name, place, lr_of_set in named_sets(options.data_test, root, lr_path)
    }


def pictures_of(
    title: str,
    pairs: Sequence[Pair] | PatchRecords,
    scale: int,
    options: EvalConfig,
    share: Callable[[Sequence], Sequence] = list,
) -> Iterator[Picture]:
    """The pictures of a set, or a worker's `share` of them, read one by one, and cut to `cut_to`.

    Raises:
        UserError: two pictures have one name, or one is too small.
    """
    multiple = math.lcm(scale, options.cut_to)
    pictures = picture_sets.pictures_of(title, pairs, scale, options.limit, share)
    return (cut(picture, multiple) for picture in pictures)


def cut(picture: Picture, multiple: int) -> Picture:
    """The picture with HR's sides cut to multiples of a number, and LR's as well; LR that was made of HR is made anew.

    Raises:
        UserError: nothing would be left.
    """
    name, hr, lr, made = picture
    height, width = (side - side % multiple for side in hr.shape[:2])
    if not height or not width:
        raise UserError(
            f"{name} is smaller than {multiple}x{multiple}, and pictures are cut to multiples of it (--cut_to)"
        )
    if (height, width) == hr.shape[:2]:
        return picture
    scale, hr = hr.shape[0] // lr.shape[0], hr[:height, :width]
    return Picture(name, hr, imresize(hr, 1 / scale) if made else lr[: height // scale, : width // scale], made)
