"""What an ONNX graph is written with: its nodes and constants, and the network's layers in terms of them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .public import RESIZING

END = np.iinfo(np.int64).max  # of a slice: to the end


class Graph:
    """Nodes in order, each with one result, named by the operator and a number; and the constants that they read.

    Args:
        weights: the network's, by name.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights, self.constants = weights, {}
        self.nodes, self.count = [], 0

    def __call__(self, operator: str, *inputs: str, **attributes) -> str:
        self.count += 1
        result = f"{operator}_{self.count}"
        self.nodes.append(helper.make_node(operator, inputs, [result], result, **attributes))
        return result

    def value(self, value: float) -> str:
        """A float32 constant."""
        return self.constant(f"value_{value}", np.float32(value))

    def ints(self, *values: int | str) -> str:
        """A list of whole numbers; some may be results of the graph, of one element."""
        if any(isinstance(value, str) for value in values):
            return self("Concat", *(v if isinstance(v, str) else self.ints(v) for v in values), axis=0)
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, name: str) -> str:
        """A parameter of the network."""
        return self.constant(name, self.weights[name])

    def constant(self, name: str, array: np.ndarray) -> str:
        """Any array, under a name."""
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(array), name))
        return name

    def length(self, x: str, axis: int) -> str:
        """Of an axis, a list of one element."""
        return self("Shape", x, start=axis, end=axis + 1)

    def part(self, x: str, axes: Sequence[int], first: Sequence[int | str], stop: Sequence[int | str]) -> str:
        """x[first:stop] along the axes; negative counts from the end."""
        return self("Slice", x, self.ints(*first), self.ints(*stop), self.ints(*axes))

    def flat(self, x: str) -> str:
        """(N, C, H, W) -> (N, C, HW)."""
        return self("Reshape", x, self.ints(0, 0, -1))

    def rows_first(self, x: str) -> str:
        """(N, C, H, W) -> (N, HW, C)."""
        return self("Transpose", self.flat(x), perm=[0, 2, 1])

    def loop(self, count: str, body: Callable[[str], str]) -> str:
        """The results of body(0), body(1) ..., all of one shape, along a new first axis."""
        nodes, self.nodes = self.nodes, []
        self.count += 1
        names = step, going, still, _ = [f"{word}_{self.count}" for word in ("step", "going", "still", "stacked")]
        result = body(step)
        self.nodes.append(helper.make_node("Identity", [going], [still]))
        counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
        flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in (going, still)]
        found = helper.make_tensor_value_info(result, TensorProto.FLOAT, [None] * 3)
        inner = helper.make_graph(self.nodes, f"block_{self.count}", [counter, flags[0]], [flags[1], found])
        self.nodes = nodes
        self.nodes.append(helper.make_node("Loop", [self("Squeeze", count), ""], [names[3]], body=inner))
        return names[3]


def conv(graph: Graph, x: str, name: str, padding: int = 0, stride: int = 1) -> str:
    """Convolution."""
    return graph("Conv", x, *parameters(graph, name), pads=[padding] * 4, strides=[stride] * 2)


def parameters(graph: Graph, name: str) -> tuple[str, str]:
    """Filters and bias."""
    return graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")


def prelu(graph: Graph, x: str, name: str) -> str:
    """PReLU of one slope."""
    return graph("PRelu", x, graph.weight(f"{name}.weight"))


def conv_prelu(graph: Graph, x: str, name: str) -> str:
    """Convolution that leaves the size as it is, and PReLU."""
    side = graph.weights[f"{name}.0.weight"].shape[-1]
    return prelu(graph, conv(graph, x, f"{name}.0", side // 2), f"{name}.1")


def reduce(graph: Graph, x: str, name: str, scale: int) -> str:
    """(N, C, sH, sW) -> (N, C, H, W), and PReLU."""
    _, stride, padding = RESIZING[scale]
    return prelu(graph, conv(graph, x, f"{name}.0", padding, stride), f"{name}.1")


def enlarge(graph: Graph, x: str, name: str, scale: int) -> str:
    """(N, C, H, W) -> (N, C, sH, sW), and PReLU."""
    _, stride, padding = RESIZING[scale]
    filters = parameters(graph, f"{name}.0")
    larger = graph("ConvTranspose", x, *filters, pads=[padding] * 4, strides=[stride] * 2)
    return prelu(graph, larger, f"{name}.1")


def neighbourhoods(graph: Graph, x: str) -> str:
    """(N, C, H, W) -> (N, 9C, H, W): of each pixel the 3x3 pixels around it, zeros beyond the border."""
    x = graph("Pad", x, graph.ints(0, 0, 1, 1, 0, 0, 1, 1))
    ends = (-2, -1, END)
    found = [graph.part(x, (2, 3), (i, j), (ends[i], ends[j])) for i in range(3) for j in range(3)]
    return graph("Concat", *found, axis=1)


def reduced(graph: Graph, x: str, scale: int) -> str:
    """(N, C, H, W) -> (N, C, H/s, W/s): bilinear at the middle of each square, of 2 or 3 pixels."""
    if scale == 2:
        return graph("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return graph("Slice", x, graph.ints(1, 1), graph.ints(END, END), graph.ints(2, 3), graph.ints(3, 3))


def diagonal_sum(graph: Graph, table: str, axes: tuple[int, int]) -> str:
    """Sum of the table and of itself moved by one and back along both axes, which become two shorter."""
    moved = [graph.part(table, axes, (at, at), (end, end)) for at, end in ((0, -2), (1, -1), (2, END))]
    return graph("Add", graph("Add", moved[0], moved[1]), moved[2])
