"""Parts of the flow's layers: squeeze, the two kinds of convolution, the latents' density."""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common.layers import convolve

from .FlowActNorms import ActNorm2d, constant_logdet, exact_exp, sum_per_image

INIT_DEVIATION = 0.05  # of the filters of hidden layers
LOGS_FACTOR = 3.0  # of Conv2dZeros' scale, which thereby learns faster

# A 3-tap filter of repeated pixels is a transposed one of 4 taps, of stride 2; here along both axes, 9 taps to 16.
_TAPS = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]], np.float32)
TAPS_OF_REPEATED = np.kron(_TAPS, _TAPS)

Condition = tuple[Tensor, Tensor]
"""Features that a level reads: the encoder's (N, C, H, W), and the stacked results of its blocks, which are at this
size or at half of it; then each pixel stands for four."""

Layers = tuple[Sequence[Parameter], Sequence[Parameter], Sequence[Parameter]]
"""K layers of one shape: their weights, logs and biases. (They are collected once, when the network is built: lists
that are made in a compiled function take minutes to compile.)"""


class SqueezeLayer(nn.Cell):
    """2x2 pixels -> channels, in the order (channel, row, column): (N, C, H, W) -> (N, 4C, H/2, W/2)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.pixel_unshuffle(x, 2), constant_logdet(x, 0.0)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return ops.pixel_shuffle(y, 2), constant_logdet(y, 0.0)


class Conv2d(nn.Cell):
    """Convolution with `same` zero padding and no bias, then ActNorm: a hidden layer of the conditioners."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, rng: np.random.Generator) -> None:
        super().__init__()
        filters = INIT_DEVIATION * rng.standard_normal((out_channels, in_channels, kernel_size, kernel_size))
        self.weight = Parameter(Tensor(filters, ms.float32), name="weight")
        self.actnorm = ActNorm2d(out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return convolve(x, *folded(((self.weight,), (self.actnorm.logs,), (self.actnorm.bias,))))

    def initialise(self, x: Tensor) -> Tensor:
        """Set the ActNorm; returns the result."""
        found = convolve(x, self.weight)
        self.actnorm.initialise(found)
        return self.actnorm.forward(found)[0]


class Conv2dZeros(nn.Cell):
    """3x3 convolution whose filters and biases begin as zeros, times exp(3 logs): the last layer of the conditioners.

    Its outputs have two meanings in turn, shift and scale or mean and deviation (the authors' "cross" split).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(np.zeros((out_channels, in_channels, 3, 3), np.float32)), name="weight")
        self.bias = Parameter(Tensor(np.zeros(out_channels, np.float32)), name="bias")
        self.logs = Parameter(Tensor(np.zeros((out_channels, 1, 1), np.float32)), name="logs")

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, in, H, W) -> the outputs 0, 2, 4 ... and 1, 3, 5 ..., each (N, out/2, H, W)."""
        return ops.chunk(convolve(x, *folded_zeros(((self.weight,), (self.logs,), (self.bias,)))), 2, 1)


class Conditioner(nn.SequentialCell):
    """The network inside a coupling: 3x3, ReLU, 1x1, ReLU, 3x3 from zeros."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, rng: np.random.Generator) -> None:
        super().__init__(
            Conv2d(in_channels, hidden_channels, 3, rng),
            nn.ReLU(),
            Conv2d(hidden_channels, hidden_channels, 1, rng),
            nn.ReLU(),
            Conv2dZeros(hidden_channels, out_channels),
        )

    def layers(self) -> tuple[tuple[Parameter, Parameter, Parameter], ...]:
        first, _, second, _, last = self
        hidden = [(layer.weight, layer.actnorm.logs, layer.actnorm.bias) for layer in (first, second)]
        return *hidden, (last.weight, last.logs, last.bias)

    def initialise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, relu, second, _, last = self
        return last(relu(second.initialise(relu(first.initialise(x)))))


def folded(layers: Layers) -> tuple[Tensor, Tensor]:
    """Concatenate Conv2d layers, ActNorms folded in: filters (K * out, in, k, k), biases (K * out,)."""
    weights, logs, biases = layers
    scale = exact_exp(ops.concat(logs)).reshape((-1, 1, 1, 1))
    return ops.concat(weights) * scale, ops.concat(biases).reshape((-1,)) * scale.reshape((-1,))


def folded_zeros(layers: Layers) -> tuple[Tensor, Tensor]:
    """Concatenate Conv2dZeros; of each layer's outputs 0, 2, 4 ... come first, then 1, 3, 5 ..., to be cut in half."""
    weights, logs, biases = layers
    scale = exact_exp(LOGS_FACTOR * ops.concat(logs)).reshape((-1, 1, 1, 1))
    filters, bias = ops.concat(weights) * scale, ops.concat(biases) * scale.reshape((-1,))
    pairs = len(weights), filters.shape[0] // len(weights) // 2, 2, -1
    return evens_first(filters, pairs), evens_first(bias, pairs)


def evens_first(x: Tensor, pairs: tuple[int, int, int, int]) -> Tensor:
    """Reorder the first axis, which counts K layers' pairs: all first ones of a layer, then all second ones."""
    return x.reshape(pairs).swapaxes(1, 2).reshape(x.shape)


def upsample(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W), each pixel four times; by an operator that the ONNX writer has."""
    return ops.DepthToSpace(2)(ops.concat((x, x, x, x), 1))


def joined(condition: Condition) -> Tensor:
    """Concatenate the features as the authors have them, (N, condition, H, W)."""
    own, stacked = condition
    return ops.concat((own, stacked if own.shape[2] == stacked.shape[2] else upsample(stacked)), 1)


def convolve_joined(condition: Condition, filters: Tensor, biases: Tensor) -> Tensor:
    """Convolve `joined` features by filters (out, condition, 3, 3).

    Stacked features of half the size are not upsampled for it: a 3x3 convolution of repeated pixels is a transposed 4x4
    one of stride 2, with 4 products for each pixel of the result instead of 9.
    """
    own, stacked = condition
    if own.shape[2] == stacked.shape[2]:
        return convolve(joined(condition), filters, biases)
    out, inside = filters.shape[0], own.shape[1]
    repeated = filters[:, inside:].swapaxes(0, 1).reshape((-1, 9)) @ Tensor(TAPS_OF_REPEATED)
    repeated = repeated.reshape((-1, out, 4, 4)).astype(stacked.dtype)
    transposed = ops.Conv2DTranspose(stacked.shape[1], (4, 4), pad_mode="pad", pad=1, stride=2)
    size = own.shape[0], out, *own.shape[2:]
    return convolve(own, filters[:, :inside], biases) + transposed(stacked, repeated, size)


def standard_normal_log_density(x: Tensor) -> Tensor:
    """Return log N(x; 0, 1) (N,), summed over each image of x (N, C, H, W)."""
    return -0.5 * (sum_per_image(x * x) + math.log(2 * math.pi) * x[0].size)
