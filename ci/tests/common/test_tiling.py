"""Tiles against the whole image, with networks written in NumPy whose receptive radius is known."""

from itertools import pairwise

import numpy as np
import pytest

from common.export.tiling import Span, fill_tiles, pad_to_multiple

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


def tile_apply(function, image, *, scale, multiple=1, **tiles) -> np.ndarray:
    """Apply a function to tiles of an image; it is padded to a multiple, and the result cut."""
    padded = pad_to_multiple(image, multiple)

    def read(rows: Span, columns: Span) -> tuple[np.ndarray]:
        return (padded[None, rows.start : rows.stop, columns.start : columns.stop],)

    def run(pieces: np.ndarray) -> list[np.ndarray]:
        return [function(piece) for piece in pieces]

    result = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), np.float32)
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
