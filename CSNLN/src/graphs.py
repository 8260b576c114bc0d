"""CSNLN for inference and export: op by op in MindSpore, as an ONNX graph for images of any size, as MINDIR or AIR.

Attention takes its queries in blocks of rows, as many as fit into --attention_memory. In ONNX for any size these are a
`Loop`, and the graph computes the number of rows from the size; where it is given, the loop is unrolled.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from operator import add, floordiv, mod, mul, neg, sub
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from common import UserError, export
from common.checkpoint import Checkpoint, digest_of
from common.export import Engine, OnnxEngine, Port, onnx_file, set_precision

from .attention import HALO, LEAST_NORM, OVERLAP, SHARPNESS, CrossScaleAttention, NonLocalAttention, reduced
from .config import LR_PATCH, ExportConfig
from .CSNLN import COLORS, CSNLN
from .public import RESIZING, MeanShift, PReLU

OUTPUTS = ["sr_image"]
CHECK_SIZES = [{"height": 12, "width": 18}, {"height": 24, "width": 6}]  # an ONNX file is compared at both
# Copies of a block's table of weights that are held at once, measured.
TABLES = {NonLocalAttention: {"mindspore": 3, "onnx": 2}, CrossScaleAttention: {"mindspore": 10, "onnx": 5}}
END = np.iinfo(np.int64).max  # of a slice: to the end
ON_NUMBERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": floordiv, "Mod": mod, "Neg": neg, "Max": max, "Min": min}
Symbol = Any  # of common.export.onnx_writer, which needs the package onnx; or a number, as a length


def ports(batch_size: int | str = 1, height: int | str = "height", width: int | str = "width") -> list[Port]:
    return [Port("lr_image", (batch_size, COLORS, height, width))]


def write(network: CSNLN, saved: Checkpoint, source: str, options: ExportConfig) -> Path:
    """Export: ONNX for images of any size, or as MINDIR and AIR for one; ExportError if the file answers otherwise."""
    hyper, height, width = network.hyper, options.lr_height or LR_PATCH, options.lr_width or LR_PATCH
    said = {"model": "CSNLN", "scale": str(hyper.scale), "hyper": json.dumps(asdict(hyper)), "source": source}
    inputs, sizes, multiple = ports(options.batch), CHECK_SIZES, hyper.attention_scale
    if options.file_format != "ONNX" or options.lr_height or options.lr_width:
        inputs, sizes = ports(options.batch_size or 1, height, width), [{}]
        if height % multiple or width % multiple:
            raise UserError(
                f"the LR image of this {options.file_format} must have sides that are multiples of {multiple}: "
                f"--lr_height {height} --lr_width {width}"
            )
    graph = export.Graph(network, inputs, OUTPUTS, sizes, cells=records(options.attention_memory * 2**20))
    return export.export(graph, options.file_name, options.file_format, said | {"digest": digest_of(hyper, saved)})


def make_engine(kind: str, network: CSNLN, attention_memory: int) -> Engine:
    """Choose what runs the network; `attention_memory` are the bytes for an attention's table of weights."""
    kind, _, special = kind.partition(":")
    packages = "onnx", "onnxruntime"
    on_cpu = ms.get_context("device_target") == "CPU"
    if kind == "mindspore" or (kind == "auto" and not (on_cpu and all(map(onnx_file.optional, packages)))):
        set_precision(network, special)
        return Eager(network, attention_memory)
    for package in packages:
        onnx_file.require(package, "--engine onnxruntime")
    return OnnxEngine(onnx_bytes(network, attention_memory), special)


