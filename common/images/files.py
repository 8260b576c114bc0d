"""Image files: read, write, find. Arrays are (H, W, 3) RGB everywhere.

Pillow decodes, because it refuses files that are cut off; OpenCV would return their upper half. It reads 16-bit colour
as 8 bit, though, so OpenCV decodes 16-bit PNG and TIFF.
"""

import functools
import io
import logging
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from common import UserError
from common.atomic import replacing
from common.images.pixels import reduce_to_8_bit

_log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")  # that are read
OTHERS = (".gif", ".jfif", ".jp2", ".heic", ".heif", ".avif", ".jxl")  # that users have: left out of folders, and named
WRITTEN = {  # Pillow's name of each format, its options, and the longest side that it holds
    ".png": ("PNG", {}, 1_000_000),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}, 65_500),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}, 65_500),
    ".bmp": ("BMP", {}, 1_000_000),
    ".webp": ("WEBP", {"lossless": True}, 16_383),
}
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")  # that are read, whatever the file is called
_PNG_START, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_HEADER = 33  # bytes of the signature and of IHDR
_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 0x0102, 0x0106  # tags of EXIF and TIFF
_GRAY = "gray, repeated to RGB"
_MODE_NOTES = {"1": "black and white, repeated to RGB", "L": _GRAY, "LA": _GRAY, "CMYK": "CMYK, converted to RGB"}
_MODE_NOTES |= dict.fromkeys(("P", "PA"), "palette, expanded to RGB")


class DecodedImage(NamedTuple):
    """A decoded file: what it holds, and what was done to make RGB of it."""

    rgb: np.ndarray  # (H, W, 3) uint8 or, from 16-bit files, uint16; upright
    alpha: np.ndarray | None  # (H, W) in the dtype of `rgb`; None without transparency
    notes: tuple[str, ...]  # conversions in words: "gray, repeated to RGB", "EXIF orientation 6 applied"
    icc: bytes | None = None  # profile of `rgb`
    text: Mapping[str, str] = MappingProxyType({})  # of a PNG

    @property
    def is_gray(self) -> bool:
        return any(note.endswith(", repeated to RGB") for note in self.notes)

    def colored_alike(self, result: np.ndarray) -> np.ndarray:
        """Return a result (h, w, 3) as gray as this image: a gray file's luma (h, w), equal channels, or the result."""
        if (self.rgb != self.rgb[..., :1]).any():
            return result
        luma = cv2.cvtColor(np.ascontiguousarray(result), cv2.COLOR_RGB2GRAY)
        return luma if self.is_gray else np.dstack([luma] * 3)


