"""What the models' networks are held against: arithmetic by NumPy in float64, one tap after the other."""

from collections.abc import Callable

import numpy as np
from mindspore import Tensor


def assert_close(found: Tensor | np.ndarray, wanted: np.ndarray, share: float = 2e-6) -> None:
    """Within `share` of the largest value; 2e-6 is what the goldens ask of float32 at the least."""
    found = found.asnumpy() if isinstance(found, Tensor) else found
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= share * np.abs(wanted).max()


def values(parameter: Tensor) -> np.ndarray:
    """Of a parameter, in float64."""
    return parameter.asnumpy().astype(np.float64)


def convolution(
    x: np.ndarray, filters: np.ndarray, biases: np.ndarray | float = 0.0, border: str = "constant", stride: int = 1
) -> np.ndarray:
    """(N, C, H, W) -> (N, O, H / stride, W / stride), zeros around or another border of np.pad."""
    side, (height, width) = filters.shape[-1], (-(-size // stride) for size in x.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), *[(side // 2, side // 2)] * 2), border)
    result = np.zeros((len(x), len(filters), height, width)) + np.reshape(biases, (-1, 1, 1))
    for row, column in np.ndindex(side, side):
        window = padded[:, :, row::stride, column::stride][:, :, :height, :width]
        result += np.einsum("nchw,oc->nohw", window, filters[:, :, row, column])
    return result


def leaky(x: np.ndarray) -> np.ndarray:
    """Leaky ReLU of slope 0.2."""
    return np.where(x > 0, x, 0.2 * x)


def larger(x: np.ndarray) -> np.ndarray:
    """Nearest, twice the sides."""
    return x.repeat(2, 2).repeat(2, 3)


def numerical_logdet(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, step: float = 1e-5) -> float:
    """log |det| of the Jacobian of (1, C, H, W), by central differences in float64: far below float32's error."""
    x = x.astype(np.float64)
    moves = step * np.eye(x.size).reshape(-1, *x.shape[1:])
    columns = (function(x + moves) - function(x - moves)).reshape(x.size, -1) / (2 * step)
    assert columns.shape == (x.size, x.size)
    return np.linalg.slogdet(columns)[1]


def picture(height: int, width: int, count: int = 1, seed: int = 0, channels: int = 3) -> np.ndarray:
    """(count, channels, height, width) float32 in [0, 1]."""
    return np.random.default_rng(seed).random((count, channels, height, width), np.float32)


def normal(*shape: int, seed: int = 5) -> np.ndarray:
    """Standard normal values."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