class Eager(Engine):
    """The network in MindSpore, operator by operator, since every piece of every image has a size of its own."""

    def __init__(self, network: CSNLN, attention_memory: int) -> None:
        super().__init__()
        self.network, self.attention_memory = network.set_train(False), attention_memory
        self.name = f"MindSpore {ms.__version__} ({ms.get_context('device_target')}, eager)"

    def _run(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        set_rows(self.network, *arrays[0].shape[2:], self.attention_memory)
        return [self.network(Tensor(arrays[0])).asnumpy()]


def set_rows(network: CSNLN, height: int, width: int, memory: int) -> None:
    """Set how many rows of queries the attentions take at a time: as many as fit into `memory` bytes, at least one."""
    for name, cell in network.cells_and_names():
        times = 2 if "multi_source_projection_2" in name else 1  # the second step of x4
        row, keys = times * width, times**2 * height * width
        if isinstance(cell, NonLocalAttention):
            cell.rows = max(1, memory // (4 * TABLES[type(cell)]["mindspore"] * row * keys))
        if isinstance(cell, CrossScaleAttention):
            keys //= cell.scale**2
            cell.rows = max(1, memory // (4 * TABLES[type(cell)]["mindspore"] * row * keys) - HALO)


# ------------------------------------------------------------------------------------------------------ the ONNX graph


def onnx_bytes(network: CSNLN, attention_memory: int, batch_size: int = 1, *sides: int) -> bytes:
    """Return the network as an ONNX file for LR images of these sides or any; requires onnx."""
    from common.export import onnx_writer

    model = onnx_writer.write(network.set_train(False), ports(batch_size, *sides), OUTPUTS, records(attention_memory))
    return model.SerializeToString()


def records(attention_memory: int) -> Mapping[type, Callable]:
    """Return how the network's cells are recorded, see `onnx_writer.write`."""
    return {
        CSNLN: any_size,
        MeanShift: lambda cell, x: node("Conv", x, cell.weight, cell.bias, shape=x.shape),
        PReLU: lambda cell, x: node("PRelu", x, cell.weight, shape=x.shape),
        nn.Conv2dTranspose: transposed,
        NonLocalAttention: partial(in_scale, attention_memory),
        CrossScaleAttention: partial(cross_scale, attention_memory),
    }


def any_size(network: CSNLN, lr_image: Symbol) -> Symbol:
    """`CSNLN.construct`; sides that the attention cannot divide are padded by reflection, and the result is cut."""
    graph, hyper, sides = lr_image.graph, network.hyper, (length(lr_image, 2), length(lr_image, 3))
    missing = [node("Mod", node("Neg", side), hyper.attention_scale) for side in sides]
    x, fixed = lr_image, missing == [0, 0]
    if not fixed:
        pads = node("Concat", *(0,) * 6, *missing, axis=0)
        x = node("Pad", lr_image, pads, shape=lr_image.shape, mode="reflect")  # its sides are called as those before
    x, total, last = network.head(network.sub_mean(x)), None, network.tail[0]
    for time in range(network.depth):
        x, estimate = network.SEM(x)
        # The last convolution is the sum of those of each estimate, so that no two are kept at once.
        name = f"{last.weight.name}_{time}"
        filters = last.weight.asnumpy()[:, time * hyper.n_feats : (time + 1) * hyper.n_feats]
        inputs = [estimate, graph.constant(name, last, filters, name), *([] if total else [last.bias])]
        part = node("Conv", *inputs, shape=(*estimate.shape[:1], COLORS, *estimate.shape[2:]), pads=[1] * 4)
        # ONNX Runtime goes from the result back to what it needs: with `total` first it would make all estimates before
        total = part + total if total else part
    whole = network.add_mean(total)
    if fixed:
        return whole
    stops = node("Concat", *(node("Mul", side, hyper.scale) for side in sides), axis=0)
    return node("Slice", whole, graph.ints([0, 0]), stops, graph.ints([2, 3]), shape=whole.shape)


def transposed(cell: nn.Conv2dTranspose, x: Symbol) -> Symbol:
    _, stride, padding = RESIZING[cell.stride[0]]
    shape = (*x.shape[:2], *(side * stride for side in x.shape[2:]))
    return node("ConvTranspose", x, cell.weight, cell.bias, shape=shape, pads=[padding] * 4, strides=[stride] * 2)


def in_scale(memory: int, cell: NonLocalAttention, x: Symbol) -> Symbol:
    """`NonLocalAttention.construct` in blocks."""
    height, width = length(x, 2), length(x, 3)
    queries, keys = rows_first(cell.conv_match1(x)), flat(cell.conv_match2(x))
    values = rows_first(cell.conv_assembly(x))

    def block(first: Symbol, stop: Symbol) -> Symbol:
        asked = node("Slice", queries, node("Mul", first, width), node("Mul", stop, width), 1)
        return node("MatMul", node("Softmax", node("MatMul", asked, keys), axis=-1), values)

    rows = rows_of(height, width, node("Mul", height, width), memory // (4 * TABLES[type(cell)]["onnx"]))
    return in_blocks(block, rows, height, width, x.shape)


def cross_scale(memory: int, cell: CrossScaleAttention, x: Symbol) -> Symbol:
    """`CrossScaleAttention.construct` in blocks."""
    height, width = length(x, 2), length(x, 3)
    small = reduced(x, cell.scale)
    queries = rows_first(neighbourhoods(cell.conv_match_1(x)))
    keys = flat(neighbourhoods(cell.conv_match_2(small)))
    norms = node("Max", node("ReduceL2", keys, axes=[1]), LEAST_NORM)
    keys = node("Div", keys, node("Div", norms, SHARPNESS))
    values = rows_first(node("SpaceToDepth", cell.conv_assembly(x) / OVERLAP, blocksize=cell.scale))
    table = length(small, 2), length(small, 3)
    count = node("Mul", *table)

    def block(first: Symbol, stop: Symbol) -> Symbol:
        above, below = node("Max", node("Sub", first, 1), 0), node("Min", node("Add", stop, 1), height)
        asked = node("Slice", queries, node("Mul", above, width), node("Mul", below, width), 1)
        weights = node("Softmax", node("MatMul", asked, keys), axis=-1)
        shape = node("Concat", 0, node("Sub", below, above), width, *table, axis=0)
        before = node("Sub", 1, node("Sub", first, above))  # a row of zeros where the image ends
        after = node("Sub", 1, node("Sub", below, stop))
        pads = node("Concat", 0, before, 0, 1, 0, 0, after, 0, 1, 0, axis=0)
        weights = diagonal_sum(node("Pad", node("Reshape", weights, shape), pads), 1, 3)
        weights = diagonal_sum(node("Pad", weights, x.graph.ints((0, 0, 1, 0, 1) * 2)), 2, 4)
        return node("MatMul", node("Reshape", weights, node("Concat", 0, -1, count, axis=0)), values)

    rows = rows_of(height, width, count, memory // (4 * TABLES[type(cell)]["onnx"]), HALO)
    squares = in_blocks(block, rows, height, width, ())
    shape = (*x.shape[:2], *(side * cell.scale for side in x.shape[2:]))
    return node("DepthToSpace", squares, shape=shape, blocksize=cell.scale)


def rows_of(height: Symbol, width: Symbol, keys: Symbol, held: int, halo: int = 0) -> Symbol:
    """Return how many rows of queries a block has, `halo` not counted: as many as `held` weights allow."""
    fitting = node("Sub", node("Div", held, node("Mul", width, keys)), halo)
    return node("Max", 1, node("Min", height, fitting))


def in_blocks(block: Callable, rows: Symbol, height: Symbol, width: Symbol, shape: Sequence) -> Symbol:
    """Join block(first, stop), each (N, rows * W, C), to (N, C, H, W). The last one ends with the image."""
    if isinstance(rows, int):
        parts = [block(first, min(first + rows, height)) for first in range(0, height, rows)]
        return squared(node("Concat", *parts, axis=1), height, width, shape)
    last = node("Sub", height, rows)
    count = node("Div", node("Add", node("Sub", height, 1), rows), rows)

    def body(step: Symbol) -> Symbol:
        first = node("Min", node("Mul", step, rows), last)
        return block(first, node("Add", first, rows))

    found = node("Transpose", looped(node("Squeeze", count), body), perm=[1, 0, 2, 3])
    found = node("Reshape", found, node("Concat", length(found, 0), -1, length(found, 3), axis=0))
    again = node("Mul", node("Sub", node("Mul", count, rows), height), width)  # queries that two blocks have
    seam = node("Mul", node("Mul", node("Sub", count, 1), rows), width)
    before, after = node("Slice", found, 0, seam, 1), node("Slice", found, node("Add", seam, again), END, 1)
    return squared(node("Concat", before, after, axis=1), height, width, shape)


def looped(count: Symbol, body: Callable[[Symbol], Symbol]) -> Symbol:
    """Record body(0), body(1) ... body(count - 1), stacked along a new first axis; each has the same three axes."""
    from onnx import TensorProto, helper

    graph, symbol = count.graph, type(count)
    outer, graph.nodes = graph.nodes, []
    name = f"Loop_{next(graph.numbers)}"
    step, going, still = (f"{name}_{word}" for word in ("step", "going", "still"))
    result = body(symbol(graph, step, (), ms.int64))
    graph.nodes.append(helper.make_node("Identity", [going], [still]))
    counter = helper.make_tensor_value_info(step, TensorProto.INT64, [])
    flags = [helper.make_tensor_value_info(flag, TensorProto.BOOL, []) for flag in (going, still)]
    stacked = helper.make_tensor_value_info(result.name, TensorProto.FLOAT, [None] * 3)
    inner = helper.make_graph(graph.nodes, name, [counter, flags[0]], [flags[1], stacked])
    graph.nodes = outer
    graph.nodes.append(helper.make_node("Loop", [count.name, ""], [name], name, body=inner))
    return symbol(graph, name, ())


def squared(rows: Symbol, height: Symbol, width: Symbol, shape: Sequence) -> Symbol:
    """(N, HW, C) -> (N, C, H, W)."""
    whole = node("Transpose", rows, perm=[0, 2, 1])
    return node("Reshape", whole, node("Concat", 0, 0, height, width, axis=0), shape=shape)


def neighbourhoods(x: Symbol) -> Symbol:
    wide = node("Pad", x, x.graph.ints((0, 0, 1, 1, 0, 0, 1, 1)), shape=(*x.shape[:2], *(n + 2 for n in x.shape[2:])))
    stops = (-2, -1, None)
    return node("Concat", *(wide[:, :, i : stops[i], j : stops[j]] for i in range(3) for j in range(3)), axis=1)


def diagonal_sum(table: Symbol, *axes: int) -> Symbol:
    """Sum the table and itself moved by one and back along both axes, which become two shorter."""
    bounds = [table.graph.ints([at] * 2) for at in (0, -2, 1, -1, 2, END)]
    moved = [node("Slice", table, *bounds[place : place + 2], table.graph.ints(axes)) for place in (0, 2, 4)]
    return node("Add", node("Add", moved[0], moved[1]), moved[2])


def flat(x: Symbol) -> Symbol:
    """(N, C, H, W) -> (N, C, HW)."""
    return node("Reshape", x, x.graph.ints([0, 0, -1]))


def rows_first(x: Symbol) -> Symbol:
    """(N, C, H, W) -> (N, HW, C)."""
    return node("Transpose", flat(x), perm=[0, 2, 1])


def length(x: Symbol, axis: int) -> Symbol:
    """Return the length of an axis: a number, or a symbol."""
    if len(x.shape) > axis and isinstance(x.shape[axis], int):
        return x.shape[axis]
    return node("Shape", x, start=axis, end=axis + 1)


def node(operator: str, *inputs: Any, shape: Sequence = (), **attributes: Any) -> Symbol:
    """Record a node; of whole numbers alone, compute its result.

    Args:
        inputs: symbols, tensors, or numbers: whole ones become lists of one, as lengths are.
        shape: of the result, where something asks for it.
    """
    if all(isinstance(x, int) for x in inputs):
        return inputs if operator == "Concat" else ON_NUMBERS[operator](*inputs)
    graph = next(x.graph for x in inputs if hasattr(x, "graph"))
    symbols = [graph.ints(np.atleast_1d(x).tolist()) if isinstance(x, int | tuple) else graph.symbol(x) for x in inputs]
    return graph.node(operator, symbols, shape, **attributes)
