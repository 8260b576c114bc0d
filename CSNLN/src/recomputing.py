"""Gradients in the memory of one cell, which keeps the results of its convolutions and computes its attention again."""

from mindspore import Tensor, ops

from common.training import BlockStep, Repeated, Row, Tape, Value

from .CSNLN import CSNLN


class LossInCells:
    """The L1 loss of a network, in half precision if its layers are, for `BlockStep`."""

    def __init__(self, network: CSNLN) -> None:
        def begin(lr_image: Tensor) -> Tensor:
            return network.head(network.sub_mean(lr_image))

        def distance(hr_image: Tensor, *estimates: Tensor) -> Tensor:
            sr_image = network.add_mean(network.tail(ops.concat(estimates, 1)))
            return ops.abs(sr_image.astype(hr_image.dtype) - hr_image).mean()

        def cell(known: Row, x: Tensor) -> Row:
            return network.SEM.estimated(known, x)

        self.begin, self.depth = Repeated(begin, parameters=network.head.trainable_params()), network.depth
        self.cell = Repeated(cell, 2, keeps=True, parameters=network.SEM.trainable_params())
        self.distance = Repeated(distance, parameters=network.tail.trainable_params())

    def __call__(self, tape: Tape, lr_image: Tensor, hr_image: Tensor) -> tuple[Value]:
        x, estimates = tape(self.begin, lr_image), []
        for _ in range(self.depth):
            x, estimate = tape(self.cell, x)
            estimates.append(estimate)
        return (tape(self.distance, hr_image, *estimates),)


class RecomputingStep(BlockStep):
    """Take so many images of a batch at a time, 0 for all; the batch must be a multiple of it.

    Args:
        clip, world_size: as for `GradientStep`.
    """

    def __init__(self, network: CSNLN, images: int = 0, clip: float = 0.0, world_size: int = 1) -> None:
        super().__init__(LossInCells(network), network.trainable_params(), clip, world_size)
        self.images = images

    def add(self, sums: dict[str, list[Tensor]], scale: Tensor, *batch: Tensor) -> tuple[Tensor]:
        add, count = super().add, len(batch[0]) // (self.images or len(batch[0]))
        parts = zip(*(ops.chunk(each, count) for each in batch), strict=True)
        return (sum(add(sums, scale / count, *part)[0] for part in parts) / count,)
