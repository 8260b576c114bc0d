"""MindSpore's .ckpt file: a stream of messages of `mindspore.train.checkpoint_pb2`, one for each array.

MindSpore's own `save_checkpoint` removes the old file before it writes the new one, and its reader takes a file that
was cut between two messages for a whole one; so only the schema is used, and the digest of `common.checkpoint` added.
"""

import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

_TYPES = "Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64"
TYPES = {name.lower(): name for name in _TYPES.split()}
"""NumPy's name of each type that is written -> MindSpore's. BFloat16 is read too, as float32."""

_CRC_MARK = b"crc_num"  # written by save_checkpoint(crc_check=True): the mark and 10 bytes


def plain(array: np.ndarray) -> np.ndarray:
    """Return an array as files hold it: C order, little-endian; bfloat16 becomes float32.

    By the type's name, since MindSpore 2.7 takes no type whose byte order is written out, as `newbyteorder` gives it.
    """
    if array.dtype.name == "bfloat16":  # ml_dtypes' or MindSpore's; every bfloat16 is a float32
        array = array.astype(np.float32)
    return np.asarray(array, dtype=array.dtype.newbyteorder("<").str, order="C")


def write_arrays(file: BinaryIO, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write named arrays, each as `plain` returns it, as MindSpore writes them."""
    from mindspore.train.checkpoint_pb2 import Checkpoint

    for name, array in arrays:
        message = Checkpoint()
        tensor = message.value.add(tag=name).tensor
        tensor.dims.extend(array.shape)
        tensor.tensor_type = TYPES[array.dtype.name]
        tensor.tensor_content = array.tobytes()
        file.write(message.SerializeToString())


def parse_arrays(data: bytes) -> dict[str, np.ndarray | str]:
    """Return all entries in the file's order: copied arrays, and texts as strings; ValueError says what is wrong."""
    from google.protobuf.message import DecodeError
    from mindspore.train.checkpoint_pb2 import Checkpoint

    if data[-17:-10] == _CRC_MARK:
        data, crc = data[:-17], int.from_bytes(data[-10:], "big")
        if zlib.crc32(data) != crc:
            raise ValueError("its CRC does not match")
    try:
        entries = Checkpoint.FromString(data).value
    except DecodeError:
        raise ValueError("it is cut off or no protobuf message") from None
    arrays = {entry.tag: _array(entry.tag, entry.tensor) for entry in entries}
    if len(arrays) < max(len(entries), 1):
        raise ValueError("an array is in it twice" if arrays else "it holds no arrays")
    return arrays


def _array(name: str, tensor: Any) -> np.ndarray | str:
    shape, kind, content = tuple(tensor.dims), tensor.tensor_type, tensor.tensor_content
    if kind == "str":
        return content.decode("utf-32-le").rstrip("\0")
    if kind not in (*TYPES.values(), "BFloat16"):
        raise ValueError(f"{name!r} is of the unknown type {kind!r}")
    dtype = np.dtype("uint16" if kind == "BFloat16" else kind.lower())
    try:
        array = np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape)
    except ValueError:
        raise ValueError(f"the {len(content)} bytes of {name!r} are no {kind} of shape {shape}") from None
    return widen_bfloat16(array) if kind == "BFloat16" else array.astype(dtype)


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return bfloat16 numbers, given as uint16, as float32: a bfloat16 is the upper half of a float32."""
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)  # in place, since `0-d array << number` would be a scalar
    return wide.view(np.float32)
