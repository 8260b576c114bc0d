"""WDSR's network: sizes, arithmetic against naive NumPy, both forms, both modes, both conventions of the authors."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests import naive
from ci.tests.naive import assert_close
from common.training.step import L1Loss
from WDSR.src.common import WeightNormConv2d
from WDSR.src.graphs import WDSRInference
from WDSR.src.model import EXPANSION, PRESETS, WDSR, Hyper, count_parameters

SMALL = Hyper(num_features=10, num_blocks=2)
SMALL_A = replace(SMALL, variant="A", expand=EXPANSION["A"])
YCHFAN = replace(SMALL_A, normalization="ychfan")


def random_image(height: int = 7, width: int = 9, colors: int = 3, seed: int = 0) -> np.ndarray:
    """(1, colors, height, width) float32 in 0..255."""
    return np.random.default_rng(seed).uniform(0, 255, (1, colors, height, width)).astype(np.float32)


def shaken(hyper: Hyper) -> WDSR:
    return naive.shaken(WDSR(hyper), 1, share=(0.1, 0.3))


def run(network, batch: np.ndarray) -> np.ndarray:
    return network(Tensor(batch)).asnumpy()


# ------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("hyper", "counts"),
    [
        (replace(PRESETS["wdsr_a"]), (1_190_100, 1_195_605, 1_203_312)),
        (replace(Hyper(), num_blocks=16), (1_202_260, 1_212_085, 1_225_840)),
        (replace(PRESETS["wdsr_b"]), (2_394_804, 2_404_629, 2_418_384)),
    ],
    ids=["A 32/128/16", "B 64/16", "B 64/32"],
)
def test_published_parameter_counts(hyper, counts):
    assert tuple(count_parameters(WDSR(replace(hyper, scale=scale))) for scale in (2, 3, 4)) == counts


# ------------------------------------------------------------------ arithmetic


def naive_convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (O, H, W)."""
    return naive.convolution(x[None], weight, bias)[0]


@pytest.mark.parametrize("side", [1, 3, 5])
def test_weight_normalised_convolution(side):
    random = np.random.default_rng(side)
    layer = WeightNormConv2d(3, 4, side, random)
    length, bias = random.normal(size=(4, 1, 1, 1)), random.normal(size=4)
    layer.weight_g.set_data(Tensor(length, ms.float32))
    layer.bias.set_data(Tensor(bias, ms.float32))
    direction = layer.weight_v.asnumpy().astype(np.float64)
    weight = np.stack([g * v / np.sqrt((v**2).sum()) for g, v in zip(length[:, 0, 0, 0], direction, strict=True)])
    assert_close(layer.effective_weight().asnumpy(), weight)
    x = random.normal(size=(3, 5, 6)).astype(np.float32)
    assert_close(run(layer, x[None])[0], naive_convolution(x, weight, bias))


def naive_block(x: np.ndarray, block, res_scale: float) -> np.ndarray:
    branch = x
    for layer in block.body:
        if isinstance(layer, WeightNormConv2d):
            branch = naive_convolution(branch, layer.effective_weight().asnumpy(), layer.bias.asnumpy())
        else:
            branch = np.maximum(branch, 0)
    return x + res_scale * branch


