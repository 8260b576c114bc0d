"""Training losses that models share: cells around the network."""

from mindspore import Tensor, nn, ops


class L1Loss(nn.Cell):
    """(lr_image, hr_image) -> (mean absolute difference of the network's picture from HR,), in units of its range."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor, hr_image: Tensor) -> tuple[Tensor]:
        return (ops.abs(self.network(lr_image) - hr_image).mean(),)
