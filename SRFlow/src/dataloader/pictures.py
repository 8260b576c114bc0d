"""Pictures of a data set: a folder of them, the folders of DF2K, or a .mindrecord with patches."""

from pathlib import Path

from common import UserError
from common.data import PictureSet
from common.mindrecord import open_patches
from common.pairs import Pair, PairedPictures, find_pairs

RECORDS = ".mindrecord"
DIV2K = {"train": "DIV2K_train_HR", "test": "DIV2K_valid_HR"}
FLICKR2K = ("Flickr2K/Flickr2K_HR", "Flickr2K_HR", "Flickr2K")


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
    bases = root, root / "DIV2K", root / "DIV2K_data"
    found = [base / DIV2K[split] for base in bases if (base / DIV2K[split]).is_dir()][:1]
    if split == "train":
        found += [root / name for name in FLICKR2K if (root / name).is_dir()][:1]
    return found or [root / "HR" if (root / "HR").is_dir() else root]


def find_pictures(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """The pictures of a data set, in sub-folders as well; `lr` is None where the LR picture is to be made.

    Raises:
        UserError: no such folder, no picture in it, or an HR picture without its LR picture.
    """
    if lr_path and not Path(lr_path).exists():
        raise UserError(f"--dataset_LQ_path is not a folder: {lr_path}")
    lr_folder = Path(lr_path) if lr_path else None
    return [pair for folder in find_hr_folders(hr_path, split) for pair in find_pairs(folder, lr_folder, scale)]


def training_pictures(hr_path: str, lr_path: str, scale: int, lr_patch: int, cache_bytes: int) -> PictureSet:
    """What training cuts its patches from.

    Args:
        lr_patch: side of the LR patches, which the pictures must have.
        cache_bytes: decoded bytes to keep.

    Raises:
        UserError: no pictures, or none that is as large as the patch.
    """
    if hr_path.endswith(RECORDS):
        return open_patches(hr_path, scale, lr_patch * scale)
    pictures = PairedPictures(find_pictures(hr_path, lr_path, scale, "train"), scale, cache_bytes)
    pictures.drop_small(lr_patch)
    return pictures