def read_image(path: str | Path) -> DecodedImage:
    """Read a PNG, JPEG, BMP, WebP, TIFF or GIF file with all its bits; palette, gray, 1-bit and CMYK become RGB.

    The content decides, not the name. Broken metadata and further frames are left out, and the log says so.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"expected an image, but there is no {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        if data.startswith(_PNG_START):
            list(_png_chunks(data))  # raises what is altered: neither Pillow nor OpenCV looks at all checksums
        image, orientation, data = _open(path, data)
        with image:
            pixels, notes = _decode(path, image, data)
            icc = image.info.get("icc_profile", b"")
            text = {key: value for key, value in image.info.items() if isinstance(value, str)}
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path} is not an image, or of a kind that is not read: expected a PNG, JPEG, BMP, WebP or TIFF file"
        ) from error
    except Image.DecompressionBombError as error:
        most = f"{2 * Image.MAX_IMAGE_PIXELS:,} pixels"
        raise UserError(f"{path} is larger than the {most} that are read: cut it into parts or downscale it") from error
    except Exception as error:  # each decoder has its own ways to fail
        raise UserError(f"{path} is damaged or cut off ({error}): replace it by a whole copy") from error
    if orientation in range(2, 9):
        pixels = pixels.swapaxes(0, 1) if orientation > 4 else pixels
        pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
        pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
        notes.append(f"EXIF orientation {orientation} applied")
    if icc != b"" and not (icc and icc[36:40] == b"acsp" and icc[16:20] == b"RGB "):
        icc = b""
        notes.append("ICC profile dropped, it is not of RGB")
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None
    return DecodedImage(np.ascontiguousarray(pixels[..., :3]), alpha, tuple(notes), icc or None, text)


def read_rgb(path: str | Path, *, gray_as_plane: bool = False) -> np.ndarray:
    """Read (H, W, 3) uint8; the log says if transparency or the lower 8 of 16 bits are dropped.

    With `gray_as_plane` a gray file is one plane seen three times (stride 0), see `common.metrics`.
    """
    image = read_image(path)
    rgb = image.rgb
    if image.alpha is not None:
        _warn_once(f"{path}: transparency (alpha channel) dropped")
    if rgb.dtype == np.uint16:
        _warn_once(f"{path}: 16 bits per channel, reduced to 8")
        rgb = reduce_to_8_bit(rgb)
    return np.broadcast_to(rgb[..., :1], rgb.shape) if gray_as_plane and image.is_gray else rgb


def size_of(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of the upright image, by the header where that can be read."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as image:
            warnings.simplefilter("ignore")
            # Not `image.getexif`, by which a PNG is decoded. Pillow turns a TIFF itself.
            turned = image.format != "TIFF" and Image.Image.getexif(image).get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return image.size if turned else image.size[::-1]
    except Exception:  # the whole file is more than its header, and says what is wrong
        return read_image(path).rgb.shape[:2]


def check_writable(path: Path, height: int, width: int) -> None:
    """Refuse what cannot be written as `path` at this size, to be asked before it is computed."""
    if path.suffix.lower() not in WRITTEN:
        raise UserError(f"cannot write {path}: expected a name that ends in {', '.join(WRITTEN)}")
    kind, _, most = WRITTEN[path.suffix.lower()]
    if max(height, width) > most:
        other = ": type --format png" if most < WRITTEN[".png"][2] else ""
        raise UserError(f"cannot write {path}: it has {width}x{height} pixels, and {kind} at most {most} a side{other}")


def write_image(path: str | Path, rgb: np.ndarray, alpha: np.ndarray | None = None, icc: bytes | None = None) -> None:
    """Write an image; a killed run leaves the old file or the new one. The log says what the format does not keep.

    Args:
        path: ends in .png, .jpg, .jpeg, .bmp or .webp (lossless); missing folders are made.
        rgb: (H, W, 3), or (H, W) for a gray file; uint8 or uint16, which only PNG keeps.
        alpha: (H, W) in the dtype of `rgb`; only PNG and WebP keep it.
        icc: profile of the colours, left out of a gray file; BMP does not keep it.
    """
    path = Path(path)
    check_writable(path, *rgb.shape[:2])
    kind, options, _ = WRITTEN[path.suffix.lower()]
    if kind not in ("PNG", "WEBP") and alpha is not None:
        _warn_once(f"{path}: transparency (alpha channel) dropped, only PNG and WebP keep it")
        alpha = None
    if kind != "PNG" and rgb.dtype == np.uint16:
        _warn_once(f"{path}: 16 bits per channel, reduced to 8, only PNG keeps them")
        rgb, alpha = reduce_to_8_bit(rgb), None if alpha is None else reduce_to_8_bit(alpha)
    icc = icc if rgb.ndim == 3 else None
    if kind == "BMP" and icc:
        _warn_once(f"{path}: ICC profile dropped, BMP does not keep it")
    if alpha is not None:
        rgb = np.dstack([rgb if rgb.ndim == 3 else np.dstack([rgb] * 3), alpha])
    if kind == "PNG":  # Pillow does not write 16-bit colour, nor OpenCV profiles
        stored = rgb if rgb.ndim == 2 else rgb[..., [2, 1, 0, 3][: rgb.shape[2]]]
        data = cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
        if icc:
            body = b"iCCPICC profile\0\0" + zlib.compress(icc)
            chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
            data = data[:_PNG_HEADER] + chunk + data[_PNG_HEADER:]
    else:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, kind, icc_profile=icc, **options)
        data = buffer.getvalue()
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def find_images(path: str | Path) -> list[Path]:
    """Return the images of a folder and its subfolders in natural order (2 before 10), or the one file given.

    Links that lead to a folder that they are in, hidden files and folders are skipped; the log names what else is.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"expected an image or a folder of images, but there is no {path}")
    found, left_out, unread = [], [], []
    for name, folders, files in os.walk(path, followlinks=True, onerror=unread.append):
        folder = Path(name)
        above = [folder.absolute(), *folder.absolute().parents]
        links = [each for each in folders if not each.startswith(".") and (folder / each).is_symlink()]
        loops = [each for each in links if (folder / each).resolve() in map(Path.resolve, above)]
        folders[:] = [each for each in folders if not each.startswith(".") and each not in loops]
        left_out += [folder / each for each in loops]
        for file in (folder / each for each in files if not each.startswith(".")):
            if file.suffix.lower() in SUFFIXES and file.is_file():
                found.append(file)
            elif file.suffix.lower() in (*SUFFIXES, *OTHERS):
                left_out.append(file)
    if left_out := [*left_out, *(error.filename for error in unread)]:
        names = sorted(os.path.relpath(each, path) for each in left_out)
        named = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        _warn_once(f"{path}: {len(names)} left out, of other formats, broken links or not to be read: {named}")
    if not found:
        raise UserError(f"expected images ({', '.join(SUFFIXES)}) in {path}, found none")
    return sorted(found, key=_natural_key)


def _natural_key(path: Path) -> tuple:
    pieces = re.split(r"(\d+)", str(path))  # text and digits take turns, beginning with text
    return [int(p) if i % 2 else p.casefold() for i, p in enumerate(pieces)], str(path)


@functools.cache
def _warn_once(text: str) -> None:
    _log.warning("%s", text)


