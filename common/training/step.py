"""One compiled graph from a batch to gradients that are averaged over the workers, unscaled and clipped."""

import itertools
import math
from collections.abc import Callable, Sequence

import mindspore as ms
from mindspore import Tensor, amp, nn, ops

from common import UserError
from common.config import TrainOptions
from common.runtime import Runtime, keep_freed_memory


class L1Loss(nn.Cell):
    """(lr_image, hr_image) -> (mean absolute difference of the network's image from HR,), in units of its range."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor, hr_image: Tensor) -> tuple[Tensor]:
        return (ops.abs(self.network(lr_image) - hr_image).mean(),)


# Python loops over hundreds of gradients are unrolled by recursion and exceed the compiler's depth; maps do not.
for_each = ops.HyperMap()
flat, part = ops.MultitypeFuncGraph("flat"), ops.MultitypeFuncGraph("part")


@flat.register("Tensor")
def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape((-1,))


@part.register("Tensor", "Number", "Tensor")
def _part(row: Tensor, first: int, like: Tensor) -> Tensor:
    return row[first : first + like.size].reshape(like.shape)


def joined(tensors: tuple[Tensor, ...]) -> Tensor:
    """Return all values in one row: one operator, and one all-reduce, for hundreds of gradients."""
    return ops.concat(for_each(flat, tensors))


def parted(row: Tensor, firsts: tuple[int, ...], like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the tensors that begin at these places of a row, in the shapes of others."""
    return for_each(ops.partial(part, row), firsts, like)


class GradientStep(nn.Cell):
    """(control, *batch) -> (values, gradients, norm, stop), by loss: (*batch) -> (loss, parts ...), scalars.

    control: the loss scale, and whether this worker was asked to stop; values: the loss and its parts; norm: of all
    gradients before the clip; stop: above zero when any worker was asked to stop, so that all end after the same step.
    `clip`: largest global norm, as in `torch.nn.utils.clip_grad_norm_`; 0 for none.
    """

    def __init__(
        self, loss: Callable[..., tuple], parameters: ms.ParameterTuple, clip: float = 0.0, world_size: int = 1
    ) -> None:
        super().__init__(auto_prefix=False)
        keep_freed_memory()

        def scaled(scale: Tensor, *batch: Tensor) -> tuple:
            values = loss(*batch)
            return values[0] * scale, values

        self.value_and_gradient = ms.value_and_grad(scaled, None, parameters, has_aux=True)
        self.finish = Finish(parameters, clip, world_size)

    @ms.jit
    def construct(self, control: Tensor, *batch: Tensor) -> tuple:
        (_, values), gradients = self.value_and_gradient(control[0], *batch)
        values, row, norm, stop = self.finish(control, values, joined(gradients))
        return values, parted(row, self.finish.firsts, gradients), norm, stop


class Finish(nn.Cell):
    """(control, values, gradients times the loss scale) -> what `GradientStep` gives; the gradients in one row."""

    def __init__(self, parameters: Sequence[ms.Parameter], clip: float = 0.0, world_size: int = 1) -> None:
        super().__init__(auto_prefix=False)
        self.clip, self.world_size, self.one = clip, world_size, Tensor(1.0, ms.float32)
        *firsts, size = itertools.accumulate((parameter.size for parameter in parameters), initial=0)
        self.firsts, self.side = tuple(firsts), math.isqrt(size - 1)
        self.all_reduce = ops.AllReduce() if world_size > 1 else None

    def construct(self, control: Tensor, values: tuple[Tensor, ...], row: Tensor) -> tuple:
        scale, stop, size = control[0], control[1], row.shape[0]
        if self.world_size > 1:
            everything = self.all_reduce(joined((row, *values, stop)))
            row, means = everything[:size], everything[size:] / self.world_size
            values, stop = [means[place] for place in range(len(values))], means[-1]
            scale = scale * self.world_size
        norm = ops.sqrt(sum_of_squares(row, self.side)) / scale
        factor = self.one / scale
        if self.clip > 0:
            factor = factor * ops.minimum(self.clip / (norm + 1e-6), self.one)
        return values, row * factor, norm, stop


def sum_of_squares(row: Tensor, side: int) -> Tensor:
    """Multiply, since reductions are slow on CPU: first `side` rows, so that no sum has millions of terms."""
    square, rest, ones = row[: side * side].reshape((side, side)), row[side * side :], ops.ones((side, 1), row.dtype)
    found = ops.matmul(ones.reshape((1, -1)), ops.matmul(square * square, ones))
    return (found + ops.matmul(rest.reshape((1, -1)), rest.reshape((-1, 1)))).reshape(())


def mixed_precision(network: nn.Cell, options: TrainOptions, here: Runtime) -> nn.Cell:
    """Set the network's cells to 16-bit arithmetic, as --amp_level says; parameters stay float32.

    Return it with a float32 output, which is otherwise of 16 bits.
    """
    level = options.amp_level
    if level == "O0":
        return network
    if here.device == "CPU":  # float16 convolutions are no faster there, all else is 2 to 4 times slower
        raise UserError(f"--amp_level {level} needs a GPU or Ascend: the CPU computes in float32 only; leave it at O0")
    return amp.auto_mixed_precision(network, level, dtype=getattr(ms, options.amp_dtype))
