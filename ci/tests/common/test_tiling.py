"""Tiles against the whole image, with networks written in NumPy whose receptive radius is known."""

from itertools import pairwise

import numpy as np
import pytest

from common import UserError
from common.export.tiling import Span, fill_tiles, pad_to_multiple
from common.images import to_float

RADIUS = 3  # of `network`: three layers of 3 x 3


def convolve(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """3 x 3 convolution with zero padding: terms are added in a fixed order, so results do not depend on the shape."""
    height, width = x.shape[:2]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    result = np.zeros((height, width, weights.shape[-1]), np.float32)
    for dy in range(3):
        for dx in range(3):
            for channel in range(x.shape[2]):
                result += padded[dy : dy + height, dx : dx + width, channel, None] * weights[dy, dx, channel]
    return result


class Network:
    """Three layers, the last one writing scale x scale sub-pixels; remembers the shapes it was given."""

    def __init__(self, scale: int):
        rng = np.random.default_rng(7)
        widths = [3, 4, 4, 3 * scale * scale]
        self.layers = [rng.standard_normal((3, 3, a, b)).astype(np.float32) for a, b in pairwise(widths)]
        self.scale, self.shapes = scale, []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        assert x.dtype == np.float32
        self.shapes.append(x.shape)
        for weights in self.layers[:-1]:
            x = np.maximum(convolve(x, weights), 0)
        x = convolve(x, self.layers[-1])
        height, width, s = x.shape[0], x.shape[1], self.scale
        return x.reshape(height, width, s, s, 3).swapaxes(1, 2).reshape(height * s, width * s, 3)


def tile_apply(function, image, *, scale, multiple=1, out_dtype=np.float32, **tiles) -> np.ndarray:
    """Apply a function of float32 images to tiles of an image; it is padded to a multiple, and the result cut."""
    padded = pad_to_multiple(image, multiple)

    def read(rows: Span, columns: Span) -> tuple[np.ndarray]:
        piece = padded[rows.start : rows.stop, columns.start : columns.stop]
        return ((piece if piece.dtype == np.float32 else to_float(piece))[None],)

    def run(pieces: np.ndarray) -> list[np.ndarray]:
        return [function(piece) for piece in pieces]

    result = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), out_dtype)
    return fill_tiles(read, run, padded.shape[:2], result, scale=scale, multiple=multiple, **tiles)


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(8).random((height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(40, 53), (16, 17), (15, 64), (7, 7), (1, 40)])
@pytest.mark.parametrize("tile", [16, 20, 33])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_equals_the_whole_image_bit_for_bit(size, tile, scale):
    image, network = random_image(*size), Network(scale)
    whole = network(image)
    np.testing.assert_array_equal(tile_apply(network, image, scale=scale, tile=tile, overlap=RADIUS), whole)


def test_tiles_at_once():
    """In calls of `batch` tiles, the last of what is left; each of several inputs is cut and stacked."""
    image, counts = random_image(40, 70), []

    def read(rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
        piece = image[None, rows.start : rows.stop, columns.start : columns.stop]
        return piece, 2 * piece

    def run(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        counts.append(len(one))
        return one + other

    found = fill_tiles(read, run, (40, 70), np.empty_like(image), scale=1, tile=20, overlap=3, batch=4)
    np.testing.assert_array_equal(found, image + 2 * image)
    assert counts == [4, 4, 4, 3]


def test_too_small_an_overlap_shows():
    image, network = random_image(40, 53), Network(2)
    whole = network(image)
    for overlap in range(RADIUS):
        assert np.abs(tile_apply(network, image, scale=2, tile=20, overlap=overlap) - whole).max() > 1e-3


def test_all_tiles_have_one_shape():
    network = Network(2)
    tile_apply(network, random_image(41, 90), scale=2, tile=20, overlap=3)
    assert set(network.shapes) == {(18, 20, 3)}  # as many as with sides of 20, and no larger than that takes
    network.shapes.clear()
    tile_apply(network, random_image(9, 90), scale=2, tile=20, overlap=3)  # lower than a tile: nothing to shift
    assert set(network.shapes) == {(9, 20, 3)}


def on_a_grid(x: np.ndarray) -> np.ndarray:
    """Each 4 x 4 block becomes its mean plus its upper left pixel: wrong on any tile that is off the grid."""
    assert x.shape[0] % 4 == 0
    assert x.shape[1] % 4 == 0
    blocks = x.reshape(x.shape[0] // 4, 4, x.shape[1] // 4, 4, 3)
    summary = blocks.sum(axis=3).sum(axis=1) / 16 + blocks[:, 0, :, 0]
    return summary.repeat(4, axis=0).repeat(4, axis=1)


@pytest.mark.parametrize("size", [(40, 52), (41, 55), (3, 70), (1, 1)])
@pytest.mark.parametrize(("tile", "overlap"), [(16, 4), (18, 3), (21, 5)])
def test_tiles_stay_on_the_grid_of_strided_networks(size, tile, overlap):
    image = random_image(*size)
    padded = np.pad(image, ((0, -size[0] % 4), (0, -size[1] % 4), (0, 0)), mode="reflect")
    whole = on_a_grid(padded)[: size[0], : size[1]]
    np.testing.assert_array_equal(tile_apply(on_a_grid, image, scale=1, tile=tile, overlap=overlap, multiple=4), whole)


@pytest.mark.parametrize("out_dtype", [np.uint8, np.uint16])
def test_whole_number_images(out_dtype):
    top = np.float32(np.iinfo(out_dtype).max)
    image = np.random.default_rng(9).integers(0, int(top) + 1, (30, 41, 3)).astype(out_dtype)

    def brighten(x: np.ndarray) -> np.ndarray:
        assert x.dtype == np.float32
        return x * np.float32(1.37) - np.float32(0.11)  # leaves [0, 1] on both sides

    result = tile_apply(brighten, image, scale=1, tile=16, overlap=0, out_dtype=out_dtype)
    assert result.dtype == out_dtype
    np.testing.assert_array_equal(result, np.rint(brighten(image.astype(np.float32) / top).clip(0, 1) * top))


def test_tile_too_small_for_the_overlap():
    with pytest.raises(UserError, match=r"at least 24 pixels.*found 20"):
        tile_apply(Network(1), random_image(30, 30), scale=1, tile=20, overlap=8, multiple=8)
    tile_apply(Network(1), random_image(30, 30), scale=1, tile=24, overlap=8, multiple=8)
