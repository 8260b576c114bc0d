"""Images of a data set, and the LR image that IRN is asked to come near."""

from pathlib import Path

import numpy as np

from common import UserError
from common.data import div2k, existing_folder, hr_inside, lr_folder, named_sets, stem_of, validation_folders
from common.images import Pair, imresize, pairs_of, read_hr, read_pair, to_float

from ..options.options import EvalConfig, TrainConfig


def find_hr_folder(path: str, split: str) -> Path:
    """Return the folder that `path` means: the DIV2K split ("train" or "test") or HR/ in it, or itself."""
    if Path(path).is_file():
        return Path(path)
    root = existing_folder(path, "--dataset_GT_path")
    return div2k.find_split(root, split) or hr_inside(root)


def find_images(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """Return the images of a data set, in sub-folders as well; `lr` is None where it is to be made."""
    return pairs_of(find_hr_folder(hr_path, split), lr_folder(lr_path), scale)


def validation_images(options: TrainConfig) -> list[Pair]:
    path, lr_path = validation_folders(options, beside)
    return find_images(path, lr_path, options.scale, "test")[: options.test_pictures or None] if path else []


def beside(training: str) -> str:
    """Return the DIV2K_valid_HR that belongs to training images; "" for none."""
    path = Path(training)
    found = find_hr_folder(training, "test")
    if found == find_hr_folder(training, "train"):
        found = find_hr_folder(str(path.parent), "test") if path.name.startswith("DIV2K_train") else path
    return str(found) if found.name.startswith("DIV2K_valid") else ""


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, list[Pair]]:
    """Return the images of each set to measure, by what its results are called."""
    root, lr_path = Path(options.dataset_GT_path), options.dataset_LQ_path
    if not options.data_test:
        folder = hr_folder(root).resolve()
        name = stem_of(options.data_name or (folder.parent if folder.name == "HR" else folder))
        return {name: find_images(str(folder), lr_path, scale, "test")}
    sets = named_sets(options.data_test, root, lr_path)
    return {name: find_images(str(hr_folder(place)), lr, scale, "test") for name, place, lr in sets}


def hr_folder(root: Path) -> Path:
    folder, training = find_hr_folder(str(root), "test"), div2k.find_split(root, "train")
    if folder == root and training:
        raise UserError(f"{root} has no DIV2K_valid_HR; for the training images type --dataset_GT_path {training}")
    return folder


def read_with_reference(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(hr, lr): uint8 HWC cut to a multiple of the scale, and float32 HWC.

    The LR image is the file's, in [0, 1], or MATLAB's bicubic of the whole HR image, neither clipped nor rounded
    (so slightly beyond [0, 1] at strong edges), which is what the authors train with.
    """
    if pair.lr is not None:
        hr, lr = read_pair(pair, scale)
        return hr, to_float(lr)
    hr = read_hr(pair.hr, scale)
    return hr, imresize(to_float(hr), 1 / scale, weight_dtype=np.float32)
