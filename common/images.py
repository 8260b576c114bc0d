"""Picture files: reading, writing, finding. Arrays are (H, W, 3) RGB everywhere.

Pillow decodes, because it refuses files that are cut off; OpenCV would
return their upper half. It reads 16-bit colour as 8 bit, though, so those PNGs are decoded by OpenCV.
"""

import functools
import io
import logging
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from common import UserError
from common.atomic import replacing
from common.pixels import (
    modcrop,
    reduce_to_8_bit,
    rgb_to_y,
    rgb_to_ycbcr,
    to_float,
    to_uint8,
    to_uint16,
    ycbcr_to_rgb,
)
from common.strip import comparison_strip

__all__ = [
    "Picture", "comparison_strip", "find_pictures", "modcrop", "read_picture", "read_rgb", "rgb_to_y",
    "rgb_to_ycbcr", "to_float", "to_uint8", "to_uint16", "write_picture", "ycbcr_to_rgb",
]  # fmt: skip

_log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_OPTIONS = (
    cv2.IMWRITE_JPEG_QUALITY, 95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)  # fmt: skip
_MODE_NOTES = {
    "1": "black and white, repeated to RGB",
    "L": "gray, repeated to RGB",
    "LA": "gray, repeated to RGB",
    "P": "palette, expanded to RGB",
    "PA": "palette, expanded to RGB",
    "CMYK": "CMYK, converted to RGB",
}
_GRAY_NOTES = {_MODE_NOTES["1"], _MODE_NOTES["L"]}
# EXIF orientation: how the stored array becomes the upright one.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


class Picture(NamedTuple):
    """A decoded file: what it holds, and what was done to make RGB of it.

    Attributes:
        rgb: (H, W, 3), uint8 or, from 16-bit files, uint16; upright.
        alpha: (H, W) in the dtype of `rgb`, or None when the file has no transparency.
        notes: Conversions in words, such as "gray, repeated to RGB" or "EXIF orientation 6 applied".
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    notes: tuple[str, ...]

    def colored_alike(self, result: np.ndarray) -> np.ndarray:
        """Return what was made of this image, (h, w, 3), as gray as this image is.

        Returns:
            (h, w), the luma, for a gray file; equal channels for gray pixels of a colour file; else `result` itself.
        """
        if (self.rgb != self.rgb[..., :1]).any():
            return result
        luma = cv2.cvtColor(np.ascontiguousarray(result), cv2.COLOR_RGB2GRAY)
        return luma if _GRAY_NOTES.intersection(self.notes) else np.dstack([luma] * 3)


def read_picture(path: str | Path) -> Picture:
    """Reads a PNG, JPEG or BMP file with all its bits; palette, gray, 1-bit and CMYK become RGB.

    Raises:
        UserError: The path is missing, is a folder, is not a picture, or the file is damaged or cut off.
    """
    data = _read_bytes(Path(path))
    try:
        is_png = data.startswith(_PNG_SIGNATURE)
        if is_png:
            _check_png(data)
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP")) as image:
            image.load()  # decodes all of it, also of a PNG that OpenCV decodes once more
            orientation = image.getexif().get(0x0112, 1)
            # Byte 24 of a PNG is its bit depth.
            picture = _decode_16_bit(data, image.info) if is_png and data[24] == 16 else _decode(image)
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not a picture: expected a PNG, JPEG or BMP file") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise UserError(f"{path} is damaged or cut off ({error}): replace it by a whole copy") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large: {error}") from error
    return _upright(picture, orientation)


def read_rgb(path: str | Path) -> np.ndarray:
    """Reads a picture as (H, W, 3) uint8. Transparency and the lower 8 of 16 bits are dropped, and the log says so.

    Raises:
        UserError: As `read_picture`.
    """
    rgb, alpha, _ = read_picture(path)
    if alpha is not None:
        _warn_once(f"{path}: transparency (alpha channel) dropped")
    if rgb.dtype == np.uint16:
        _warn_once(f"{path}: 16 bits per channel, reduced to 8")
        return reduce_to_8_bit(rgb)
    return rgb


def write_picture(path: str | Path, rgb: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Writes a picture; a killed run leaves the old file or the new one, never a part.

    Args:
        path: Ends in .png, .jpg, .jpeg or .bmp; missing folders are made.
        rgb: (H, W, 3), or (H, W) for a gray file; uint8 or uint16. JPEG and BMP hold 8 bits: 16 are reduced, and the
            log says so.
        alpha: (H, W) in the dtype of `rgb`. Only PNG keeps it: else it is dropped, and the log says so.

    Raises:
        UserError: Unknown suffix, or the file cannot be written.
        ValueError: An array of a wrong shape or dtype.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"cannot write {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if rgb.dtype not in (np.uint8, np.uint16) or rgb.shape[2:] not in ((), (3,)) or rgb.ndim < 2 or rgb.size == 0:
        raise ValueError(f"rgb must be (H, W, 3) or (H, W), uint8 or uint16, got {rgb.shape} {rgb.dtype}")
    if alpha is not None and (alpha.shape != rgb.shape[:2] or alpha.dtype != rgb.dtype):
        raise ValueError(f"alpha must be {rgb.shape[:2]} {rgb.dtype}, got {alpha.shape} {alpha.dtype}")
    if suffix != ".png" and alpha is not None:
        _warn_once(f"{path}: transparency (alpha channel) dropped, only PNG keeps it")
        alpha = None
    if suffix != ".png" and rgb.dtype == np.uint16:
        _warn_once(f"{path}: 16 bits per channel, reduced to 8, only PNG keeps them")
        rgb = reduce_to_8_bit(rgb)
    if alpha is not None:
        stored = np.dstack([*([rgb] * 3 if rgb.ndim == 2 else [rgb[..., ::-1]]), alpha])
    else:
        stored = rgb if rgb.ndim == 2 else rgb[..., ::-1]
    options = _JPEG_OPTIONS if suffix in (".jpg", ".jpeg") else ()
    _write_bytes(path, cv2.imencode(suffix, np.ascontiguousarray(stored), options)[1].tobytes())


def find_pictures(path: str | Path) -> list[Path]:
    """The pictures of a folder and its subfolders in natural order (2 before 10), or the one file given.

    Hidden files and folders are skipped.

    Raises:
        UserError: The path is missing, or the folder holds no picture.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"expected a picture or a folder of pictures, but there is no {path}")
    found = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
    ]
    if not found:
        raise UserError(f"expected pictures ({', '.join(SUFFIXES)}) in {path}, found none")
    return sorted(found, key=_natural_key)


