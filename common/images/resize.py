"""Bicubic resizing that gives MATLAB's `imresize` numbers: the source of the benchmarks' LR images.

OpenCV's and Pillow's bicubic differ (no antialiasing, another kernel), and so do scores measured with them.

The definition: Keys' cubic kernel with a = -0.5, widened by 1/scale when shrinking with antialiasing; each
row of weights sums to 1; output pixel x (counted from 1) sits at x / scale + (1 - 1 / scale) / 2 of the
input; the output has ceil(input * scale) pixels; the axis with the smaller scale goes first, rows before
columns when equal. Whole-number images are rounded and clipped after EACH of the two passes, floats never.

Three things differ between the sources that papers use, so each is an argument here:

| source                                          | border    | rounding  | weight_dtype |
| ----------------------------------------------- | --------- | --------- | ------------ |
| DIV2K `LR_bicubic` (the default)                | symmetric | half_up   | float64      |
| Set5 and Set14 `LR_bicubic`                     | replicate | half_up   | float64      |
| SRFlow, SRDiff (NumPy ports of MATLAB)          | symmetric | half_even | float64      |
| IRN (torch; floats only, so nothing is rounded) | symmetric | -         | float32      |

With the wrong border the outermost two LR pixels differ. Rounding concerns sums that end on exactly .5:
common at x1/2 and x1/4, where weights are binary fractions, not seen at x1/3. IRN's float32 positions move x3
results by up to 3e-6 of the range (thirds are inexact, the error grows with the coordinate).
"""

import math
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix

Border = Literal["symmetric", "replicate"]
Rounding = Literal["half_up", "half_even"]

BLOCK_VALUES = 1 << 22  # values turned into float64 at a time: 32 MB, whatever the size of the image


def imresize(
    image: np.ndarray,
    scale: float | tuple[float, float] | None = None,
    *,
    size: tuple[int, int] | None = None,
    antialiasing: bool = True,
    border: Border = "symmetric",
    rounding: Rounding = "half_up",
    weight_dtype: type = np.float64,
) -> np.ndarray:
    """Resize an image as MATLAB's `imresize(image, scale)` (bicubic) does.

    Args:
        image: (H, W) or (H, W, C); uint8, uint16, float32 or float64 of any range; the result has its dtype. Floats may
            leave the input's range by a little (the kernel has negative lobes).
        scale: factor for both axes or (vertical, horizontal); the output has ceil(H * scale) rows.
        size: instead of `scale`: the wanted (height, width).
        antialiasing: widen the kernel when shrinking (MATLAB's default).
        border: beyond the edge lies the mirrored image ("symmetric") or the edge pixel ("replicate").
        rounding: where exact halves of whole-number images go. Floats are not rounded.
        weight_dtype: np.float64, or np.float32 for IRN's less exact weights. The sums are float64 always.
    """
    if size is None:
        scales = scale if isinstance(scale, tuple) else (scale, scale)
        size = tuple(math.ceil(side * factor) for side, factor in zip(image.shape, scales, strict=False))
    else:
        scales = size[0] / image.shape[0], size[1] / image.shape[1]
    # Floats stay float64 between the passes: they are rounded to float32 only once.
    between = image.dtype if image.dtype.kind == "u" else np.dtype(np.float64)
    for axis, dtype in zip(np.argsort(scales, kind="stable"), (between, image.dtype), strict=True):
        weights = _weights(image.shape[axis], size[axis], scales[axis], antialiasing, border, weight_dtype)
        image = _apply(weights, image, axis, dtype, rounding)
    return image


def _weights(
    in_length: int, out_length: int, scale: float, antialiasing: bool, border: Border, dtype: type
) -> csr_matrix:
    """Return the matrix (out_length, in_length), float64, that resizes one axis; every row sums to 1.

    `scale` is not always out_length / in_length, which is rounded up. Mirrored taps stay separate entries, so that a
    sum adds up in the order of the taps as the references do.
    """
    shrink = scale if antialiasing and scale < 1 else 1.0
    width = 4 / shrink
    centre = np.arange(1, out_length + 1, dtype=dtype) / scale + 0.5 * (1 - 1 / scale)
    taps = np.floor(centre - width / 2)[:, None] + np.arange(math.ceil(width) + 2, dtype=dtype)
    weights = shrink * _cubic(shrink * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)

    columns = taps.astype(np.int64) - 1
    if border == "replicate":
        columns = columns.clip(0, in_length - 1)
    else:
        columns %= 2 * in_length
        columns = np.where(columns < in_length, columns, 2 * in_length - 1 - columns)
    used = weights != 0
    starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return csr_matrix((weights[used].astype(np.float64), columns[used], starts), shape=(out_length, in_length))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Return Keys' cubic convolution kernel with a = -0.5; zero outside (-2, 2)."""
    x1 = np.abs(x)
    x2, x3 = x1**2, x1**3
    near = 1.5 * x3 - 2.5 * x2 + 1
    far = -0.5 * x3 + 2.5 * x2 - 4 * x1 + 2
    return near * (x1 <= 1) + far * ((x1 > 1) & (x1 <= 2))


def _apply(weights: csr_matrix, image: np.ndarray, axis: int, dtype: np.dtype, rounding: Rounding) -> np.ndarray:
    """Resize one axis, block by block along the other one so that memory stays bounded."""
    shape = list(image.shape)
    shape[axis] = weights.shape[0]
    result = np.empty(shape, dtype)
    step = max(1, BLOCK_VALUES * image.shape[1 - axis] // max(image.size, result.size))
    # The resized axis comes first: one sparse product then handles every column (and channel) of the block.
    source, target = np.swapaxes(image, 0, axis), np.swapaxes(result, 0, axis)
    for start in range(0, source.shape[1], step):
        block = source[:, start : start + step].astype(np.float64, order="C")
        values = weights @ block.reshape(block.shape[0], -1)
        if dtype.kind == "u":
            values = np.rint(values) if rounding == "half_even" else np.floor(values + 0.5)
            values = values.clip(0, np.iinfo(dtype).max)
        target[:, start : start + step] = values.reshape(-1, *block.shape[1:])
    return result
