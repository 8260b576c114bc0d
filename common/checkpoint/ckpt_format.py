"""MindSpore's .ckpt file: a stream of protobuf messages, written and parsed here without protobuf or MindSpore.

    Checkpoint  { repeated Value value = 1; }
    Value       { string tag = 1; TensorProto tensor = 2; MapTensorProto maptensor = 3; }
    TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3; }

MindSpore's own pair is not used because its writer removes the old file first, does not fsync and drops arrays without
elements, and its reader takes a file that was cut between two messages for a whole one. A test holds the bytes
written here equal to those of `mindspore.save_checkpoint`.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

# MindSpore's name of each type, and NumPy's. BFloat16 is read too (as float32).
_NUMPY_NAMES = {"Bool": "bool"} | {
    f"{kind}{bits}": f"{kind.lower()}{bits}"
    for kind, widths in {"Int": (8, 16, 32, 64), "UInt": (8, 16, 32, 64), "Float": (16, 32, 64)}.items()
    for bits in widths
}
_MINDSPORE_NAMES = {numpy_name: name for name, numpy_name in _NUMPY_NAMES.items()}
DTYPES = frozenset(_MINDSPORE_NAMES)

_SLICE = 512 * 1024 * 1024  # bytes of one array in one message; MindSpore cuts at the same place
_CRC_MARK = b"crc_num"  # written by save_checkpoint(crc_check=True): the mark and 10 bytes
_MAX_DIMENSIONS = 32  # NumPy's own bound


def plain(name: str, array: np.ndarray) -> np.ndarray:
    """The array as files hold it: C order, little-endian, of a type in `DTYPES`; 0-d stays 0-d, bfloat16 widens.

    Raises:
        TypeError: it is no array.
        ValueError: its type is not in `DTYPES`.
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(f"{name!r} is {type(array).__name__}, not an array (a Tensor's array is tensor.asnumpy())")
    if array.dtype.name == "bfloat16":  # ml_dtypes' or MindSpore's; every bfloat16 is a float32
        array = array.astype(np.float32)
    if array.dtype.name not in DTYPES:
        raise ValueError(f"{name!r} is of type {array.dtype}, where files hold floats, integers and bools only")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def write_arrays(file: BinaryIO, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write named arrays, C-contiguous, little-endian and of a type in `DTYPES`, as MindSpore writes them."""
    for name, array in arrays:
        dims = b"".join(b"\x08" + _varint_bytes(size) for size in array.shape)
        header = dims + _field(2, _MINDSPORE_NAMES[array.dtype.name].encode())
        content = memoryview(array.reshape(-1).view(np.uint8))
        for start in range(0, max(len(content), 1), _SLICE):
            _write_value(file, name, header, content[start : start + _SLICE])


def _write_value(file: BinaryIO, name: str, header: bytes, content: memoryview) -> None:
    # Lengths come before what they measure, so they are computed inside out; the content itself is never copied.
    tensor_start = header + b"\x1a" + _varint_bytes(len(content))
    tensor_size = len(tensor_start) + len(content)
    value_start = _field(1, name.encode()) + b"\x12" + _varint_bytes(tensor_size) + tensor_start
    file.write(b"\x0a" + _varint_bytes(len(value_start) + len(content)) + value_start)
    file.write(content)


def parse_arrays(data: bytes) -> dict[str, np.ndarray | str]:
    """All entries of a .ckpt file, in its order; every array is a copy, a text entry is a string.

    Raises:
        ValueError: the bytes are not such a file, whole; says what is wrong.
    """
    pieces: dict[str, list[tuple[tuple[int, ...], str, memoryview]]] = {}
    previous = None
    for number, value in _fields(memoryview(_without_crc(data))):
        name, piece = _parse_value(_only_bytes(value) if number == 1 else _fail(f"field {number} at the top"))
        if name in pieces and name != previous:
            raise ValueError(f"{name!r} is in it twice")
        pieces.setdefault(name, []).append(piece)
        previous = name
    if not pieces:
        raise ValueError("it holds no arrays")
    return {name: _join(name, parts) for name, parts in pieces.items()}


def _without_crc(data: bytes) -> bytes:
    """The messages alone; the CRC-32 that `crc_check=True` appends is verified when it is there."""
    if data[-17:-10] != _CRC_MARK:
        return data
    if zlib.crc32(data[:-17]) != int.from_bytes(data[-10:], "big"):
        raise ValueError("its CRC does not match")
    return data[:-17]


def _parse_value(view: memoryview) -> tuple[str, tuple[tuple[int, ...], str, memoryview]]:
    name, piece = None, None
    for number, value in _fields(view):
        if number == 1:
            name = str(_only_bytes(value), "utf-8")
        elif number == 2:
            piece = _parse_tensor(_only_bytes(value))
        elif number == 3:
            raise ValueError("it holds a MapParameter, which no network here has")
        else:
            _fail(f"field {number} in an entry")
    if name is None or piece is None:
        raise ValueError("an entry has no name or no data")
    return name, piece


def _parse_tensor(view: memoryview) -> tuple[tuple[int, ...], str, memoryview]:
    dims: list[int] = []
    type_name, content = None, None
    for number, value in _fields(view):
        if number == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 2:
            type_name = str(_only_bytes(value), "utf-8")
        elif number == 3:
            content = _only_bytes(value)
        else:
            _fail(f"field {number} in a tensor")
    if type_name is None or content is None:
        raise ValueError("a tensor has no type or no content")
    if len(dims) > _MAX_DIMENSIONS:
        raise ValueError(f"a tensor has {len(dims)} dimensions")
    return tuple(dims), type_name, content


def _join(name: str, parts: list[tuple[tuple[int, ...], str, memoryview]]) -> np.ndarray | str:
    """One array out of its slices, each of which carries the shape of the whole."""
    shape, type_name, _ = parts[0]
    if any(part[:2] != (shape, type_name) for part in parts):
        raise ValueError(f"{name!r} is in it twice, with two shapes or types")
    content = b"".join(part[2] for part in parts)
    if type_name == "str":
        return content.decode("utf-32-le").rstrip("\0")
    if type_name == "BFloat16":
        dtype = np.dtype("<u2")
    elif type_name in _NUMPY_NAMES:
        dtype = np.dtype(_NUMPY_NAMES[type_name]).newbyteorder("<")
    else:
        raise ValueError(f"{name!r} is of the unknown type {type_name!r}")
    count = _count(shape)
    if count * dtype.itemsize != len(content):
        raise ValueError(f"{name!r} of shape {shape} has {len(content)} bytes, not {count * dtype.itemsize}")
    array = np.frombuffer(content, dtype).reshape(shape)
    return widen_bfloat16(array) if type_name == "BFloat16" else array.astype(dtype.newbyteorder("="))


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16 bit patterns -> the same numbers as float32: a bfloat16 is the upper half of a float32."""
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)  # in place, since `0-d array << number` would be a scalar
    return wide.view(np.float32)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, integer or bytes) of one message."""
    position = 0
    while position < len(view):
        key, position = _read_varint(view, position)
        value, position = _read_varint(view, position)
        if key & 7 == 2:
            end = position + value
            if end > len(view):
                raise ValueError("it ends in the middle of an entry")
            yield key >> 3, view[position:end]
            position = end
        elif key & 7 == 0:
            yield key >> 3, value
        else:
            _fail(f"wire type {key & 7}")


def _packed(view: memoryview) -> list[int]:
    numbers, position = [], 0
    while position < len(view):
        number, position = _read_varint(view, position)
        numbers.append(number)
    return numbers


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 63, 7):  # 63 bits: nothing in this format is negative
        if position >= len(view):
            raise ValueError("it ends in the middle of an entry")
        byte = view[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number in it is too large")


def _varint_bytes(number: int) -> bytes:
    result = bytearray()
    while number >= 0x80:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint_bytes(len(content)) + content


def _only_bytes(value: int | memoryview) -> memoryview:
    return _fail("a number where bytes belong") if isinstance(value, int) else value


def _fail(what: str) -> memoryview:
    raise ValueError(f"{what} does not belong into a MindSpore checkpoint")
