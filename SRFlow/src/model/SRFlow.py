"""SRFlow's training objective: the negative log-likelihood of the HR image (SRFlow, eq. 2 and 3)."""

import math

from mindspore import Tensor, nn

from .Flow import standard_normal_log_density
from .SRFlowNet import SRFlowNet


class NegativeLogLikelihood(nn.Cell):
    """(hr_image, lr_image, uniform or none) -> (nll,), in bits per HR pixel (not per colour value), mean of the batch.

    It may well be negative: it is a density's, and the values lie in [0, 1].

    Args:
        network: what is trained.
        quant: number of steps that [0, 1] is divided into by uniform noise, so that the flow cannot gain from images
            having few values only; 0 adds no noise. The authors' code asks for 32 and then adds none.
    """

    def __init__(self, network: SRFlowNet, quant: float = 0.0) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.quant = network, quant

    def construct(self, hr_image: Tensor, lr_image: Tensor, uniform: Tensor | None = None) -> tuple[Tensor]:
        return (self.per_picture(hr_image, lr_image, uniform).mean(),)

    def per_picture(self, hr_image: Tensor, lr_image: Tensor, uniform: Tensor | None = None) -> Tensor:
        """(N,); hr_image (N, 3, sh, sw) and lr_image (N, 3, h, w) in [0, 1], uniform like hr_image in [0, 1)."""
        pixels = hr_image.shape[2] * hr_image.shape[3]
        if self.quant > 0:
            hr_image = hr_image + (uniform - 0.5) / self.quant
        latents, log_density = self.network.forward(hr_image, lr_image)
        for latent in latents:
            log_density = log_density + standard_normal_log_density(latent)
        if self.quant > 0:  # the authors' constant; the noise's density would be counted once for each colour
            log_density = log_density - math.log(self.quant) * pixels
        return log_density / (-math.log(2) * pixels)
