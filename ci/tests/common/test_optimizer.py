"""Adam and the moving average against NumPy."""

import contextlib

import numpy as np
import pytest
from mindspore import Parameter, Tensor, ops

from common import runtime
from common.training.optimizer import Adam, MovingAverage


def naive_adam(start, gradients, rates, betas, epsilon, decay):
    """Kingma and Ba's algorithm 1 with L2 in the gradient (torch.optim.Adam), in float64."""
    weight = start.astype(np.float64)
    first = second = np.zeros_like(weight)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        gradient = gradient + decay * weight
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        corrected = first / (1 - betas[0] ** t), second / (1 - betas[1] ** t)
        weight = weight - rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon)
    return weight


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("betas", "epsilon", "size"), [((0.9, 0.999), 1e-8, 1.0), ((0.5, 0.9), 1e-8, 1.0), ((0.9, 0.999), 1e-3, 1e-3)]
)
def test_adam(betas, epsilon, size, decay):
    """In the last case epsilon is as large as the gradients: where it stands in the formula matters."""
    rng, shapes = np.random.default_rng(5), ((4, 3), (), (2, 1, 2))
    starts = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    parameters = [Parameter(Tensor(start), name=f"w{place}") for place, start in enumerate(starts)]
    adam = Adam(parameters, betas, epsilon, decay)
    gradients = [[np.float32(rng.normal(size=shape) * size) for shape in shapes] for _ in range(30)]
    rates = [0.01 * 0.9**step for step in range(30)]
    with runtime.graph_mode():
        for row, rate in zip(gradients, rates, strict=True):
            adam.step(list(map(Tensor, row)), rate)
    for parameter, start, own in zip(parameters, starts, zip(*gradients, strict=True), strict=True):
        wanted = naive_adam(start, own, rates, betas, epsilon, decay)
        np.testing.assert_allclose(parameter.asnumpy(), wanted, rtol=0, atol=2e-6)
        assert np.abs(wanted - start).max() > 1e-3, "moved"


def test_adam_first_steps_to_seven_digits():
    """From zero, so that rounding of the weights hides nothing: 1 - 0.999**step in float32 would be off by 1e-5."""
    parameter = Parameter(Tensor(np.zeros(50, np.float32)), name="w")
    rng, adam, gradients = np.random.default_rng(1), Adam([parameter]), []
    for step in range(1, 8):
        gradients.append(rng.uniform(1, 2, 50).astype(np.float32))
        adam.step([Tensor(gradients[-1])], 0.01)
        wanted = naive_adam(np.zeros(50), gradients, [0.01] * step, (0.9, 0.999), 1e-8, 0.0)
        np.testing.assert_allclose(parameter.asnumpy(), wanted, rtol=1e-6)


def test_moving_average():
    rng, parameter = np.random.default_rng(5), Parameter(Tensor(np.ones(5, np.float32)), name="w")
    average, wanted = MovingAverage([parameter], 0.9), np.ones(5)
    for _ in range(10):
        ops.assign(parameter, Tensor(rng.normal(size=5).astype(np.float32)))
        wanted = 0.9 * wanted + 0.1 * parameter.asnumpy()
        average.update()
    trained = parameter.asnumpy().copy()
    with contextlib.suppress(KeyError), average.in_place():
        np.testing.assert_allclose(parameter.asnumpy(), wanted, atol=1e-6)
        raise KeyError
    np.testing.assert_array_equal(parameter.asnumpy(), trained, err_msg="the trained weights are back")
