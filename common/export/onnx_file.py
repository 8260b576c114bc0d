"""ONNX files, by the `onnx` package and ONNX Runtime, both optional (`pip install -e '.[onnx]'`)."""

import hashlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from common import UserError

if TYPE_CHECKING:
    import onnx


INSTALL = "pip install -e '.[onnx]'"
FINGERPRINT = "graph_sha256"


def optional(package: str) -> ModuleType | None:
    """Import a package; None where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError:
        return None


def require(package: str, purpose: str) -> ModuleType:
    """Import a package, or say what needs it and how it is installed."""
    module = optional(package)
    if module is None:
        raise UserError(f"{purpose} needs the package {package}, which is not installed: {INSTALL}")
    return module


def stamp(model: "onnx.ModelProto", metadata: Mapping[str, str]) -> None:
    """Put metadata into the model, and a fingerprint of the graph with its weights: ONNX itself has no checksum."""
    for key, value in {**metadata, FINGERPRINT: _fingerprint(model)}.items():
        model.metadata_props.add(key=key, value=str(value))


def read_stamp(model: "onnx.ModelProto") -> dict[str, str]:
    """Return the metadata; nothing when the graph is not the one that was stamped."""
    found = {entry.key: entry.value for entry in model.metadata_props}
    return found if found.get(FINGERPRINT) == _fingerprint(model) else {}


def _fingerprint(model: "onnx.ModelProto") -> str:
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def runner(data: bytes, provider: str = "") -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Return a function (inputs -> outputs) that runs a model in ONNX Runtime, by default on this process's CPU cores.

    Memory: the arena stays on, because without it each large feature map is mapped and unmapped afresh in every run.
    Memory patterns are off: they reserve one block for all values of a run, for every input size anew, and tiling
    brings four sizes. WDSR-B x2 (32 blocks, 384 channels inside) then takes about 1.6 of its largest feature maps:
    the whole process 275 MB for tiles of 260x260 and 714 MB for 512x512 (435 and 1341 MB with patterns, MindSpore not
    counted), whatever the size of the image.
    """
    onnxruntime = require("onnxruntime", "running an ONNX file")
    options = onnxruntime.SessionOptions()
    # Without a count of the cores (macOS, Windows) 0 leaves it to ONNX Runtime.
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors only
    known = {name.removesuffix("ExecutionProvider"): name for name in onnxruntime.get_available_providers()}
    chosen = provider.removesuffix("ExecutionProvider") or "CPU"
    if chosen not in known:
        raise UserError(
            f"--provider {provider}: this ONNX Runtime has {', '.join(known)}; install the package that has it, as "
            "onnxruntime-gpu or onnxruntime-openvino"
        )
    session = onnxruntime.InferenceSession(data, options, providers=[known[chosen]])
    names = [port.name for port in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))
