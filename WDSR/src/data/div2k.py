"""DIV2K: numbered pictures, several tracks of LR pictures, ranges for training and test.

DIV2K/DIV2K_train_HR/0001.png ... 0900.png           (0801 ... may also stand in DIV2K_valid_HR, as published)
DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png ...
DIV2K/DIV2K_train_LR_unknown/X2/0001x2.png ...
"""

import logging
from pathlib import Path

from common import UserError
from common.pairs import Pair

log = logging.getLogger(__name__)
SPLITS = ("train", "valid", "test")


def find_root(dir_data: Path) -> Path | None:
    """The folder that holds DIV2K_train_HR: `dir_data/DIV2K` or `dir_data` itself."""
    return next((root for root in (dir_data / "DIV2K", dir_data) if (root / "DIV2K_train_HR").is_dir()), None)


def find_div2k(dir_data: Path, numbers: range, scale: int, track: str) -> list[Pair]:
    """The pairs of the numbers that are there; `lr` is None where the bicubic track is to be made.

    Raises:
        UserError: no DIV2K, none of the numbers, or an LR picture is missing.
    """
    root = find_root(dir_data)
    if root is None:
        raise UserError(f"no DIV2K in {dir_data}: expected {dir_data / 'DIV2K' / 'DIV2K_train_HR'} with 0001.png ...")
    found = [pair for number in numbers if (pair := _pair(root, f"{number:04d}", scale, track))]
    asked = f"{numbers.start}-{numbers.stop - 1}"
    if not found:
        raise UserError(
            f"{root} has none of the pictures {asked}; type --data_range FIRST-LAST/FIRST-LAST for what it has"
        )
    if len(found) < len(numbers):
        log.warning("%s has %d of the %d pictures %s", root, len(found), len(numbers), asked)
    return found


def _pair(root: Path, name: str, scale: int, track: str) -> Pair | None:
    for split in SPLITS:
        hr = root / f"DIV2K_{split}_HR" / f"{name}.png"
        if hr.is_file():
            folder = root / f"DIV2K_{split}_LR_{track}" / f"X{scale}"
            return Pair(name, hr, _lr_path(folder, name, scale, track))
    return None


def _lr_path(folder: Path, name: str, scale: int, track: str) -> Path | None:
    """The LR picture; None when the whole bicubic folder is missing and it can be made.

    The published folder of the unknown track for validation pictures spells the name the same way.
    """
    if not folder.is_dir() and track == "bicubic":
        return None
    path = folder / f"{name}x{scale}.png"
    if not path.is_file():
        raise UserError(f"LR picture not found: {path}")
    return path


def parse_ranges(text: str) -> tuple[range, range]:
    """`1-800/801-810` -> numbers for training and for test.

    Raises:
        UserError: anything else.
    """
    parts = [part.split("-") for part in text.split("/")]
    if len(parts) != 2 or not all(len(part) == 2 and part[0].isdigit() and part[1].isdigit() for part in parts):
        raise UserError(f"--data_range must look like 1-800/801-900, not {text!r}")
    train, test = (range(int(first), int(last) + 1) for first, last in parts)
    if not train or not test:
        raise UserError(f"--data_range {text} holds an empty range: FIRST-LAST needs FIRST <= LAST")
    if shared := sorted(set(train) & set(test)):
        log.warning("--data_range %s: %d picture(s), %s ..., are trained and tested on", text, len(shared), shared[0])
    return train, test
