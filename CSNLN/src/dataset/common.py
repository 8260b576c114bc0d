"""Between images and what CSNLN's network takes: sides that the attention can divide."""

from collections.abc import Callable

import numpy as np

from common.export import pad_to_multiple

from ..CSNLN import Hyper


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
