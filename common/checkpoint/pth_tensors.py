"""What a PyTorch file may refer to, and how arrays come out of it.

While the pickle is interpreted, tensors and storages are only noted (`Found`), since the older format has the bytes
behind the pickle. `to_arrays` then replaces each note by a copy of its numbers. Every size that a file claims is
compared with the bytes that are there before anything is allocated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.checkpoint import pickles
from common.checkpoint.ckpt_format import widen_bfloat16

# Storage classes and types of PyTorch -> NumPy's letters; "bf16" is ours. What is not here (quantized, 8-bit floats) is
# refused by its name.
_CODES = {f"torch.{name}": code for name, code in {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
    "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16", "storage.UntypedStorage": "u1",
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "bf16", "int64": "i8", "int32": "i4", "int16": "i2",
    "int8": "i1", "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1", "bool": "b1",
    "complex64": "c8", "complex128": "c16",
}.items()}  # fmt: skip
_CALLABLES = frozenset((
    "collections.OrderedDict", "collections.Counter", "torch.Size", "torch.device", "_codecs.encode", "numpy.dtype",
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
))  # fmt: skip
_NUMPY_SCALARS = frozenset(("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"))

_MAX_DEPTH, _MAX_NODES, _MAX_SIZE = 64, 300_000, 2**40


@dataclass(frozen=True)
class Name:
    """One of the admitted names, as a text."""

    text: str


@dataclass(frozen=True)
class Storage:
    """`count` numbers of type `code`, from number `start` on, of the block of bytes called `key`."""

    key: str
    code: str
    count: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, counted in numbers of type `code`; what the file says, checked when it is read."""

    storage: Storage
    code: str
    offset: Any
    size: Any
    stride: Any


@dataclass(frozen=True)
class NumpyType:
    """numpy.dtype, little-endian."""

    code: str


class Found:
    """Hooks for `pickles.load`, and the storages that the pickle mentions: key -> (type, count)."""

    def __init__(self) -> None:
        self.storages: dict[str, tuple[str, int]] = {}

    def hooks(self) -> pickles.Hooks:
        return pickles.Hooks(_name, _call, _build, self._persistent)

    def _persistent(self, identifier: Any) -> Storage:
        match identifier:
            case ("storage", Name(text), str(key), _, int(count), *view) if text in _CODES:
                code = _CODES[text]
            case _:
                raise ValueError("it holds something else than tensors, perhaps a whole network")
        match view:
            case [] | [None]:
                start, part = 0, count
            case [(_, int(start), int(part))]:  # files before PyTorch 0.4: a piece of a storage
                pass
            case _:
                raise _damaged()
        known = self.storages.setdefault(key, (code, count))
        if known != (code, count) or start < 0 or part < 0 or start + part > count:
            raise ValueError("one of its storages is described in two ways")
        return Storage(key, code, part, start)


def _damaged() -> ValueError:
    return ValueError("its pickle is damaged or of an unknown kind")


def _name(text: str) -> Name:
    if text not in _CALLABLES and text not in _CODES:
        raise ValueError(
            f"it holds {text!a:.100}, and only tensors, numbers, texts and plain containers are read; "
            "save its state_dict() alone, in PyTorch, to get such a file"
        )
    return Name(text)


def _call(callee: Any, arguments: tuple) -> Any:
    """The result of a call in the file. The arguments left out are requires_grad and hooks."""
    name = callee.text.removeprefix("torch._utils.") if isinstance(callee, Name) else None
    match (name, *arguments):
        case ("_rebuild_tensor" | "_rebuild_tensor_v2", Storage(code=code) as storage, offset, size, stride, *_):
            return Tensor(storage, code, offset, size, stride)
        case ("_rebuild_tensor_v3", Storage() as storage, offset, size, stride, _, _, Name(kind), *_) if kind in _CODES:
            return Tensor(storage, _CODES[kind], offset, size, stride)
        case ("_rebuild_parameter" | "_rebuild_parameter_with_state", Tensor() as tensor, *_):
            return tensor
        case ("collections.OrderedDict" | "collections.Counter",):
            return {}
        case ("collections.Counter", dict(counts)):
            return counts
        case ("collections.OrderedDict", list(pairs)):
            return _dictionary(pairs)
        case ("torch.Size", tuple(size)):
            return size
        case ("torch.device", str(kind), *_):
            return kind
        case ("_codecs.encode", str(text), "latin1"):  # how protocol 2 spells bytes
            return text.encode("latin-1")
        case ("numpy.dtype", str(code), *_) if code in _NUMPY_SCALARS:
            return NumpyType(code)
        case ("numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", NumpyType(code), raw):
            return _scalar(code, raw)
    raise _damaged()


