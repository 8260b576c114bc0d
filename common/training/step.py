"""One compiled graph from a batch to gradients that are averaged over the workers, unscaled and clipped."""

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, amp, nn, ops

from common import UserError
from common.runtime import keep_freed_memory


class L1Loss(nn.Cell):
    """(lr_image, hr_image) -> (mean absolute difference of the network's image from HR,), in units of its range."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor, hr_image: Tensor) -> tuple[Tensor]:
        return (ops.abs(self.network(lr_image) - hr_image).mean(),)


# Python loops over hundreds of gradients are unrolled by recursion and exceed the compiler's depth; maps do not.
for_each = ops.HyperMap()
multiply = ops.MultitypeFuncGraph("multiply")
square_sum = ops.MultitypeFuncGraph("square_sum")


@multiply.register("Tensor", "Tensor")
def _multiply(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor


@square_sum.register("Tensor")
def _square_sum(gradient: Tensor) -> Tensor:
    flat = gradient.reshape((1, -1))  # as a product: reductions are slow on CPU
    return ops.matmul(flat, flat.reshape((-1, 1))).reshape(())


class GradientStep(nn.Cell):
    """(control, *batch) -> (values, gradients, norm, stop).

    control holds the loss scale and whether this worker was asked to stop; values are the loss and its parts; norm is
    the global norm of the gradients before the clip; stop is above zero when any worker was asked to stop, so that all
    end after the same step.

    Args:
        loss: (*batch) -> (loss, parts ...), scalars.
        parameters: what is trained.
        clip: largest global norm, as in `torch.nn.utils.clip_grad_norm_`; 0 for none.
        world_size: number of workers.
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
        return self.finish(control, values, gradients)


class Finish(nn.Cell):
    """(control, values, gradients) -> (values, gradients, norm, stop), see `GradientStep`: what is left to do when one
    worker has its gradients, multiplied by the loss scale."""

    def __init__(self, parameters: ms.ParameterTuple, clip: float = 0.0, world_size: int = 1) -> None:
        super().__init__(auto_prefix=False)
        self.clip, self.world_size = clip, world_size
        self.one = Tensor(1.0, ms.float32)
        self.average = nn.DistributedGradReducer(parameters, True, world_size) if world_size > 1 else None
        self.add_up = ops.AllReduce() if world_size > 1 else None

    def construct(self, control: Tensor, values: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> tuple:
        scale, stop = control[0], control[1]
        if self.world_size > 1:
            gradients = self.average(gradients)
            values = [self.add_up(value) / self.world_size for value in values]
            stop = self.add_up(stop)
        norm = global_norm(gradients) / scale
        factor = self.one / scale
        if self.clip > 0:
            factor = factor * ops.minimum(self.clip / (norm + 1e-6), self.one)
        return values, for_each(ops.partial(multiply, factor), gradients), norm, stop


def global_norm(gradients: tuple[Tensor, ...]) -> Tensor:
    """Euclidean norm of all gradients as one vector."""
    return ops.sqrt(ops.addn(for_each(square_sum, gradients)))


def mixed_precision(network: nn.Cell, level: str, device: str, dtype: str = "float16") -> nn.Cell:
    """The network with 16-bit arithmetic, its parameters and output still float32; for "O0" the network itself.

    Args:
        level: of `mindspore.amp.auto_mixed_precision`: "O2" leaves normalisation layers in float32, "O3" nothing.
        dtype: "float16" or "bfloat16".
    """
    if level == "O0":
        return network
    if device == "CPU":  # float16 convolutions are no faster there, all else is 2 to 4 times slower
        raise UserError(f"--amp_level {level} needs a GPU or Ascend: the CPU computes in float32 only; leave it at O0")
    return amp.auto_mixed_precision(network, level, dtype=getattr(ms, dtype))
