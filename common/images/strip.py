"""Comparison strips: images side by side, the same detail of each upscaled below, captions at the bottom; grids."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.images.pixels import reduce_to_8_bit
from common.images.resize import imresize

MAX_WIDTH = 1960  # pixels of the whole strip: what a README or a screen shows without scaling
MAX_HEIGHT = 900  # of one image
MIN_COLUMN = 240  # small images are upscaled to about this, so that captions can be read
GUTTER = 12
ZOOM = 4
MARK = (255, 72, 24)  # orange: rare in photographs, visible on dark and light
GRID_WIDTH, GRID_GUTTER = 2000, 6


def grid(images: Sequence[np.ndarray], columns: int = 0) -> np.ndarray:
    """Lay out images (H, W[, 3]), uint8 or uint16, in a near square or in `columns`; uint8, at most 2000 wide."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    images = [reduce_to_8_bit(image) if image.dtype == np.uint16 else image for image in images]
    room = (GRID_WIDTH - GRID_GUTTER * (columns - 1)) // columns
    height, width = images[0].shape[:2]
    if width > room:
        images = [imresize(image, size=(max(1, round(height * room / width)), room)) for image in images]
    tiles = [image if image.ndim == 3 else np.dstack([image] * 3) for image in images]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return _with_gutters([tiles[start : start + columns] for start in range(0, len(tiles), columns)], GRID_GUTTER)


def comparison_strip(columns: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Draw LR | bicubic | SR | HR, or any such row, with a zoomed detail where the second differs most from the last.

    The images are (h, w, 3) uint8 of one scene; smaller ones are upscaled by nearest neighbour: LR pixels can be seen.
    The strip is at most about 2000 pixels wide: large images are reduced, their details are not.
    """
    height, width = np.max([image.shape[:2] for _, image in columns], axis=0).tolist()
    images = [_nearest(image, height, width) for _, image in columns]
    room = (MAX_WIDTH - GUTTER * (len(columns) + 1)) // len(columns)
    factor = min(room / width, MAX_HEIGHT / height)
    if factor >= 1:
        factor = min(int(factor), -(-MIN_COLUMN // width))  # whole factors keep every pixel a square
    shown_width = max(ZOOM, int(width * factor) // ZOOM * ZOOM) if factor < 1 else int(width * factor)
    shown = max(1, round(height * shown_width / width)), shown_width

    top, left, box_height, box_width = _busiest_box(images, shown_width)
    bottom, right = top + box_height, left + box_width
    whole = [imresize(one, size=shown) if shown_width < width else _nearest(one, *shown) for one in images]
    corners = [round(place * shown_width / width) for place in (top, left, bottom, right)]
    detail_size = max(1, round(box_height * shown_width / box_width)), shown_width
    details = [_nearest(image[top:bottom, left:right], *detail_size) for image in images]
    rows = [
        [_outlined(image, *corners) for image in whole],
        [_outlined(detail, 0, 0, *detail_size) for detail in details],
        _captions([caption for caption, _ in columns], shown_width),
    ]
    return np.pad(_with_gutters(rows, GUTTER), ((GUTTER, GUTTER), (GUTTER, GUTTER), (0, 0)), constant_values=255)


def _nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _busiest_box(images: list[np.ndarray], shown_width: int) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) where the second (of two: the first) and the last image differ most."""
    height, width = images[0].shape[:2]
    box_width = min(max(8, min(shown_width // ZOOM, width // 3)), width)
    box_height = min(max(1, round(box_width * 0.75)), height)
    compared = images[min(1, max(0, len(images) - 2))]
    sums = cv2.integral(cv2.absdiff(compared, images[-1]).sum(axis=2, dtype=np.float64))
    rows = sums[box_height:] - sums[:-box_height]
    windows = rows[:, box_width:] - rows[:, :-box_width]
    if windows.max() <= 0:  # one column, or equal images: the middle
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    return int(top), int(left), box_height, box_width


def _outlined(image: np.ndarray, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    corner = (max(left, right - 1), max(top, bottom - 1))
    return cv2.rectangle(image, (left, top), corner, MARK, 2)


def _captions(texts: list[str], width: int) -> list[np.ndarray]:
    """Draw a white panel per caption, all of the same height, text centred, as large as fits (13 to 24 pixels)."""
    size = min(24, max(13, width // 16))
    lines = [line for text in texts for line in text.split("\n")]
    while size > 8 and max(ImageFont.load_default(size).getlength(line) for line in lines) > width:
        size -= 1
    height = round(1.35 * size) * max(text.count("\n") + 1 for text in texts)
    panels = []
    for text in texts:
        panel = Image.new("RGB", (width, height), "white")
        style = {"fill": (32, 32, 32), "font": ImageFont.load_default(size), "anchor": "ma", "align": "center"}
        ImageDraw.Draw(panel).multiline_text((width / 2, 0), text, **style)
        panels.append(np.asarray(panel))
    return panels


def _with_gutters(rows: list[list[np.ndarray]], gutter: int) -> np.ndarray:
    """Join rows of tiles of one width, (h, w, 3), with white between them."""
    padded = [[np.pad(tile, ((0, gutter), (0, gutter), (0, 0)), constant_values=255) for tile in row] for row in rows]
    return np.vstack([np.hstack(row) for row in padded])[:-gutter, :-gutter]
