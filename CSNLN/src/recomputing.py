"""Gradients in the memory of one cell: the cells are run one by one, and each again when its gradients are wanted.

Between the cells only the LR features and the HR estimates are kept. What is compiled is one cell, whatever the depth.
(`Cell.recompute()` makes the step slower and the memory no smaller on CPU, MindSpore 2.10; `Cell.bprop` may not read
parameters in graph mode.)
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, mutable, nn, ops

from common.training import Finish, for_each

from .CSNLN import CSNLN

add = ops.MultitypeFuncGraph("add")


@add.register("Tensor", "Tensor")
def _add(one: Tensor, other: Tensor) -> Tensor:
    return one + other


class RecomputingStep:
    """What `GradientStep` of the L1 loss does, in the memory of one cell. To be called in graph mode.

    Args:
        network: in half precision if its layers are.
        pictures: how many of a batch are taken at a time; the batch must be a multiple of it.
        clip, world_size: as for `GradientStep`.
    """

    def __init__(self, network: CSNLN, pictures: int, clip: float = 0.0, world_size: int = 1) -> None:
        self.cell, self.depth, self.pictures = network.SEM, network.depth, pictures
        self.beginning, self.loss = Beginning(network), Loss(End(network))
        self.beginning_backward, self.cell_backward = Backward(self.beginning), Backward(self.cell)
        self.parameters = ms.ParameterTuple(network.trainable_params())
        self.finish = Finish(self.parameters, clip, world_size)

    def __call__(self, control: Tensor, lr_image: Tensor, hr_image: Tensor) -> tuple:
        """(control, batch) -> (values, gradients, norm, stop), as of `GradientStep`."""
        firsts = range(0, len(lr_image), self.pictures)
        scale, value = control[0] / len(firsts), 0.0
        parts = self.beginning_backward, self.cell_backward, self.loss
        sums = [zeros(part.weights) for part in parts]
        for first in firsts:
            chosen = slice(first, first + self.pictures)
            loss, sums = self.accumulate(scale, lr_image[chosen], hr_image[chosen], sums)
            value = value + loss / len(firsts)
        found = {}
        for part, gradients in zip(parts, sums, strict=True):
            found |= {weight.name: gradient for weight, gradient in zip(part.weights, gradients, strict=True)}
        gradients = tuple(found[weight.name] for weight in self.parameters)
        return self.finish(control, mutable((value,)), mutable(gradients))

    def accumulate(
        self, scale: Tensor, lr_image: Tensor, hr_image: Tensor, sums: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Tensor, Sequence[tuple[Tensor, ...]]]:
        """The loss of some images; their gradients times `scale` are added to the sums of each part."""
        of_beginning, of_cell, of_end = sums
        features, estimates = [self.beginning(lr_image)], []
        for _ in range(self.depth):
            following, estimate = self.cell(features[-1])
            features.append(following)
            estimates.append(estimate)
        loss, of_estimates, of_end = self.loss(scale, mutable(tuple(estimates)), hr_image, mutable(of_end))
        below, above = ops.zeros_like(features.pop()), list(of_estimates)
        del estimates, of_estimates  # each is freed as soon as its cell is done
        for _ in range(self.depth):
            sensitivities = mutable((below, above.pop()))
            below, of_cell = self.cell_backward(features.pop(), sensitivities, mutable(of_cell))
        _, of_beginning = self.beginning_backward(lr_image, below, mutable(of_beginning))
        return loss, (of_beginning, of_cell, of_end)


def zeros(weights: Sequence[ms.Parameter]) -> tuple[Tensor, ...]:
    """Sums of gradients to begin with."""
    return tuple(ops.zeros(weight.shape, weight.dtype) for weight in weights)


class Beginning(nn.Cell):
    """LR image -> LR features."""

    def __init__(self, network: CSNLN) -> None:
        super().__init__(auto_prefix=False)
        self.sub_mean, self.head = network.sub_mean, network.head

    def construct(self, lr_image: Tensor) -> Tensor:
        return self.head(self.sub_mean(lr_image))


class End(nn.Cell):
    """HR estimates of all cells, and the HR image -> mean absolute difference."""

    def __init__(self, network: CSNLN) -> None:
        super().__init__(auto_prefix=False)
        self.tail, self.add_mean = network.tail, network.add_mean

    def construct(self, estimates: tuple[Tensor, ...], hr_image: Tensor) -> Tensor:
        sr_image = self.add_mean(self.tail(ops.concat(estimates, 1)))
        return ops.abs(sr_image.astype(ms.float32) - hr_image).mean()


class Loss(nn.Cell):
    """(scale, estimates, HR image, sums) -> the loss, its gradients times the scale by the estimates, and the sums
    with those by the weights of the end."""

    def __init__(self, end: End) -> None:
        super().__init__(auto_prefix=False)
        self.weights = ms.ParameterTuple(end.trainable_params())

        def scaled(estimates: tuple[Tensor, ...], hr_image: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            loss = end(estimates, hr_image)
            return loss * scale, loss

        self.end, self.gradient = end, ms.value_and_grad(scaled, 0, self.weights, has_aux=True)

    def construct(
        self, scale: Tensor, estimates: tuple[Tensor, ...], hr_image: Tensor, sums: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        (_, loss), (of_estimates, of_weights) = self.gradient(estimates, hr_image, scale)
        return loss, of_estimates, for_each(add, sums, of_weights)


class Backward(nn.Cell):
    """Runs a part of the network again for its gradients.

    (x, gradients by the part's results, sums) -> (gradient by x, sums with the gradients by the part's weights).
    """

    def __init__(self, part: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.part, self.weights = part, ms.ParameterTuple(part.trainable_params())
        self.gradient = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

    def construct(
        self, x: Tensor, above: Tensor | tuple[Tensor, ...], sums: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        (below,), of_weights = self.gradient(self.part, self.weights)(x, above)
        return below, for_each(add, sums, of_weights)
