"""Training in the memory of one block: what repeats is compiled once, forwards and backwards, and run in a Python loop.

In one graph MindSpore compiles each of hundreds of equal convolutions, and on CPU each keeps a work space for itself.
Here a block is a function of its inputs and weights, in one `Repeated`; a `Tape` runs it with the weights of one block
after the other, and then the gradients in the opposite order. (`Cell.recompute()` makes steps slower, and the memory no
smaller, on CPU. The gradient of a closure over `*row` fails, that of a cell does not. MindSpore 2.10.)
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import mindspore as ms
from mindspore import Parameter, Tensor, mutable, nn, ops

from common.runtime import keep_freed_memory
from common.training.step import Finish, joined, parted

Row = tuple[Tensor, ...]


class _Settled(nn.Cell):
    def construct(self, computed: Tensor, known: Tensor) -> Tensor:
        return known

    def bprop(self, computed: Tensor, known: Tensor, out: Tensor, gradient: Tensor) -> Row:
        return gradient, gradient


_settled = _Settled()


def settled(computed: Tensor, known: Row, place: int) -> Tensor:
    """Return known[place] if anything is known, with the gradient of what was computed, which is then dead code."""
    return _settled(computed, known[place]) if len(known) else computed


class Repeated:
    """A block of a network, compiled once for each shape of its inputs.

    Args:
        block: (*inputs and weights) -> one or several results. One that `keeps` is called (known, *inputs and weights)
            -> (*results, *kept); known is () or, for the gradients, what it kept, see `settled`.
        parameters: that the block reads by itself, the same in each use.
    """

    def __init__(
        self, block: Callable, results: int = 1, keeps: bool = False, parameters: Sequence[Parameter] = ()
    ) -> None:
        self.block, self.results, self.keeps, self.parameters = block, results, keeps, ms.ParameterTuple(parameters)
        self._forward: dict[int, nn.Cell] = {}
        self._backward: dict[tuple[bool, ...], nn.Cell] = {}

    def graphs(self, wanted: tuple[bool, ...]) -> tuple[nn.Cell, nn.Cell]:
        """Return the block, and (*inputs, *kept, *gradients by results) -> those by wanted inputs, own parameters."""
        inputs = len(wanted)
        if inputs not in self._forward:
            self._forward[inputs] = _Forward(self, inputs)
        if wanted not in self._backward:
            self._backward[wanted] = _Backward(self, wanted)
        return self._forward[inputs], self._backward[wanted]


class _Forward(nn.Cell):
    def __init__(self, of: Repeated, inputs: int, results: int = 0) -> None:
        super().__init__(auto_prefix=False)
        self.block, self.keeps, self.is_row = of.block, of.keeps, of.results > 1
        self.inputs, self.results = inputs, results

    def construct(self, *row: Tensor) -> Row:
        if self.keeps:
            found = self.block(row[self.inputs :], *row[: self.inputs])
            return found[: self.results] if self.results else found
        found = self.block(*row)
        return found if self.is_row else (found,)


class _Backward(nn.Cell):
    def __init__(self, of: Repeated, wanted: tuple[bool, ...]) -> None:
        super().__init__(auto_prefix=False)
        runs = [[*run] for is_wanted, run in groupby(range(len(wanted)), wanted.__getitem__) if is_wanted]
        self.runs = tuple((run[0], run[-1] + 1) for run in runs)  # slices compile sooner than a loop over 90 places
        self.forward, self.parameters, self.above = _Forward(of, len(wanted), of.results), of.parameters, -of.results
        self.gradient = ops.GradOperation(get_all=True, get_by_list=len(of.parameters) > 0, sens_param=True)

    def construct(self, *row: Tensor) -> Row:
        inputs, above = row[: self.above], row[self.above :]
        if len(self.parameters):
            found, own = self.gradient(self.forward, self.parameters)(*inputs, above)
        else:
            found, own = self.gradient(self.forward)(*inputs, above), ()
        chosen = ()
        for start, stop in self.runs:
            chosen = chosen + found[start:stop]
        return chosen + own


class Value(NamedTuple):
    """A tensor on the tape, and the gradient by it so far: a list of none or one; None where it is not wanted."""

    tensor: Tensor
    gradient: list[Tensor] | None = None


class Tape:
    """Runs blocks, and once their gradients; `gradients` are those by parameters' names, lists of none or one."""

    def __init__(self, gradients: dict[str, list[Tensor]]) -> None:
        self.gradients, self.uses = gradients, []

    def __call__(self, block: Repeated, *inputs: Value | Parameter | Tensor) -> Value | tuple[Value, ...]:
        """Run a block; by plain tensors, and parameters that are not trained, no gradient is wanted."""
        values = [self._value(given) for given in inputs]
        row, places = [value.tensor for value in values], [value.gradient for value in values]
        forward, backward = block.graphs(tuple(place is not None for place in places))
        found = as_row(forward(*row))
        places = [place for place in places if place is not None]
        places += [self.gradients.setdefault(parameter.name, []) for parameter in block.parameters]
        results = [Value(tensor, [] if places else None) for tensor in found[: block.results]]
        if places:  # of the results not the tensors: whoever reads them holds them
            below = [(value.gradient, value.tensor.shape, value.tensor.dtype) for value in results]
            self.uses.append((backward, [*row, *found[block.results :]], places, below))
        return results[0] if block.results == 1 else tuple(results)

    def _value(self, given: Value | Parameter | Tensor) -> Value:
        if not isinstance(given, Parameter):
            return given if isinstance(given, Value) else Value(given)
        # A graph would be compiled anew for each parameter, but not for its tensor.
        return Value(Tensor(given), self.gradients.setdefault(given.name, []) if given.requires_grad else None)

    def backward(self, loss: Value, scale: Tensor) -> None:
        """Add the gradients of loss * scale; what a block kept is freed when it is done."""
        loss.gradient.append(scale)
        while self.uses:
            backward, row, places, below = self.uses.pop()
            if any(gradient for gradient, *_ in below):
                above = [gradient[0] if gradient else ops.zeros(shape, dtype) for gradient, shape, dtype in below]
                for place, gradient in zip(places, as_row(backward(*row, *above)), strict=True):
                    place[:] = [place[0] + gradient] if place else [gradient]


class BlockStep:
    """`GradientStep` in the memory of one block; loss: (tape, *batch) -> loss and parts, on the tape."""

    def __init__(
        self,
        loss: Callable[..., Sequence[Value]],
        parameters: Sequence[Parameter],
        clip: float = 0.0,
        world_size: int = 1,
    ) -> None:
        keep_freed_memory()
        self.loss, self.parameters = loss, parameters
        self.finish = Finish(parameters, clip, world_size)

    def __call__(self, control: Tensor, *batch: Tensor) -> tuple:
        sums: dict[str, list[Tensor]] = {}
        values = self.add(sums, control[0], *batch)
        gradients = tuple(sums[parameter.name][0] for parameter in self.parameters)
        values, row, norm, stop = self.finish(control, mutable(values), joined(gradients))
        return values, parted(row, self.finish.firsts, gradients), norm, stop

    def add(self, sums: dict[str, list[Tensor]], scale: Tensor, *batch: Tensor) -> Row:
        """Return the loss of a batch and its parts; add the loss's gradients, times `scale`."""
        tape = Tape(sums)
        values = self.loss(tape, *batch)
        tape.backward(values[0], scale)
        return tuple(value.tensor for value in values)


def as_row(found: Tensor | Row) -> Row:
    return found if isinstance(found, tuple) else (found,)
