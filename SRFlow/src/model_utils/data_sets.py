"""What eval.py measures on: folders of pictures, data sets by name, and packed sets of patches."""

from collections.abc import Sequence
from pathlib import Path

from common import UserError
from common.data import Picture, div2k, named_sets, packed_set, pictures_of, stem_of
from common.images import Pair
from common.mindrecord import PatchRecords

from ..dataloader.pictures import find_hr_folders, find_pictures, require_packed
from .use_options import EvalConfig

__all__ = ["Picture", "by_patches", "evaluation_sets", "pictures_of"]


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """What there is to measure: for the name of each set its pictures, or a packed set.

    Raises:
        UserError: none given, or one that is not there.
    """
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if not path:
        path, lr_path = options.val_GT_path, options.val_LQ_path
    require_packed(path)
    if packed := packed_set(path, options.data_name, scale):
        return packed
    root = Path(path)
    if not options.data_test:
        folder = hr_folder(root)
        name = stem_of(options.data_name or (folder.parent if folder.name == "HR" else folder).resolve())
        return {name: find_pictures(str(folder), lr_path, scale, "test")}

    return {
        name: find_pictures(str(hr_folder(place)), lr_of_set, scale, "test")
        for name, place, lr_of_set in named_sets(options.data_test, root, lr_path)
    }


def by_patches(options: EvalConfig, pairs: Sequence[Pair] | PatchRecords) -> bool:
    """Whether a set is measured by the seed's protocol."""
    return options.protocol == "patches" or (options.protocol == "auto" and isinstance(pairs, PatchRecords))


def hr_folder(root: Path) -> Path:
    """The HR pictures of one set; in a DIV2K root its validation pictures.

    Raises:
        UserError: no such folder, or a DIV2K root without validation pictures.
    """
    (folder,) = find_hr_folders(str(root), "test")
    training = root / div2k.HR["train"]
    if folder == root and training.is_dir():
        raise UserError(
            f"{root} has no {div2k.HR['test']}; for the training pictures type --dataset_GT_path {training}"
        )
    return folder
