"""CSNLN written as an ONNX graph, for pictures of any size and with bounded memory.

MindSpore's exporter traces one size and unrolls the loop over blocks of queries. Here that loop is ONNX's `Loop`, and
how many rows of queries a block has is computed in the graph from the size of the picture. Functions are named as the
cells of the network, whose weights they read by name.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from .attention import HALO, LEAST_NORM, OVERLAP, SHARPNESS
from .CSNLN import COLORS, Hyper
from .onnx_nodes import END, Graph, conv, conv_prelu, diagonal_sum, enlarge, neighbourhoods, prelu, reduce, reduced

OPSET, IR_VERSION = 17, 8
TABLES = {"cross": 5, "in": 2}  # copies of a block's table of weights that are held at once, measured


def write(
    weights: Mapping[str, np.ndarray], hyper: Hyper, attention_memory: int, batch: int | str = "batch"
) -> onnx.ModelProto:
    """`lr_image` (batch, 3, height, width) in [0, 1] -> `sr_image`, not clipped.

    Sides that the attention cannot divide are continued by reflection, and the result is cut.

    Args:
        attention_memory: bytes that an attention may take for its table of weights.
    """
    graph = Graph(weights)
    padded, sides = whole_squares(graph, "lr_image", hyper)
    x = conv(graph, padded, "sub_mean")
    x = conv_prelu(graph, conv_prelu(graph, x, "head.0"), "head.1")
    total = ""
    for time in range(hyper.depth):
        estimate = sem(graph, x, hyper.scale, attention_memory)
        total = tail(graph, estimate, time, hyper, total)
        if time + 1 < hyper.depth:
            x = conv_prelu(graph, reduce(graph, estimate, *smaller(hyper.scale)), "SEM.post_conv")
    whole = conv(graph, total, "add_mean")
    cut = graph.part(whole, (2, 3), (0, 0), [graph("Mul", side, graph.ints(hyper.scale)) for side in sides])
    graph.nodes.append(helper.make_node("Identity", [cut], ["sr_image"]))
    made = helper.make_graph(
        graph.nodes,
        "CSNLN",
        [helper.make_tensor_value_info("lr_image", TensorProto.FLOAT, [batch, COLORS, "height", "width"])],
        [helper.make_tensor_value_info("sr_image", TensorProto.FLOAT, [batch, COLORS, *enlarged_sides(hyper)])],
        list(graph.constants.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def enlarged_sides(hyper: Hyper) -> tuple[str, str]:
    """Of the result, in terms of the LR picture's."""
    return f"{hyper.scale}*height", f"{hyper.scale}*width"


def whole_squares(graph: Graph, picture: str, hyper: Hyper) -> tuple[str, tuple[str, str]]:
    """The picture with sides that the attention can divide, and the sides that it had."""
    sides, multiple = (graph.length(picture, 2), graph.length(picture, 3)), graph.ints(hyper.attention_scale)
    missing = [graph("Mod", graph("Neg", side), multiple) for side in sides]
    pads = graph.ints(0, 0, 0, 0, 0, 0, *missing)
    return graph("Pad", picture, pads, mode="reflect"), sides


def tail(graph: Graph, estimate: str, time: int, hyper: Hyper, total: str) -> str:
    """`total` and the part of the last convolution that reads the estimate of one time. So no two are kept at once."""
    filters = graph.weights["tail.0.weight"][:, time * hyper.n_feats : (time + 1) * hyper.n_feats]
    inputs = [estimate, graph.constant(f"tail.0.weight_{time}", filters)]
    if not total:
        return graph("Conv", *inputs, graph.weight("tail.0.bias"), pads=[1] * 4)
    # ONNX Runtime goes from the result back to what it needs; with `total` first it would make all estimates before.
    return graph("Add", graph("Conv", *inputs, pads=[1] * 4), total)


def smaller(scale: int) -> tuple[str, int]:
    """The cell that makes the final estimate small again for the next time, and by how much."""
    return ("SEM.down_sample_4", 4) if scale == 4 else ("SEM.down_sample_2", scale)


def sem(graph: Graph, x: str, scale: int, memory: int) -> str:
    """The estimate (N, C, sH, sW)."""
    first = 3 if scale == 3 else 2
    estimate = projection(graph, x, "SEM.multi_source_projection", first, memory)
    estimate = corrected(graph, estimate, x, "SEM.down_sample_1", "SEM.error_encode", first)
    if scale == 4:
        estimate = projection(graph, estimate, "SEM.multi_source_projection_2", 2, memory)
        estimate = corrected(graph, estimate, x, "SEM.down_sample_3", "SEM.error_encode_2", 4)
    return estimate


def corrected(graph: Graph, estimate: str, x: str, down: str, up: str, scale: int) -> str:
    """By how far it is from x when made small again."""
    error = graph("Sub", x, reduce(graph, estimate, down, scale))
    return graph("Add", estimate, enlarge(graph, error, up, scale))


