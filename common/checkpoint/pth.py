"""The authors' PyTorch files (.pth, .pt) without PyTorch: the zip format (1.6 and later) and the older stream.

Both are a pickle that says which piece of which storage each tensor is, and the raw bytes of the storages. The pickle
is read by the standard library under a list of admitted names (`ADMITTED`): nothing else is looked up or called. The
older format has the bytes behind the pickle, so arrays are made empty, and filled when the storages are there.
"""

import argparse
import collections
import io
import logging
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.checkpoint.ckpt import widen_bfloat16
from common.checkpoint.fitting import CheckpointError

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_CONTAINERS = ("params_ema", "model_ema", "ema", "params", "state_dict", "model_state_dict", "model")  # in this order
_WEIGHTS = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar")
# Storage classes and types of PyTorch -> NumPy's letters; "bf16" is ours.
_CODES = {f"torch.{name}": code for name, code in {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
    "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16", "storage.UntypedStorage": "u1",
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "bf16", "int64": "i8", "int32": "i4", "int16": "i2",
    "int8": "i1", "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1", "bool": "b1",
    "complex64": "c8", "complex128": "c16",
}.items()}  # fmt: skip
_log = logging.getLogger(__name__)


def read_pth(path: str | Path) -> Any:
    """Return everything in a PyTorch file: dict, list, tuple, array (bfloat16 as float32), number, text, None."""
    data = Path(path).read_bytes()
    try:
        return _read_zip(data) if data.startswith(b"PK\x03\x04") else _read_legacy(data)
    except MemoryError:
        raise CheckpointError(f"{path} holds more than fits into the memory") from None
    except Exception as error:  # pickle, zipfile and NumPy raise nearly everything when bytes are damaged
        reason = " ".join(str(error).split()).encode("ascii", "backslashreplace").decode() or type(error).__name__
        raise CheckpointError(f"{path} cannot be read as PyTorch weights: {reason:.250}") from error


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of the state_dict in a PyTorch file, floats as float32.

    The usual wrappings are taken off: the prefix `module.` of torch.nn.DataParallel, and dictionaries that hold the
    weights, one of `_CONTAINERS` or the only one that has arrays. What is no array (an epoch, say) is left out.
    """
    found = read_pth(path)
    while isinstance(found, dict) and (inner := _container(found)) is not None:
        _log.debug("%s: taking %r out of %s", path, inner, list(found))
        found = found[inner]
    entries = found if isinstance(found, dict) else {}
    weights = {str(name): value for name, value in entries.items() if isinstance(value, np.ndarray)}
    if not weights:
        what = f"a dictionary with {list(entries)[:5]!a:.200}" if isinstance(found, dict) else type(found).__name__
        raise CheckpointError(f"{path} has no weights by name: expected a state_dict, found {what}")
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return {name: a.astype(np.float32, copy=False) if a.dtype.kind == "f" else a for name, a in weights.items()}


def _container(found: dict) -> Any:
    """Return the key of the dictionary with the weights in this one; None where they are in this one, or nowhere."""
    holding = [key for key, value in found.items() if _has_arrays(value)]
    usual = next((key for key in _CONTAINERS if _has_arrays(found.get(key), depth=3)), None)
    return holding[0] if usual is None and len(holding) == 1 and not _has_arrays(found) else usual


def _has_arrays(value: Any, depth: int = 1) -> bool:
    items = value.values() if isinstance(value, dict) and depth else ()
    return any(isinstance(item, np.ndarray) or _has_arrays(item, depth - 1) for item in items)


# ----------------------------------------------------------------------------------------------------- the two formats


def _read_zip(data: bytes) -> Any:
    """Read the member `<folder>/data.pkl`, and `<folder>/data/<key>` for each storage; zipfile verifies their CRCs."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        folders = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(folders) != 1:
            inside = next((name for name in names if name.endswith(_WEIGHTS)), None)
            around = f"around {inside!a:.100}: unpack it, and give that file" if inside else "but not one of PyTorch"
            raise ValueError(f"it is a zip archive, {around}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its members are compressed, which PyTorch never does")
        folder = folders[0]
        if folder + "constants.pkl" in names:
            raise ValueError("it is a TorchScript program; save the state_dict() of the network instead")
        order = archive.read(folder + "byteorder") if folder + "byteorder" in names else b"little"
        pickled = _Unpickler(io.BytesIO(archive.read(folder + "data.pkl")), len(data), ">" if order == b"big" else "<")
        found = pickled.load()
        pickled.fill({key: archive.read(f"{folder}data/{key}") for key in pickled.storages})
    return found


def _read_legacy(data: bytes) -> Any:
    """Read pickles of magic number, version, machine, object and storage keys; then each storage, count and bytes."""
    stream = io.BytesIO(data)

    def pickled() -> _Unpickler:
        return _Unpickler(stream, len(data))

    known = data[:1] == b"\x80" and pickled().load() == _LEGACY_MAGIC and pickled().load() == _LEGACY_PROTOCOL
    if not known or pickled().load().get("little_endian") is not True:
        raise ValueError("it is no file of torch.save")
    tensors, blocks = pickled(), {}
    found = tensors.load()
    for key in pickled().load():
        size = int.from_bytes(stream.read(8), "little") * _dtype(tensors.storages[key]).itemsize
        blocks[key] = stream.read(size)
        if len(blocks[key]) != size:
            raise ValueError("it is truncated")
    tensors.fill(blocks)
    return found


