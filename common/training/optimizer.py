"""Adam as in PyTorch, on MindSpore's fused kernel; and a moving average of the weights.

`mindspore.nn.Adam` adds epsilon to the biased second moment, PyTorch to the corrected one (Kingma and Ba,
arXiv:1412.6980, algorithm 1): early in training they differ by a factor of 30 in epsilon.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, ops


class Adam:
    """Adam over a fixed list of parameters; `weight_decay` is added to the gradient, as in `torch.optim.Adam`."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.betas, self.epsilon, self.weight_decay = betas, epsilon, weight_decay
        self.steps = 0
        self.first = [zeros_like(parameter) for parameter in self.parameters]
        self.second = [zeros_like(parameter) for parameter in self.parameters]
        self._update = ops.Adam()

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        """Run one update; `gradients` in the order of the parameters."""
        self.steps += 1
        # The bias correction, in float64: the kernel would take 1 - 0.999**step in float32. Told that the powers are 0,
        # it makes none. It is of the betas as the kernel rounds them, since the kernel's 1 - beta is what it undoes.
        # Its epsilon is added to the uncorrected root: scaled so that the update is PyTorch's.
        beta1, beta2 = (float(np.float32(beta)) for beta in self.betas)
        root = math.sqrt(1 - beta2**self.steps)
        scalars = 0, 0, learning_rate * root / (1 - beta1**self.steps), beta1, beta2, self.epsilon * root
        scalars = [Tensor(x, ms.float32) for x in scalars]
        for parameter, first, second, gradient in zip(self.parameters, self.first, self.second, gradients, strict=True):
            if self.weight_decay:
                gradient = gradient + parameter * self.weight_decay
            self._update(parameter, first, second, *scalars, gradient)

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"optimizer.steps": np.int64(self.steps)}
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            arrays[f"optimizer.first.{parameter.name}"] = first.asnumpy()
            arrays[f"optimizer.second.{parameter.name}"] = second.asnumpy()
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state()`; raises KeyError where a moment is missing."""
        self.steps = int(arrays["optimizer.steps"])
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            first.set_data(Tensor(arrays[f"optimizer.first.{parameter.name}"]))
            second.set_data(Tensor(arrays[f"optimizer.second.{parameter.name}"]))


def zeros_like(parameter: Parameter) -> Parameter:
    return Parameter(Tensor(np.zeros(parameter.shape, np.float32)), name=f"moment.{parameter.name}")


class MovingAverage:
    """An exponential moving average of some parameters; a decay of 0 keeps none."""

    def __init__(self, parameters: Sequence[Parameter], decay: float) -> None:
        self.parameters, self.decay = list(parameters) if decay else [], decay
        self.averages = [Parameter(p.value(), name=f"ema.{p.name}") for p in self.parameters]

    def update(self) -> None:
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.set_data(ops.lerp(average, parameter, 1 - self.decay))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters hold their averages."""
        trained = [parameter.asnumpy().copy() for parameter in self.parameters]
        self._assign([average.asnumpy() for average in self.averages])
        try:
            yield
        finally:
            self._assign(trained)

    def state(self) -> dict[str, np.ndarray]:
        return {average.name: average.asnumpy() for average in self.averages}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state()`, or from the weights as they are when it was taken without an average."""
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.set_data(Tensor(arrays.get(average.name, parameter.asnumpy())))

    def _assign(self, arrays: Sequence[np.ndarray]) -> None:
        for parameter, array in zip(self.parameters, arrays, strict=True):
            ops.assign(parameter, Tensor(array))
