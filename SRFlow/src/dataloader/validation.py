"""Patches to look at while training."""

from pathlib import Path

import numpy as np

from common.data import div2k, to_nchw
from common.data import sets as picture_sets
from common.images import to_float

from ..model.SRFlowNet import Hyper
from ..model_utils.options import TrainConfig
from .pictures import find_hr_folders, find_pictures


def patches_to_look_at(options: TrainConfig, hyper: Hyper) -> tuple[np.ndarray, np.ndarray] | None:
    """(hr_image, lr_image) in [0, 1], NCHW, see `common.data.patches_to_look_at`; None for nothing.

    Raises:
        UserError: pictures that are named are not there, or none is large enough.
    """
    side = options.lr_patch(hyper)
    patches = picture_sets.patches_to_look_at(options, find_pictures, beside, hyper.scale, side)
    if not patches:
        return None
    hr_image, lr_image = (to_nchw([to_float(patch) for patch in of_all]) for of_all in zip(*patches, strict=True))
    return hr_image, lr_image


def beside(training: str) -> str:
    """What belongs to the training pictures: ../valid/DIV2K_X4_valid.mindrecord, or DIV2K_valid_HR; "" for nothing."""
    path = Path(training)
    if training.endswith(picture_sets.RECORDS):
        found = path.parent.parent / "valid" / path.name.replace("_train", "_valid")
        return str(found) if found.exists() and found != path else ""
    places = (path.parent, path) if path.name == div2k.HR["train"] else (path,)
    folders = [folder for place in places for folder in find_hr_folders(str(place), "test")]
    return next((str(folder) for folder in folders if folder.name == div2k.HR["test"]), "")