# ------------------------------------------------------------------------------------------------------- their pickles


class _Storage(NamedTuple):
    """`count` numbers of type `code`, from number `start` on, of the block of bytes called `key`."""

    key: str
    code: str
    start: int
    count: int


class _NumpyType:
    """numpy.dtype of a number, little-endian."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype("<" + code)
        if self.dtype.kind not in "fiub":
            raise ValueError(f"it holds a NumPy scalar of type {code!a:.20}")

    def __setstate__(self, state: tuple) -> None:
        if state[1] == ">":
            raise ValueError("it holds big-endian NumPy numbers")


def _scalar(kind: _NumpyType, raw: bytes | str) -> Any:
    (value,) = np.frombuffer(raw.encode("latin-1") if isinstance(raw, str) else raw, kind.dtype)
    return value.item()


ADMITTED = {
    "argparse.Namespace": argparse.Namespace,  # the options of a run, which many keep beside the weights
    "collections.OrderedDict": collections.OrderedDict,
    "collections.Counter": dict,
    "torch.Size": tuple,
    "torch.device": lambda kind, *_: kind,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "_codecs.encode": lambda text, _: text.encode("latin-1"),  # how protocol 2 spells bytes
    "numpy.dtype": _NumpyType,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    **_CODES,
}


class _Unpickler(pickle.Unpickler):
    """Reads a pickle of a file of `length` bytes; the arrays in it are empty until `fill`."""

    def __init__(self, stream: io.BytesIO, length: int, order: str = "<") -> None:
        super().__init__(stream, encoding="latin-1")  # the byte texts of Python 2
        self.storages: dict[str, str] = {}  # those that are mentioned -> their type
        self._order = order  # of the bytes of their numbers
        self._left = 16 * length + 2**24  # bytes that tensors may take: views overlap, so it is more than the file has
        self._views: list[tuple] = []

    def find_class(self, module: str, name: str) -> Any:
        """Return our stand-in for an admitted name; refuse all others."""
        known = f"{module}.{name}"
        if known in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
            return self._tensor
        if known == "torch._utils._rebuild_tensor_v3":
            return lambda storage, *view: self._tensor(storage._replace(code=view[5]), *view[:3])
        if known not in ADMITTED:
            raise ValueError(
                f"it holds {known!a:.100}, and only tensors, numbers, texts and plain containers are read; "
                "save its state_dict() alone, in PyTorch, to get such a file"
            )
        return ADMITTED[known]

    def persistent_load(self, identifier: Any) -> _Storage:
        match identifier:
            case ("storage", str(code), str(key), _, int(count), *more) if more in ([], [None]):
                storage = _Storage(key, code, 0, count)
            case ("storage", str(code), str(key), _, _, (_, int(start), int(count))):  # a piece, before PyTorch 0.4
                storage = _Storage(key, code, start, count)
            case _:
                raise ValueError("it holds something else than tensors, perhaps a whole network")
        if self.storages.setdefault(storage.key, storage.code) != storage.code:
            raise ValueError("one of its storages is described in two ways")
        return storage

    def _tensor(self, storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
        """Return an empty C-contiguous array of its own; requires_grad and hooks are left out."""
        if not all(isinstance(n, int) and n >= 0 for n in (offset, storage.start, storage.count, *size, *stride)):
            raise ValueError("a tensor in it has a negative size, or one that is not an integer")
        self._left -= math.prod(size) * _dtype(storage.code).itemsize
        if self._left < 0:
            raise ValueError("its tensors claim absurdly more numbers than it has")
        array = np.empty(size, {"bf16": "f4", "b1": "?"}.get(storage.code, storage.code))
        self._views.append((array, storage, offset, stride))
        return array

    def fill(self, blocks: Mapping[str, bytes]) -> None:
        """Copy the numbers of the storages, so transposed, sliced, expanded and tied views are what they were."""
        for array, storage, offset, stride in self._views:
            dtype = _dtype(storage.code)
            dims = list(zip(array.shape, stride, strict=True))
            if not array.size:
                continue
            block = memoryview(blocks[storage.key])[storage.start * dtype.itemsize :]
            flat = np.frombuffer(block, dtype.newbyteorder(self._order), len(block) // dtype.itemsize)[: storage.count]
            if offset + sum((n - 1) * step for n, step in dims) >= len(flat):
                raise ValueError("a tensor in it reaches outside its storage")
            strides = [step * dtype.itemsize if n > 1 else 0 for n, step in dims]
            view = np.lib.stride_tricks.as_strided(flat[offset:], array.shape, strides)
            array[...] = widen_bfloat16(view) if storage.code == "bf16" else view != 0 if array.dtype == bool else view


def _dtype(code: str) -> np.dtype:
    return np.dtype({"bf16": "u2", "b1": "u1"}.get(code, code))
