"""Writes a network as an ONNX model by running its `construct` once on symbols, each of which records a node.

No compiler runs and nothing is computed, so an export takes a fraction of a second, and the sizes that a `Port` leaves
free are free in every node. Cells and operators in `CELLS`, or in a table of the model, are recorded as these say, and
other cells are entered.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any
from unittest import mock

import mindspore as ms
import numpy as np
import onnx
from mindspore import Tensor, nn, ops
from onnx import TensorProto, helper, numpy_helper

from common.export.export import ExportError, Port, first_line

OPSET, IR_VERSION = 17, 8
END = np.iinfo(np.int64).max  # of a slice: to the end
TYPES = {ms.float32: TensorProto.FLOAT, ms.float64: TensorProto.DOUBLE}
Record = Callable[..., Any]  # (cell, *symbols) -> symbols


@dataclass(frozen=True)
class Free:
    """The length of an axis that is known only when the model runs: ratio * name + more."""

    name: str
    ratio: Fraction = Fraction(1)
    more: int = 0

    def __add__(self, number: int) -> "Free":
        return Free(self.name, self.ratio, self.more + number)

    def __sub__(self, number: int) -> "Free":
        return self + -number

    def __mul__(self, number: int) -> "Free":
        return Free(self.name, self.ratio * number, self.more * number)

    __rmul__ = __mul__

    def __floordiv__(self, number: int) -> "Free":
        return Free(self.name, self.ratio / number, self.more // number)

    def __str__(self) -> str:
        said = self.name if self.ratio == 1 else f"{self.ratio}*{self.name}"
        return said + (f"{self.more:+d}" if self.more else "")


Length = int | Free


def method(operator: str, swap: bool = False) -> Callable[["Symbol", Any], "Symbol"]:
    return lambda self, other: self.graph.broadcast(operator, *((other, self) if swap else (self, other)))


class Symbol:
    """A value of the graph: its name, and its shape of known and free lengths."""

    __array_ufunc__ = None  # NumPy leaves `array * symbol` to the symbol

    def __init__(self, graph: "Graph", name: str, shape: Sequence[Length], dtype: Any = ms.float32) -> None:
        self.graph, self.name, self.shape, self.dtype = graph, name, tuple(shape), dtype

    __add__, __radd__, __sub__, __rsub__ = method("Add"), method("Add", True), method("Sub"), method("Sub", True)
    __mul__, __rmul__, __truediv__ = method("Mul"), method("Mul", True), method("Div")

    def __neg__(self) -> "Symbol":
        return self.graph.node("Neg", [self], self.shape)

    def __getitem__(self, index: slice | tuple[slice, ...]) -> "Symbol":
        axes, starts, stops, shape = [], [], [], list(self.shape)
        for axis, part in enumerate(index if isinstance(index, tuple) else (index,)):
            if part != slice(None):
                start, stop = part.start or 0, END if part.stop is None else part.stop
                axes, starts, stops = [*axes, axis], [*starts, start], [*stops, stop]
                shape[axis] = sliced(self.shape[axis], part)
        return self.graph.node("Slice", [self, *map(self.graph.ints, (starts, stops, axes))], shape)

    def astype(self, dtype: Any) -> "Symbol":
        """Do as `Tensor.astype`, between float32 and float64."""
        return self if dtype == self.dtype else self.graph.node("Cast", [self], self.shape, dtype, to=TYPES[dtype])

    def reshape(self, *shape: Any) -> "Symbol":
        """Do as `Tensor.reshape`; at most one length is -1."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        rest = math.prod(self.shape) // math.prod(length for length in shape if length != -1)
        found = [rest if length == -1 else length for length in shape]
        return self.graph.node("Reshape", [self, self.graph.ints(shape)], found)


