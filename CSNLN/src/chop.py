"""Large pictures in pieces, as the authors do it: attention reads the whole piece, and so the seams are not exact."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

SHAVE = 10  # LR pixels that a piece reads beyond its quarter
LEAST = 60 * 60  # LR pixels; pieces are quartered again until they have fewer


class Quarter(NamedTuple):
    """A piece on one axis: what it reads of the picture, what of it is kept, and where that belongs in the result."""

    read: slice
    kept: slice
    target: slice


def chopped(
    function: Callable[[np.ndarray], np.ndarray], scale: int, shave: int = SHAVE, least: int = LEAST
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that quarters its picture until the pieces are small, and joins what `function` makes of them.

    A piece reads at least `shave` pixels beyond its quarter, and its sides are multiples of the scale. Pictures that
    such a piece would not fit into go through `function` whole.

    Args:
        function: (h, w, C) -> (h * scale, w * scale, C).
    """

    def enlarge(picture: np.ndarray) -> np.ndarray:
        halves = picture.shape[0] // 2, picture.shape[1] // 2
        height, width = (rounded(half + shave, scale) for half in halves)
        if height > picture.shape[0] or width > picture.shape[1]:
            return function(picture)
        is_last = height * width < least or (height, width) == picture.shape[:2]
        inner = function if is_last else enlarge
        result = np.empty((picture.shape[0] * scale, picture.shape[1] * scale, picture.shape[2]), np.float32)
        axes = [quarters(*sizes, scale) for sizes in zip(picture.shape, halves, (height, width), strict=False)]
        for rows, columns in product(*axes):
            piece = inner(np.ascontiguousarray(picture[rows.read, columns.read]))
            result[rows.target, columns.target] = piece[rows.kept, columns.kept]
        return result

    return enlarge


def rounded(length: int, scale: int) -> int:
    """The next multiple of the scale; of a multiple the next, too."""
    return length + scale - length % scale


def quarters(length: int, half: int, piece: int, scale: int) -> tuple[Quarter, Quarter]:
    """The first and the second piece on an axis of the picture, of which the first is for `half` pixels."""
    seam, stop, rest = half * scale, length * scale, (length - half) * scale
    first = Quarter(slice(0, piece), slice(0, seam), slice(0, seam))
    return first, Quarter(slice(length - piece, length), slice(piece * scale - rest, None), slice(seam, stop))
