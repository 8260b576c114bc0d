"""The network as a file for other programs: MINDIR, AIR, and ONNX by a graph of its own; each is proved."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from common import UserError, export
from common.checkpoint import Checkpoint, digest_of, weights_of
from common.export import Port, Proof, onnx_file

from .CSNLN import COLORS, CSNLN, Hyper

OUTPUTS = ["sr_image"]
CHECK_SIZES = [{"height": 12, "width": 18}, {"height": 24, "width": 6}]  # an ONNX file is compared at both


def ports(batch_size: int = 1, height: int | str = "height", width: int | str = "width") -> list[Port]:
    """The input of the graph."""
    return [Port("lr_image", (batch_size, COLORS, height, width))]


def metadata(hyper: Hyper, saved: Checkpoint, source: str) -> dict[str, str]:
    """What an exported file says of itself; the digest tells the function of these weights from all others."""
    shape = json.dumps(asdict(hyper))
    digest = digest_of(hyper, saved)
    return {"model": "CSNLN", "scale": str(hyper.scale), "hyper": shape, "source": source, "digest": digest}


def onnx_bytes(network: CSNLN, attention_memory: int, said: Mapping[str, str], batch: int | str = "batch") -> bytes:
    """The network as an ONNX file; `batch` names the batch size, or fixes it.

    Raises:
        UserError: the package is missing.
    """
    onnx_file.require("onnx", "an ONNX file")
    from . import onnx_graph

    model = onnx_graph.write(weights_of(network), network.hyper, attention_memory, batch)
    onnx_file.stamp(model, said)
    return model.SerializeToString()


def write_onnx(network: CSNLN, path: str, attention_memory: int, said: Mapping[str, str], batch_size: int) -> Path:
    """Write an ONNX file for pictures of any size.

    Raises:
        ExportError: it does not answer as the network does.
        UserError: a package is missing, or a place that cannot be written.
    """
    target = export.place_for(path, "ONNX")
    data = onnx_bytes(network, attention_memory, said, batch_size)
    proof = Proof(network.set_train(False), ports(batch_size), OUTPUTS, CHECK_SIZES)
    return export.write(target, data, export.compare_onnx(proof, data))


def write_fixed(
    network: CSNLN, path: str, file_format: str, shape: tuple[int, int, int], said: Mapping[str, str]
) -> Path:
    """Write MINDIR or AIR for one (batch size, height, width) of the LR picture.

    Raises:
        ExportError: it does not answer as the network does.
        UserError: sides that the attention cannot divide, AIR without Ascend, or a place that cannot be written.
    """
    multiple = network.hyper.attention_scale
    if shape[1] % multiple or shape[2] % multiple:
        raise UserError(
            f"the LR picture of this {file_format} must have sides that are multiples of {multiple}: --lr_height "
            f"{shape[1]} --lr_width {shape[2]}"
        )
    return export.export(network, ports(*shape), OUTPUTS, path, file_format, sizes=[{}], metadata=said)
