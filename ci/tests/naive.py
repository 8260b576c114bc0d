"""What the models' networks are held against: arithmetic by NumPy in float64, one tap after the other."""

import math
from collections.abc import Callable, Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn


def weights_of(network: nn.Cell) -> dict[str, np.ndarray]:
    """Name -> values of every parameter."""
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


def exact(network: nn.Cell) -> dict[str, np.ndarray]:
    """`weights_of` in float64."""
    return {name: array.astype(np.float64) for name, array in weights_of(network).items()}


def shaken(cell: nn.Cell, size: float = 0.1, seed: int = 1, share: tuple[float, float] = (0.5, 1.5)) -> nn.Cell:
    """The cell with every trained parameter away from its initial value, so that none can be left out unnoticed.

    Args:
        size: by which it is, times `share`; less for matrices, which stay well conditioned.
    """
    rng = np.random.default_rng(seed)
    for parameter in cell.trainable_params():
        noise = rng.uniform(*share, parameter.shape) * rng.choice([-size, size], parameter.shape)
        noise /= math.sqrt(len(noise)) if noise.ndim == 2 else 1
        parameter.set_data(Tensor(parameter.asnumpy() + noise, ms.float32))
    return cell


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


def random_image(height: int, width: int, count: int = 1, seed: int = 0, channels: int = 3) -> np.ndarray:
    """(count, channels, height, width) float32 in [0, 1]."""
    return np.random.default_rng(seed).random((count, channels, height, width), np.float32)


def normal(*shape: int, seed: int = 5) -> np.ndarray:
    """Standard normal values."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def assert_drawn(values: np.ndarray, deviation: float, fourth: float = 3, name: str = "") -> None:
    """Mean 0, this deviation, and the fourth moment of a normal (3) or uniform (1.8) distribution, as far as n tell."""
    n = values.size
    assert abs(values.std() / deviation - 1) < 4.5 * math.sqrt((fourth - 1) / (4 * n)), name
    assert abs(values.mean()) < 4.5 * deviation / math.sqrt(n), name
    assert abs((values.astype(np.float64) ** 4).mean() / values.var() ** 2 - fourth) < 4.5 * math.sqrt(96 / n), name


# ------------------------------------------------------------------ the RRDB encoder of SRFlow and SRDiff


def layer(
    x: np.ndarray, weights: Mapping[str, np.ndarray], name: str, border: str = "constant", stride: int = 1
) -> np.ndarray:
    """`convolution` by the names of its filters and biases."""
    return convolution(x, weights[f"{name}.weight"], weights[f"{name}.bias"], border, stride)


def rrdb(x: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A residual block of three dense ones."""
    found = x
    for own in (f"{name}.RDB{place}" for place in (1, 2, 3)):
        seen = found
        for number in (1, 2, 3, 4):
            seen = np.concatenate((seen, leaky(layer(seen, weights, f"{own}.conv{number}"))), 1)
        found = found + 0.2 * layer(seen, weights, f"{own}.conv5")
    return x + 0.2 * found


def encoder(
    x: np.ndarray, weights: Mapping[str, np.ndarray], name: str, skip_from: int
) -> tuple[list[np.ndarray], ...]:
    """(the first convolution's result and those of the blocks, the sum's and those of the upscalings, the head's).

    Args:
        skip_from: which of the first is added to the trunk's convolution: 0 as in ESRGAN, -1 as in the authors' SRFlow.
    """
    blocks = [layer(x.astype(np.float64), weights, f"{name}.conv_first")]
    while f"{name}.RRDB_trunk.{len(blocks) - 1}.RDB1.conv1.weight" in weights:
        blocks.append(rrdb(blocks[-1], weights, f"{name}.RRDB_trunk.{len(blocks) - 1}"))
    sizes = [blocks[skip_from] + layer(blocks[-1], weights, f"{name}.trunk_conv")]
    while f"{name}.upconv{len(sizes)}.weight" in weights:
        sizes.append(leaky(layer(larger(sizes[-1]), weights, f"{name}.upconv{len(sizes)}")))
    return blocks, sizes, layer(leaky(layer(sizes[-1], weights, f"{name}.HRconv")), weights, f"{name}.conv_last")
