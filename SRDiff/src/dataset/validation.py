"""Patches to look at while training."""

from common.data import Patch
from common.data import sets as picture_sets

from ..model.srdiff import Hyper
from ..model_utils.options import TrainConfig
from .folders import find_pictures, what_belongs_to


def patches_to_look_at(options: TrainConfig, hyper: Hyper) -> list[Patch]:
    """(hr, lr) uint8 HWC, see `common.data.patches_to_look_at`.

    Raises:
        UserError: pictures that are named are not there, or none is large enough.
    """
    side = options.lr_patch(hyper)
    return picture_sets.patches_to_look_at(options, find_pictures, what_belongs_to, hyper.scale, side)
