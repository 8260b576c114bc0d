"""Convolutions and dense layers that begin as PyTorch's do, as the authors' networks began."""

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn


def conv(
    in_channels: int, out_channels: int, kernel: int, rng: np.random.Generator, *, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """Convolution with zero padding."""
    bound = 1 / math.sqrt(in_channels * kernel**2)
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride,
        pad_mode="pad",
        padding=padding,
        has_bias=True,
        weight_init=uniform((out_channels, in_channels, kernel, kernel), bound, rng),
        bias_init=uniform((out_channels,), bound, rng),
    )


def conv_transpose(in_channels: int, out_channels: int, scale: int, rng: np.random.Generator) -> nn.Conv2dTranspose:
    """Transposed convolution that enlarges `scale` times, with filters of twice the scale."""
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
    """Fully connected layer."""
    bound = 1 / math.sqrt(in_channels)
    return nn.Dense(
        in_channels,
        out_channels,
        weight_init=uniform((out_channels, in_channels), bound, rng),
        bias_init=uniform((out_channels,), bound, rng),
    )


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator) -> Tensor:
    """Values in -bound ... bound."""
    return Tensor(rng.uniform(-bound, bound, shape), ms.float32)
