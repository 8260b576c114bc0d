"""Objectives: of the noise predictor, with or without the encoder, and the encoder alone beforehand."""

import mindspore as ms
from mindspore import Tensor, nn, ops

from .srdiff import SRDiffNet, read_features


class NoiseLoss(nn.Cell):
    """(hr, lr, lr_up, t, eps) -> (loss, q, aux): the distance q between eps and what the U-Net makes of x_t.

    Images in [-1, 1], hr and lr_up and eps (N, 3, sh, sw), lr (N, 3, h, w), t (N,) integers. q is the mean absolute
    error, or if `squared` the mean square; if `joint` the encoder is trained as well, and its head's L1 distance from
    HR, aux, is added.
    """

    def __init__(self, network: SRDiffNet, *, squared: bool = False, joint: bool = False) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.squared, self.joint = network, squared, joint
        schedule = network.hyper.schedule()
        self.rescale = network.hyper.res_rescale
        self.of_start = Tensor(schedule.sqrt_alphas_cumprod, ms.float32)
        self.of_noise = Tensor(schedule.sqrt_one_minus_alphas_cumprod, ms.float32)

    def construct(
        self, hr_image: Tensor, lr_image: Tensor, lr_up: Tensor, t: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network.rrdb.features(lr_image)
        aux = ops.zeros((), ms.float32)
        if self.joint:
            aux = mean_absolute(self.network.rrdb.head(found[-1]) - hr_image)
        features = read_features(found)
        if not self.joint:
            features = ops.stop_gradient(features)
        start = to_residual(hr_image, lr_up, self.rescale)
        shape = (-1, 1, 1, 1)
        x = self.of_start[t].reshape(shape) * start + self.of_noise[t].reshape(shape) * eps
        error = self.network.denoise_fn(x, t, self.network.denoise_fn.project(features)) - eps
        q = mean_absolute(error) if not self.squared else (error * error).mean()
        return q + aux, q, aux


class EncoderLoss(nn.Cell):
    """(hr, lr) -> (loss,): the L1 distance of the encoder's RGB head from HR, both in [-1, 1]."""

    def __init__(self, network: SRDiffNet) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, hr_image: Tensor, lr_image: Tensor) -> tuple[Tensor]:
        return (mean_absolute(self.network.rrdb(lr_image) - hr_image),)


def to_residual(hr_image: Tensor, lr_up: Tensor, rescale: float) -> Tensor:
    """x_0 in [-1, 1]: the difference from the upscaled LR image, times `rescale`."""
    return ((hr_image - lr_up) * rescale).clamp(-1, 1)


def mean_absolute(x: Tensor) -> Tensor:
    return ops.abs(x).mean()
