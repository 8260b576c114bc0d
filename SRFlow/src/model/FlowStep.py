"""The steps of the flow (SRFlow, figure 2): ActNorm, invertible 1x1 convolution, conditional affine couplings."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common.layers import convolve

from .Flow import Condition
from .FlowActNorms import ActNorm2d, constant_logdet, exact_log, sum_per_image
from .FlowAffineCouplingsAblation import CondAffineSeparatedAndCond, Couplings, couple, prepare, uncouple
from .FlowAffineCouplingsAblation import collect as collect_couplings
from .InvertibleConv1x1 import InvertibleConv1x1

Maps = tuple[Sequence[Parameter], Sequence[Parameter], Sequence[Parameter]]
Steps = tuple[Maps, Couplings]
"""The parameters of K steps: logs and biases of their ActNorms, weights of their convolutions; and their couplings'."""


class TransitionStep(nn.Cell):
    """ActNorm and convolution alone, two of which follow on each squeeze ("transition step", section 3.4)."""

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.actnorm = ActNorm2d(channels)
        self.invconv = InvertibleConv1x1(channels, rng)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.actnorm.forward(z)
        z, term = self.invconv.forward(z)
        return z, logdet + term

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.invconv.inverse(z)
        z, term = self.actnorm.inverse(z)
        return z, logdet + term

    def initialise(self, z: Tensor) -> Tensor:
        """Set the ActNorm; returns the result."""
        self.actnorm.initialise(z)
        return TransitionStep.forward(self, z)[0]


class FlowStep(TransitionStep):
    def __init__(
        self, channels: int, condition: int, hidden_channels: int, eps: float, rng: np.random.Generator
    ) -> None:
        super().__init__(channels, rng)
        self.affine = CondAffineSeparatedAndCond(channels, condition, hidden_channels, eps, rng)

    def forward(self, z: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(z)
        z, term = self.affine.forward(z, condition)
        return z, logdet + term

    def inverse(self, z: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        z, logdet = self.affine.inverse(z, condition)
        z, term = super().inverse(z)
        return z, logdet + term

    def initialise(self, z: Tensor, features: Tensor) -> Tensor:
        return self.affine.initialise(super().initialise(z), features)


# --------------------------------------------------------------------------------------------- K steps at once: batched


def collect(steps: Sequence[FlowStep]) -> Steps:
    """Sort the parameters by kind; to be called while the network is built."""
    maps = [(step.actnorm.logs, step.actnorm.bias, step.invconv.weight) for step in steps]
    return tuple(zip(*maps, strict=True)), collect_couplings([step.affine for step in steps])


def advance(steps: Steps, z: Tensor, condition: Condition, eps: float) -> tuple[Tensor, Tensor]:
    """`FlowStep.forward` of K steps one after the other, batched: z (N, C, H, W) -> the same shape, and (N,)."""
    matrices, shifts, log_determinant = affine_maps(steps[0])
    injectors, affines, logdet, _ = prepare(steps[1], condition, eps)
    scales = ()
    for k in range(len(matrices)):
        z, scale = couple(convolve(z, matrices[k], shifts[k]), injectors[k], affines[k], eps)
        scales = (*scales, scale)
    return z, total_logdet(z, logdet, log_determinant, *scales)


def total_logdet(z: Tensor, of_injectors: Tensor, of_maps: Tensor, *scales: Tensor) -> Tensor:
    """Return the log-determinant (N,) of K steps; `of_maps` is for one pixel."""
    logdet = of_injectors + sum_per_image(exact_log(ops.concat(scales, 1)))
    return logdet + constant_logdet(z, of_maps)


def go_back(steps: Steps, z: Tensor, condition: Condition, eps: float, bound: float = 0.0) -> tuple[Tensor, Tensor]:
    """`FlowStep.inverse`, batched as well; a `bound` limits what leaves each coupling, 0 leaves it as it is."""
    matrices, shifts, log_determinant = inverse_affine_maps(steps[0])
    injectors, affines, logdet, _ = prepare(steps[1], condition, eps)
    scales = ()
    for k in range(len(matrices) - 1, -1, -1):
        z, scale = uncouple(z, injectors[k], affines[k], eps)
        if bound:
            z = ops.clamp(z, -bound, bound)
        z = convolve(z, matrices[k], shifts[k])
        scales = (*scales, scale)
    logdet = logdet + sum_per_image(exact_log(ops.concat(scales, 1)))
    return z, constant_logdet(z, log_determinant) - logdet


def affine_maps(maps: Maps) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
    """Return the maps y = M x + b of K steps, (C, C, 1, 1) and (C,), and the log-determinant of all for one pixel."""
    logs, bias, weights = stacked(maps)
    matrices = weights * ops.exp(logs)
    filters, biases = as_filters(matrices, ops.matmul(matrices, bias.swapaxes(1, 2)))
    return filters, biases, log_determinant(logs, weights)


def inverse_affine_maps(maps: Maps) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
    """Return the inverses, x = M^-1 y - bias, in the same way."""
    logs, bias, weights = stacked(maps)
    filters, biases = as_filters(ops.inverse(weights * ops.exp(logs)), -bias)
    return filters, biases, -log_determinant(logs, weights)


def stacked(maps: Maps) -> tuple[Tensor, Tensor, Tensor]:
    """Return logs and biases (K, 1, C), and weights (K, C, C), in float64."""
    logs, biases, weights = maps
    rows = len(logs), 1, -1
    logs, biases, weights = ops.concat(logs).reshape(rows), ops.concat(biases).reshape(rows), ops.stack(weights)
    return logs.astype(ms.float64), biases.astype(ms.float64), weights.astype(ms.float64)


def log_determinant(logs: Tensor, weights: Tensor) -> Tensor:
    """Return that of all maps together, for one pixel."""
    return (logs.sum() + ops.slogdet(weights)[1].sum()).astype(ms.float32)


def as_filters(matrices: Tensor, shifts: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """(K, C, C) and K * C values -> K filters (C, C, 1, 1) and K biases (C,)."""
    count, channels, _ = matrices.shape
    filters = matrices.reshape((count * channels, channels, 1, 1)).astype(ms.float32)
    return ops.chunk(filters, count), ops.chunk(shifts.reshape((-1,)).astype(ms.float32), count)