def projection(graph: Graph, x: str, name: str, scale: int, memory: int) -> str:
    """Mutual-projected fusion."""
    in_scale = enlarge(graph, non_local(graph, x, f"{name}.down_attention", memory), f"{name}.upsample", scale)
    cross_scale = cross(graph, x, f"{name}.up_attention", scale, memory)
    difference = graph("Sub", cross_scale, in_scale)
    inner = prelu(graph, conv(graph, difference, f"{name}.encoder.body.0", 1), f"{name}.encoder.body.1")
    encoded = graph("Add", difference, conv(graph, inner, f"{name}.encoder.body.2", 1))
    return graph("Add", in_scale, encoded)


def non_local(graph: Graph, x: str, name: str, memory: int) -> str:
    """In-scale attention."""
    height, width = graph.length(x, 2), graph.length(x, 3)
    queries = graph.rows_first(conv_prelu(graph, x, f"{name}.conv_match1"))
    keys = graph.flat(conv_prelu(graph, x, f"{name}.conv_match2"))
    values = graph.rows_first(conv_prelu(graph, x, f"{name}.conv_assembly"))
    rows = rows_of(graph, height, width, graph.length(keys, 2), memory, "in")

    def block(first: str, stop: str) -> str:
        asked = graph.part(queries, (1,), [graph("Mul", first, width)], [graph("Mul", stop, width)])
        return graph("MatMul", graph("Softmax", graph("MatMul", asked, keys), axis=-1), values)

    return in_blocks(graph, block, rows, height, width)


def cross(graph: Graph, x: str, name: str, scale: int, memory: int) -> str:
    """Cross-scale attention."""
    height, width = graph.length(x, 2), graph.length(x, 3)
    queries = graph.rows_first(neighbourhoods(graph, conv_prelu(graph, x, f"{name}.conv_match_1")))
    small = reduced(graph, x, scale)
    keys = graph.flat(neighbourhoods(graph, conv_prelu(graph, small, f"{name}.conv_match_2")))
    norm = graph("ReduceL2", keys, axes=[1])
    keys = graph("Div", keys, graph("Div", graph("Max", norm, graph.value(LEAST_NORM)), graph.value(SHARPNESS)))
    assembly = graph("Div", conv_prelu(graph, x, f"{name}.conv_assembly"), graph.value(OVERLAP))
    values = graph.rows_first(graph("SpaceToDepth", assembly, blocksize=scale))
    table = graph.length(small, 2), graph.length(small, 3)
    count = graph.length(keys, 2)
    rows = rows_of(graph, height, width, count, memory, "cross")

    def block(first: str, stop: str) -> str:
        one = graph.ints(1)
        above = graph("Max", graph("Sub", first, one), graph.ints(0))
        below = graph("Min", graph("Add", stop, one), height)
        asked = graph.part(queries, (1,), [graph("Mul", above, width)], [graph("Mul", below, width)])
        weights = graph("Softmax", graph("MatMul", asked, keys), axis=-1)
        found = graph("Sub", below, above)
        weights = graph("Reshape", weights, graph.ints(0, found, width, *table))
        before = graph("Sub", one, graph("Sub", first, above))  # a row of zeros where the picture ends
        after = graph("Sub", one, graph("Sub", below, stop))
        weights = graph("Pad", weights, graph.ints(0, before, 0, 1, 0, 0, after, 0, 1, 0))
        weights = graph("Pad", diagonal_sum(graph, weights, (1, 3)), graph.ints(*(0, 0, 1, 0, 1) * 2))
        weights = diagonal_sum(graph, weights, (2, 4))
        return graph("MatMul", graph("Reshape", weights, graph.ints(0, -1, count)), values)

    return graph("DepthToSpace", in_blocks(graph, block, rows, height, width), blocksize=scale)


def in_blocks(graph: Graph, block: Callable[[str, str], str], rows: str, height: str, width: str) -> str:
    """(N, C, H, W) of block(first, stop), which gives (N, rows * W, C). The last block ends with the picture."""
    last = graph("Sub", height, rows)
    count = graph("Div", graph("Add", graph("Sub", height, graph.ints(1)), rows), rows)

    def body(step: str) -> str:
        first = graph("Min", graph("Mul", step, rows), last)
        return block(first, graph("Add", first, rows))

    found = graph("Transpose", graph.loop(count, body), perm=[1, 0, 2, 3])
    found = graph(
        "Reshape", found, graph("Concat", graph.length(found, 0), graph.ints(-1), graph.length(found, 3), axis=0)
    )
    again = graph("Mul", graph("Sub", graph("Mul", count, rows), height), width)  # queries that two blocks have
    seam = graph("Mul", graph("Mul", graph("Sub", count, graph.ints(1)), rows), width)
    whole = graph(
        "Concat",
        graph.part(found, (1,), (0,), (seam,)),
        graph.part(found, (1,), (graph("Add", seam, again),), (END,)),
        axis=1,
    )
    whole = graph("Transpose", whole, perm=[0, 2, 1])
    return graph("Reshape", whole, graph.ints(0, 0, height, width))


def rows_of(graph: Graph, height: str, width: str, keys: str, memory: int, kind: str) -> str:
    """How many rows of queries a block has: as many as fit into the memory, at least one."""
    held = graph.ints(memory // (4 * TABLES[kind]))
    fitting = graph("Div", held, graph("Mul", width, keys))
    if kind == "cross":
        fitting = graph("Sub", fitting, graph.ints(HALO))
    return graph("Max", graph.ints(1), graph("Min", height, fitting))
