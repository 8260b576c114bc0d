"""Image files of every kind against bytes made by hand, damaged files, conversions, comparison strips."""

import io
import itertools
import logging
import os
import re
import stat
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from common import UserError, images
from common.images.files import read_image, read_rgb, write_image

PNG_START = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's colour types


def noise(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: np.ndarray, colour_type: int, *extra: bytes) -> bytes:
    """A PNG file of (H, W[, C]) uint8 or uint16, written from the specification."""
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(pixels.dtype.newbyteorder(">")).tobytes() for line in pixels)
    body = chunk(b"IDAT", zlib.compress(lines))
    return PNG_START + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


@pytest.fixture
def stored(tmp_path):
    """Writes bytes to a file and gives its path."""

    def store(data: bytes, name: str = "image.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return store


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colour_type", [GRAY, RGB, GRAY_ALPHA, RGBA])
def test_png_of_every_kind(stored, dtype, colour_type):
    channels = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}[colour_type]
    pixels = noise((9, 11, channels), dtype)
    image = read_image(stored(png(pixels, colour_type)))
    assert image.rgb.dtype == dtype
    np.testing.assert_array_equal(image.rgb, np.broadcast_to(pixels[..., : 3 if channels > 2 else 1], (9, 11, 3)))
    if channels in (2, 4):
        np.testing.assert_array_equal(image.alpha, pixels[..., -1])
        assert image.alpha.dtype == dtype
    else:
        assert image.alpha is None
    assert ("16 bits per channel" in image.notes) == (dtype == np.uint16)
    if colour_type == GRAY:
        assert "gray, repeated to RGB" in image.notes


@pytest.mark.parametrize("transparent", [False, True])
def test_palette(stored, transparent):
    indices, colours = noise((9, 11)) % 6, noise((6, 3))
    alphas = [chunk(b"tRNS", bytes([0, 128, 255]))] if transparent else []  # colours that are not listed are opaque
    image = read_image(stored(png(indices, PALETTE, chunk(b"PLTE", colours.tobytes()), *alphas)))
    np.testing.assert_array_equal(image.rgb, colours[indices])
    assert (image.alpha is None) == (not transparent)
    if transparent:
        np.testing.assert_array_equal(image.alpha, np.array([0, 128, 255, 255, 255, 255])[indices])


def test_cmyk_jpeg(stored):
    inks = np.zeros((16, 64, 4), np.uint8)  # white, cyan, black, half magenta
    inks[:, 16:32, 0] = inks[:, 32:48, 3] = 255
    inks[:, 48:, 1] = 128
    buffer = io.BytesIO()
    Image.frombytes("CMYK", (64, 16), inks.tobytes()).save(buffer, "JPEG", quality=100)
    rgb = read_rgb(stored(buffer.getvalue(), "inks.jpg"))
    wanted = [(255, 255, 255), (0, 255, 255), (0, 0, 0), (255, 127, 255)]
    np.testing.assert_allclose(rgb[8, 8::16], wanted, atol=3)


def lies_at(orientation: int, row: int, column: int, size: tuple[int, int]) -> tuple[int, int]:
    """Where a stored pixel belongs in the upright image: EXIF names the sides of row 0 and column 0."""
    first = {1: "TL", 2: "TR", 3: "BR", 4: "BL", 5: "LT", 6: "RT", 7: "RB", 8: "LB"}[orientation]
    distances = dict(zip(first, (row, column), strict=True))  # from the named side
    y = distances["T"] if "T" in distances else size[0] - 1 - distances["B"]
    x = distances["L"] if "L" in distances else size[1] - 1 - distances["R"]
    return y, x


def exif(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HHI", orientation, 0, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(stored, orientation, dtype):
    pixels = noise((6, 9, 4), dtype)
    size = (6, 9) if orientation < 5 else (9, 6)
    upright = np.zeros((*size, 4), dtype)
    for row, column in itertools.product(range(6), range(9)):
        upright[lies_at(orientation, row, column, size)] = pixels[row, column]
    path = stored(png(pixels, RGBA, chunk(b"eXIf", exif(orientation))))
    image = read_image(path)
    np.testing.assert_array_equal(np.dstack([image.rgb, image.alpha]), upright)
    assert images.size_of(path) == size


def test_read_rgb_says_what_it_drops(stored, caplog):
    path = stored(png(noise((9, 11, 4), np.uint16), RGBA))
    with caplog.at_level(logging.WARNING):
        rgb = read_rgb(path)
        read_rgb(path)
    assert [record.getMessage() for record in caplog.records] == [  # once, not at every step of a training
        f"{path}: transparency (alpha channel) dropped",
        f"{path}: 16 bits per channel, reduced to 8",
    ]
    expected = np.rint(noise((9, 11, 4), np.uint16)[..., :3] / 257)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, expected)