def _open(path: str | Path, data: bytes) -> tuple[Image.Image, int, bytes]:
    """Decode; return the image, its EXIF orientation, and the file without the metadata that Pillow cannot read."""

    def load(data: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        image.load()
        return image

    broken, orientation = [], 1
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = load(data)
        except Exception:
            data, broken = _without_broken_metadata(data)
            if not broken:
                raise
            image = load(data)
        try:
            orientation = image.getexif().get(_ORIENTATION, 1)
        except Exception:
            broken.append("EXIF")
    if broken := [*broken, *(str(one.message).strip() for one in said)]:
        _warn_once(f"{path}: metadata that cannot be read is ignored ({broken[0]})")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        _warn_once(f"{path}: only the first of its {frames} images is read")
    return image, orientation, data


def _decode(path: str | Path, image: Image.Image, data: bytes) -> tuple[np.ndarray, list[str]]:
    """Return the pixels as they are stored, (H, W, 3 or 4) uint8 or uint16, and how they were converted."""
    # Byte 24 of a PNG is its bit depth.
    bits = (data[24],) if image.format == "PNG" else getattr(image, "tag_v2", {}).get(_BITS, ())
    if 16 not in bits:
        if image.mode in ("I", "F", "LAB") or image.mode.startswith("I;"):
            raise UserError(f"{path} holds values of another kind than 8 or 16 bits of gray or RGB: save it as PNG")
        has_alpha = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
        return np.array(image.convert("RGBA" if has_alpha else "RGB")), [*filter(None, [_MODE_NOTES.get(image.mode)])]
    if image.format == "PNG":
        data = _PNG_START + b"".join(chunk for _, chunk, is_metadata in _png_chunks(data) if not is_metadata)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is not None and pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    if image.format == "TIFF":  # Pillow's colours are the upper 8 bits
        upper = pixels if pixels is None or pixels.ndim == 2 else pixels >> 8
        if upper is None or not np.array_equal(upper, np.array(image)):
            raise UserError(f"{path} is a TIFF of a kind that is not read here: save it as PNG")
        if image.tag_v2.get(_PHOTOMETRIC) == 0:  # 0 is white; neither library inverts 16 bits
            pixels = 65535 - pixels
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("OpenCV cannot decode this 16-bit PNG")
    if pixels.ndim == 3:
        return pixels, ["16 bits per channel"]
    planes = [pixels] * 3
    if "transparency" in image.info:
        planes.append(np.where(pixels == image.info["transparency"], 0, 65535).astype(np.uint16))
    return np.dstack(planes), ["16 bits per channel", _GRAY]


def _without_broken_metadata(data: bytes) -> tuple[bytes, list[str]]:
    """Return a PNG or JPEG without the metadata that Pillow cannot read, and what these were."""
    if data.startswith(_PNG_START):
        kind, start, place, parts = "PNG", _PNG_START, _PNG_HEADER, _png_chunks(data)
    elif data.startswith(_JPEG_START):
        kind, start, place, parts = "JPEG", _JPEG_START, len(_JPEG_START), _jpeg_segments(data)
    else:
        return data, []
    dot = io.BytesIO()
    Image.new("L", (1, 1)).save(dot, kind)
    kept, broken = [start], []
    for name, part, is_metadata in parts:
        try:
            if is_metadata:  # one of them in an image of one pixel
                tried = dot.getvalue()[:place] + part + dot.getvalue()[place:]
                Image.open(io.BytesIO(tried), formats=(kind,)).load()
            kept.append(part)
        except Exception:
            broken.append(name)
    return b"".join(kept), broken


def _png_chunks(data: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """Yield (name, chunk, whether pixels do without it); ValueError: cut off, or altered where pixels need it."""
    view, position = memoryview(data), len(_PNG_START)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        name = bytes(view[position + 4 : position + 8])
        is_metadata = bool(name[0] & 0x20) and name != b"tRNS"
        whole = view[end - 4 : end] == zlib.crc32(view[position + 4 : end - 4]).to_bytes(4, "big")
        if end > len(data) or not (whole or is_metadata):
            break
        yield name.decode("latin-1"), data[position:end], is_metadata
        if name == b"IEND":
            return
        position = end
    raise ValueError(f"PNG chunk at byte {position} is incomplete or altered")


def _jpeg_segments(data: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """Yield (name, segment, whether pixels do without it) up to the first that is none, and all the rest."""
    position = len(_JPEG_START)
    while (marker := data[position : position + 2]) >= b"\xff\xc0" and marker not in (b"\xff\xda", b"\xff\xff"):
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        # JFIF (APP0) and Adobe (APP14) say what the colours are.
        is_metadata = marker == b"\xff\xfe" or (b"\xff\xe1" <= marker <= b"\xff\xef" and marker != b"\xff\xee")
        yield f"APP{marker[1] - 0xE0}" if marker[1] != 0xFE else "COM", data[position:end], is_metadata
        position = end
    yield "", data[position:], False
