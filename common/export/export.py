"""Writes a network as MINDIR, ONNX, AIR or SAFETENSORS, and proves each file before it takes its name.

The file is drafted, loaded again, run on random inputs at two sizes and compared with the network; only then does it go
where it was asked for. A file that was there before stays untouched when anything fails.
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common import UserError
from common.atomic import make_writable, replacing
from common.checkpoint import Checkpoint, ModelWeights, digest, save, weights_of
from common.export import onnx_file

if TYPE_CHECKING:
    from mindspore import nn

# Relative to the largest absolute output. Measured: below 1e-6 for convolutions, 2e-5 for a bilinear resize by matmul.
TOLERANCE = 5e-5
log = logging.getLogger(__name__)

Arrays = Sequence[np.ndarray]
Run = Callable[[Arrays], Arrays]  # inputs -> outputs
Load = Callable[[], Run]  # reads a file


class ExportError(UserError):
    """The network cannot be written in this format, or the written file does not answer as the network does."""


class Port(NamedTuple):
    """One float32 input; a string in its shape names a free size, and the same string is the same size everywhere."""

    name: str
    shape: tuple[int | str, ...]
    high: float = 1.0  # random values for the comparison are in [0, high): 255 for a network that counts grey levels


class Graph(NamedTuple):
    """A network, or one of its graphs, as it is exported or run by an engine."""

    form: "nn.Cell"  # takes the inputs in order and returns a tensor, or a flat tuple of as many as `outputs`
    inputs: Sequence[Port]
    outputs: Sequence[str]  # names, which MINDIR and AIR do not keep
    sizes: Sequence[Mapping[str, int]]  # sets of free sizes to compare at; `[{}]` when nothing is free
    tolerance: float = TOLERANCE  # largest error allowed, relative to the largest absolute value of the output
    cells: Mapping[type, Callable] | None = None  # how ONNX records cells of these types, see `onnx_writer.write`


def export(
    graph: Graph,
    path: str | Path,
    file_format: str,
    metadata: Mapping[str, str] | None = None,
    meaning: Mapping[str, str] | None = None,
) -> Path:
    """Write a graph and prove the file; log what was written and how well it agrees.

    Batch sizes 1, 2 ... are added to its sizes where the length "batch" is free.

    Args:
        metadata: text kept in the file (ONNX metadata_props, MINDIR user_info), such as model, scale, digest.
        meaning: of inputs and outputs that are no images, for an ONNX file, by their names without numbers: that of
            "latent" is the meaning of latent_0, latent_1 ...
    """
    file_format, metadata, inputs = file_format.upper(), dict(metadata or {}), graph.inputs
    target = _place_for(path, file_format)
    if file_format == "ONNX":
        image = {"layout": "NCHW", "colour": "Y" if inputs[0].shape[1] == 1 else "RGB", "range": [0, 1]}

        def said(name: str) -> dict[str, Any]:
            meant = (meaning or {}).get(re.sub(r"_\d+$", "", name), "")
            return {"name": name, **(image if name.endswith("_image") else {"meaning": meant})}

        metadata["inputs"] = json.dumps([said(port.name) for port in inputs])
        metadata["outputs"] = json.dumps([said(name) for name in graph.outputs])
    if "batch" in inputs[0].shape:
        graph = graph._replace(sizes=[{"batch": count, **size} for count, size in enumerate(graph.sizes, 1)])
    return _write(target, *draft(graph, file_format, metadata))


def export_graphs(
    graphs: Iterable[tuple[str, Graph]],
    file_name: str,
    file_format: str,
    metadata: Mapping[str, str],
    meaning: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Export each of a network's graphs to a file of its own, `irn_x4_upscale.onnx`, with "graph" in its metadata."""
    ending = f".{file_format.lower()}"
    stem = file_name[: -len(ending)] if file_name.lower().endswith(ending) else file_name
    for name, graph in graphs:
        said = {"model": metadata["model"], "graph": name, **metadata}
        yield export(graph, f"{stem}_{name}", file_format, said, meaning)


