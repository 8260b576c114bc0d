"""Pictures of a data set: a folder of them, or the folders of DF2K."""

from pathlib import Path

from common import UserError
from common.data import RECORDS, div2k, hr_inside, lr_folder
from common.images import Pair, pairs_of

FLICKR2K = ("Flickr2K/Flickr2K_HR", "Flickr2K_HR", "Flickr2K")


def require_packed(path: str) -> None:
    """Say how a packed set is made that is not there.

    Raises:
        UserError: it is not.
    """
    if path.endswith(RECORDS) and not Path(path).exists():
        raise UserError(
            f"{path} is not there: python SRFlow/src/dataset/prepare.py --root FOLDER makes it of DIV2K and Flickr2K, "
            "or type --dataset_GT_path with a folder of HR images"
        )


def find_hr_folders(path: str, split: str) -> list[Path]:
    """The folders of HR pictures that `path` means: DF2K's (DIV2K's and Flickr2K's) in it, its HR/, or itself.

    Args:
        split: "train" or "test"; Flickr2K is for training alone.

    Raises:
        UserError: no such folder.
    """
    root = Path(path)
    if not root.exists():
        raise UserError(f"--dataset_GT_path is not there: {path} (folder of HR pictures, or .mindrecord)")
    found = [folder] if (folder := div2k.find_split(root, split)) else []
    if split == "train":
        found += [root / name for name in FLICKR2K if (root / name).is_dir()][:1]
    return found or [hr_inside(root)]


def find_pictures(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """The pictures of a data set, in sub-folders as well; `lr` is None where the LR picture is to be made.

    Raises:
        UserError: no such folder, no picture in it, or an HR picture without its LR picture.
    """
    beside = lr_folder(lr_path)
    return [pair for folder in find_hr_folders(hr_path, split) for pair in pairs_of(folder, beside, scale)]
