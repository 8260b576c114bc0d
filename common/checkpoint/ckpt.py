"""MindSpore's .ckpt file: a stream of messages of `mindspore.train.checkpoint_pb2`, one for each array.

MindSpore's own `save_checkpoint` removes the old file before it writes the new one, and its reader takes a file that
was cut between two messages for a whole one; so only the schema is used, and the digest of `common.checkpoint` added.
"""

import zlib
from collections.abc import Iterable
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


def plain(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array as files hold it: C order, little-endian, of a type in `DTYPES`; bfloat16 becomes float32.

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
    from mindspore.train.checkpoint_pb2 import Checkpoint

    for name, array in arrays:
        content = array.tobytes()
        for start in range(0, max(len(content), 1), _SLICE):
            message = Checkpoint()
            tensor = message.value.add(tag=name).tensor
            tensor.dims.extend(array.shape)
            tensor.tensor_type = _MINDSPORE_NAMES[array.dtype.name]
            tensor.tensor_content = content[start : start + _SLICE]
            file.write(message.SerializeToString())


def parse_arrays(data: bytes) -> dict[str, np.ndarray | str]:
    """Return all entries of a .ckpt file, in its order; every array is a copy, a text entry is a string.

    Raises:
        ValueError: the bytes are not such a file, whole; says what is wrong.
    """
    from google.protobuf.message import DecodeError
    from mindspore.train.checkpoint_pb2 import Checkpoint

    try:
        entries = Checkpoint.FromString(_without_crc(data)).value
    except DecodeError:
        raise ValueError("it is cut off or no protobuf message") from None
    pieces: dict[str, list] = {}
    for entry in entries:
        if entry.HasField("maptensor"):
            raise ValueError(f"{entry.tag!r} is a MapParameter, which no network here has")
        pieces.setdefault(entry.tag, []).append(entry.tensor)
    if not pieces:
        raise ValueError("it holds no arrays")
    return {name: _join(name, tensors) for name, tensors in pieces.items()}


def _without_crc(data: bytes) -> bytes:
    """Return the messages alone; the CRC-32 that `crc_check=True` appends is verified when it is there."""
    if data[-17:-10] != _CRC_MARK:
        return data
    if zlib.crc32(data[:-17]) != int.from_bytes(data[-10:], "big"):
        raise ValueError("its CRC does not match")
    return data[:-17]


def _join(name: str, tensors: list) -> np.ndarray | str:
    """Put an array together from its slices, each of which has the shape of the whole."""
    shape, kind = tuple(tensors[0].dims), tensors[0].tensor_type
    content = b"".join(tensor.tensor_content for tensor in tensors)
    if kind == "str":
        return content.decode("utf-32-le").rstrip("\0")
    if kind not in (*_NUMPY_NAMES, "BFloat16"):
        raise ValueError(f"{name!r} is of the unknown type {kind!r}")
    try:
        if min(shape, default=0) < 0:  # NumPy would work the length out
            raise ValueError
        array = np.frombuffer(content, np.dtype(_NUMPY_NAMES.get(kind, "uint16")).newbyteorder("<")).reshape(shape)
    except ValueError:
        raise ValueError(
            f"{name!r} is in it twice, or its {len(content)} bytes are no {kind} of shape {shape}"
        ) from None
    return widen_bfloat16(array) if kind == "BFloat16" else array.astype(array.dtype.newbyteorder("="))


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return bfloat16 numbers, given as uint16, as float32: a bfloat16 is the upper half of a float32."""
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)  # in place, since `0-d array << number` would be a scalar
    return wide.view(np.float32)
