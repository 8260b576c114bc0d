"""Patches to look at while training."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common import UserError
from common.data import middle_crop, to_nchw
from common.mindrecord import open_patches
from common.pairs import read_pair
from common.pixels import to_float

from ..model.SRFlowNet import Hyper
from ..model_utils.options import TrainConfig
from .pictures import DIV2K, RECORDS, find_hr_folders, find_pictures

log = logging.getLogger(__name__)


def patches_to_look_at(options: TrainConfig, hyper: Hyper) -> tuple[np.ndarray, np.ndarray] | None:
    """(hr_image, lr_image) in [0, 1], NCHW, of the size that is trained on: the middle of each picture.

    Of a packed set, whose patches are sorted by picture, --test_pictures are taken at equal distances; of a folder the
    first ones. None, and a line of the log, when there is nothing to look at.

    Raises:
        UserError: pictures that are named are not there, or none is large enough.
    """
    if options.val_GT_path and not Path(options.val_GT_path).exists():
        raise UserError(f"--val_GT_path is not there: {options.val_GT_path} (--val_GT_path '' does without)")
    path = options.val_GT_path or beside(options.dataset_GT_path)
    if not path:
        log.info("no --val_GT_path and none beside the training pictures: the run is not validated")
        return None
    side, scale = options.lr_patch(hyper), hyper.scale
    pairs = [
        [to_float(part) for part in middle_crop(hr, lr, side, scale)]
        for hr, lr in pictures(path, options.val_LQ_path, scale, options.test_pictures)
        if min(lr.shape[:2]) >= side
    ]
    if not pairs:
        raise UserError(f"every picture of {path} is smaller than --patch_size {side * scale}")
    hr, lr = zip(*pairs, strict=True)
    return to_nchw(hr), to_nchw(lr)


def pictures(path: str, lr_path: str, scale: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(hr, lr) uint8 HWC of a folder or a packed set; `count` 0 takes all."""
    if path.endswith(RECORDS):
        records = open_patches(path, scale)
        count = min(count or len(records), len(records))
        yield from (pair[:2] for pair in records.read(i * len(records) // count for i in range(count)))
    else:
        pairs = find_pictures(path, lr_path, scale, "test")
        yield from (read_pair(pair, scale) for pair in pairs[: count or None])


def beside(training: str) -> str:
    """What belongs to the training pictures: ../valid/DIV2K_X4_valid.mindrecord, or DIV2K_valid_HR; "" for nothing."""
    path = Path(training)
    if training.endswith(RECORDS):
        found = path.parent.parent / "valid" / path.name.replace("_train", "_valid")
        return str(found) if found.exists() and found != path else ""
    places = (path.parent, path) if path.name == DIV2K["train"] else (path,)
    folders = [folder for place in places for folder in find_hr_folders(str(place), "test")]
    return next((str(folder) for folder in folders if folder.name == DIV2K["test"]), "")
