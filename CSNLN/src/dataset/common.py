"""Between images and what CSNLN's network takes: values in [0, 1], patches, sides that the attention can divide."""

from collections.abc import Callable

import numpy as np

from common.data import random_patch, stack_nchw
from common.export import pad_to_multiple

from ..CSNLN import Hyper


class PatchMaker:
    """The same random crop and, if `augment`, flip of a pair of images."""

    def __init__(self, scale: int, lr_patch: int, augment: bool) -> None:
        self.scale, self.lr_patch, self.augment = scale, lr_patch, augment

    def __call__(self, hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(lr_patch, hr_patch), uint8 HWC."""
        hr, lr = random_patch(hr, lr, self.lr_patch, self.scale, rng, mirror=self.augment, turn=self.augment)
        return lr, hr


def collate(samples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Samples -> (lr_image, hr_image), each (N, 3, H, W) float32 in [0, 1]."""
    lr_image, hr_image = stack_nchw(samples)
    return lr_image / np.float32(255), hr_image / np.float32(255)


class Upscaler:
    """Images of any size through a network (1, 3, h, w) -> (1, 3, sh, sw), whose sides the attention must divide.

    Sides are padded by reflection to the right and below, and the result is cut.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], hyper: Hyper) -> None:
        self.run, self.hyper = run, hyper

    def __call__(self, lr_image: np.ndarray) -> np.ndarray:
        """(h, w, 3) float32 in [0, 1] -> (h * scale, w * scale, 3) float32, not clipped."""
        (height, width), scale = lr_image.shape[:2], self.hyper.scale
        padded = pad_to_multiple(lr_image, self.hyper.attention_scale)
        output = np.asarray(self.run(np.ascontiguousarray(padded.transpose(2, 0, 1)[None])))[0].transpose(1, 2, 0)
        return output[: height * scale, : width * scale]
