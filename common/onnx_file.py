"""What is done to an ONNX file with the `onnx` package and ONNX Runtime, both optional (`pip install -e '.[onnx]'`)."""

import hashlib
import importlib
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING

from common import UserError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from common.proof import Port

INSTALL = "pip install -e '.[onnx]'"
FINGERPRINT = "graph_sha256"


def optional(package: str) -> ModuleType | None:
    """The package, or None where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError:
        return None


def require(package: str, purpose: str) -> ModuleType:
    """The package.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    module = optional(package)
    if module is None:
        raise UserError(f"{purpose} needs the package {package}, which is not installed: {INSTALL}")
    return module


def free_sizes(
    model: "onnx.ModelProto",
    inputs: Sequence["Port"],
    outputs: Sequence[str],
    sizes: Sequence[Mapping[str, int]],
    output_shapes: Sequence[Sequence[tuple[int, ...]]],
) -> None:
    """Name the inputs and outputs of a statically traced model and free the sizes that are free.

    Args:
        sizes: the free sizes of each trial.
        output_shapes: for each trial the shapes of all outputs; an axis that differs between the trials is free.

    Raises:
        ValueError: the model has another number of inputs or outputs.
    """
    graph = model.graph
    if (len(graph.input), len(graph.output)) != (len(inputs), len(outputs)):
        raise ValueError(
            f"the graph has {len(graph.input)} inputs and {len(graph.output)} outputs, "
            f"named are {len(inputs)} and {len(outputs)}"
        )
    old = [value.name for value in (*graph.input, *graph.output)]
    _rename(graph, dict(zip(old, (*(port.name for port in inputs), *outputs), strict=True)))
    for value, port in zip(graph.input, inputs, strict=True):
        _set_shape(value, port.shape)
    for value, *shapes in zip(graph.output, *output_shapes, strict=True):
        axes = zip(*shapes, strict=True)
        _set_shape(value, [_axis(lengths, sizes, f"{value.name}_{n}") for n, lengths in enumerate(axes)])
    del graph.value_info[:]  # what lies between was traced at one size too


def _rename(graph: "onnx.GraphProto", names: dict[str, str]) -> None:
    """Rename values at once, so that names may be swapped; an inner value that holds a wanted name makes way."""
    inner = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    names = {name: f"{name}_inner" for name in inner & set(names.values())} | names
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)


def _set_shape(value: "onnx.ValueInfoProto", shape: Sequence[int | str]) -> None:
    for axis, length in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        if isinstance(length, str):
            axis.dim_param = length  # one of a protobuf `oneof`: the traced dim_value goes away
        else:
            axis.dim_value = length


def _axis(lengths: Sequence[int], sizes: Sequence[Mapping[str, int]], otherwise: str) -> int | str:
    """An output axis: its length if it is always the same, else its ratio to a free size ("2*height"), else a name."""
    if len(set(lengths)) == 1:
        return lengths[0]
    fits = []
    for name in sizes[0]:
        ratios = {Fraction(length, size[name]) for length, size in zip(lengths, sizes, strict=True)}
        if len(ratios) == 1:
            fits.append((ratios.pop(), name))
    if len(fits) != 1:
        return otherwise
    ratio, name = fits[0]
    times = f"{ratio.numerator}*" if ratio.numerator != 1 else ""
    return times + name + (f"/{ratio.denominator}" if ratio.denominator != 1 else "")


def stamp(model: "onnx.ModelProto", metadata: Mapping[str, str]) -> None:
    """Put metadata into the model, and a fingerprint of the graph with its weights."""
    del model.metadata_props[:]
    for key, value in {**metadata, FINGERPRINT: _fingerprint(model)}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)


def read_stamp(model: "onnx.ModelProto") -> dict[str, str] | None:
    """The metadata, or None when the graph is not the one that was stamped: ONNX itself has no checksum."""
    found = {entry.key: entry.value for entry in model.metadata_props}
    return found if found.get(FINGERPRINT) == _fingerprint(model) else None


def _fingerprint(model: "onnx.ModelProto") -> str:
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def open_session(data: bytes) -> "onnxruntime.InferenceSession":
    """An ONNX Runtime session on the CPU cores that this process may use.

    Memory: the arena stays on, because without it each large feature map is mapped and unmapped afresh in every run.
    Memory patterns are off: they reserve one block for all values of a run, for every input size anew, and tiling
    brings four sizes. WDSR-B x2 (32 blocks, 384 channels inside) then takes about 1.6 of its largest feature maps:
    the whole process 275 MB for tiles of 260x260 and 714 MB for 512x512 (435 and 1341 MB with patterns, MindSpore not
    counted), whatever the size of the picture.
    """
    onnxruntime = require("onnxruntime", "running an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _cores()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