def saved(kind: str, pixels: np.ndarray | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise((16, 24, 3)) if pixels is None else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp", "photo.tif"])
def test_content_decides_not_the_name(stored, kind, name):
    pixels = np.repeat(noise((4, 3, 1)), 3, axis=2)  # few colours, which a GIF holds as well
    path = stored(saved(kind, pixels, **({"lossless": True} if kind == "WEBP" else {})), name)
    np.testing.assert_array_equal(read_image(path).rgb, pixels)
    assert images.size_of(path) == (4, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_with_16_bits(stored, channels):
    pixels = noise((9, 11, channels), np.uint16)
    order = [0] if channels == 1 else [2, 1, 0, 3][:channels]
    image = read_image(stored(cv2.imencode(".tif", pixels[..., order])[1].tobytes(), "deep.tif"))
    np.testing.assert_array_equal(image.rgb, np.broadcast_to(pixels[..., :3], (9, 11, 3)))
    assert (image.alpha is None) == (channels < 4)


def app(number: int, body: bytes) -> bytes:
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(body) + 2) + body


BROKEN = {
    "text of 3 MiB": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3 * 2**20))),
    "profile packed by an unknown method": chunk(b"iCCP", b"ICC\0\1" + zlib.compress(b"abc")),
    "altered checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "EXIF that is none": chunk(b"eXIf", b"b'Exif\\x00'"),
    "Photoshop's cut off": app(13, b"Photoshop 3.0\x008BIM\x04\x04"),
    "JPEG's EXIF cut off": app(1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 3, 0x0110, 3, 1, 6)),
}


@pytest.mark.filterwarnings("error")  # Pillow's own do not reach the terminal
@pytest.mark.parametrize("what", BROKEN)
def test_broken_metadata_is_ignored(stored, caplog, what):
    """Said once; what is whole beside it, such as the orientation, still counts; so do missing pixels."""
    is_png, pixels = "JPEG" not in what and "Photoshop" not in what, noise((16, 24, 3))
    whole, place = (png(pixels, RGB), 33) if is_png else (saved("JPEG", pixels), 2)
    turned = b"" if "EXIF" in what else chunk(b"eXIf", exif(3)) if is_png else app(1, b"Exif\0\0" + exif(3))
    data = whole[:place] + BROKEN[what] + turned + whole[place:]
    path = stored(data)
    found, _ = read_image(path), read_image(path)
    expected = read_image(stored(whole, "whole")).rgb
    np.testing.assert_array_equal(found.rgb, expected[::-1, ::-1] if turned else expected)
    said = [record.getMessage().partition(" (")[0] for record in caplog.records]
    assert said == [f"{path}: metadata that cannot be read is ignored"]
    with pytest.raises(UserError, match="damaged or cut off"):
        read_image(stored(data[:-100], "cut"))


def whole_files() -> dict[str, bytes]:
    pixels = np.repeat(np.repeat(noise((6, 8, 3)), 4, axis=0), 4, axis=1)
    files = {"8-bit.png": png(pixels, RGB), "16-bit.png": png(pixels.astype(np.uint16) * 257, RGB)}
    files |= {"baseline.jpg": saved("JPEG", pixels), "progressive.jpg": saved("JPEG", pixels, progressive=True)}
    return {**files, "plain.bmp": saved("BMP", pixels)}


