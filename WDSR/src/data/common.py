"""Between images and what WDSR's network takes: value range, colours, patches."""

from collections.abc import Callable

import numpy as np

from common.images import imresize, rgb_to_y, rgb_to_ycbcr, ycbcr_to_rgb

from ..model import Hyper


def to_network(image: np.ndarray, hyper: Hyper) -> np.ndarray:
    """Turn (..., H, W, 3) uint8, or float32 in [0, 1], into (..., H, W, colors) float32 in 0..rgb_range."""
    values = image.astype(np.float32) * (1.0 if image.dtype == np.uint8 else 255.0)
    if hyper.num_colors == 1:
        values = rgb_to_y(values)[..., None].astype(np.float32)
    return values if hyper.rgb_range == 255 else values * np.float32(hyper.rgb_range / 255)


class Upscaler:
    """Images in [0, 1] through a network that takes (N, colors, h, w) in 0..rgb_range."""

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], hyper: Hyper) -> None:
        self.run, self.hyper = run, hyper

    def __call__(self, lr_image: np.ndarray) -> np.ndarray:
        """Turn (h, w, 3) or (N, h, w, 3) float32 into (..., h * scale, w * scale, 3) float32, not clipped."""
        if lr_image.ndim == 3:
            return self(lr_image[None])[0]
        batch = to_network(lr_image, self.hyper).transpose(0, 3, 1, 2)
        output = np.asarray(self.run(np.ascontiguousarray(batch))).transpose(0, 2, 3, 1)
        if self.hyper.num_colors == 3:
            return output / np.float32(self.hyper.rgb_range)
        ycbcr = rgb_to_ycbcr(np.stack([imresize(image, self.hyper.scale) for image in lr_image]) * 255)
        ycbcr[..., :1] = output * (255 / self.hyper.rgb_range)
        return (ycbcr_to_rgb(ycbcr) / 255).astype(np.float32)