class Graph:
    """Nodes in order, and the constants that they read; none of them takes a name of `ports`."""

    def __init__(self, ports: Sequence[str]) -> None:
        self.ports, self.numbers = ports, itertools.count()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.places: dict[Any, tuple[str, Any]] = {}  # constant -> its name; the object is kept, or its id would return

    def node(
        self, operator: str, inputs: Sequence[Symbol], shape: Sequence[Length], dtype: Any = ms.float32, **more: Any
    ) -> Symbol:
        name = f"{operator}_{next(self.numbers)}"
        self.nodes.append(helper.make_node(operator, [symbol.name for symbol in inputs], [name], name, **more))
        return Symbol(self, name, shape, dtype)

    def broadcast(self, operator: str, first: Any, second: Any) -> Symbol:
        """Record a node of two inputs, either of which may be a tensor or a number."""
        first, second = self.symbol(first), self.symbol(second)
        rank = max(len(first.shape), len(second.shape))
        pairs = zip(*((1,) * (rank - len(s.shape)) + s.shape for s in (first, second)), strict=True)
        return self.node(operator, [first, second], [b if a == 1 else a for a, b in pairs], first.dtype)

    def symbol(self, value: Any) -> Symbol:
        """Return a symbol as it is; a tensor, a parameter (under its name) or a number as a constant."""
        if isinstance(value, Symbol):
            return value
        if not isinstance(value, Tensor):
            return self.constant(("number", float(value)), value, np.float32(value))
        return self.constant(id(value), value, value.asnumpy(), value.name if isinstance(value, ms.Parameter) else "")

    def ints(self, values: Sequence[int]) -> Symbol:
        return self.constant(("ints", *values), values, np.array(values, np.int64))

    def constant(self, key: Any, owner: Any, array: np.ndarray, name: str = "") -> Symbol:
        """Store the array, once for each key."""
        if key not in self.places:
            name = name if name not in ("", *self.constants, *self.ports) else f"constant_{len(self.constants)}"
            self.places[key] = name, owner
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return Symbol(self, self.places[key][0], array.shape)


def sliced(length: Length, part: slice) -> Length:
    """Return the length of an axis after a slice of step 1."""
    if isinstance(length, int):
        return len(range(length)[part])
    start, stop, from_end = part.start or 0, part.stop or 0, part.stop is None or part.stop < 0
    return stop - start if (start < 0) == from_end else length + stop - start


# ---------------------------------------------------------------------------- MindSpore's cells and functions as nodes


