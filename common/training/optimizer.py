"""Adam as in PyTorch, on MindSpore's fused kernel; and a moving average of the weights.

`mindspore.nn.Adam` adds epsilon to the biased second moment, PyTorch to the corrected one (Kingma and Ba,
arXiv:1412.6980, algorithm 1): early in training they differ by a factor of 30 in epsilon.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, mutable, nn, ops

from common.training.step import for_each, joined, parted, places

write = ops.MultitypeFuncGraph("write")


@write.register("Tensor", "Tensor")
def _write(parameter: Tensor, value: Tensor) -> Tensor:
    return ops.assign(parameter, value)


class _Update(nn.Cell):
    """(gradients, learning rate and epsilon for the kernel) -> writes parameters and moments, all of them at once."""

    def __init__(self, parameters: Sequence[Parameter], betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(auto_prefix=False)
        self.parameters, (self.firsts, size) = ms.ParameterTuple(parameters), places(parameters)
        self.row, self.first, self.second = (row_of(size, name) for name in ("weights", "first", "second"))
        self.betas, self.weight_decay, self.adam = betas, weight_decay, ops.Adam()

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor, epsilon: Tensor) -> Tensor:
        row, gradient = joined(self.parameters), joined(gradients)
        if self.weight_decay:
            gradient = gradient + row * self.weight_decay
        ops.assign(self.row, row)
        done = self.adam(self.row, self.first, self.second, 0.0, 0.0, rate, *self.betas, epsilon, gradient)
        return for_each(write, self.parameters, parted(ops.depend(self.row, done), self.firsts, gradients))


class Adam:
    """Adam over a fixed list of parameters; `weight_decay` is added to the gradient, as in `torch.optim.Adam`."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters, self.betas, self.epsilon, self.steps = list(parameters), betas, epsilon, 0
        self._update = _Update(parameters, betas, weight_decay)
        self._moments = {f"optimizer.{name}.": getattr(self._update, name) for name in ("first", "second")}

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        """Run one update; `gradients` in the order of the parameters."""
        self.steps += 1
        # The bias correction, in float64: the kernel would take 1 - 0.999**step in float32. Told that the powers are 0,
        # it makes none. It is of the betas as the kernel rounds them, since the kernel's 1 - beta is what it undoes.
        # Its epsilon stands beside the uncorrected root: scaled so that the update is PyTorch's.
        beta1, beta2 = (float(np.float32(beta)) for beta in self.betas)
        root = math.sqrt(1 - beta2**self.steps)
        scalars = learning_rate * root / (1 - beta1**self.steps), self.epsilon * root
        self._update(mutable(tuple(gradients)), *(Tensor(x, ms.float32) for x in scalars))

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"optimizer.steps": np.int64(self.steps)}
        for prefix, row in self._moments.items():
            arrays |= parts_of(row, self.parameters, prefix)
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state()`; raises KeyError where a moment is missing."""
        self.steps = int(arrays["optimizer.steps"])
        for prefix, row in self._moments.items():
            fill(row, [arrays[prefix + parameter.name] for parameter in self.parameters])


class _Average(nn.Cell):
    """() -> writes the moving average, in one row."""

    def __init__(self, parameters: Sequence[Parameter], decay: float) -> None:
        super().__init__(auto_prefix=False)
        self.parameters, self.share = ms.ParameterTuple(parameters), 1 - decay
        self.row = row_of(places(parameters)[1], "average")

    def construct(self) -> Tensor:
        return ops.assign(self.row, ops.lerp(self.row, joined(self.parameters), self.share))


class MovingAverage:
    """An exponential moving average of some parameters; a decay of 0 keeps none."""

    def __init__(self, parameters: Sequence[Parameter], decay: float) -> None:
        self.parameters = list(parameters) if decay else []
        self._average = _Average(parameters, decay) if decay else None
        self.load({})

    def update(self) -> None:
        if self._average:
            self._average()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters hold their averages."""
        trained = [parameter.asnumpy().copy() for parameter in self.parameters]
        self._assign(self.state().values())
        try:
            yield
        finally:
            self._assign(trained)

    def state(self) -> dict[str, np.ndarray]:
        return parts_of(self._average.row, self.parameters, "ema.") if self._average else {}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state()`, or from the weights as they are when it was taken without an average."""
        if self._average:
            fill(self._average.row, [arrays.get(f"ema.{p.name}", p.asnumpy()) for p in self.parameters])

    def _assign(self, arrays: Iterable[np.ndarray]) -> None:
        for parameter, array in zip(self.parameters, arrays, strict=True):
            ops.assign(parameter, Tensor(array))


def row_of(size: int, name: str) -> Parameter:
    return Parameter(Tensor(np.zeros(size, np.float32)), name=f"row.{name}", requires_grad=False)


def parts_of(row: Parameter, parameters: Sequence[Parameter], prefix: str) -> dict[str, np.ndarray]:
    """Return the values of a row by the parameters' names, in their shapes."""
    parts = np.split(row.asnumpy(), places(parameters)[0][1:])
    return {prefix + p.name: part.reshape(p.shape) for p, part in zip(parameters, parts, strict=True)}


def fill(row: Parameter, arrays: Sequence[np.ndarray]) -> None:
    row.set_data(Tensor(np.concatenate([np.ravel(array) for array in arrays])))
