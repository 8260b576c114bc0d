"""The only place that reads or writes weights: MindSpore .ckpt, .safetensors, and the authors' PyTorch files.

A file written here holds three things: the weights under the network's own parameter names (so plain
`mindspore.load_checkpoint` serves too), JSON metadata that says what the file is, and the state needed to resume.
Its SHA-256 covers all three and is verified at each read. Reserved entries of a .ckpt: `__meta__` (first),
`__state__/...`, `__digest__` (last); a file with one of them but not all is a damaged one, never a foreign one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.atomic import replacing
from common.checkpoint import ckpt as ckpt_format
from common.checkpoint.ckpt import plain
from common.checkpoint.fitting import CheckpointError
from common.checkpoint.pth import read_weights

_META, _STATE, _DIGEST = "__meta__", "__state__/", "__digest__"
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # PyTorch's files; a MindSpore file starts with 0x0a
_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}
_OLD_PYTORCH = (b"sys_info", b"storages", b"tensors", b"pickle")  # members of its tar files


@dataclass
class Checkpoint:
    """Weights by the names of their parameters, what they are of, and what resuming needs besides."""

    weights: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)  # of JSON's types: model, scale, hyper, step, best score ...
    state: dict[str, np.ndarray] = field(default_factory=dict)  # optimizer moments, moving averages, random states


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 (hexadecimal) over name, type, shape and bytes of all arrays; their order does not matter."""
    result = hashlib.sha256()
    for name in sorted(weights):
        array = plain(weights[name])
        result.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        result.update(array.reshape(-1).view(np.uint8))
    return result.hexdigest()


def _content_digest(arrays: Mapping[str, np.ndarray], meta: str) -> str:
    return hashlib.sha256((digest(arrays) + meta).encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------- writing


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a .ckpt or .safetensors file so that a killed run leaves either the old file or the new one, whole."""
    path = Path(path)
    write = {".ckpt": _write_ckpt, ".safetensors": _write_safetensors}.get(path.suffix.lower())
    if write is None:
        raise CheckpointError(f"{path}: weights are written as .ckpt or .safetensors, not as {path.suffix!r}")
    meta = json.dumps(checkpoint.meta)
    arrays = checkpoint.weights | {_STATE + name: array for name, array in checkpoint.state.items()}
    arrays = {name: plain(array) for name, array in arrays.items()}
    try:
        with replacing(path) as temporary:
            write(temporary, arrays, meta, _content_digest(arrays, meta))
    except OSError as error:
        raise CheckpointError(f"{path} could not be written ({error.strerror or error}); "
                              "what was there before is untouched") from error  # fmt: skip


def _write_ckpt(path: Path, arrays: Mapping[str, np.ndarray], meta: str, content_digest: str) -> None:
    first = (_META, np.frombuffer(meta.encode(), np.uint8))
    last = (_DIGEST, np.frombuffer(bytes.fromhex(content_digest), np.uint8))
    with path.open("wb") as file:
        ckpt_format.write_arrays(file, [first, *arrays.items(), last])


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray], meta: str, content_digest: str) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path, metadata={"format": "np", _META: meta, _DIGEST: content_digest})
    except SafetensorError as error:
        raise OSError(str(error)) from error  # its only causes here: the disk


# ---------------------------------------------------------------------------------------------------------- reading


def read(path: str | Path) -> Checkpoint:
    """Read .ckpt, .safetensors, .pth or .pt; a file that was not written here has no state and no metadata of ours.

    CheckpointError: missing, truncated, damaged, or something else than weights.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
        if other := _something_else(start):
            raise CheckpointError(f"{path} is {other}")
        kind = path.suffix.lower()
        # Some authors call their files .ckpt or .tar; the length that opens a .safetensors file may be 0x80.
        if start.startswith(_ZIP) or (kind != ".safetensors" and start.startswith(_PICKLE)):
            kind = ".pth"
        readers = {".ckpt": _read_ckpt, ".safetensors": _read_safetensors, ".pth": _read_pytorch, ".pt": _read_pytorch}
        if kind not in readers:
            raise CheckpointError(f"{path} is no checkpoint: expected a name ending in .ckpt, .safetensors or .pth")
        if not start:
            raise CheckpointError(f"{path} is empty: expected a checkpoint")
        return readers[kind](path)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint not found: {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}") from error


def _something_else(start: bytes) -> str:
    """Say what a file is instead of weights, by its first 512 bytes, and what to do; "" for what may be weights."""
    if start[257:262] == b"ustar":
        if start.partition(b"\0")[0] in _OLD_PYTORCH:
            return "a file of PyTorch before 0.1.10 (a tar archive): load it in PyTorch and save its state_dict() anew"
        return "a tar archive, not weights: unpack it, and give the file in it"
    if archive := next((name for opening, name in _ARCHIVES.items() if start.startswith(opening)), ""):
        return f"a {archive} archive, not weights: unpack it, and give the file in it"
    text = start.decode("utf-8-sig", "ignore").strip()
    if not text or re.search(rb"[\x00-\x08\x0e-\x1f]", start):
        return ""
    if text.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the weights themselves: fetch them by `git lfs pull` where it was cloned"
    if text.startswith("<"):
        return "a web page (HTML), not weights: download the file itself, by its direct link"
    kind = "JSON" if text.startswith(("{", "[")) else "a text"
    return f"{kind} that begins with {text[:30]!a}, not weights: expected a .ckpt, .safetensors or .pth file"


def _read_pytorch(path: Path) -> Checkpoint:
    return Checkpoint(read_weights(path), {"format": "pth"})


def _read_ckpt(path: Path) -> Checkpoint:
    try:
        arrays = ckpt_format.parse_arrays(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged or no MindSpore checkpoint: {error}") from error
    texts = {name: arrays.pop(name) for name in [name for name, entry in arrays.items() if isinstance(entry, str)]}
    meta, stored = (arrays.pop(name).tobytes() if name in arrays else None for name in (_META, _DIGEST))
    return _assemble(path, arrays, meta, stored and stored.hex(), texts)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, AttributeError, TypeError, ImportError) as error:  # also types NumPy lacks
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    meta = header[_META].encode() if _META in header else None
    return _assemble(path, arrays, meta, header.get(_DIGEST), {})


def _assemble(
    path: Path, arrays: dict[str, np.ndarray], meta: bytes | None, stored: str | None, texts: dict[str, str]
) -> Checkpoint:
    """Verify the digest of a file of ours; a foreign one is taken as it is, its text entries as metadata."""
    state = {name.removeprefix(_STATE): array for name, array in arrays.items() if name.startswith(_STATE)}
    if meta is None and stored is None and not state:
        return Checkpoint({name: plain(array) for name, array in arrays.items()}, texts)
    text = (meta or b"").decode(errors="replace")
    if texts or _content_digest(arrays, text) != stored:
        raise CheckpointError(f"{path} is damaged: its content does not match the digest that was saved with it; "
                              "use another copy")  # fmt: skip
    weights = {name: array for name, array in arrays.items() if not name.startswith(_STATE)}
    return Checkpoint(weights, json.loads(text), state)
