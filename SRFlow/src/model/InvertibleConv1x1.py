"""Invertible 1x1 convolution (Kingma and Dhariwal, Glow, arXiv:1807.03039, section 3.2)."""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common.layers import convolve

from .FlowActNorms import constant_logdet


class InvertibleConv1x1(nn.Cell):
    """Every pixel's channels times one square matrix, which begins as a random rotation.

    Determinant and inverse are worked out in float64: the log-determinant is multiplied by the number of pixels, and
    the errors of 50 inverses add up. Both take a C x C matrix only, not an image.
    """

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        rotation = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
        self.weight = Parameter(Tensor(rotation, ms.float32), name="weight")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return convolve1x1(x, self.weight), constant_logdet(x, self.log_determinant())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        matrix = ops.inverse(self.weight.astype(ms.float64)).astype(ms.float32)
        return convolve1x1(y, matrix), constant_logdet(y, -self.log_determinant())

    def log_determinant(self) -> Tensor:
        """Return log |det W|; its gradient is the transposed inverse."""
        return ops.slogdet(self.weight.astype(ms.float64))[1].astype(ms.float32)


def convolve1x1(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply every pixel's channels of (N, C, H, W) by the (C, C) matrix."""
    return convolve(x, matrix.reshape((*matrix.shape, 1, 1)))
