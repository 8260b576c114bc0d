"""Writes a network as MINDIR, ONNX or AIR, and proves each file before it takes its name.

The file is drafted, loaded again, run on random inputs at two sizes and compared with the network; only then does it go
where it was asked for. A file that was there before stays untouched when anything fails.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common import UserError, onnx_file
from common.atomic import make_writable, replacing
from common.proof import (
    TOLERANCE,
    ExportError,
    Port,
    Proof,
    Run,
    Sizes,
    as_arrays,
    first_line,
    free_tensor,
)

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["FORMATS", "TOLERANCE", "ExportError", "Graph", "Port", "draft", "export", "export_graphs", "with_suffix"]

FORMATS = ("MINDIR", "ONNX", "AIR")
log = logging.getLogger(__name__)


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
) -> Path:
    """Write the network and prove the file; log what was written and how well it agrees.

    Args:
        network: takes the inputs in order and returns a tensor, or a flat tuple of as many as `outputs`.
        outputs: names of the outputs (MINDIR and AIR do not keep them).
        path: the suffix of the format is appended when it is missing.
        file_format: MINDIR, ONNX or AIR, in either case.
        sizes: sets of free sizes to check with, none of which is the same in all sets. `[{}]` when nothing is free.
        tolerance: largest error allowed, relative to the largest absolute value of the output.
        metadata: text kept in the file (ONNX metadata_props, MINDIR user_info), such as model, scale, digest.

    Returns:
        The path that was written.

    Raises:
        ExportError: an operator cannot be exported, or the file does not answer as the network does.
        UserError: unknown format, a missing package, AIR without Ascend, a place that cannot be written.
    """
    if file_format.upper() not in FORMATS:
        raise UserError(f"the file format is one of {', '.join(FORMATS)}, not {file_format!r}")
    target = place_for(path, file_format)
    proof = Proof(network, inputs, outputs, sizes, tolerance)
    return write(target, *draft(proof, file_format.upper(), metadata or {}))


class Graph(NamedTuple):
    """One of a network's graphs, as `export` and `common.engine.make_engine` take it."""

    form: "nn.Cell"
    inputs: list[Port]
    outputs: list[str]
    sizes: list[dict[str, int]]


def export_graphs(
    graphs: Iterable[tuple[str, Graph]],
    file_name: str,
    file_format: str,
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
) -> Iterator[Path]:
    """Export each of a network's graphs to a file of its own, `irn_x4_upscale.onnx`; the paths that were written.

    Args:
        graphs: with their names, which go into the file's name and, as "graph", into the metadata.
        file_name: with the ending of the format, or without.
        metadata: model, scale, digest ...

    Raises:
        ExportError, UserError: as `export`.
    """
    ending = f".{file_format.lower()}"
    stem = file_name[: -len(ending)] if file_name.lower().endswith(ending) else file_name
    for name, (form, inputs, outputs, sizes) in graphs:
        said = {"model": metadata["model"], "graph": name, **metadata}
        path = f"{stem}_{name}"
        yield export(form, inputs, outputs, path, file_format, sizes=sizes, tolerance=tolerance, metadata=said)


def with_suffix(path: str | Path, file_format: str) -> Path:
    """`wdsr` becomes `wdsr.mindir`, `wdsr_v1.5` becomes `wdsr_v1.5.mindir`, `wdsr.mindir` stays."""
    path, suffix = Path(path), f".{file_format.lower()}"
    return path if path.suffix.lower() == suffix else path.with_name(path.name + suffix)


def place_for(path: str | Path, file_format: str) -> Path:
    """Where the file goes, tried before anything is computed.

    Raises:
        UserError: it cannot be written there.
    """
    target = with_suffix(path, file_format)
    if target.is_dir():
        raise UserError(f"cannot write {target}: it is a folder, a file name was expected")
    make_writable(target.parent)
    return target


def write(target: Path, data: bytes, report: str) -> Path:
    """Put a proven file in its place; log the phrase that says what was compared.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    log.info("%s: %s", target, report)
    return target


def draft(proof: Proof, file_format: str, metadata: Mapping[str, str]) -> tuple[bytes, str]:
    """The proven file's content and a phrase that says what was compared.

    Raises:
        ExportError: it cannot be made, or the temporary folder not be written.
    """
    drafted = {"MINDIR": _draft_mindir, "ONNX": _draft_onnx, "AIR": _draft_air}[file_format]
    try:
        with tempfile.TemporaryDirectory(prefix="export-") as folder, _as_inference(proof.network):
            file = Path(folder) / f"network.{file_format.lower()}"
            report = drafted(proof, file, metadata)
            return file.read_bytes(), report
    except OSError as error:  # MindSpore writes nothing, and says nothing, on a full disk
        raise ExportError(
            f"the export cannot be written to the temporary folder ({error.strerror}): is it full? TMPDIR names another"
        ) from None


def _draft_mindir(proof: Proof, file: Path, metadata: Mapping[str, str]) -> str:
    from mindspore import Tensor, load, nn

    def load_again() -> Run:
        loaded = nn.GraphCell(load(str(file)))
        return lambda arrays: as_arrays(loaded(*map(Tensor, arrays)))

    inputs = [free_tensor(port) for port in proof.inputs]
    _ms_export(proof.network, inputs, file, "MINDIR", custom_func=lambda model: model.user_info.update(metadata))
    return proof.compare(load_again, proof.trials())


def _draft_onnx(proof: Proof, file: Path, metadata: Mapping[str, str]) -> str:
    onnx_file.require("onnx", "an ONNX file")
    from common import onnx_writer

    model = onnx_writer.write(proof.network, proof.inputs, proof.outputs)
    onnx_file.stamp(model, metadata)
    file.write_bytes(model.SerializeToString())
    return compare_onnx(proof, file.read_bytes())


def compare_onnx(proof: Proof, data: bytes) -> str:
    """Run an ONNX file where ONNX Runtime is installed; a phrase that says what was compared.

    Raises:
        ExportError: it does not load, or does not answer as the network does.
    """
    if onnx_file.optional("onnxruntime") is None:
        log.warning("onnxruntime is not installed, so the ONNX file was not run: %s", onnx_file.INSTALL)
        return "ONNX, not run and not compared"

    def load_again() -> Run:
        onnx_file.require("onnx", "an ONNX file").checker.check_model(data, full_check=True)
        session = onnx_file.open_session(data)
        names = [port.name for port in proof.inputs]
        return lambda arrays: session.run(list(proof.outputs), dict(zip(names, arrays, strict=True)))

    return proof.compare(load_again, proof.trials())


def _draft_air(proof: Proof, file: Path, metadata: Mapping[str, str]) -> str:
    from mindspore import Tensor, get_context

    device = get_context("device_target")
    if device != "Ascend":
        raise UserError(
            f"AIR is written only where MindSpore has an Ascend backend; this one offers {device}: use MINDIR or ONNX"
        )
    _ms_export(proof.network, [Tensor(array) for array in proof.random_inputs(0)], file, "AIR")
    return f"AIR for the fixed sizes {dict(proof.sizes[0])}, not compared: MindSpore cannot load AIR"


def _ms_export(network: "nn.Cell", inputs: Sequence[Any], file: Path, file_format: str, **options: Any) -> None:
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
