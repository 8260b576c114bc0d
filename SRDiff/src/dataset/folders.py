"""Where the pictures of a data set lie: in the tree of div2k_preprocess.py, in DIV2K's own, or in any folder."""

from pathlib import Path

from common import UserError
from common.data import lr_folder
from common.images import Pair, folder_like, pairs_of

OF_SPLIT = {"train": ("train/X1", "DIV2K_train_HR", "Flickr2K_HR"), "test": ("val/X1", "DIV2K_valid_HR")}
OF_ANY = ("X1", "HR")


def find_hr_folders(path: str, split: str) -> list[Path]:
    """The folders of HR pictures that `path` means, one or several with commas between them.

    Each may hold the folders of a data set, or data sets that hold them: train/X1 or val/X1 (what div2k_preprocess.py
    makes), DIV2K_train_HR, DIV2K_valid_HR, Flickr2K_HR. If it does not, its X1/ or HR/ is taken, or its own pictures.

    Args:
        split: "train" or "test".

    Raises:
        UserError: no such folder, or one of the other split alone.
    """
    return [folder for word in path.split(",") if word for folder in _hr_folders(Path(word), split)]


def _hr_folders(root: Path, split: str) -> list[Path]:
    if not root.exists():
        raise UserError(f"--dataset_GT_path is not there: {root} (folder of HR pictures, or .mindrecord)")
    if found := named_folders(root, split):
        return found
    if others := [] if folder_like(root, "HR") else named_folders(root, "test" if split == "train" else "train"):
        raise UserError(f"{root} has none of {', '.join(OF_SPLIT[split])}; it has {others[0].relative_to(root)}")
    return [found for name in OF_ANY if (found := folder_like(root, name))][:1] or [root]


def named_folders(root: Path, split: str) -> list[Path]:
    """The folders of this split in a data set, or in the data sets of a folder."""
    if not root.is_dir():
        return []
    sets = [root, *sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))]
    return [one / name for one in sets for name in OF_SPLIT[split] if (one / name).is_dir()]


def find_pictures(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """The pictures of a data set, in sub-folders as well; `lr` is None where the LR picture is to be made.

    Args:
        lr_path: LR pictures, instead of those that lie beside HR; "" for none.

    Raises:
        UserError: no such folder, no picture in it, or an HR picture without its LR picture.
    """
    folders = find_hr_folders(hr_path, split)
    beside = lr_folder(lr_path)
    if beside and len(folders) > 1:
        raise UserError(f"--dataset_LQ_path is one folder, but HR is in {', '.join(map(str, folders))}")
    return [pair for folder in folders for pair in pairs_of(folder, beside, scale)]


def what_belongs_to(training: str) -> str:
    """The validation pictures in or beside training pictures (val/X1, DIV2K_valid_HR); "" for none."""
    for path in map(Path, training.split(",")):
        beside = [path.parent / name for name in OF_SPLIT["test"] if (path.parent / name).is_dir()]
        if found := named_folders(path, "test") + beside:
            return str(found[0])
    return ""
