"""The two kinds of attention (CSNLN, section 3.1 and 3.2).

Every pixel (query) is compared with all patches of the same image; what takes memory is the table of their weights,
queries x patches. So the queries may be taken in blocks of rows, which gives the same result with a smaller table.

Slices are taken along one axis at a time: along two at once they are 4 to 15 times slower on CPU (MindSpore 2.10).
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from .public import conv_prelu

SHARPNESS = 10.0  # the cosines of patches are multiplied by it before the softmax
LEAST_NORM = 1e-4  # a patch is divided by its norm, or by this
HALO = 2  # rows of queries that a block of cross-scale attention reads beyond its own
OVERLAP = 6.0  # the authors divide by 6, at every scale, where 9 patches overlap


class NonLocalAttention(nn.Cell):
    """In-scale attention: each pixel becomes a mean of all pixels, weighted by how much they resemble it (eq. 1).

    The scores are not divided by the square root of the channels, of which half are compared. So many `rows` of queries
    are taken at a time, 0: all.
    """

    def __init__(self, channels: int, rng: np.random.Generator, rows: int = 0) -> None:
        super().__init__()
        self.rows = rows
        self.conv_match1 = conv_prelu(channels, channels // 2, 1, rng)
        self.conv_match2 = conv_prelu(channels, channels // 2, 1, rng)
        self.conv_assembly = conv_prelu(channels, channels, 1, rng)

    def construct(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        queries, keys = flat(self.conv_match1(x)).swapaxes(1, 2), flat(self.conv_match2(x))
        values, results = flat(self.conv_assembly(x)).swapaxes(1, 2), ()
        for first, stop in blocks(h, self.rows):
            weights = attend(ops.matmul(queries[:, first * w : stop * w], keys))
            results = (*results, ops.matmul(weights, values))
        return joined(results, 1).swapaxes(1, 2).reshape((n, c, h, w))


class CrossScaleAttention(nn.Cell):
    """Cross-scale attention: each pixel becomes a patch s times as large as those it was compared with (eq. 4 to 6).

    The 3x3 patch around a pixel is compared with all 3x3 patches of the image downscaled s times. Where such a patch
    is, the image itself has one of 3s x 3s pixels: their weighted mean is laid where the pixel is in the upscaled
    image, and overlapping patches are added.

    What the authors do by convolutions with patches as filters is done here on the table of weights. Patches overlap,
    and with them the sums: of the s x s squares that a patch is made of, square l + d laid at q + d for the nine
    neighbours d is square l' laid at p with the sum of the nine weights of (p - d, l' - d). So the weights are added
    along their diagonals first, and each square is then weighted once instead of nine times.
    """

    def __init__(self, channels: int, scale: int, rng: np.random.Generator, rows: int = 0) -> None:
        super().__init__()
        self.scale, self.rows = scale, rows
        self.conv_match_1 = conv_prelu(channels, channels // 2, 1, rng)
        self.conv_match_2 = conv_prelu(channels, channels // 2, 1, rng)
        self.conv_assembly = conv_prelu(channels, channels, 1, rng)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, sH, sW); H and W must be multiples of s."""
        n, _, h, w = x.shape
        small = h // self.scale, w // self.scale
        queries, keys, values = self.compared(x)
        results = ()
        for first, stop in blocks(h, self.rows):
            above, below = max(first - 1, 0), min(stop + 1, h)
            scores = ops.matmul(queries[:, above * w : below * w], keys)
            weights = attend(scores, SHARPNESS).reshape((n, below - above, w, *small))
            weights = diagonal_sum(weights)[:, first - above : stop - above]
            results = (*results, ops.matmul(weights.reshape((n, (stop - first) * w, -1)), values))
        squares = joined(results, 1).swapaxes(1, 2).reshape((n, -1, h, w))
        return ops.pixel_shuffle(squares, self.scale) / OVERLAP

    def compared(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The patches around all pixels (N, HW, 9C/2) and those of the reduced image, of norm 1, (N, 9C/2, L);
        and the squares of s x s pixels (N, L, s^2 C), L = HW / s^2."""
        queries = flat(neighbourhoods(self.conv_match_1(x))).swapaxes(1, 2)
        keys = flat(neighbourhoods(self.conv_match_2(reduced(x, self.scale))))
        keys = keys / ops.sqrt((keys * keys).sum(1, keepdims=True)).clamp(min=LEAST_NORM)
        return queries, keys, flat(ops.pixel_unshuffle(self.conv_assembly(x), self.scale)).swapaxes(1, 2)


def attend(scores: Tensor, sharpness: float = 1.0) -> Tensor:
    """Return weights of sum 1 along the last axis, computed in float32."""
    whole = scores.astype(ms.float32)
    return ops.softmax(whole if sharpness == 1 else sharpness * whole, -1).astype(scores.dtype)


def reduced(x: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) -> (N, C, H/s, W/s), bilinear without antialiasing: at s = 3 the middle pixel, at s = 2 the mean."""
    if scale % 2 == 0:
        return ops.avg_pool2d(x, scale, scale)
    # A slice with steps would do, but its gradient fails in PyNative mode on CPU (MindSpore 2.10).
    return ops.avg_pool2d(x[:, :, scale // 2 :, scale // 2 :], 1, scale)


def neighbourhoods(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 9C, H, W): of each pixel the 3x3 pixels around it, zeros beyond the border."""
    (h, w), found = x.shape[2:], ()
    x = edged(edged(x, 2), 3)
    for row in range(3):
        line = x[:, :, row : row + h]
        for column in range(3):
            found = (*found, line[:, :, :, column : column + w])
    return ops.concat(found, 1)


def edged(x: Tensor, axis: int) -> Tensor:
    zeros = ops.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
    return ops.concat((zeros, x, zeros), axis)


def diagonal_sum(x: Tensor) -> Tensor:
    """Sum x[n, q - d, l - d] (N, H, W, h, w) over the nine d in {-1, 0, 1}^2, with zeros beyond the borders."""
    columns = x + moved_columns(x, 1) + moved_columns(x, -1)
    return columns + moved_rows(columns, 1) + moved_rows(columns, -1)


def moved_columns(x: Tensor, step: int) -> Tensor:
    """x[n, i, j - step, k, l - step]."""
    inner = edged(edged(x, 2), 4)
    w, columns = x.shape[2], x.shape[4]
    return inner[:, :, 1 - step : 1 - step + w][:, :, :, :, 1 - step : 1 - step + columns]


def moved_rows(x: Tensor, step: int) -> Tensor:
    """x[n, i - step, j, k - step, l]."""
    inner = edged(edged(x, 1), 3)
    h, rows = x.shape[1], x.shape[3]
    return inner[:, 1 - step : 1 - step + h][:, :, :, 1 - step : 1 - step + rows]


def flat(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, HW)."""
    return x.reshape((*x.shape[:2], -1))


def joined(parts: tuple[Tensor, ...], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else ops.concat(parts, axis)


def blocks(height: int, rows: int) -> list[tuple[int, int]]:
    """Yield (first, stop) of each block of rows."""
    rows = rows or height
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]
