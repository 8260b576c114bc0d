"""IRN's network against naive NumPy: values, inverses, log-determinants, reach; and its rates against a simulation."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.naive import (
    assert_close,
    assert_drawn,
    convolution,
    leaky,
    normal,
    numerical_logdet,
    random_image,
    shaken,
    values,
)
from IRN.src.graphs import Downscale, Upscale
from IRN.src.network.Invnet import (
    BLOCKS_PER_LEVEL,
    ConvDownsampling,
    HaarDownsampling,
    Hyper,
    InvBlockExp,
    InvRescaleNet,
    bounded,
    cosine_transform,
)
from IRN.src.options.options import TrainConfig
from IRN.src.recipe import learning_rate

SCALES = (2, 3, 4, 8)


def tiny(scale: int, growth: int = 2, blocks: int = 1, **settings) -> Hyper:
    return Hyper(scale, (blocks,) * len(BLOCKS_PER_LEVEL[scale]), growth, **settings)


# ------------------------------------------------------------------ the same in naive float64 NumPy


def naive_convolution(x: np.ndarray, layer) -> np.ndarray:
    return convolution(x, values(layer.weight), values(layer.bias))


def naive_dense_block(x: np.ndarray, block) -> np.ndarray:
    found = x
    for layer in (block.conv1, block.conv2, block.conv3, block.conv4):
        found = np.concatenate((found, leaky(naive_convolution(found, layer))), 1)
    return naive_convolution(found, block.conv5)


def naive_coupling(x: np.ndarray, block: InvBlockExp, clamp: float = 1.0) -> np.ndarray:
    low, high = x[:, :3], x[:, 3:]
    low = low + naive_dense_block(high, block.F)
    factor = np.exp(clamp * (2 / (1 + np.exp(-naive_dense_block(low, block.H))) - 1))
    return np.concatenate((low, high * factor + naive_dense_block(low, block.G)), 1)


def naive_haar(x: np.ndarray) -> np.ndarray:
    """The four bands of each channel, one 2x2 square after the other: all means first, then each kind of difference."""
    n, c, h, w = x.shape
    result = np.empty((n, 4 * c, h // 2, w // 2))
    for number, channel, row, column in np.ndindex(n, c, h // 2, w // 2):
        (p, q), (r, s) = x[number, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].astype(np.float64)
        bands = (p + q + r + s, p - q + r - s, p + q - r - s, p - q - r + s)
        for band, value in enumerate(bands):
            result[number, band * c + channel, row, column] = value / 4
    return result


def naive_learned_transform(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Row k of the matrix times the nine values of each 3x3 square, read row by row, is band k."""
    n, c, h, w = x.shape
    result = np.empty((n, 9 * c, h // 3, w // 3))
    for number, channel, row, column in np.ndindex(n, c, h // 3, w // 3):
        square = x[number, channel, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3].astype(np.float64)
        for band in range(9):
            result[number, band * c + channel, row, column] = (matrix[band].astype(np.float64) * square.ravel()).sum()
    return result


def naive(layer, x: np.ndarray) -> np.ndarray:
    """Forwards through a layer or the whole network."""
    if isinstance(layer, InvRescaleNet):
        for operation in layer.operations:
            x = naive(operation, x)
        return x
    if isinstance(layer, InvBlockExp):
        return naive_coupling(x, layer, layer.clamp)
    if isinstance(layer, ConvDownsampling):
        return naive_learned_transform(x, layer.conv_weights.asnumpy())
    return naive_haar(x)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("scale", SCALES)
def test_whole_network_against_naive_arithmetic(scale):
    network, x = shaken(InvRescaleNet(tiny(scale))), random_image(3 * scale, 2 * scale, count=2)
    found, wanted = network(Tensor(x)).asnumpy(), naive(network, x)
    assert_close(found, wanted)
    assert not np.allclose(wanted, naive(InvRescaleNet(tiny(scale)), x), atol=0.1)  # far from the initial one


def test_learned_transform_begins_as_a_cosine_transform():
    layer, x = ConvDownsampling(3), random_image(6, 9)
    matrix = layer.conv_weights.asnumpy().astype(np.float64)
    np.testing.assert_allclose(matrix[0], 1 / 9, rtol=1e-6)  # the LR image begins as the mean
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(9) / 9, atol=1e-8)
    haar = cosine_transform(2).astype(np.float64)
    np.testing.assert_allclose(haar @ haar.T, np.eye(4) / 4, atol=1e-8)
    square = random_image(2, 2, channels=1)
    np.testing.assert_allclose(haar @ square.ravel(), naive_haar(square).ravel(), atol=1e-7)
    bands = layer.forward(Tensor(x))[0]
    np.testing.assert_allclose(bands.asnumpy(), naive_learned_transform(x, matrix), atol=1e-7)
    np.testing.assert_allclose(bands.asnumpy()[:, :3], x.reshape(1, 3, 2, 3, 3, 3).mean((3, 5)), atol=1e-7)


# ------------------------------------------------------------------ inverses and log-determinants


@pytest.mark.parametrize(("scale", "height", "width"), [(2, 3, 5), (2, 1, 4), (3, 3, 5), (8, 1, 2)])
def test_round_trip(scale, height, width):
    """Back from the network's own output, and forth again from any LR image and z."""
    network, x = shaken(InvRescaleNet(tiny(scale)), 0.07), random_image(scale * height, scale * width, count=2)
    lr_and_z, logdet = network.forward(Tensor(x))
    restored, inverse_logdet = network.inverse(lr_and_z)
    assert np.abs(restored.asnumpy() - x).max() < 1e-5
    assert logdet.shape == inverse_logdet.shape == (2,)
    np.testing.assert_allclose(logdet.asnumpy() + inverse_logdet.asnumpy(), 0, atol=1e-6 * x[0].size)
    made_up = np.concatenate((random_image(height, width, count=2), normal(2, 3 * scale**2 - 3, height, width)), 1)
    again = network(network.inverse(Tensor(made_up))[0]).asnumpy()
    assert np.abs(again - made_up).max() < 1e-5 * np.abs(made_up).max()


def layers_and_inputs() -> dict[str, tuple[Callable, np.ndarray]]:
    """name -> (what makes the layer, its input): 36 to 192 numbers, so that a Jacobian can be made number by number."""
    found = {
        "Haar": (lambda: HaarDownsampling(3), random_image(2, 6)),
        "Haar of 12 channels": (lambda: HaarDownsampling(12), random_image(2, 2, channels=12)),
        "learned": (lambda: shaken(ConvDownsampling(3), 0.05), random_image(3, 6)),
        "coupling": (lambda: shaken(InvBlockExp(12, tiny(2), np.random.default_rng(0)), 0.2), normal(1, 12, 2, 3)),
        "coupling clamp 2": (
            lambda: shaken(InvBlockExp(27, tiny(3, clamp=2.0), np.random.default_rng(0)), 0.2),
            normal(1, 27, 1, 2),
        ),
    }
    for scale, sides in {2: (4, 6), 3: (3, 6), 4: (4, 8)}.items():
        found[f"x{scale}"] = (lambda scale=scale: shaken(InvRescaleNet(tiny(scale, blocks=2))), random_image(*sides))
    return found


@pytest.mark.parametrize("name", layers_and_inputs())
def test_logdet_is_that_of_the_jacobian(name):
    """Both directions, each image of a batch for itself; the naive network's Jacobian, which is float64."""
    make, x = layers_and_inputs()[name]
    layer, other = make(), 0.5 * x[..., ::-1].copy()
    wanted = [numerical_logdet(lambda value: naive(layer, value), single) for single in (x, other)]
    output, logdet = layer.forward(Tensor(np.concatenate((x, other))))
    # float32 leaves 1e-7 of each value's logarithm
    np.testing.assert_allclose(logdet.asnumpy(), wanted, rtol=1e-6, atol=2e-7 * x.size)
    np.testing.assert_allclose(layer.inverse(output)[1].asnumpy(), np.negative(wanted), rtol=1e-6, atol=4e-7 * x.size)
    if isinstance(layer, InvBlockExp | InvRescaleNet):
        assert abs(wanted[0] - wanted[1]) > 0.1  # it depends on the image


@pytest.mark.parametrize("clamp", [0.5, 1.0, 2.0])
def test_clamp_bounds_the_factor(clamp):
    block = InvBlockExp(12, tiny(2, clamp=clamp), np.random.default_rng(0))
    x = normal(1, 12, 2, 3)
    for sign in (1, -1):
        block.H.conv5.bias.set_data(Tensor(np.full(9, sign * 1e4), ms.float32))
        y, logdet = block.forward(Tensor(x))
        np.testing.assert_allclose(y.asnumpy()[:, 3:], x[:, 3:] * math.exp(sign * clamp), rtol=1e-5)
        np.testing.assert_allclose(logdet.asnumpy(), sign * clamp * 9 * 6, rtol=1e-6)
        assert_close(block.inverse(y)[0].asnumpy(), x, 5e-7)  # back by the same factor, whatever exp's error


def test_log_scale_is_exact():
    """Its float32 error has no direction: what always errs to one side adds up in the log-determinant."""
    wide = np.random.default_rng(1).normal(0, 4, (1, 9, 64, 64)).astype(np.float32)
    error = bounded(Tensor(wide), 1.0).asnumpy() - np.tanh(wide.astype(np.float64) / 2)
    assert np.abs(error).max() < 3e-7
    assert abs(error.mean()) < 1e-8


# ------------------------------------------------------------------ sizes, names, initial values


@pytest.mark.parametrize("init", ["xavier", "kaiming"])
def test_initial_values(init):
    network = InvRescaleNet(Hyper(2, (2,), 32, init=init))
    seen = []
    for name, parameter in network.parameters_and_names():
        values = parameter.asnumpy()
        if "conv5" in name or "bias" in name:
            assert not values.any(), name
        elif name.endswith("weight"):
            out_channels, in_channels = values.shape[:2]
            fan = 9 * (in_channels if init == "kaiming" else (in_channels + out_channels) / 2)
            gain = 2 if init == "kaiming" else 1
            assert_drawn(values, 0.1 * math.sqrt(gain / fan), name=name)
            seen.append(values.ravel()[:50])
    assert len(seen) == 2 * 3 * 4
    assert len(np.unique(np.concatenate(seen))) > 0.99 * 50 * len(seen)  # no two layers begin alike


# ------------------------------------------------------------------ what reaches where


@cache
def reaching(scale: int, blocks: tuple[int, ...]) -> InvRescaleNet:
    """Weights so large that no influence is lost by rounding, and so small that no factor is at its clamp."""
    return shaken(InvRescaleNet(Hyper(scale, blocks, 2)), 0.25)


def changed_cells(one: Tensor, other: Tensor, scale: int) -> np.ndarray:
    """(H, W) in LR pixels: whether any bit differs."""
    changed = (one.asnumpy() != other.asnumpy()).any((0, 1))
    height, width = changed.shape
    return changed.reshape(height // scale, scale, width // scale, scale).any((1, 3))


SIZES = [(2, (1,)), (3, (1,)), (4, (2, 1))]


@pytest.mark.parametrize(("scale", "blocks"), SIZES)
def test_receptive_radius_of_upscaling(scale, blocks):
    """No bit changes farther away than the radius; as far as that something does, where rounding does not hide it."""
    network = reaching(scale, blocks)
    radius = network.hyper.receptive_radius
    side, middle = 2 * radius + 5, radius + 2
    upscale, lr, z = Upscale(network), random_image(side, side), normal(1, network.hyper.z_channels, side, side)
    for place in ("lr", "z"):
        inputs = {"lr": lr, "z": z}
        inputs[place] = inputs[place].copy()
        inputs[place][0, :, middle, middle] += 0.5
        changed = changed_cells(upscale(Tensor(lr), Tensor(z)), upscale(*map(Tensor, inputs.values())), scale)
        check_reach(changed, middle, radius, exact=place == "lr" and blocks == (1,))


@pytest.mark.parametrize(("scale", "blocks"), SIZES)
def test_receptive_radius_of_downscaling(scale, blocks):
    network = reaching(scale, blocks)
    radius = network.hyper.receptive_radius
    side, middle = 2 * radius + 5, radius + 2
    x, downscale = random_image(scale * side, scale * side), Downscale(network)
    whole, small = network(Tensor(x)), downscale(Tensor(x))
    for corner in (0, scale - 1):  # of the LR pixel's square
        other = x.copy()
        other[0, :, scale * middle + corner, scale * middle + corner] += 0.5
        changed = changed_cells(small, downscale(Tensor(other)), 1)
        check_reach(changed, middle, radius, exact=False)  # the last coupling's H and G do not come into the LR image
        check_reach(changed_cells(whole, network(Tensor(other)), 1), middle, radius, exact=blocks == (1,))


def check_reach(changed: np.ndarray, middle: int, radius: int, exact: bool) -> None:
    for axis in (0, 1):
        reached = np.flatnonzero(changed.any(axis))
        assert reached.min() >= middle - radius
        assert reached.max() <= middle + radius
        assert not exact or (reached.min(), reached.max()) == (middle - radius, middle + radius)
    assert changed[middle, middle]


# ------------------------------------------------------------------ learning rates


def simulated_rates(options: TrainConfig, count: int) -> list[float]:
    """The rates of steps 0 to count - 1 as the authors' classes make them: each from the one before it.

    After each step the scheme makes the next rate out of the present one, and while the warm-up lasts the rate is then
    overwritten; what the scheme finds at the next step is the overwritten rate.
    """
    base, rate, rates = options.lr, options.lr, [options.lr]
    weights = options.restart_weights or (1.0,) * len(options.restarts)
    began, period = 0, (options.T_period or (count,))[0]
    for step in range(1, count):
        if step in options.restarts:
            number = options.restarts.index(step)
            rate = base * weights[number]
            if options.T_period:
                began, period = step, options.T_period[number + 1]
        elif options.lr_scheme == "MultiStepLR":
            rate *= options.lr_gamma ** options.lr_steps.count(step)
        elif (step - began - 1 - period) % (2 * period) == 0:  # the step after the lowest rate
            rate += (base - options.eta_min) * (1 - math.cos(math.pi / period)) / 2
        else:
            now, before = (1 + math.cos(math.pi * (at - began) / period) for at in (step, step - 1))
            rate = (rate - options.eta_min) * now / before + options.eta_min
        if step < options.warmup_iter:
            rate = base / options.warmup_iter * step
        rates.append(rate)
    return rates


MULTISTEP = TrainConfig(lr=2e-4, lr_steps=(5, 10, 10, 24, 31, 40, 58), lr_gamma=0.5)
COSINE = TrainConfig(lr=2e-4, lr_scheme="CosineAnnealingLR_Restart", T_period=(40,), eta_min=1e-7)
RESTARTS = {"restarts": (20, 50), "restart_weights": (0.8, 0.5)}
SCHEDULES = {  # each part alone: test_goldens.py
    "multistep, restarts without weights": replace(MULTISTEP, restarts=(20, 31)),  # one at a milestone
    "multistep, warm-up and restarts": replace(MULTISTEP, warmup_iter=12, **RESTARTS),
    "multistep, warm-up beyond a restart": replace(MULTISTEP, warmup_iter=26, **RESTARTS),
    "cosine, restarts after the lowest rate": replace(COSINE, T_period=(13, 11, 19), **RESTARTS),
    "cosine, warm-up and restarts": replace(COSINE, T_period=(20, 30, 40), warmup_iter=7, **RESTARTS),
    "cosine, warm-up beyond a restart": replace(COSINE, T_period=(20, 30, 40), warmup_iter=26, **RESTARTS),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_the_authors_recursions(name):
    options = SCHEDULES[name]
    rate = learning_rate(options, int, 100)
    np.testing.assert_allclose([rate(step) for step in range(130)], simulated_rates(options, 130), rtol=1e-9)


def test_cosine_takes_all_steps_by_default():
    rate = learning_rate(replace(COSINE, T_period=()), int, 77)
    assert rate(0) == 2e-4
    assert rate(77) == pytest.approx(1e-7)
    assert rate(38) > 1e-4 > rate(39)
