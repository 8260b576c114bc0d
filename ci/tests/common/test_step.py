"""The gradient step against NumPy: loss, norm, clip; block by block; half precision; and which form trains."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from ci.tests.common.nets import Loss, Net, Stream
from common import runtime
from common.config import TrainOptions
from common.runtime import Runtime
from common.training import memory
from common.training.repeated import BlockStep, Repeated, settled
from common.training.step import GradientStep, mixed_precision


def numpy_gradients(network, x, y):
    """Of the mean squared error, in float64 by hand."""
    weight, bias = (parameter.asnumpy().astype(np.float64) for parameter in network.trainable_params())
    hidden = np.tanh(x.astype(np.float64) @ weight)
    error = hidden + bias - y
    outer = 2 * error / error.size
    return (error**2).mean(), error.mean(), [x.T @ (outer * (1 - hidden**2)), outer.sum(0)]


@pytest.mark.parametrize("clip", [0.0, 0.05, 1e6])
def test_gradients_norm_and_clip(clip):
    """torch.nn.utils.clip_grad_norm_: gradients times min(1, clip / (norm + 1e-6))."""
    network, (x, y) = Net(), next(Stream().prefetched(0, 1))
    step = GradientStep(Loss(network), ms.ParameterTuple(network.trainable_params()), clip)
    with runtime.graph_mode():
        values, gradients, norm, stop = step(Tensor([1.0, 0.0], ms.float32), Tensor(x), Tensor(y))
    loss, error, wanted = numpy_gradients(network, x, y)
    wanted_norm = np.sqrt(sum((g**2).sum() for g in wanted))
    factor = min(1.0, clip / (wanted_norm + 1e-6)) if clip else 1.0
    np.testing.assert_allclose([*map(float, values), float(norm)], [loss, error, wanted_norm], rtol=2e-6)
    for found, one in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(found.asnumpy(), one * factor, rtol=2e-5, atol=1e-8)
    assert (factor < 0.9, float(stop)) == (clip == 0.05, 0)


@pytest.mark.parametrize("frozen", [False, True])
def test_blocks_give_the_gradients_of_the_whole(frozen):
    """Of weights that come as inputs, twice, and of those that a block reads itself; one result is not used."""
    rng = np.random.default_rng(2)
    first, shared, own = (
        Parameter(Tensor(rng.normal(size=size), ms.float32), name=f"w{number}", requires_grad=number > 0 or not frozen)
        for number, size in enumerate(((4, 3), (3, 3), (3, 3)))
    )

    def hidden(known, x, weight):
        y = settled(ops.matmul(x, weight), known, 0)
        return ops.tanh(y), 2 * y, y

    def error(x, y):
        return ((ops.matmul(x, own) - y) ** 2).mean(), x.mean()

    def whole(x, y):
        for weight in (first, shared, shared):
            x = hidden((), x, weight)[0]
        return error(x, y)

    def in_blocks(tape, x, y):
        for weight in (first, shared, shared):
            x, _ = tape(repeated, x, weight)
        return tape(last, x, y)

    repeated, last = Repeated(hidden, 2, keeps=True), Repeated(error, 2, parameters=[own])
    weights = ms.ParameterTuple([weight for weight in (first, shared, own) if weight.requires_grad])
    control, batch = Tensor([8, 0], ms.float32), tuple(map(Tensor, next(Stream().prefetched(0, 1))))
    with runtime.graph_mode():
        wanted, found = (
            step(control, *batch) for step in (GradientStep(whole, weights), BlockStep(in_blocks, weights))
        )
    for one, other in zip((*found[0], *found[1], found[2]), (*wanted[0], *wanted[1], wanted[2]), strict=True):
        assert np.abs(one.asnumpy() - other.asnumpy()).max() <= 1e-6 * np.abs(other.asnumpy()).max()


class Convolution(nn.Cell):
    def __init__(self):
        super().__init__()
        weight = Tensor(np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32))
        self.body = nn.SequentialCell(nn.Conv2d(3, 2, 3, pad_mode="pad", padding=1, weight_init=weight), nn.ReLU())

    def construct(self, x):
        return self.body(x) * 2


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_half_precision_computes_in_float16_and_trains_float32(level):
    """What GPU and Ascend do; the CPU can compute it, too, only slowly."""
    network, x = Convolution(), Tensor(np.random.default_rng(1).normal(size=(1, 3, 5, 5)).astype(np.float32))
    exact, parameters = network(x).asnumpy(), network.trainable_params()
    half = mixed_precision(network, TrainOptions(amp_level=level), Runtime("GPU"))
    output = half(x)
    assert output.dtype == ms.float32
    error = np.abs(output.asnumpy() - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 5e-3, "rounded to 11 bits"
    assert [parameter.name for parameter in network.trainable_params()] == [parameter.name for parameter in parameters]

    def loss(x):
        return (half(x).sum(),)

    step = GradientStep(loss, ms.ParameterTuple(parameters))
    with runtime.graph_mode():
        _, gradients, norm, _ = step(Tensor([1024.0, 0.0], ms.float32), x)
    assert {each.dtype for each in (*parameters, *gradients)} == {ms.float32}
    assert 1 < float(norm) < math.inf


@pytest.mark.parametrize(
    ("asked", "device", "gigabytes", "is_low"),
    [("auto", "CPU", 1, False), ("auto", "CPU", 3, True), ("auto", "GPU", 3, False), ("low", "CPU", 1, True)],
)
def test_large_graphs_are_trained_block_by_block(asked, device, gigabytes, is_low):
    work = memory.Work(columns=gigabytes * 1e9 / 4, tensors=10)
    options = TrainOptions(memory=asked)
    assert memory.is_low("SRFlow", lambda low: work, options, Runtime(device)) == is_low
