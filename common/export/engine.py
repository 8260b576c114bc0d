"""Runs a network that is ready for inference: in ONNX Runtime, which is faster on CPU, or in MindSpore.

For ONNX Runtime the network is exported once, compared with MindSpore and cached in the user's cache folder as
`mindspore-sr-zoo/<checkpoint>.<first 12 of the digest>.onnx`: the `CACHED` that were used last; where that folder
cannot be written, it is exported in each run. These files may be deleted at any time.
"""

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import UserError, __version__
from common.atomic import replacing
from common.config import ENGINES
from common.export import onnx_file
from common.export.export import (
    TOLERANCE,
    ExportError,
    Port,
    Proof,
    Sizes,
    as_arrays,
    draft,
    first_line,
    free_tensor,
    wrapped,
)
from common.runtime import keep_interrupts

if TYPE_CHECKING:
    from mindspore import nn


CACHED = 16
log = logging.getLogger(__name__)


class Engine(ABC):
    """A network with named float32 inputs of known shapes.

    Attributes:
        name: what runs it, for reports: "ONNX Runtime 1.31.1 (CPU)", "MindSpore 2.10.0 (CPU, graph)".
    """

    name: str

    def __init__(self, inputs: Sequence[Port]) -> None:
        self.inputs = tuple(inputs)
        keep_interrupts()  # which the compilation of an export has turned

    def run(self, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """Run the network on one array per input, converted to float32 where needed.

        Returns:
            The output, or a tuple when the network has several.

        Raises:
            ValueError: another number of arrays or another shape than the inputs have.
        """
        self._check(arrays)
        outputs = tuple(self._run([np.ascontiguousarray(array, dtype=np.float32) for array in arrays]))
        keep_interrupts()
        return outputs[0] if len(outputs) == 1 else outputs

    @abstractmethod
    def _run(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]: ...

    def _check(self, arrays: Sequence[np.ndarray]) -> None:
        size: dict[str, int] = {}
        fits = len(arrays) == len(self.inputs)
        for port, array in zip(self.inputs, arrays, strict=False):
            fits = fits and len(port.shape) == array.ndim
            for wanted, found in zip(port.shape, array.shape, strict=False):
                fits = fits and found == (size.setdefault(wanted, found) if isinstance(wanted, str) else wanted)
        if not fits:
            wanted = ", ".join(f"{port.name} {port.shape}" for port in self.inputs)
            raise ValueError(f"the network takes {wanted}, found the shapes {[array.shape for array in arrays]}")


class OnnxEngine(Engine):
    """An ONNX model in ONNX Runtime."""

    def __init__(self, data: bytes, inputs: Sequence[Port], outputs: Sequence[str]) -> None:
        super().__init__(inputs)
        self._session = onnx_file.open_session(data)
        self._outputs = list(outputs)
        self.name = f"ONNX Runtime {onnx_file.require('onnxruntime', 'this engine').__version__} (CPU)"

    def _run(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        names = (port.name for port in self.inputs)
        return self._session.run(self._outputs, dict(zip(names, arrays, strict=True)))


class MindSporeEngine(Engine):
    """A cell compiled once for all sizes; where MindSpore cannot do that, once per size; where it cannot, eagerly.

    Works in both of MindSpore's global modes. The cell is put into inference mode; changes of its weights are seen. (A
    function compiled by `mindspore.jit` in PyNative mode would not see `Parameter.set_data`, only in-place updates.)
    """

    def __init__(self, network: "nn.Cell", inputs: Sequence[Port]) -> None:
        super().__init__(inputs)
        network.set_train(False)
        self._forms: list[tuple[str, Callable[..., Any]]] = [
            ("graph per size", wrapped(network).compile_and_run),
            ("eager", network),
        ]
        if any(isinstance(length, str) for port in inputs for length in port.shape):
            cell = wrapped(network)
            cell.set_inputs(*map(free_tensor, inputs))
            self._forms.insert(0, ("graph", cell.compile_and_run))

    @property
    def name(self) -> str:
        import mindspore as ms

        return f"MindSpore {ms.__version__} ({ms.get_context('device_target')}, {self._forms[0][0]})"

    def _run(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        from mindspore import Tensor

        for index, (form, cell) in enumerate(self._forms):
            try:
                outputs = as_arrays(cell(*map(Tensor, arrays)))
            except Exception as error:
                if index == len(self._forms) - 1:  # a fault of the network itself: eager says best where it is
                    raise
                following = self._forms[index + 1][0]
                log.warning("MindSpore cannot run this as %s, trying %s: %s", form, following, first_line(error))
            else:
                del self._forms[:index]
                return outputs
        raise AssertionError("the last form returns or raises")


def make_engine(
    kind: str,
    network: "nn.Cell",
    inputs: Sequence[Port],
    outputs: Sequence[str],
    *,
    sizes: Sizes,
    cache: str | Path | None = None,
    digest: str = "",
    tolerance: float = TOLERANCE,
) -> Engine:
    """Choose what runs the network.

    Args:
        kind: "mindspore", "onnxruntime", or "auto": ONNX Runtime when MindSpore runs on CPU, the `onnx` extra is
            installed and the network can be exported, else MindSpore.
        network, inputs, outputs, sizes, tolerance: as for `common.export.export`.
        cache: the checkpoint that the weights came from; None caches no export.
        digest: tells the weights and the form of the network from all others; an export serves only the same again.

    Raises:
        ExportError: "onnxruntime" was asked for and the network cannot be exported.
        UserError: "onnxruntime" was asked for and a package is missing.
    """
    if kind not in ENGINES:
        raise UserError(f"the engine is one of {', '.join(ENGINES)}, not {kind!r}")
    if cache is not None and not digest:
        raise ValueError("an export is kept under a digest: give one, or cache=None")
    if kind == "mindspore" or (kind == "auto" and not _prefers_onnx()):
        return MindSporeEngine(network, inputs)
    for package in ("onnx", "onnxruntime"):
        onnx_file.require(package, "--engine onnxruntime")
    proof = Proof(network, inputs, outputs, sizes[:1], tolerance)  # once at the first size; export.py tries all
    ports = " ".join(f"{port.name}{port.shape}" for port in inputs)
    stamp = {"digest": digest, "zoo": __version__, "ports": f"{ports} -> {' '.join(outputs)}"}
    try:
        return _onnx_engine(proof, _place(cache, digest), stamp)
    except ExportError as error:
        if kind == "onnxruntime":
            raise
        log.warning("MindSpore runs this network, since ONNX Runtime cannot: %s", error)
        return MindSporeEngine(network, inputs)


def _prefers_onnx() -> bool:
    from mindspore import get_context

    packages = map(onnx_file.optional, ("onnx", "onnxruntime"))
    return get_context("device_target") == "CPU" and all(package is not None for package in packages)


def _place(cache: str | Path | None, digest: str) -> Path | None:
    """Return where an export is cached; None for nowhere."""
    personal = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if cache is None or not personal.is_absolute():  # not absolute: a user without a home
        return None
    return personal / "mindspore-sr-zoo" / f"{Path(cache).name}.{digest[:12]}.onnx"


def _onnx_engine(proof: Proof, place: Path | None, stamp: Mapping[str, str]) -> OnnxEngine:
    if place is not None and (engine := _kept(place, proof, stamp)):
        return engine
    data, report = draft(proof, "ONNX", stamp)
    if place is not None:
        try:
            with replacing(place) as temporary:
                temporary.write_bytes(data)
            log.info("exported once for ONNX Runtime, %s: %s", report, place)
            for old in sorted(place.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime_ns)[:-CACHED]:
                old.unlink()
        except OSError as error:
            log.debug("%s: %s", place, error)
    return OnnxEngine(data, proof.inputs, proof.outputs)


def _kept(place: Path, proof: Proof, stamp: Mapping[str, str]) -> OnnxEngine | None:
    """The engine of a kept export, or None when there is none, or it is damaged, or made for something else."""
    import onnx

    try:
        data = place.read_bytes()
    except OSError:
        return None
    try:
        model = onnx.load_model_from_string(data)
        found = onnx_file.read_stamp(model) or {}
        if found.items() >= stamp.items():
            with contextlib.suppress(OSError):
                os.utime(place)  # the last used are those that stay
            return OnnxEngine(data, proof.inputs, proof.outputs)
    except Exception as error:  # protobuf and ONNX Runtime have exceptions of their own
        log.debug("%s: %s", place, error)
    log.info("%s is damaged or of another version: exporting again", place)
    return None
