"""DIV2K: numbered pictures, several tracks of LR pictures, ranges for training and test.

DIV2K/DIV2K_train_HR/0001.png ... 0900.png           (0801 ... may also stand in DIV2K_valid_HR, as published)
DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png ...
DIV2K/DIV2K_train_LR_unknown/X2/0001x2.png ...
"""

from pathlib import Path

from common import UserError
from common.div2k import require_root, require_some
from common.pairs import Pair

SPLITS = ("train", "valid", "test")


def find_div2k(dir_data: Path, numbers: range, scale: int, track: str) -> list[Pair]:
    """The pairs of the numbers that are there; `lr` is None where the bicubic track is to be made.

    Raises:
        UserError: no DIV2K, none of the numbers, or an LR picture is missing.
    """
    root = require_root(dir_data)
    found = [pair for number in numbers if (pair := _pair(root, f"{number:04d}", scale, track))]
    require_some(found, numbers, root)
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
