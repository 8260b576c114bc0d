"""Activation normalisation (Kingma and Dhariwal, Glow, arXiv:1807.03039, section 3.1)."""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

TINY = 1e-6  # added to a standard deviation that may be zero


class ActNorm2d(nn.Cell):
    """y = (x + bias) * exp(logs), one bias and one scale for each channel.

    Both begin at zero. `initialise` sets them from data, so that each channel has mean 0 and variance 1 there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        shape = (1, channels, 1, 1)
        self.bias = Parameter(Tensor(np.zeros(shape, np.float32)), name="bias")
        self.logs = Parameter(Tensor(np.zeros(shape, np.float32)), name="logs")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x + self.bias) * exact_exp(self.logs), constant_logdet(x, self.logs.sum())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y / exact_exp(self.logs) - self.bias, constant_logdet(y, -self.logs.sum())

    def initialise(self, x: Tensor) -> None:
        """Set the parameters from x (N, C, H, W), unless a bias other than zero says that it has been done."""
        if self.bias.asnumpy().any():
            return
        values = x.asnumpy().astype(np.float64)
        mean = values.mean((0, 2, 3), keepdims=True)
        deviation = values.std((0, 2, 3), keepdims=True)
        self.bias.set_data(Tensor(-mean, ms.float32))
        self.logs.set_data(Tensor(-np.log(deviation + TINY), ms.float32))


# MindSpore's float32 exp, log and sigmoid are off by up to 4e-6 on CPU, and to one side: over the steps of a flow and
# the pixels of an image that adds up. These are exact to the last bit or so.


def exact_exp(x: Tensor) -> Tensor:
    return ops.exp(x.astype(ms.float64)).astype(ms.float32)


def exact_sigmoid(x: Tensor) -> Tensor:
    return ops.sigmoid(x.astype(ms.float64)).astype(ms.float32)


def exact_log(x: Tensor) -> Tensor:
    """As 1 * log(x), which is another kernel than that of log(x) and needs less memory than float64."""
    return ops.xlogy(1.0, x)


def constant_logdet(x: Tensor, per_pixel: Tensor) -> Tensor:
    """Return (N,): `per_pixel` times H * W for every image of x (N, C, H, W)."""
    n, _, h, w = x.shape
    return ops.ones((n,), x.dtype) * (per_pixel * (h * w))


def sum_per_image(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N,), as a product: reductions are slow on CPU."""
    rows = x.reshape((x.shape[0], -1))
    return ops.matmul(rows, ops.ones((rows.shape[1], 1), x.dtype)).reshape((-1,))
