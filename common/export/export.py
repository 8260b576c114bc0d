"""Writes a network as MINDIR, ONNX, AIR or SAFETENSORS, and proves each file before it takes its name.

The file is drafted, loaded again, run on random inputs at two sizes and compared with the network; only then does it go
where it was asked for. A file that was there before stays untouched when anything fails.
"""

import contextlib
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
Sizes = Sequence[Mapping[str, int]]
Load = Callable[[], Callable[[Arrays], Arrays]]  # of a file: () -> (inputs -> outputs)


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


class Graph(NamedTuple):
    """A network, or one of its graphs, as it is exported or run by an engine.

    Attributes:
        form: takes the inputs in order and returns a tensor, or a flat tuple of as many as `outputs`.
        outputs: their names (MINDIR and AIR do not keep them).
        sizes: sets of free sizes to check with; `[{}]` when nothing is free.
    """

    form: "nn.Cell"
    inputs: Sequence[Port]
    outputs: Sequence[str]
    sizes: Sizes


def export(
    network: "nn.Cell",
    inputs: Sequence[Port],
    outputs: Sequence[str],
    path: str | Path,
    file_format: str,
    *,
    sizes: Sizes,
    tolerance: float = TOLERANCE,
    metadata: Mapping[str, str] | None = None,
    meaning: Mapping[str, str] | None = None,
    cells: Mapping[type, Callable] | None = None,
) -> Path:
    """Write the network and prove the file; log what was written and how well it agrees.

    Args:
        network, inputs, outputs, sizes: see `Graph`; batch sizes 1, 2 ... are added where the length "batch" is free.
        path: the suffix of the format is appended when it is missing.
        file_format: MINDIR, ONNX or AIR, in either case.
        tolerance: largest error allowed, relative to the largest absolute value of the output.
        metadata: text kept in the file (ONNX metadata_props, MINDIR user_info), such as model, scale, digest.
        meaning: of inputs and outputs that are no images, for an ONNX file, by their names without numbers: that of
            "latent" is the meaning of latent_0, latent_1 ...
        cells: how an ONNX file records cells of these types, see `onnx_writer.write`.

    Raises:
        ExportError: an operator cannot be exported, or the file does not answer as the network does.
        UserError: a missing package, AIR without Ascend, a place that cannot be written.
    """
    file_format, metadata = file_format.upper(), dict(metadata or {})
    target = _place_for(path, file_format)
    if file_format == "ONNX":
        image = {"layout": "NCHW", "colour": "Y" if inputs[0].shape[1] == 1 else "RGB", "range": [0, 1]}

        def said(name: str) -> dict[str, Any]:
            told = (
                image if name.endswith("_image") else {"meaning": (meaning or {}).get(re.sub(r"_\d+$", "", name), "")}
            )
            return {"name": name, **told}

        metadata["inputs"] = json.dumps([said(port.name) for port in inputs])
        metadata["outputs"] = json.dumps([said(name) for name in outputs])
    if "batch" in inputs[0].shape:
        sizes = [{"batch": count, **size} for count, size in enumerate(sizes, 1)]
    graph = Graph(network, inputs, outputs, sizes)
    return _write(target, *draft(graph, file_format, metadata, tolerance, cells))


