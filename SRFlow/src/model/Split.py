"""Split (SRFlow, section 3.4): half of the channels leave the flow, as deviations from what the others predict."""

from mindspore import Tensor, nn, ops

from .Flow import Conv2dZeros
from .FlowActNorms import exact_exp, sum_per_image


class Split2d(nn.Cell):
    """z = (z1, z2) -> z1 and the latent (z2 - mean) / exp(logs), mean and logs read off z1.

    The latent is standard normal under the model: log N(z2; mean, exp(2 logs)) is its log-density plus the logdet here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2dZeros(channels // 2, 2 * (channels - channels // 2))

    def forward(self, z: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """(N, C, H, W) -> (z1, latent), each (N, C/2, H, W), and (N,)."""
        z1, z2 = ops.chunk(z, 2, 1)
        mean, logs = self.conv(z1)
        return (z1, (z2 - mean) / exact_exp(logs)), -sum_per_image(logs)

    def inverse(self, z1: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(z1, latent), each (N, C/2, H, W) -> (N, C, H, W), and (N,)."""
        mean, logs = self.conv(z1)
        return ops.concat((z1, mean + exact_exp(logs) * latent), 1), sum_per_image(logs)
