"""Samples of one picture side by side."""

import math
from collections.abc import Sequence

import numpy as np

from common.pixels import reduce_to_8_bit
from common.resize import imresize

GUTTER = 6  # white pixels between the pictures
WIDEST = 2000  # pixels of the whole grid; the pictures are made smaller to fit


def grid(pictures: Sequence[np.ndarray], columns: int = 0) -> np.ndarray:
    """Pictures of one size, (H, W, 3) or (H, W), row by row in a near square, or in `columns`.

    Returns:
        (H', W', 3) uint8, of uint8 or uint16.
    """
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    pictures = [reduce_to_8_bit(picture) if picture.dtype == np.uint16 else picture for picture in pictures]
    room = (WIDEST - GUTTER * (columns - 1)) // columns
    height, width = pictures[0].shape[:2]
    if width > room:
        height, width = max(1, round(height * room / width)), room
        pictures = [imresize(picture, size=(height, width)) for picture in pictures]
    shape = rows * (height + GUTTER) - GUTTER, columns * (width + GUTTER) - GUTTER, 3
    result = np.full(shape, 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + GUTTER), number % columns * (width + GUTTER)
        result[top : top + height, left : left + width] = np.atleast_3d(picture)
    return result
