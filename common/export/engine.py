"""Runs a network that is ready for inference: in ONNX Runtime, which is faster on CPU, or in MindSpore.

For ONNX Runtime the network is exported once, compared with MindSpore and cached in the user's cache folder as
`mindspore-sr-zoo/<checkpoint>.<first 12 of the digest>.onnx`: the `CACHED` that were used last; where that folder
cannot be written, it is exported in each run. These files may be deleted at any time.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import UserError, __version__
from common.atomic import replacing
from common.export import onnx_file
from common.export.export import Arrays, ExportError, Graph, Port, Run, as_arrays, draft, first_line, free_tensor
from common.runtime import graph_mode, keep_interrupts

if TYPE_CHECKING:
    from mindspore import nn


CACHED = 16
log = logging.getLogger(__name__)


class Engine:
    """A network of float32 arrays, and what runs it."""

    name: str  # for reports: "ONNX Runtime 1.31.1 (CPU)", "MindSpore 2.10.0 (CPU, graph)"
    _run: Run

    def __init__(self) -> None:
        keep_interrupts()  # which the compilation of an export has turned

    def run(self, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Run the network on one array per input, converted to float32; return the output, or a tuple of several."""
        outputs = self._run([np.ascontiguousarray(array, dtype=np.float32) for array in arrays])
        outputs = tuple(np.asarray(output, np.float32) for output in outputs)
        keep_interrupts()
        return outputs[0] if len(outputs) == 1 else outputs


class OnnxEngine(Engine):
    def __init__(self, data: bytes, provider: str = "") -> None:
        super().__init__()
        self._run = onnx_file.runner(data, provider)
        self.name = f"ONNX Runtime {onnx_file.require('onnxruntime', 'this engine').__version__} ({provider or 'CPU'})"


class MindSporeEngine(Engine):
    """A cell compiled once for all sizes; where MindSpore cannot do that, once per size; where it cannot, eagerly.

    Works in both of MindSpore's global modes. The cell is put into inference mode; changes of its weights are seen. (In
    PyNative mode a compiled function, in MindSpore 2.7 also a cell, would not see `Parameter.set_data`.)
    """

    def __init__(self, network: "nn.Cell", inputs: Sequence[Port], precision: str = "") -> None:
        super().__init__()
        set_precision(network.set_train(False), precision)
        self._forms: list[tuple[str, Callable[..., Any]]] = [
            ("graph per size", _wrapped(network).compile_and_run),
            ("eager", network),
        ]
        if any(isinstance(length, str) for port in inputs for length in port.shape):
            cell = _wrapped(network)
            cell.set_inputs(*map(free_tensor, inputs))
            self._forms.insert(0, ("graph", cell.compile_and_run))

    @property
    def name(self) -> str:
        import mindspore as ms

        return f"MindSpore {ms.__version__} ({ms.get_context('device_target')}, {self._forms[0][0]})"

    def _run(self, arrays: Arrays) -> Arrays:
        from mindspore import Tensor

        while True:
            form, cell = self._forms[0]
            try:
                with graph_mode(form != "eager"):
                    return as_arrays(cell(*map(Tensor, arrays)))
            except Exception as error:
                if len(self._forms) == 1:  # a fault of the network itself: eager says best where it is
                    raise
                del self._forms[0]
                log.warning(
                    "MindSpore cannot run this as %s, trying %s: %s", form, self._forms[0][0], first_line(error)
                )


def set_precision(network: "nn.Cell", precision: str) -> None:
    """Let a network compute in "float16" with parameters that stay float32; "" changes nothing."""
    import mindspore as ms

    if precision and ms.get_context("device_target") == "CPU":
        raise UserError(f"--precision {precision} needs a GPU or Ascend: the CPU computes in float32 only")
    if precision:
        network.to_float(getattr(ms, precision))


def _wrapped(network: "nn.Cell") -> "nn.Cell":
    """Return a cell around the network, with the same parameters under the same names and its own compiled graphs."""
    from mindspore import nn

    class Wrapped(nn.Cell):
        def __init__(self) -> None:
            super().__init__(auto_prefix=False)
            self.network = network

        def construct(self, *inputs):
            return self.network(*inputs)

    return Wrapped().set_train(False)


def make_engine(kind: str, graph: Graph, cache: str | Path | None = None, digest: str = "", batch: int = 1) -> Engine:
    """Choose what runs a network.

    Args:
        kind: "mindspore" (or "mindspore:float16"), "onnxruntime" (or with a provider, "onnxruntime:CUDA"), or "auto":
            ONNX Runtime when MindSpore runs on CPU, the `onnx` extra is installed and the network can be exported,
            else MindSpore.
        cache: the checkpoint that the weights came from; None caches no export.
        digest: tells the weights and the form of the network from all others; an export serves only the same again.
        batch: how many inputs are run at once, at most; the graph is of one.
    """
    from mindspore import get_context

    if batch > 1:
        inputs = [port._replace(shape=("batch", *port.shape[1:])) for port in graph.inputs]
        graph = graph._replace(inputs=inputs, sizes=[{"batch": batch, **size} for size in graph.sizes])
    kind, _, special = kind.partition(":")
    packages = "onnx", "onnxruntime"
    if kind == "auto" and not (get_context("device_target") == "CPU" and all(map(onnx_file.optional, packages))):
        kind = "mindspore"
    if kind == "mindspore":
        return MindSporeEngine(graph.form, graph.inputs, special)
    for package in packages:
        onnx_file.require(package, "--engine onnxruntime")
    graph = graph._replace(sizes=graph.sizes[:1])  # compared once, at the first size; export.py tries all
    ports = " ".join(f"{port.name}{port.shape}" for port in graph.inputs)
    stamp = {"digest": digest, "zoo": __version__, "ports": f"{ports} -> {' '.join(graph.outputs)}"}
    personal = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    place = None
    if cache is not None and personal.is_absolute():  # not absolute: a user without a home
        place = personal / "mindspore-sr-zoo" / f"{Path(cache).name}.{digest[:12]}{'.batch' * (batch > 1)}.onnx"
    try:
        return OnnxEngine((place and _cached(place, stamp)) or _exported(place, graph, stamp), special)
    except ExportError as error:
        if kind == "onnxruntime":
            raise
        log.warning("MindSpore runs this network, since ONNX Runtime cannot: %s", error)
        return MindSporeEngine(graph.form, graph.inputs)


def _exported(place: Path | None, graph: Graph, stamp: Mapping[str, str]) -> bytes:
    """Export the network, to `place` if there is one, where the `CACHED` that were used last stay."""
    data, report = draft(graph, "ONNX", stamp)
    if place is not None:
        try:
            with replacing(place) as temporary:
                temporary.write_bytes(data)
            log.info("exported once for ONNX Runtime, %s: %s", report, place)
            for old in sorted(place.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime_ns)[:-CACHED]:
                old.unlink()
        except OSError as error:
            log.debug("%s: %s", place, error)
    return data


def _cached(place: Path, stamp: Mapping[str, str]) -> bytes | None:
    """Return a cached export; None when there is none, or it is damaged, or made for something else."""
    import onnx

    try:
        data = place.read_bytes()
    except OSError:
        return None
    try:
        if onnx_file.read_stamp(onnx.load_model_from_string(data)).items() >= stamp.items():
            with contextlib.suppress(OSError):
                os.utime(place)  # the last used are those that stay
            return data
    except Exception as error:  # protobuf and ONNX Runtime have exceptions of their own
        log.debug("%s: %s", place, error)
    log.info("%s is damaged or of another version: exporting again", place)
    return None