def export_weights(weights: ModelWeights, options: Any) -> Path:
    """Write the weights by the authors' names as .safetensors; a new network that reads them must equal this one."""
    target = _place_for(options.file_name, "SAFETENSORS")
    network, saved, source = weights.load_network(options)
    arrays = {name: array.astype(np.float32) for name, array in weights.to_official(network).items()}
    meta = {**saved.meta, **weights.describe(network.hyper, {}), "source": source, "names": "official"}
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        file = Path(folder) / "weights.safetensors"
        save(file, Checkpoint(arrays, meta))
        again = weights.read(str(file))
        built = weights.build(weights.hyper_of(again, str(file), options))
        weights.put(built, again, str(file))
        if built.hyper != network.hyper or digest(weights_of(built)) != digest(weights_of(network)):
            raise ExportError(f"{target}: read back, the weights are not the network's; nothing was written")
        return _write(target, file.read_bytes(), f"{len(arrays)} arrays, read back and compared bit for bit")


def _place_for(path: str | Path, file_format: str) -> Path:
    """Return where the file goes, tried before anything is computed: `wdsr_v1.5` becomes `wdsr_v1.5.mindir`."""
    target, suffix = Path(path), f".{file_format.lower()}"
    if target.suffix.lower() != suffix:
        target = target.with_name(target.name + suffix)
    if target.is_dir():
        raise UserError(f"cannot write {target}: it is a folder, a file name was expected")
    make_writable(target.parent)
    return target


def _write(target: Path, data: bytes, report: str) -> Path:
    with replacing(target) as temporary:
        temporary.write_bytes(data)
    log.info("%s: %s", target, report)
    return target


# ------------------------------------------------------------------------------------------------- a file and its proof


def draft(graph: Graph, file_format: str, metadata: Mapping[str, str]) -> tuple[bytes, str]:
    """Write a graph, load the file again, compare; return the content of the file, and what was compared.

    MindSpore's exporter takes no path with spaces and sets the folder's mode to 0700, so only drafts are written by it.
    """
    from mindspore import get_context, set_context

    write = {"MINDIR": _write_mindir, "ONNX": _write_onnx, "AIR": _write_air}[file_format]
    training, level = graph.form.training, get_context("jit_syntax_level")
    graph.form.set_train(False)
    try:
        with tempfile.TemporaryDirectory(prefix="export-") as folder:
            file = Path(folder) / f"network.{file_format.lower()}"
            try:
                load = write(graph, file, metadata)
            except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
                reason = f"MindSpore cannot write this network as {file_format}: {first_line(error)}"
                raise ExportError(reason) from error
            report = load if isinstance(load, str) else _compare(graph, load)
            return file.read_bytes(), report
    except OSError as error:  # MindSpore writes nothing, and says nothing, on a full disk
        raise ExportError(
            f"the export cannot be written to the temporary folder ({error.strerror}): is it full? TMPDIR names another"
        ) from None
    finally:
        graph.form.set_train(training)
        set_context(jit_syntax_level=level)  # which a failed ms.export leaves changed


def _compare(graph: Graph, load: Load) -> str:
    """Run the file and the network on the same inputs at each size."""
    from mindspore import Tensor

    try:
        run = load()
    except Exception as error:  # each runtime has exceptions of its own
        raise ExportError(f"the exported file does not load: {first_line(error)}; nothing was written") from error
    worst, tolerance = 0.0, graph.tolerance
    for number, size in enumerate(graph.sizes):
        arrays = _random_inputs(graph, number)
        wanted = as_arrays(graph.form(*map(Tensor, arrays)))  # eager, that is in another way than the exported graph
        where = ", ".join(f"{name} {length}" for name, length in size.items()) or "its one size"
        try:
            found = run(arrays)
        except Exception as error:
            message = f"the exported file does not run at {where}: {first_line(error)}; nothing was written"
            raise ExportError(message) from error
        for name, got, want in zip(graph.outputs, found, wanted, strict=True):
            if got.shape != want.shape:
                shapes = f"the file gives {got.shape}, the network {want.shape}"
                raise ExportError(f"{name} at {where}: {shapes}; nothing was written")
            peak, error = float(np.abs(want).max()), float(np.abs(got.astype(np.float64) - want).max())
            if not error <= tolerance * peak:  # `not <=` so that NaN on either side is caught too
                raise ExportError(
                    f"{name} at {where}: the file differs from the network by up to {error:.3g} where values reach "
                    f"{peak:.3g} and {tolerance * peak:.3g} is allowed; nothing was written"
                )
            worst = max(worst, error / peak if peak else 0.0)
    shown = " and ".join("x".join(map(str, size.values())) for size in graph.sizes if size) or "its one size"
    return f"loaded again and compared at {shown}, largest error {worst:.1e} of the largest value"


