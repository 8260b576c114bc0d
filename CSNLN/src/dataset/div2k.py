"""DIV2K: numbered pictures, of which ranges are trained and tested on.

DIV2K/DIV2K_train_HR/0001.png ... 0900.png           (0801 ... may also stand in DIV2K_valid_HR, as published)
DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png ...       (made by bicubic where there is no such folder)
"""

import logging
from pathlib import Path

from common import UserError
from common.pairs import Pair, find_pairs

log = logging.getLogger(__name__)
SPLITS = ("train", "valid")


def find_root(data_path: Path) -> Path | None:
    """The folder that holds DIV2K_train_HR: `data_path/DIV2K` or `data_path` itself."""
    return next((root for root in (data_path / "DIV2K", data_path) if (root / "DIV2K_train_HR").is_dir()), None)


def find_div2k(data_path: Path, numbers: range, scale: int) -> list[Pair]:
    """The pairs of the numbers that are there; `lr` is None where it is to be made.

    Raises:
        UserError: no DIV2K, none of the numbers, or LR pictures that are missing in their folder.
    """
    root = find_root(data_path)
    if root is None:
        raise UserError(f"no DIV2K in {data_path}: expected {data_path / 'DIV2K' / 'DIV2K_train_HR'} with 0001.png ...")
    folders = [(root / f"DIV2K_{split}_HR", lr_folder(root, split, scale)) for split in SPLITS]
    pairs = [pair for hr, lr in folders if hr.is_dir() for pair in find_pairs(hr, lr, scale)]
    found = [pair for pair in pairs if pair.name.isdigit() and int(pair.name) in numbers]
    asked = f"{numbers.start}-{numbers.stop - 1}"
    if not found:
        raise UserError(
            f"{root} has none of the pictures {asked}; type --data_range FIRST-LAST/FIRST-LAST for what it has"
        )
    if len(found) < len(numbers):
        log.warning("%s has %d of the %d pictures %s", root, len(found), len(numbers), asked)
    return found


def lr_folder(root: Path, split: str, scale: int) -> Path | None:
    """The folder of LR pictures, under either spelling of the data set; None where there is none."""
    places = [root / f"{name}_{split}_LR_bicubic" / f"X{scale}" for name in ("DIV2K", "DIV2k")]
    return next((place for place in places if place.is_dir()), None)


def parse_ranges(text: str) -> tuple[range, range]:
    """`1-800/801-810` -> numbers for training and for test.

    Raises:
        UserError: anything else.
    """
    parts = [part.split("-") for part in text.split("/")]
    if len(parts) != 2 or not all(len(part) == 2 and part[0].isdigit() and part[1].isdigit() for part in parts):
        raise UserError(f"--data_range must look like 1-800/801-810, not {text!r}")
    train, test = (range(int(first), int(last) + 1) for first, last in parts)
    if not train or not test:
        raise UserError(f"--data_range {text} holds an empty range: FIRST-LAST needs FIRST <= LAST")
    if shared := sorted(set(train) & set(test)):
        log.warning("--data_range %s: %d picture(s), %s ..., are trained and tested on", text, len(shared), shared[0])
    return train, test