@pytest.mark.parametrize("name", whole_files())
def test_cut_off_anywhere(stored, name):
    data = whole_files()[name]
    read_image(stored(data, name))
    for length in range(0, len(data), 7):
        path = stored(data[:length], name)
        with pytest.raises(UserError, match=re.escape(str(path))):
            read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_png_comes_back(tmp_path, dtype, with_alpha):
    path = tmp_path / "Ñandú 山 ё" / f"{'长' * 83}.PNG"  # as long as names may be
    rgb, alpha = noise((9, 11, 3), dtype), noise((9, 11), dtype) if with_alpha else None
    write_image(path, rgb, alpha)
    image = read_image(path)
    assert image.rgb.dtype == dtype
    np.testing.assert_array_equal(image.rgb, rgb)
    np.testing.assert_array_equal(image.alpha, alpha)
    if dtype == np.uint8:  # an independent reader agrees
        np.testing.assert_array_equal(np.asarray(Image.open(path))[..., :3], rgb)


def profile(colours: bytes = b"RGB ") -> bytes:
    """What says that it is an ICC profile, of such colours."""
    return struct.pack(">I12x", 400) + colours + bytes(16) + b"acsp" + noise((360,)).tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_icc_profile_comes_back(tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    write_image(path, noise((9, 11, 3), dtype), noise((9, 11), dtype), profile())
    assert read_image(path).icc == profile()
    with Image.open(path) as other:
        assert other.info["icc_profile"] == profile()


@pytest.mark.parametrize("mask", [0o077, 0o002, 0o022])
def test_umask_and_the_rights_of_what_is_replaced(tmp_path, mask):
    path, before = tmp_path / "a.png", os.umask(mask)
    try:
        write_image(path, noise((4, 4, 3)))
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        path.chmod(0o606)
        write_image(path, noise((4, 4, 3)))
        assert stat.S_IMODE(path.stat().st_mode) == 0o606
    finally:
        os.umask(before)


def test_find_images(tmp_path, caplog):
    """In natural order; links are followed, those that lead in circles end, and what is left out is named."""
    wanted = ["b/03.bmp", "b/3.jpeg", "b/20.png", "Img1.jpg", "img2.PNG", "img10.png", "photo.webp", "scan.TIF"]
    for name in [*wanted, "c.gif", "notes.txt", ".hidden.png", ".cache/x.png", "b/._img2.png", "../real/a.png"]:
        (tmp_path / "pics" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "pics" / name).touch()
    for name, target in {"more": "../real", "gone.png": "../nowhere.png", "loop": ".", "up": ".."}.items():
        (tmp_path / "pics" / name).symlink_to(target)
    found = [path.relative_to(tmp_path / "pics").as_posix() for path in images.find_images(tmp_path / "pics")]
    assert found == [*wanted[:3], *wanted[3:6], "more/a.png", *wanted[6:]]
    (said,) = [record.getMessage() for record in caplog.records]
    assert all(name in said for name in ("left out", "c.gif", "gone.png", "loop"))


def test_quantising():
    for dtype, back in ((np.uint8, images.to_uint8), (np.uint16, images.to_uint16)):
        values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        assert (images.to_float(values)[-1], images.to_float(values).dtype) == (1, np.float32)
        np.testing.assert_array_equal(back(images.to_float(values)), values)
    halves = np.array([-1, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.2, np.inf])
    np.testing.assert_array_equal(images.to_uint8(halves), [0, 0, 2, 2, 255, 255])
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        images.to_uint8(np.array([0.5, np.nan]))


@pytest.mark.parametrize("size", [(120, 160), (300, 1200)])
def test_strip_zooms_where_bicubic_fails(size):
    """The scene is flat, and its bicubic image wrong in one place only: rows 60 to 80, columns 100 to 120."""
    bicubic = np.full((*size, 3), 128, np.uint8)
    hr, patch = bicubic.copy(), noise((20, 20, 3))
    hr[60:80, 100:120] = patch
    columns = [("LR", bicubic[::4, ::4]), ("bicubic\n20.1 dB", bicubic), ("SR\n30.2 dB PSNR-Y", hr), ("HR", hr)]
    strip = images.comparison_strip(columns)
    assert strip.shape[1] <= 2000
    assert (strip[:12].min(), strip[-60:].min() < 100) == (255, True), "captions below"
    detail = strip[:, -strip.shape[1] // 4 :].reshape(-1, 3)  # has each pixel of the patch as a square of one colour
    assert set(map(tuple, patch.reshape(-1, 3))) <= set(map(tuple, detail))
