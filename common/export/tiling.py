"""Runs a network on a large image tile by tile, with the result of running it on the whole image.

A pixel of the result depends on input pixels within the network's receptive radius. So of every tile only the pixels at
least `overlap` away from its inner edges are kept: with `overlap` >= that radius the seams do not exist, bit for bit.
Where the receptive field is the whole image (attention, normalisation over space), tiles change the result.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common import UserError
from common.export.engine import Engine, OnnxEngine
from common.images import to_uint8, to_uint16

if TYPE_CHECKING:
    from mindspore import nn

AXES = (-3, -2)  # of images (..., H, W, C)
MEMORY = 5 * 2**29  # bytes that a run may take, when the side of the tiles is not given
Progress = Callable[[int], AbstractContextManager[Any]]  # number of tiles -> a context with `update(1)`


class Upscale(NamedTuple):
    """Upscales images; what `load` of a model's package returns."""

    run: Callable[..., np.ndarray]  # (image, progress, what else the model takes) -> result, as in a call
    network: "nn.Cell"
    scale: int  # sides of the result over those of the image
    engine: str  # what runs it, "ONNX Runtime 1.32.0 (CPU)"

    def __call__(self, image: np.ndarray, progress: Progress | None = None, **options: Any) -> np.ndarray:
        """(H, W, 3) RGB, uint8 or uint16 -> (scale H, scale W, 3) of the same type, in tiles where it is large."""
        return self.run(image, progress, **options)


class Span(NamedTuple):
    """One tile on one axis, in input pixels: it reads [start, stop) and is trusted in [first, last)."""

    start: int
    stop: int
    first: int
    last: int


def plan_axis(length: int, tile: int, overlap: int, multiple: int = 1) -> list[Span]:
    """Cut an axis into as few tiles as possible, of equal length, each as short as their number allows.

    What they are trusted for covers [0, length) without a gap. The last tile is moved back to end with the axis rather
    than cut short, so static graphs are compiled once. Every tile begins and ends on a multiple of `multiple`, since
    strided networks work on a grid; so does the axis.

    Args:
        tile: most pixels of a tile, overlap included.
        overlap: least number of pixels not trusted at an edge that lies inside the image.
    """
    side = tile - tile % multiple
    shared = -(-2 * overlap // multiple) * multiple
    if length <= side:
        return [Span(0, length, 0, length)]
    if side <= shared:
        raise UserError(
            f"expected tiles of at least {shared + multiple} pixels (twice the overlap of {overlap} and something to "
            f"keep), found {tile}: make the tile larger"
        )
    count = -(-(length - shared) // (side - shared))
    side = -(-(length + (count - 1) * shared) // (count * multiple)) * multiple
    starts = [*range(0, length - side, side - shared), length - side]
    # Neighbours share at least 2 * overlap pixels and meet in the middle of them.
    seams = [0, *((a + side + b) // 2 for a, b in pairwise(starts)), length]
    return [Span(start, start + side, *seams[i : i + 2]) for i, start in enumerate(starts)]


def refuse_small(tile: int, radius: int) -> None:
    """Reject a --tile no larger than the receptive field of this radius; 0: as large as needed."""
    if 0 < tile <= 2 * radius:
        least = 2 * radius + 1
        raise UserError(f"--tile {tile} is smaller than the receptive field: take {least} or more, better twice it")


def default_tile(
    size: tuple[int, int], engine: Engine, values: float, copies: Mapping[str, float], least: int, taken: float = 0
) -> int:
    """Return the side of the tiles for an image of `size` (height, width); 0: the whole image, which is less work.

    Args:
        values: float32 numbers that a run takes for each pixel of its tile.
        copies: of them that are in memory at a time, in "onnxruntime" and in "mindspore".
        least: smaller tiles are nearly all overlap, and are not made even where this takes more memory.
        taken: bytes of `MEMORY` that are taken beside the runs.
    """
    pixel_bytes = 4 * values * copies["onnxruntime" if isinstance(engine, OnnxEngine) else "mindspore"]
    most = max(0, int((MEMORY - taken) / pixel_bytes))
    return 0 if size[0] * size[1] <= most else max(math.isqrt(most), least)


def in_batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def fill_tiles(
    read: Callable[[Span, Span], Sequence[np.ndarray]],
    run: Callable[..., Iterable[np.ndarray]],
    grid: tuple[int, int],
    result: np.ndarray,
    *,
    scale: int,
    tile: int,
    overlap: int,
    multiple: int = 1,
    batch: int = 1,
    progress: Progress | None = None,
) -> np.ndarray:
    """Fill `result` tile by tile, for networks whatever their inputs are, and return it.

    Only `batch` tiles are computed at a time, so memory is that of the result and of their run.

    Args:
        read: (rows, columns) of the grid -> the inputs of this tile, each (1, ...); all tiles have one shape.
        run: the same inputs of N tiles, each (N, ...) -> (N, h * scale, w * scale, C) float.
        grid: (height, width) that is cut into tiles.
        result: (at most height * scale, at most width * scale, C); uint8 and uint16 are clipped and rounded.
        tile: side of a tile in grid pixels, overlap included; 0 means everything at once.
        overlap: grid pixels; the result is exact from the network's receptive radius on.
        multiple: what the sides of the grid are multiples of, and those of each tile must be.
    """
    rows, columns = (plan_axis(n, tile or n, overlap, multiple) for n in grid)
    convert = {np.dtype(np.uint8): to_uint8, np.dtype(np.uint16): to_uint16}.get(result.dtype, np.asarray)
    places = list(product(rows, columns))
    with progress(len(places)) if progress else nullcontext() as bar:
        for part in in_batches(places, batch):
            outputs = run(*map(np.concatenate, zip(*(read(*place) for place in part), strict=True)))
            for (row, column), output in zip(part, outputs, strict=True):
                target = result[row.first * scale : row.last * scale, column.first * scale : column.last * scale]
                top, left = ((span.first - span.start) * scale for span in (row, column))
                # The target of the last tiles ends with the image, before the padding does.
                target[:] = convert(output[top : top + target.shape[0], left : left + target.shape[1]])
            if bar is not None:
                bar.update(len(part))
    return result


def pad_to_multiple(image: np.ndarray, multiple: int) -> np.ndarray:
    """Pad an image (H, W, ...) by reflection at its lower and right edge; it is itself when nothing is missing."""
    missing = [(0, -n % multiple) for n in image.shape[:2]]
    if missing == [(0, 0), (0, 0)]:
        return image
    return np.pad(image, missing + [(0, 0)] * (image.ndim - 2), mode="reflect")


def self_ensemble(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Average `function` over the eight flips and quarter turns of its input (EDSR's x8 geometric self-ensemble).

    Both are (..., H, W, C).
    """

    def averaged(image: np.ndarray) -> np.ndarray:
        total = 0.0
        for turns in range(4):
            for mirror in (False, True):
                seen = np.rot90(image[..., ::-1, :] if mirror else image, turns, AXES)
                result = np.rot90(function(np.ascontiguousarray(seen)), -turns, AXES)
                total = total + (result[..., ::-1, :] if mirror else result)
        return total / np.float32(8)

    return averaged