def export_graphs(
    graphs: Iterable[tuple[str, Graph]],
    file_name: str,
    file_format: str,
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
    meaning: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Export each of a network's graphs to a file of its own, `irn_x4_upscale.onnx`; yield the paths.

    Args:
        graphs: with their names, which go into the file's name and, as "graph", into the metadata.
        file_name: with the ending of the format, or without.
        metadata: model, scale, digest ...
    """
    ending = f".{file_format.lower()}"
    stem = file_name[: -len(ending)] if file_name.lower().endswith(ending) else file_name
    for name, (form, inputs, outputs, sizes) in graphs:
        said = {"model": metadata["model"], "graph": name, **metadata}
        kept = {"sizes": sizes, "tolerance": tolerance, "metadata": said, "meaning": meaning}
        yield export(form, inputs, outputs, f"{stem}_{name}", file_format, **kept)


def export_weights(weights: ModelWeights, options: Any) -> Path:
    """Write a trained network's weights by the authors' names, as .safetensors; log what was written.

    The file is read back into a new network, which must have the same parameters bit for bit.

    Args:
        options: of export.py.

    Raises:
        ExportError: the file does not give the network back.
    """
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
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    log.info("%s: %s", target, report)
    return target


# ------------------------------------------------------------------------------------------------- a file and its proof


def draft(
    graph: Graph,
    file_format: str,
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
    cells: Mapping[type, Callable] | None = None,
) -> tuple[bytes, str]:
    """Write a graph, load the file again, and compare.

    Returns:
        The file's content, and a phrase that says what was compared.

    Raises:
        ExportError: it cannot be made, does not answer as the network does, or the temporary folder is full.
    """
    write = {"MINDIR": _write_mindir, "ONNX": _write_onnx, "AIR": _write_air}[file_format]
    try:
        with tempfile.TemporaryDirectory(prefix="export-") as folder, _as_inference(graph.form):
            file = Path(folder) / f"network.{file_format.lower()}"
            load = write(graph, file, metadata, cells)
            report = load if isinstance(load, str) else _compare(graph, load, tolerance)
            return file.read_bytes(), report
    except OSError as error:  # MindSpore writes nothing, and says nothing, on a full disk
        raise ExportError(
            f"the export cannot be written to the temporary folder ({error.strerror}): is it full? TMPDIR names another"
        ) from None


def _compare(graph: Graph, load: Load, tolerance: float) -> str:
    """Run the file and the network on the same inputs at each size."""
    from mindspore import Tensor

    try:
        run = load()
    except Exception as error:  # each runtime has exceptions of its own
        raise ExportError(f"the exported file does not load: {first_line(error)}; nothing was written") from error
    worst = 0.0
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


def _write_mindir(graph: Graph, file: Path, metadata: Mapping[str, str], _: Any) -> Load:
    from mindspore import Tensor, load, nn

    def say(model: Any) -> None:
        if hasattr(model.user_info, "update"):
            model.user_info.update(metadata)
        else:  # MindSpore 2.7
            for key, value in metadata.items():
                model.user_info.add(key=key, value=value)

    def load_again() -> Callable[[Arrays], Arrays]:
        loaded = nn.GraphCell(load(str(file)))
        return lambda arrays: as_arrays(loaded(*map(Tensor, arrays)))

    _ms_export(graph.form, map(free_tensor, graph.inputs), file, "MINDIR", custom_func=say)
    return load_again


def _write_onnx(graph: Graph, file: Path, metadata: Mapping[str, str], cells: Any) -> Load | str:
    onnx = onnx_file.require("onnx", "an ONNX file")
    from common.export import onnx_writer

    model = onnx_writer.write(graph.form, graph.inputs, graph.outputs, cells)
    onnx_file.stamp(model, metadata)
    data = model.SerializeToString()
    file.write_bytes(data)
    if onnx_file.optional("onnxruntime") is None:
        log.warning("onnxruntime is not installed, so the ONNX file was not run: %s", onnx_file.INSTALL)
        return "ONNX, not run and not compared"

    def load_again() -> Callable[[Arrays], Arrays]:
        onnx.checker.check_model(data, full_check=True)
        session = onnx_file.open_session(data)
        names = [port.name for port in graph.inputs]
        return lambda arrays: session.run(list(graph.outputs), dict(zip(names, arrays, strict=True)))

    return load_again


def _write_air(graph: Graph, file: Path, metadata: Mapping[str, str], _: Any) -> str:
    from mindspore import Tensor, get_context

    device = get_context("device_target")
    if device != "Ascend":
        raise UserError(
            f"AIR is written only where MindSpore has an Ascend backend; this one offers {device}: use MINDIR or ONNX"
        )
    _ms_export(graph.form, map(Tensor, _random_inputs(graph, 0)), file, "AIR")
    return f"AIR for the fixed sizes {dict(graph.sizes[0])}, not compared: MindSpore cannot load AIR"


def _ms_export(network: "nn.Cell", inputs: Iterable[Any], file: Path, file_format: str, **options: Any) -> None:
    """MindSpore's exporter. It takes no path with spaces and sets the folder's mode to 0700, so only drafts go here."""
    import mindspore as ms

    try:
        ms.export(network, *inputs, file_name=str(file), file_format=file_format, **options)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"MindSpore cannot write this network as {file_format}: {first_line(error)}") from error


@contextlib.contextmanager
def _as_inference(network: "nn.Cell") -> Iterator[None]:
    """Inference mode while the block runs. A failed ms.export leaves `jit_syntax_level` changed; it is put back too."""
    from mindspore import get_context, set_context

    training, level = network.training, get_context("jit_syntax_level")
    network.set_train(False)
    try:
        yield
    finally:
        network.set_train(training)
        set_context(jit_syntax_level=level)


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
