"""The authors' PyTorch files (.pth, .pt) without PyTorch: the zip format (1.6 and later) and the older stream.

Both are a pickle that says which piece of which storage each tensor is, and the raw bytes of the storages.
`pickles` interprets the pickle without running anything, `pth_tensors` holds what it may refer to.
"""

import io
import logging
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError
from common.checkpoint import pickles
from common.checkpoint.pth_tensors import Found, Reader, item_size

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_CONTAINERS = ("params_ema", "model_ema", "ema", "params", "state_dict", "model_state_dict", "model")  # in this order
_WEIGHTS = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar")
# What zipfile raises for damaged or encrypted archives, besides ValueError.
_ZIP_ERRORS = (zipfile.BadZipFile, RuntimeError, EOFError, struct.error, OverflowError)

_log = logging.getLogger(__name__)


class PthError(UserError):
    """A PyTorch file is missing or damaged, or holds something else than tensors and plain containers."""


def read_pth(path: str | Path) -> Any:
    """Everything in a PyTorch file: dict, list, tuple, array (bfloat16 as float32), number, text, None.

    Raises:
        PthError: missing, damaged, or it refers to anything but tensors and plain containers; nothing is ever run.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
        return _read_zip(path) if start == b"PK\x03\x04" else _read_legacy(path.read_bytes())
    except FileNotFoundError:
        raise PthError(f"PyTorch file not found: {path}") from None
    except OSError as error:
        raise PthError(f"{path} could not be read: {error.strerror or error}") from error
    except ValueError as error:
        raise PthError(f"{path} cannot be read as PyTorch weights: {error!s:.300}") from error
    except MemoryError:
        raise PthError(f"{path} holds more than fits into the memory") from None


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of the state_dict in a PyTorch file, floats as float32.

    The usual wrappings are taken off: the prefix `module.` of torch.nn.DataParallel, and dictionaries that hold the
    weights, one of `_CONTAINERS` or the only one that has arrays. What is no array (an epoch, say) is left out.

    Raises:
        PthError: see `read_pth`; or no arrays by name are found.
    """
    found = read_pth(path)
    while isinstance(found, dict) and (inner := _container(found)) is not None:
        _log.debug("%s: taking %r out of %s", path, inner, list(found))
        found = found[inner]
    entries = found if isinstance(found, dict) else {}
    weights = {str(name): value for name, value in entries.items() if isinstance(value, np.ndarray)}
    if not weights:
        what = f"a dictionary with {list(entries)[:5]!a:.200}" if isinstance(found, dict) else type(found).__name__
        raise PthError(f"{path} has no weights by name: expected a state_dict, found {what}")
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return {name: a.astype(np.float32, copy=False) if a.dtype.kind == "f" else a for name, a in weights.items()}


def _container(found: dict) -> Any:
    """Return the key of the dictionary with the weights in this one; None where they are in this one, or nowhere."""
    holding = [key for key, value in found.items() if _has_arrays(value, nested=False)]
    usual = next((key for key in _CONTAINERS if _has_arrays(found.get(key), nested=True)), None)
    return holding[0] if usual is None and len(holding) == 1 and not _has_arrays(found, nested=False) else usual


def _has_arrays(value: Any, *, nested: bool) -> bool:
    items = value.values() if isinstance(value, dict) else ()
    return any(isinstance(item, np.ndarray) or (nested and _has_arrays(item, nested=True)) for item in items)


def _limit(file_size: int) -> int:
    """Bytes that all arrays of a file may take: tied weights and half precision make them more than the file."""
    return 16 * file_size + 2**24


# --------------------------------------------------------------------------------------------------------------- zip


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path.stat().st_size)
    except _ZIP_ERRORS as error:
        raise ValueError(f"its zip archive is damaged: {error}") from error


def _read_archive(archive: zipfile.ZipFile, file_size: int) -> Any:
    """One member `<folder>/data.pkl`, one `<folder>/data/<key>` for each storage, all uncompressed."""
    names = archive.namelist()
    folders = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(folders) != 1:
        inside = next((name for name in names if name.endswith(_WEIGHTS)), None)
        around = f"around {inside!a:.100}: unpack it, and give that file" if inside else "but not one of PyTorch"
        raise ValueError(f"it is a zip archive, {around}")
    if sum(member.file_size for member in archive.infolist()) > file_size:
        raise ValueError("its members are compressed or claim more bytes than it has, which PyTorch never does")
    folder = folders[0]
    if folder + "constants.pkl" in names:
        raise ValueError("it is a TorchScript program; save the state_dict() of the network instead")
    order = _member(archive, folder + "byteorder") if folder + "byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError("its byte order is unknown")
    found = Found()
    description = pickles.load(io.BytesIO(_member(archive, folder + "data.pkl")), found.hooks())
    blocks = {}
    for key, (code, count) in found.storages.items():
        blocks[key] = _member(archive, f"{folder}data/{key}")
        if len(blocks[key]) < count * item_size(code):
            raise ValueError("a storage in it is shorter than its tensors say")
    return Reader(blocks, big_endian=order == b"big", limit=_limit(file_size)).read(description)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One uncompressed member; zipfile verifies its CRC."""
    if name not in archive.NameToInfo:
        raise ValueError(f"its member {name!a:.100} is missing")
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its member {name!a:.100} is compressed, which PyTorch never does")
    return archive.read(member)


# ------------------------------------------------------------------------------------------------------------ legacy


def _read_legacy(data: bytes) -> Any:
    """Pickles of magic number, version, machine, object and storage keys; then each storage: its count and bytes."""
    stream = io.BytesIO(data)
    magic = pickles.load(stream, pickles.PLAIN) if data[:1] == b"\x80" else None
    if magic != _LEGACY_MAGIC or pickles.load(stream, pickles.PLAIN) != _LEGACY_PROTOCOL:
        raise ValueError("it is no file of torch.save")
    machine = pickles.load(stream, pickles.PLAIN)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("its byte order is unknown")
    found = Found()
    description = pickles.load(stream, found.hooks())
    keys = pickles.load(stream, pickles.PLAIN)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(found.storages):
        raise ValueError("its list of storages does not match its tensors")
    blocks = {key: _legacy_block(stream, *found.storages[key]) for key in keys}
    return Reader(blocks, big_endian=False, limit=_limit(len(data))).read(description)


def _legacy_block(stream: io.BytesIO, code: str, count: int) -> bytes:
    stored = int.from_bytes(stream.read(8), "little")
    content = stream.read(max(count, 0) * item_size(code))
    if stored != count or len(content) != count * item_size(code):
        raise ValueError("it is truncated, or a storage in it has another length than its tensors say")
    return content
