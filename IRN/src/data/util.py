"""Pictures of a data set, and the LR picture that IRN is asked to come near."""

from pathlib import Path

import numpy as np

from common.data import div2k, existing_folder, hr_inside, lr_folder
from common.images import Pair, imresize, pairs_of, read_hr, read_pair, to_float


def find_hr_folder(path: str, split: str) -> Path:
    """The folder of HR pictures that `path` means: itself, or the DIV2K split or benchmark HR folder in it.

    Args:
        split: "train" or "test".

    Raises:
        UserError: no such folder.
    """
    if Path(path).is_file():
        return Path(path)
    root = existing_folder(path, "--dataset_GT_path")
    return div2k.find_split(root, split) or hr_inside(root)


def find_pictures(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """The pictures of a data set, in sub-folders as well; `lr` is None where the LR picture is to be made.

    Raises:
        UserError: no such folder, no picture in it, or an HR picture without its LR picture.
    """
    lr_pictures = lr_folder(lr_path)
    return pairs_of(find_hr_folder(hr_path, split), lr_pictures, scale)


def read_with_reference(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(hr, lr): uint8 HWC cut to a multiple of the scale, and float32 HWC.

    The LR picture is the file's, in [0, 1], or MATLAB's bicubic of the whole HR picture, neither clipped nor rounded
    (so slightly beyond [0, 1] at strong edges), which is what the authors train with.

    Raises:
        UserError: the sizes do not match, or HR is smaller than the scale.
    """
    if pair.lr is not None:
        hr, lr = read_pair(pair, scale)
        return hr, to_float(lr)
    hr = read_hr(pair.hr, scale)
    return hr, imresize(to_float(hr), 1 / scale, weight_dtype=np.float32)
