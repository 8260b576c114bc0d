"""What an exported file has to pass: run on random inputs at two sizes, it answers as the network does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common import UserError

if TYPE_CHECKING:
    from mindspore import nn

# Relative to the largest absolute output. Measured: below 1e-6 for convolutions, 2e-5 for a bilinear resize by matmul.
TOLERANCE = 5e-5

Arrays = Sequence[np.ndarray]
Sizes = Sequence[Mapping[str, int]]
Run = Callable[[Arrays], Arrays]


class ExportError(UserError):
    """The network cannot be written in this format, or the written file does not answer as the network does."""


class Port(NamedTuple):
    """One float32 input.

    Attributes:
        name: how callers of the exported file address it.
        shape: numbers are fixed; a string names a free size, and the same string is the same size everywhere.
        high: random values for the comparison are drawn from [0, high): 255 for a network that counts grey levels.
    """

    name: str
    shape: tuple[int | str, ...]
    high: float = 1.0

    def at(self, size: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with the free sizes filled in."""
        return tuple(size[length] if isinstance(length, str) else length for length in self.shape)


class Trial(NamedTuple):
    """One random input and the network's own answer to it."""

    size: Mapping[str, int]
    arrays: Arrays
    expected: Arrays


@dataclass(frozen=True)
class Proof:
    """The network to be exported, and the comparison that its file has to pass.

    Raises:
        ValueError: `sizes` do not name the free sizes, or do not vary them.
    """

    network: "nn.Cell"
    inputs: Sequence[Port]
    outputs: Sequence[str]
    sizes: Sizes
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        free = {length for port in self.inputs for length in port.shape if isinstance(length, str)}
        given = [dict(size) for size in self.sizes]
        if not given or any(set(size) != free for size in given):
            raise ValueError(f"each of `sizes` must give the free sizes {sorted(free)}, found {given}")
        stuck = sorted(name for name in free if len({size[name] for size in given}) == 1)
        if len(given) > 1 and stuck:
            raise ValueError(f"`sizes` must hold two different values of {', '.join(stuck)}, found {given}")

    def random_inputs(self, number: int) -> Arrays:
        """The float32 inputs of trial `number`, the same in every run."""
        rng = np.random.default_rng(number)
        size = self.sizes[number]
        return [rng.random(port.at(size), dtype=np.float32) * np.float32(port.high) for port in self.inputs]

    def trials(self) -> list[Trial]:
        """The network's own answers, computed eagerly, that is by another road than the exported graph."""
        from mindspore import Tensor

        trials = []
        for number, size in enumerate(self.sizes):
            arrays = self.random_inputs(number)
            expected = as_arrays(self.network(*map(Tensor, arrays)))
            if len(expected) != len(self.outputs):
                raise ValueError(f"the network returns {len(expected)} outputs, named are {tuple(self.outputs)}")
            trials.append(Trial(size, arrays, expected))
        return trials

    def compare(self, load: Callable[[], Run], trials: Sequence[Trial]) -> str:
        """Load the file and run it on each trial.

        Returns:
            A phrase with the sizes and the largest error.

        Raises:
            ExportError: the file does not load, does not run, or gives other shapes or values.
        """
        try:
            run = load()
        except Exception as error:  # each runtime has exceptions of its own
            raise ExportError(f"the exported file does not load: {first_line(error)}; nothing was written") from error
        worst = max(self._error(run, trial) for trial in trials)
        shown = " and ".join("x".join(map(str, size.values())) for size in self.sizes if size) or "its one size"
        return f"loaded again and compared at {shown}, largest error {worst:.1e} of the largest value"

    def _error(self, run: Run, trial: Trial) -> float:
        where = ", ".join(f"{name} {length}" for name, length in trial.size.items()) or "its one size"
        try:
            found = run(trial.arrays)
        except Exception as error:
            message = f"the exported file does not run at {where}: {first_line(error)}; nothing was written"
            raise ExportError(message) from error
        pairs = zip(self.outputs, found, trial.expected, strict=True)
        return max(self._difference(f"{name} at {where}", got, want) for name, got, want in pairs)

    def _difference(self, what: str, got: np.ndarray, want: np.ndarray) -> float:
        """The largest error over the largest value."""
        if got.shape != want.shape:
            raise ExportError(f"{what}: the file gives {got.shape}, the network {want.shape}; nothing was written")
        peak, error = float(np.abs(want).max()), float(np.abs(got.astype(np.float64) - want).max())
        if not error <= self.tolerance * peak:  # `not <=` so that NaN on either side is caught too
            raise ExportError(
                f"{what}: the file differs from the network by up to {error:.3g} where values reach {peak:.3g} "
                f"and {self.tolerance * peak:.3g} is allowed; nothing was written"
            )
        return error / peak if peak else 0.0


def free_tensor(port: Port) -> Any:
    """A MindSpore placeholder of the port's shape, its free sizes unknown."""
    import mindspore as ms

    shape = [None if isinstance(length, str) else length for length in port.shape]
    return ms.Tensor(shape=shape, dtype=ms.float32)


def wrapped(network: "nn.Cell") -> "nn.Cell":
    """A new cell around the network, with the same parameters under the same names and its own compiled graphs."""
    from mindspore import nn

    class Wrapped(nn.Cell):
        def __init__(self) -> None:
            super().__init__(auto_prefix=False)
            self.network = network

        def construct(self, *inputs):
            return self.network(*inputs)

    return Wrapped().set_train(False)


def as_arrays(output: Any) -> Arrays:
    """What a cell returned, a tensor or a tuple of tensors, as a tuple of arrays."""
    return tuple(tensor.asnumpy() for tensor in (output if isinstance(output, tuple | list) else (output,)))


def first_line(error: BaseException) -> str:
    """The first line of an error's message: MindSpore's go on with a C++ call stack."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