@pytest.mark.parametrize(
    "hyper", [replace(SMALL, num_features=5, res_scale=0.3), replace(YCHFAN, num_features=5)], ids=["B", "A"]
)
def test_whole_network_against_naive_arithmetic(hyper):
    """The two residual blocks, the skip from the input, one pixel shuffle, and the authors' normalisation."""
    network, x = shaken(hyper), random_image(4, 5)
    mean, width = (np.array([0.4488, 0.4371, 0.4040]), 127.5) if hyper.variant == "B" else (np.full(3, 0.5), 255)
    shift = 255 * mean[:, None, None]
    seen = (x[0].astype(np.float64) - shift) / width

    def layer(sequence, value):
        return naive_convolution(value, sequence[0].effective_weight().asnumpy(), sequence[0].bias.asnumpy())

    features = layer(network.head, seen)
    for block in network.body:
        features = naive_block(features, block, hyper.res_scale)
    sub_pixels = layer(network.tail, features) + layer(network.skip, seen)
    wanted = np.empty((3, 8, 10))
    for channel, row, column in np.ndindex(*wanted.shape):
        place = channel * 4 + (row % 2) * 2 + column % 2  # colour first, then row, then column, as in PyTorch
        wanted[channel, row, column] = sub_pixels[place, row // 2, column // 2]
    assert_close(run(network, x)[0], wanted * width + shift)


# ------------------------------------------------------------------ two forms, two modes


@pytest.mark.parametrize(
    "hyper",
    [
        replace(SMALL, scale=1),
        replace(SMALL, scale=2, res_scale=0.1),
        replace(SMALL_A, scale=3),
        replace(YCHFAN, scale=4, num_blocks=1),
        replace(SMALL, scale=4, num_colors=1, rgb_range=1.0, num_blocks=1),
    ],
    ids=["B", "B res_scale", "A", "A ychfan", "B luma 0..1"],
)
def test_inference_form_is_the_training_form(hyper):
    network = shaken(hyper)
    x = random_image(7, 5, hyper.num_colors) * np.float32(hyper.rgb_range / 255)
    assert_close(run(WDSRInference(network), x), run(network, x))


# ------------------------------------------------------------------ what reaches where


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("hyper", [SMALL, SMALL_A], ids=["B", "A"])
def test_receptive_radius_is_how_far_a_pixel_reaches(hyper, blocks):
    network = shaken(replace(hyper, num_blocks=blocks))
    radius = network.hyper.receptive_radius
    side = 2 * radius + 5
    x = random_image(side, side)
    other = x.copy()
    middle = side // 2
    other[0, :, middle, middle] = 255 - other[0, :, middle, middle]
    changed = (run(network, x) != run(network, other)).any((0, 1))
    changed = changed.reshape(side, 2, side, 2).any((1, 3))  # in LR pixels
    reach = np.arange(middle - radius, middle + radius + 1)
    for axis in (0, 1):
        np.testing.assert_array_equal(np.flatnonzero(changed.any(axis)), reach)


@pytest.mark.parametrize("hyper", [SMALL, YCHFAN], ids=["B", "A"])
def test_gradients_reach_every_parameter(hyper):
    network = WDSR(hyper)
    loss = L1Loss(network)
    parameters = network.trainable_params()
    assert len(parameters) == len(list(network.get_parameters()))
    batch = Tensor(random_image()), Tensor(random_image(14, 18, seed=1))
    gradients = ms.value_and_grad(lambda *pair: loss(*pair)[0], None, ms.ParameterTuple(parameters))(*batch)[1]
    still = [p.name for p, g in zip(parameters, gradients, strict=True) if not np.abs(g.asnumpy()).max() > 0]
    assert not still


# ------------------------------------------------------------------ initial values


def test_initial_values_of_ychfan():
    network = WDSR(replace(YCHFAN, num_blocks=4))
    for name, parameter in network.parameters_and_names():
        values = parameter.asnumpy()
        if name.endswith("bias"):
            assert not values.any(), name
        elif name.endswith("weight_g"):
            wanted = 1 if not name.startswith("body") else 2 if ".body.0." in name else 0.5  # 1 / sqrt(4 blocks)
            assert (values == np.float32(wanted)).all(), name


def test_initial_values_of_ntire2018_are_pytorch_convolutions():
    network = WDSR(replace(SMALL, num_features=32))
    layers = [cell for _, cell in network.cells_and_names() if isinstance(cell, WeightNormConv2d)]
    assert len(layers) == 3 + 3 * SMALL.num_blocks
    for layer in layers:
        direction, bound = layer.weight_v.asnumpy(), 1 / np.sqrt(layer.weight_v[0].size)
        assert 0.9 * bound < np.abs(direction).max() <= np.float32(bound)
        assert abs(direction.std() / (bound / np.sqrt(3)) - 1) < 0.1  # uniform
        assert np.abs(layer.bias.asnumpy()).max() <= bound
        assert_close(layer.effective_weight().asnumpy(), direction)  # each length is that of its direction
