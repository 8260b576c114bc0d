"""Comparison strips: images side by side, the same detail of each upscaled below, captions at the bottom."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.images.pixels import reduce_to_8_bit
from common.images.resize import imresize

Box = tuple[int, int, int, int]

MAX_WIDTH = 1960  # pixels of the whole strip: what a README or a screen shows without scaling
MAX_HEIGHT = 900  # of one image
MIN_COLUMN = 240  # small images are upscaled to about this, so that captions can be read
GUTTER = 12
ZOOM = 4
MARK = (255, 72, 24)  # orange: rare in photographs, visible on dark and light


def comparison_strip(columns: Sequence[tuple[str, np.ndarray]], box: Box | None = None) -> np.ndarray:
    """Draws LR | bicubic | SR | HR, or any such row, with a zoomed detail of each.

    Args:
        columns: (caption, image) from left to right. A caption may have several lines: "SR" above its PSNR.
            Images are (h, w, 3) uint8 of one scene; smaller ones are upscaled to the largest by nearest
            neighbour, so that the pixels of the LR image can be seen.
        box: (top, left, height, width) of the detail, in pixels of the largest image. None picks the place
            where the second column (bicubic) differs most from the last one (HR).

    Returns:
        (H, W, 3) uint8, at most about 2000 pixels wide: large images are reduced, their details are not.

    Raises:
        ValueError: No column, an image that is not (h, w, 3) uint8, or a box that leaves the image.
    """
    if not columns:
        raise ValueError("a comparison strip needs at least one column")
    for caption, picture in columns:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"{caption!r} must be (h, w, 3) uint8, got {picture.shape} {picture.dtype}")
    height, width = np.max([picture.shape[:2] for _, picture in columns], axis=0).tolist()
    pictures = [_nearest(picture, height, width) for _, picture in columns]
    shown = _shown_size(height, width, len(columns))
    top, left, box_height, box_width = box = box or _busiest_box(pictures, shown[1])
    if min(box) < 0 or 0 in box[2:] or top + box_height > height or left + box_width > width:
        raise ValueError(f"box {box} (top, left, height, width) leaves the image of {height} x {width}")

    detail_height = max(1, round(box_height * shown[1] / box_width))
    upper = [_mark(_show(picture, shown), box, shown[1] / width) for picture in pictures]
    details = [picture[top : top + box_height, left : left + box_width] for picture in pictures]
    lower = [_frame(_nearest(detail, detail_height, shown[1])) for detail in details]
    captions = _captions([caption for caption, _ in columns], shown[1])
    return _white_grid([upper, lower, captions])


def _nearest(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _shown_size(height: int, width: int, columns: int) -> tuple[int, int]:
    """(height, width) at which each whole image is shown."""
    room = (MAX_WIDTH - GUTTER * (columns + 1)) // columns
    factor = min(room / width, MAX_HEIGHT / height)
    if factor >= 1:
        factor = min(int(factor), -(-MIN_COLUMN // width))  # whole factors keep every pixel a square
    shown_width = max(ZOOM, int(width * factor) // ZOOM * ZOOM) if factor < 1 else int(width * factor)
    return max(1, round(height * shown_width / width)), shown_width


def _show(picture: np.ndarray, shown: tuple[int, int]) -> np.ndarray:
    if shown[1] < picture.shape[1]:
        return imresize(picture, size=shown)
    return _nearest(picture, *shown)


def _busiest_box(pictures: list[np.ndarray], shown_width: int) -> Box:
    """Where the second (of two: the first) and the last image differ most; it is shown ZOOM-fold."""
    height, width = pictures[0].shape[:2]
    box_width = min(max(8, min(shown_width // ZOOM, width // 3)), width)
    box_height = min(max(1, round(box_width * 0.75)), height)
    compared = pictures[min(1, max(0, len(pictures) - 2))]
    difference = cv2.absdiff(compared, pictures[-1]).sum(axis=2, dtype=np.float64)
    sums = cv2.integral(difference)
    windows = (
        sums[box_height:, box_width:]
        - sums[:-box_height, box_width:]
        - sums[box_height:, :-box_width]
        + sums[:-box_height, :-box_width]
    )
    if windows.max() <= 0:  # one column, or equal images: the middle
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    return int(top), int(left), box_height, box_width


def _mark(picture: np.ndarray, box: Box, factor: float) -> np.ndarray:
    """Draws the outline of the box, its coordinates multiplied by `factor`, into the image and returns it."""
    top, left, bottom, right = (round(v * factor) for v in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    corner = (max(left, right - 1), max(top, bottom - 1))
    return cv2.rectangle(picture, (left, top), corner, MARK, 2)


def _frame(detail: np.ndarray) -> np.ndarray:
    return _mark(detail, (0, 0, *detail.shape[:2]), 1)


def _captions(texts: list[str], width: int) -> list[np.ndarray]:
    """One white panel per caption, all of the same height, text centred, as large as fits (13 to 24 pixels)."""
    size = min(24, max(13, width // 16))
    lines = [line for text in texts for line in text.split("\n")]
    while size > 8 and max(ImageFont.load_default(size).getlength(line) for line in lines) > width:
        size -= 1
    font = ImageFont.load_default(size)
    height = round(1.35 * size) * max(text.count("\n") + 1 for text in texts)
    panels = []
    for text in texts:
        panel = Image.new("RGB", (width, height), "white")
        ImageDraw.Draw(panel).multiline_text(
            (width / 2, 0), text, fill=(32, 32, 32), font=font, anchor="ma", align="center"
        )
        panels.append(np.asarray(panel))
    return panels


def _white_grid(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Rows of equally wide tiles with white gutters between and around them."""

    def separated(tiles: list[np.ndarray], axis: int) -> np.ndarray:
        shape = list(tiles[0].shape)
        shape[axis] = GUTTER
        gutter = np.full(shape, 255, np.uint8)
        return np.concatenate([gutter, *(part for tile in tiles for part in (tile, gutter))], axis=axis)

    return separated([separated(row, 1) for row in rows], 0)


GRID_GUTTER = 6  # white pixels between the images
WIDEST = 2000  # pixels of the whole grid; the images are downscaled to fit


def grid(pictures: Sequence[np.ndarray], columns: int = 0) -> np.ndarray:
    """Images of one size, (H, W, 3) or (H, W), row by row in a near square, or in `columns`.

    Returns:
        (H', W', 3) uint8, of uint8 or uint16.
    """
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    pictures = [reduce_to_8_bit(picture) if picture.dtype == np.uint16 else picture for picture in pictures]
    room = (WIDEST - GRID_GUTTER * (columns - 1)) // columns
    height, width = pictures[0].shape[:2]
    if width > room:
        height, width = max(1, round(height * room / width)), room
        pictures = [imresize(picture, size=(height, width)) for picture in pictures]
    shape = rows * (height + GRID_GUTTER) - GRID_GUTTER, columns * (width + GRID_GUTTER) - GRID_GUTTER, 3
    result = np.full(shape, 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + GRID_GUTTER), number % columns * (width + GRID_GUTTER)
        result[top : top + height, left : left + width] = np.atleast_3d(picture)
    return result
