"""Patches to look at while training."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common import UserError
from common.data import middle_crop
from common.mindrecord import open_patches
from common.pairs import read_pair

from ..model.srdiff import Hyper
from ..model_utils.options import TrainConfig
from .folders import RECORDS, find_pictures, what_belongs_to

log = logging.getLogger(__name__)
Patch = tuple[np.ndarray, np.ndarray]


def patches_to_look_at(options: TrainConfig, hyper: Hyper) -> list[Patch]:
    """(hr, lr) uint8 HWC of the size that is trained on: the middle of each picture.

    Of a packed set, whose patches are sorted by picture, --test_pictures are taken at equal distances; of a folder the
    first ones. None at all, and a line of the log, when there is nothing to look at.

    Raises:
        UserError: pictures that are named are not there, or none is large enough.
    """
    if options.val_GT_path and not Path(options.val_GT_path).exists():
        raise UserError(f"--val_GT_path is not there: {options.val_GT_path}")
    path = options.val_GT_path or what_belongs_to(options.dataset_GT_path)
    if not path:
        log.info("no --val_GT_path and none beside the training pictures: the run is not validated")
        return []
    side, scale = options.lr_patch(hyper), hyper.scale
    patches = [
        middle_crop(hr, lr, side, scale)
        for hr, lr in pictures(path, options.val_LQ_path, scale, options.test_pictures)
        if min(lr.shape[:2]) >= side
    ]
    if not patches:
        raise UserError(f"every picture of {path} is smaller than --patch_size {side * scale}")
    return patches


def pictures(path: str, lr_path: str, scale: int, count: int) -> Iterator[Patch]:
    """(hr, lr) uint8 HWC of a folder or a packed set; `count` 0 takes all."""
    if path.endswith(RECORDS):
        records = open_patches(path, scale)
        count = min(count or len(records), len(records))
        yield from (pair[:2] for pair in records.read(i * len(records) // count for i in range(count)))
    else:
        pairs = find_pictures(path, lr_path, scale, "test")
        yield from (read_pair(pair, scale) for pair in pairs[: count or None])