@functools.cache
def _warn_once(text: str) -> None:
    _log.warning("%s", text)


def _natural_key(path: Path) -> tuple:
    pieces = re.split(r"(\d+)", str(path))  # text and digits take turns, beginning with text
    return [int(p) if i % 2 else p.casefold() for i, p in enumerate(pieces)], str(path)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"expected a picture, but there is no {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"expected a picture, but {path} is a folder") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _check_png(data: bytes) -> None:
    """Every chunk whole and its checksum right: neither Pillow nor OpenCV looks at all of them."""
    view, position = memoryview(data), len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        if view[end : end + 4] != zlib.crc32(view[position + 4 : end]).to_bytes(4, "big"):
            break
        if view[position + 4 : position + 8] == b"IEND":
            return
        position = end + 4
    raise ValueError(f"PNG chunk at byte {position} is incomplete or altered")


def _decode(image: Image.Image) -> Picture:
    """An 8-bit picture as it is stored (not yet turned upright)."""
    notes = (_MODE_NOTES[image.mode],) if image.mode in _MODE_NOTES else ()
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        pixels = np.array(image.convert("RGBA"))
        return Picture(pixels[..., :3], pixels[..., 3], notes)
    return Picture(np.array(image.convert("RGB")), None, notes)


def _decode_16_bit(data: bytes, info: dict) -> Picture:
    """A 16-bit PNG as it is stored; `info` is Pillow's, for the gray value that stands for transparent."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("OpenCV cannot decode this 16-bit PNG")
    note = "16 bits per channel"
    if pixels.ndim == 2:
        alpha = None
        if "transparency" in info:
            alpha = np.where(pixels == info["transparency"], 0, 65535).astype(np.uint16)
        return Picture(np.dstack([pixels] * 3), alpha, (note, _MODE_NOTES["L"]))
    return Picture(pixels[..., 2::-1], pixels[..., 3] if pixels.shape[2] == 4 else None, (note,))


def _upright(picture: Picture, orientation: int) -> Picture:
    turn = _UPRIGHT.get(orientation)
    notes = (*picture.notes, f"EXIF orientation {orientation} applied") if turn else picture.notes
    turned = [
        None if array is None else np.ascontiguousarray(turn(array) if turn else array)
        for array in (picture.rgb, picture.alpha)
    ]
    return Picture(turned[0], turned[1], notes)


def _write_bytes(path: Path, data: bytes) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