def _dictionary(pairs: list) -> dict:
    result: dict = {}
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise _damaged()
    for key, value in pairs:
        pickles.put(result, key, value)
    return result


def _scalar(code: str, raw: Any) -> Any:
    content = raw.encode("latin-1") if isinstance(raw, str) else raw  # a text in files of Python 2
    dtype = np.dtype("<" + code)
    if not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise _damaged()
    return np.frombuffer(content, dtype)[0].item()


def _build(target: Any, state: Any) -> None:
    """State is set on two things: an OrderedDict (its `_metadata`, not needed) and a NumPy type (its byte order)."""
    order = state[1:2] if isinstance(target, NumpyType) and isinstance(state, tuple) else None
    if not isinstance(target, dict) and order not in (("<",), ("|",), ("=",)):
        raise ValueError("it holds big-endian NumPy numbers or sets the state of something unknown")


# ------------------------------------------------------------------------------------------------------------ arrays


def item_size(code: str) -> int:
    return 2 if code == "bf16" else np.dtype(code).itemsize


class Reader:
    """Replaces notes by arrays.

    Args:
        blocks: storage key -> its bytes, at least as many as were claimed.
        big_endian: byte order of the blocks.
        limit: bytes that all arrays together may take; views overlap, so it is more than the file has.
    """

    def __init__(self, blocks: Mapping[str, Any], *, big_endian: bool, limit: int):
        self._blocks = blocks
        self._order = ">" if big_endian else "<"
        self._bytes_left = limit
        self._nodes_left = _MAX_NODES

    def read(self, value: Any, depth: int = 0) -> Any:
        """The value with every note in it replaced; containers are copied, and may not contain themselves."""
        self._nodes_left -= 1
        if depth > _MAX_DEPTH or self._nodes_left < 0:
            raise ValueError("it is nested too deeply or has absurdly many entries")
        match value:
            case Tensor():
                return self._tensor(value)
            case Storage(_, code, count):
                return self._tensor(Tensor(value, code, 0, (count,), (1,)))
            case Name(text) | NumpyType(text):
                return text
            case dict():
                return {key: self.read(item, depth + 1) for key, item in value.items()}
            case list():
                return [self.read(item, depth + 1) for item in value]
            case tuple():
                return tuple(self.read(item, depth + 1) for item in value)
        return value

    def _tensor(self, tensor: Tensor) -> np.ndarray:
        """A C-contiguous copy, so transposed, sliced, expanded and tied views are what they were."""
        code, offset, size, stride = tensor.code, tensor.offset, tensor.size, tensor.stride
        _check_view(offset, size, stride)
        flat = self._numbers(tensor.storage, code)
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count and last >= len(flat):
            raise ValueError("a tensor in it reaches outside its storage")
        self._bytes_left -= count * max(flat.itemsize, 4)  # a bfloat16 grows to 4
        if self._bytes_left < 0:
            raise ValueError("its tensors claim absurdly more numbers than it has")
        if not count:
            return _native(np.empty(size, flat.dtype), code)
        strides = [step * flat.itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True)]
        return _native(np.lib.stride_tricks.as_strided(flat[offset:], size, strides), code)

    def _numbers(self, storage: Storage, code: str) -> np.ndarray:
        """The storage's numbers as a flat array; Boolean ones as bytes, bfloat16 as bit patterns."""
        start = storage.start * item_size(storage.code)
        content = memoryview(self._blocks[storage.key])[start : start + storage.count * item_size(storage.code)]
        dtype = np.dtype({"bf16": "u2", "b1": "u1"}.get(code, code)).newbyteorder(self._order)
        return np.frombuffer(content, dtype, len(content) // dtype.itemsize)


def _check_view(offset: Any, size: Any, stride: Any) -> None:
    """Types and bounds, without looking at the storage."""
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise _damaged()
    if not all(isinstance(number, int) and 0 <= number <= _MAX_SIZE for number in (offset, *size, *stride)):
        raise ValueError("a tensor in it has a negative or absurd size")
    if len(size) > 32 or math.prod(max(n, 1) for n in size) > _MAX_SIZE:
        raise ValueError("a tensor in it has an absurd shape")  # NumPy's own bound is 32 dimensions


def _native(view: np.ndarray, code: str) -> np.ndarray:
    array = view.astype(view.dtype.newbyteorder("="), order="C", copy=True)
    if code == "bf16":
        return widen_bfloat16(array)
    return np.asarray(array != 0) if code == "b1" else array