def _random_inputs(graph: Graph, number: int) -> Arrays:
    """Return float32 inputs of the size `number`, the same in every run."""
    rng, size = np.random.default_rng(number), graph.sizes[number]
    shapes = [[size[length] if isinstance(length, str) else length for length in port.shape] for port in graph.inputs]
    pairs = zip(graph.inputs, shapes, strict=True)
    return [rng.random(shape, dtype=np.float32) * np.float32(port.high) for port, shape in pairs]


def _write_mindir(graph: Graph, file: Path, metadata: Mapping[str, str]) -> Load:
    from mindspore import Tensor, load, nn
    from mindspore import export as ms_export

    def say(model: Any) -> None:
        if hasattr(model.user_info, "update"):
            model.user_info.update(metadata)
        else:  # MindSpore 2.7
            for key, value in metadata.items():
                model.user_info.add(key=key, value=value)

    def load_again() -> Run:
        loaded = nn.GraphCell(load(str(file)))
        return lambda arrays: as_arrays(loaded(*map(Tensor, arrays)))

    ms_export(graph.form, *map(free_tensor, graph.inputs), file_name=str(file), file_format="MINDIR", custom_func=say)
    return load_again


def _write_onnx(graph: Graph, file: Path, metadata: Mapping[str, str]) -> Load | str:
    onnx = onnx_file.require("onnx", "an ONNX file")
    from common.export import onnx_writer

    model = onnx_writer.write(graph.form, graph.inputs, graph.outputs, graph.cells)
    onnx_file.stamp(model, metadata)
    data = model.SerializeToString()
    file.write_bytes(data)
    if onnx_file.optional("onnxruntime") is None:
        log.warning("onnxruntime is not installed, so the ONNX file was not run: %s", onnx_file.INSTALL)
        return "ONNX, not run and not compared"

    def load_again() -> Run:
        onnx.checker.check_model(data, full_check=True)
        return onnx_file.runner(data)

    return load_again


def _write_air(graph: Graph, file: Path, metadata: Mapping[str, str]) -> str:
    from mindspore import Tensor, get_context
    from mindspore import export as ms_export

    device = get_context("device_target")
    if device != "Ascend":
        raise UserError(
            f"AIR is written only where MindSpore has an Ascend backend; this one offers {device}: use MINDIR or ONNX"
        )
    ms_export(graph.form, *map(Tensor, _random_inputs(graph, 0)), file_name=str(file), file_format="AIR")
    return f"AIR for the fixed sizes {dict(graph.sizes[0])}, not compared: MindSpore cannot load AIR"


def free_tensor(port: Port) -> Any:
    """Return a MindSpore placeholder of the port's shape, its free sizes unknown."""
    import mindspore as ms

    return ms.Tensor(shape=[None if isinstance(length, str) else length for length in port.shape], dtype=ms.float32)


def as_arrays(output: Any) -> Arrays:
    """Return what a cell returned, a tensor or a tuple of tensors, as a tuple of arrays."""
    return tuple(tensor.asnumpy() for tensor in (output if isinstance(output, tuple | list) else (output,)))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: MindSpore's have a C++ call stack behind it."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
