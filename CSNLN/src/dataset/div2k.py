"""DIV2K: numbered pictures, of which ranges are trained and tested on.

DIV2K/DIV2K_train_HR/0001.png ... 0900.png           (0801 ... may also stand in DIV2K_valid_HR, as published)
DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png ...       (made by bicubic where there is no such folder)
"""

from functools import partial
from pathlib import Path

from common import div2k
from common.div2k import require_root, require_some
from common.pairs import Pair, find_pairs
from common.values import counting_number

SPLITS = ("train", "valid")
parse_ranges = partial(div2k.parse_ranges, example="1-800/801-810")


def find_div2k(data_path: Path, numbers: range, scale: int) -> list[Pair]:
    """The pairs of the numbers that are there; `lr` is None where it is to be made.

    Raises:
        UserError: no DIV2K, none of the numbers, or LR pictures that are missing in their folder.
    """
    root = require_root(data_path)
    folders = [(root / f"DIV2K_{split}_HR", lr_folder(root, split, scale)) for split in SPLITS]
    pairs = [pair for hr, lr in folders if hr.is_dir() for pair in find_pairs(hr, lr, scale)]
    found = [pair for pair in pairs if counting_number(pair.name) in numbers]
    require_some(found, numbers, root)
    return found


def lr_folder(root: Path, split: str, scale: int) -> Path | None:
    """The folder of LR pictures, under either spelling of the data set; None where there is none."""
    places = [root / f"{name}_{split}_LR_bicubic" / f"X{scale}" for name in ("DIV2K", "DIV2k")]
    return next((place for place in places if place.is_dir()), None)
