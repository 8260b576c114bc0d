"""How pictures come into the range of the networks, -1 ... 1, in training and afterwards."""

import numpy as np

from common.images import imresize, to_float


def to_network(image: np.ndarray) -> np.ndarray:
    """A picture as the networks take it: HR for the loss, LR for the encoder.

    Args:
        image: (H, W, 3), uint8, uint16, or float in [0, 1].

    Returns:
        (3, H, W) float32 in [-1, 1]; black is -1, white is 1.
    """
    return to_chw((image if image.dtype.kind == "f" else to_float(image)) * 2 - 1)


def enlarged(lr_image: np.ndarray, scale: int) -> np.ndarray:
    """The LR picture enlarged by MATLAB's bicubic, which the residual is taken from and added to.

    The authors divide its 8-bit values by 256, where HR and the encoder's LR picture are divided by 255, and their
    released weights know it that way. So white comes out at 2 * 255/256 - 1, not at 1. The sums are made in float64 and
    rounded once.

    Args:
        lr_image: (h, w, 3), uint8, uint16, or float in [0, 1].

    Returns:
        (3, scale * h, scale * w) float32, about -1 ... 1: bicubic overshoots at edges, and nothing is clipped.
    """
    white = 1 if lr_image.dtype.kind == "f" else np.iinfo(lr_image.dtype).max
    return to_chw((imresize(lr_image.astype(np.float64) / (white * 256 / 255), scale) - 0.5) / 0.5)


def from_network(image: np.ndarray) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) float32, about 0 ... 1; nothing is clipped."""
    return np.ascontiguousarray((image.transpose(1, 2, 0) + 1) / 2, np.float32)


def to_chw(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (3, H, W) float32."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
