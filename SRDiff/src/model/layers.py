"""Convolutions and dense layers that begin as PyTorch's do, as the authors' networks began; and the activation."""

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from common.layers import Convolution

LARGEST_EXPONENT = 20.0  # above it Mish is the identity to float32's last bit, and e^2x is far from overflowing


class Mish(nn.Cell):
    """x tanh(log(1 + e^x)) (arXiv:1908.08681), as x n / (n + 2) with n = e^x (e^x + 2).

    MindSpore's own is no use on CPU: its gradient takes tanh for 1 above 5 and is up to 9e-4 off there, and it turns
    large x into NaN. Half precision is too narrow for n.
    """

    def construct(self, x: Tensor) -> Tensor:
        e = bounded_exp(x)
        n = e * (e + 2)
        return x * (n / (n + 2)).astype(x.dtype)

    def bprop(self, x: Tensor, _: Tensor, gradient: Tensor) -> tuple[Tensor]:
        """The derivative is (n + 4 x (n - e^x) / (n + 2)) / (n + 2); worked out anew, nothing but x is kept for it."""
        e = bounded_exp(x)
        n = e * (e + 2)
        r = ops.reciprocal(n + 2)  # MindSpore's division takes 3.5 times as long as its product on CPU
        return (gradient * ((n + 4 * x * ((n - e) * r)) * r).astype(gradient.dtype),)


def bounded_exp(x: Tensor) -> Tensor:
    return ops.exp(ops.minimum(x.astype(ms.float32), LARGEST_EXPONENT))


def conv(
    in_channels: int, out_channels: int, kernel: int, rng: np.random.Generator, *, stride: int = 1, padding: int = 0
) -> Convolution:
    bound = 1 / math.sqrt(in_channels * kernel**2)
    filters = rng.uniform(-bound, bound, (out_channels, in_channels, kernel, kernel))
    return Convolution(filters, rng.uniform(-bound, bound, out_channels), stride, padding)


def conv_transpose(in_channels: int, out_channels: int, scale: int, rng: np.random.Generator) -> nn.Conv2dTranspose:
    """Build a transposed convolution that upscales `scale` times, with filters of twice the scale."""
    kernel = 2 * scale
    bound = 1 / math.sqrt(out_channels * kernel**2)  # PyTorch takes the outputs for the inputs here
    return nn.Conv2dTranspose(
        in_channels,
        out_channels,
        kernel,
        scale,
        pad_mode="pad",
        padding=scale // 2,
        has_bias=True,
        weight_init=uniform((in_channels, out_channels, kernel, kernel), bound, rng),
        bias_init=uniform((out_channels,), bound, rng),
    )


def dense(in_channels: int, out_channels: int, rng: np.random.Generator) -> nn.Dense:
    bound = 1 / math.sqrt(in_channels)
    return nn.Dense(
        in_channels,
        out_channels,
        weight_init=uniform((out_channels, in_channels), bound, rng),
        bias_init=uniform((out_channels,), bound, rng),
    )


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator) -> Tensor:
    return Tensor(rng.uniform(-bound, bound, shape), ms.float32)