def conv2d(operator: ops.Conv2D, x: Symbol, weight: Tensor) -> Symbol:
    weight, stride, pads = x.graph.symbol(weight), operator.stride[-1], operator.pad
    sides = zip(x.shape[2:], weight.shape[2:], strict=True)
    shape = [x.shape[0], weight.shape[0], *((n + 2 * pads[0] - kernel) // stride + 1 for n, kernel in sides)]
    return x.graph.node("Conv", [x, weight], shape, pads=pads, strides=[stride] * 2, group=operator.group)


def bias_add(_: ops.BiasAdd, x: Symbol, bias: Tensor) -> Symbol:
    x.graph.nodes[-1].input.append(x.graph.symbol(bias).name)  # of the convolution before
    return x


def avg_pool2d(x: Symbol, kernel_size: int, stride: int) -> Symbol:
    shape = [*x.shape[:2], *((n - kernel_size) // stride + 1 for n in x.shape[2:])]
    return x.graph.node("AveragePool", [x], shape, kernel_shape=[kernel_size] * 2, strides=[stride] * 2)


def dense(cell: nn.Dense, x: Symbol) -> Symbol:
    inputs = [x, x.graph.symbol(cell.weight)] + ([x.graph.symbol(cell.bias)] if cell.has_bias else [])
    return x.graph.node("Gemm", inputs, (x.shape[0], cell.out_channels), transB=1)


def depth_to_space(primitive: ops.DepthToSpace, x: Symbol) -> Symbol:
    (count, channels, *sides), size = x.shape, primitive.block_size
    shape = [count, channels // size**2, *(side * size for side in sides)]
    return x.graph.node("DepthToSpace", [x], shape, blocksize=size)


def concat(parts: Sequence[Symbol], axis: int = 0) -> Symbol:
    shape = list(parts[0].shape)
    for part in parts[1:]:  # at most one of the lengths is free
        free = isinstance(part.shape[axis], Free)
        shape[axis] = part.shape[axis] + shape[axis] if free else shape[axis] + part.shape[axis]
    return parts[0].graph.node("Concat", parts, shape, axis=axis)


def chunk(x: Symbol, chunks: int, dim: int = 0) -> tuple[Symbol, ...]:
    step = x.shape[dim] // chunks
    return tuple(x[(slice(None),) * dim + (slice(n * step, (n + 1) * step),)] for n in range(chunks))


def clamp(x: Symbol, low: float, high: float) -> Symbol:
    return x.graph.node("Clip", [x, x.graph.symbol(low), x.graph.symbol(high)], x.shape)


def elementwise(operator: str, x: Symbol) -> Symbol:
    return x.graph.node(operator, [x], x.shape, x.dtype)


CELLS = {
    nn.Dense: dense,
    nn.LeakyReLU: lambda cell, x: x.graph.node("LeakyRelu", [x], x.shape, alpha=float(cell.alpha)),
    nn.ReLU: lambda _, x: x.graph.node("Relu", [x], x.shape),
    ops.BiasAdd: bias_add,
    ops.Conv2D: conv2d,
    ops.DepthToSpace: depth_to_space,
    ops.Identity: lambda _, x: x,
}
FUNCTIONS = {name: partial(elementwise, name.capitalize()) for name in ("exp", "log", "tanh", "sin", "cos", "relu")}
FUNCTIONS |= {"avg_pool2d": avg_pool2d, "concat": concat, "chunk": chunk, "clamp": clamp}
FUNCTIONS |= {"minimum": lambda a, b: a.graph.broadcast("Min", a, b)}


@contextlib.contextmanager
def recording(cells: Mapping[type, Record]) -> Iterator[None]:
    """Let MindSpore's cells, primitives and functions record nodes when they are given symbols, within the block."""

    def record(owner: nn.Cell | ops.Primitive, *args: Any, **named: Any) -> Any:
        if type(owner) not in cells and not isinstance(owner, nn.Cell):
            raise TypeError(f"the operator {owner.name} has no node here")
        return cells[type(owner)](owner, *args) if type(owner) in cells else owner.construct(*args, **named)

    with contextlib.ExitStack() as patches:

        def patch(owner: Any, name: str, instead: Callable) -> None:
            call = getattr(owner, name)
            either = lambda *args, **named: (instead if has_symbol(args) else call)(*args, **named)  # noqa: E731
            patches.enter_context(mock.patch.object(owner, name, either))

        for cls in (nn.Cell, ops.Primitive, ops.BiasAdd, ops.DepthToSpace, ops.Identity):
            patch(cls, "__call__", record)
        for name, instead in FUNCTIONS.items():
            patch(ops, name, instead)
        yield


def has_symbol(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Symbol) or (isinstance(value, list | tuple) and has_symbol(value)) for value in values)


def write(
    network: nn.Cell, inputs: Sequence[Port], outputs: Sequence[str], cells: Mapping[type, Record] | None = None
) -> onnx.ModelProto:
    """Write a network in inference mode, its weights copied; ExportError names what has no node here.

    `cells`: how cells of these types are recorded, beside `CELLS`.
    """
    graph = Graph([*(port.name for port in inputs), *outputs])
    free = [[Free(length) if isinstance(length, str) else length for length in port.shape] for port in inputs]
    symbols = [Symbol(graph, port.name, shape) for port, shape in zip(inputs, free, strict=True)]
    try:
        with recording({**CELLS, **(cells or {})}):
            found = network(*symbols)
    except (TypeError, AttributeError, KeyError, ValueError, RuntimeError) as error:
        raise ExportError(f"{type(network).__name__} cannot be written as ONNX: {first_line(error)}") from error
    found = dict(zip(outputs, found if isinstance(found, tuple) else (found,), strict=True))
    ends = [helper.make_node("Identity", [symbol.name], [name]) for name, symbol in found.items()]
    made = helper.make_graph(
        graph.nodes + ends,
        type(network).__name__,
        [described(symbol.name, symbol.shape) for symbol in symbols],
        [described(name, symbol.shape) for name, symbol in found.items()],
        list(graph.constants.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def described(name: str, shape: Sequence[Length]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [n if isinstance(n, int) else str(n) for n in shape])
