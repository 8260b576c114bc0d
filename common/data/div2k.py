"""DIV2K: the folders of its numbered images, and the numbers that are trained and tested on.

DIV2K/DIV2K_train_HR/0001.png ... 0900.png           (0801 ... may also stand in DIV2K_valid_HR, as published)
DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png ...       (made by bicubic where there is no such folder)
DIV2K/DIV2K_train_LR_unknown/X2/0001x2.png ...       (another track)
"""

import logging
import re
from pathlib import Path

from common import UserError
from common.images import NoSuchSetError, Pair, pairs_of

log = logging.getLogger(__name__)
HR = {"train": "DIV2K_train_HR", "test": "DIV2K_valid_HR"}


def find_root(folder: Path) -> Path | None:
    """Return the folder that holds DIV2K_train_HR: `folder/DIV2K` or `folder` itself."""
    return next((root for root in (folder / "DIV2K", folder) if (root / HR["train"]).is_dir()), None)


def find_split(folder: Path, split: str) -> Path | None:
    """Return the HR images of the "train" or "test" split, in the folder, its DIV2K/ or its DIV2K_data/."""
    places = (base / HR[split] for base in (folder, folder / "DIV2K", folder / "DIV2K_data"))
    return next((place for place in places if place.is_dir()), None)


def find_numbered(folder: Path, numbers: range, scale: int, track: str = "bicubic") -> list[Pair]:
    """Return the pairs of the numbers that are there, in their order; NoSuchSetError: no DIV2K, or none of them."""
    root, found = find_root(folder), {}
    if not root:
        raise NoSuchSetError(f"no DIV2K in {folder}: expected {folder / 'DIV2K' / HR['train']} with 0001.png ...")
    for split in ("train", "valid", "test"):
        if (hr := root / f"DIV2K_{split}_HR").is_dir():
            for pair in pairs_of(hr, None, scale, track, numbers):
                found.setdefault(int(pair.name), pair)
    asked = f"{numbers.start}-{numbers.stop - 1}"
    if not found:
        raise NoSuchSetError(
            f"{root} has none of the images {asked}; type --data_range FIRST-LAST/FIRST-LAST for what it has"
        )
    if len(found) < len(numbers):
        log.warning("%s has %d of the %d images %s", root, len(found), len(numbers), asked)
    return [found[number] for number in sorted(found)]


def parse_ranges(text: str, example: str = "1-800/801-900") -> tuple[range, range]:
    """Turn `1-800/801-810` into the numbers for training and for test."""
    words = re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})/([0-9]{1,6})-([0-9]{1,6})", text)
    if not words:
        raise UserError(f"--data_range must look like {example}, with numbers of at most six digits, not {text!r}")
    train, test = (range(int(words[first]), int(words[first + 1]) + 1) for first in (1, 3))
    if not train or not test:
        raise UserError(f"--data_range {text} holds an empty range: FIRST-LAST needs FIRST <= LAST")
    if shared := range(max(train.start, test.start), min(train.stop, test.stop)):
        log.warning("--data_range %s: %d image(s), %s ..., are trained and tested on", text, len(shared), shared[0])
    return train, test
