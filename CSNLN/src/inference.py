"""An image through CSNLN: upscaled, in tiles where it is large; and which patches its attention weighs for a pixel."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from mindspore import Tensor, ops
from PIL import Image, ImageDraw, ImageFont

from common import UserError
from common.evaluation import Job, Results
from common.export import Progress, Upscale, pad_to_multiple, self_ensemble
from common.images import read_image, to_float, to_uint8, to_uint16, write_image

from . import graphs
from .attention import SHARPNESS, attend
from .config import EvalConfig, InferConfig
from .CSNLN import CSNLN
from .dataset.common import Upscaler

SHAVE = 10  # LR pixels that a piece reads beyond its quarter
LEAST = 60 * 60  # LR pixels; pieces are quartered again until they have fewer

STRONGEST = 5  # patches that are framed
WIDTH = 720  # about so many pixels wide is each of the two images
DETAIL = 132  # side of the upscaled patches
GAP = 12
QUERY = (255, 72, 24)  # orange
ANSWER = (0, 174, 239)  # blue
log = logging.getLogger(__name__)
Frame = tuple[int, int, int, int]  # top, left, bottom, right, in LR pixels; may reach beyond the image


def make_upscaler(network: CSNLN, options: EvalConfig | InferConfig) -> Upscale:
    """Prepare a network for images of 8 or 16 bit, in tiles where they are large."""
    hyper = network.hyper
    engine = graphs.make_engine(options.runner, network, options.attention_memory * 2**20)
    piece = Upscaler(engine.run, hyper)

    def upscale(image: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        with progress(number_of_runs(image.shape, hyper.scale, options)) if progress else nullcontext() as bar:

            def run(lr_image: np.ndarray) -> np.ndarray:
                result = piece(lr_image)
                if bar is not None:
                    bar.update(1)
                return result

            whole = chopped(run, hyper.scale) if options.chop else run
            whole = self_ensemble(whole) if options.self_ensemble else whole
            result = whole(to_float(image))
        if not np.isfinite(result).all():
            raise UserError("the network gives NaN or Inf: are these the weights that were meant?")
        return to_uint8(result) if image.dtype == np.uint8 else to_uint16(result)

    return Upscale(upscale, network, hyper.scale, engine.name)


def number_of_runs(shape: tuple[int, ...], scale: int, options: EvalConfig | InferConfig) -> int:
    """Count how often the network is run for an image."""
    runs = 0

    def counted(piece: np.ndarray) -> np.ndarray:
        nonlocal runs
        runs += 1
        return np.empty((piece.shape[0] * scale, piece.shape[1] * scale, 1), np.float32)

    if options.chop:
        chopped(counted, scale)(np.empty((*shape[:2], 1), np.float32))
    return max(1, runs) * (8 if options.self_ensemble else 1)


# --------------------------------------------------------------------------- in tiles, as the authors do
# Attention reads the whole piece, so the seams are not exact.


class Quarter(NamedTuple):
    """A piece on one axis: what it reads of the image, what of it is kept, and where that belongs in the result."""

    read: slice
    kept: slice
    target: slice


def chopped(
    function: Callable[[np.ndarray], np.ndarray], scale: int, shave: int = SHAVE, least: int = LEAST
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that quarters its image until the pieces are small, and joins what `function` makes of them.

    `function` is (h, w, C) -> (h * scale, w * scale, C). A piece reads at least `shave` pixels beyond its quarter, and
    its sides are multiples of the scale. Images that such a piece would not fit into go through `function` whole.
    """

    def upscale(image: np.ndarray) -> np.ndarray:
        halves = image.shape[0] // 2, image.shape[1] // 2
        # The next multiple of the scale, also of a multiple.
        height, width = (((half + shave) // scale + 1) * scale for half in halves)
        if height > image.shape[0] or width > image.shape[1]:
            return function(image)
        is_last = height * width < least or (height, width) == image.shape[:2]
        inner = function if is_last else upscale
        result = np.empty((image.shape[0] * scale, image.shape[1] * scale, image.shape[2]), np.float32)
        axes = [quarters(*sizes, scale) for sizes in zip(image.shape, halves, (height, width), strict=False)]
        for rows, columns in product(*axes):
            piece = inner(np.ascontiguousarray(image[rows.read, columns.read]))
            result[rows.target, columns.target] = piece[rows.kept, columns.kept]
        return result

    return upscale


def quarters(length: int, half: int, piece: int, scale: int) -> tuple[Quarter, Quarter]:
    """Return both pieces on an axis of the image, of which the first is for `half` pixels."""
    seam, stop, rest = half * scale, length * scale, (length - half) * scale
    first = Quarter(slice(0, piece), slice(0, seam), slice(0, seam))
    return first, Quarter(slice(length - piece, length), slice(piece * scale - rest, None), slice(seam, stop))


# ------------------------------------------------------------------------------------------- the attention of a pixel


class Answers(NamedTuple):
    """Weights (h, w) of the cross-scale attention for a query pixel; patch (k, l) is around pixels (k s, l s)."""

    weights: np.ndarray
    scale: int
    query: tuple[int, int]

    def strongest(self) -> list[tuple[float, Frame]]:
        """Return (weight, frame of the patch of 3s x 3s pixels), strongest first; of overlapping ones the first."""
        left, found = self.weights.copy(), []
        while len(found) < STRONGEST and left.max() > 0:
            row, column = np.unravel_index(left.argmax(), left.shape)
            top, start = (self.scale * (int(at) - 1) for at in (row, column))
            found.append((float(left[row, column]), (top, start, top + 3 * self.scale, start + 3 * self.scale)))
            left[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        return found

    def query_frame(self) -> Frame:
        row, column = self.query
        return row - 1, column - 1, row + 2, column + 2


def answers(network: CSNLN, image: np.ndarray, query: tuple[int, int], time: int) -> Answers:
    """Return the attention of the `time`-th time that the cell is applied (0: the last) on an image (H, W, 3).

    At x4 it is the attention of the cell's first step, on LR pixels.
    """
    hyper = network.hyper
    (height, width), (row, column) = image.shape[:2], query
    if row >= height or column >= width:
        raise UserError(f"--attention {row},{column} is outside the image, which has {height} rows and {width} columns")
    if time > hyper.depth:
        raise UserError(f"--attention_time {time}: the cell of this network is applied {hyper.depth} times")
    network.set_train(False)
    padded = pad_to_multiple(to_float(image), hyper.attention_scale)
    x = network.head(network.sub_mean(Tensor(np.ascontiguousarray(padded.transpose(2, 0, 1)[None]))))
    for _ in range((time or hyper.depth) - 1):
        x, _ = network.SEM(x)
    queries, keys, _ = network.SEM.multi_source_projection.up_attention.compared(x)
    place = row * padded.shape[1] + column
    weights = attend(ops.matmul(queries[:, place : place + 1], keys), SHARPNESS).asnumpy()
    small = [side // hyper.attention_scale for side in padded.shape[:2]]
    return Answers(weights.reshape(small), hyper.attention_scale, query)


def draw_attention(results: Results, network: CSNLN, query: tuple[int, int], time: int, job: Job) -> None:
    """Image file -> its attention for a pixel, drawn by `draw`, and the weights in the log."""
    target = results.reserve(job, f"{job.source.stem}_attention_{query[0]}_{query[1]}.png")
    rgb = read_image(job.source).rgb
    found = answers(network, rgb, query, time)
    write_image(target, draw(to_uint8(to_float(rgb)), found))
    said = "; ".join(
        f"{100 * weight:.2g} % rows {top}-{bottom - 1}, columns {left}-{right - 1}"
        for weight, (top, left, bottom, right) in found.strongest()
    )
    alike = f"all alike: {100 / found.weights.size:.2g} %"
    log.info("%s, pixel %d,%d: %s (%s) -> %s", job.source, *query, said, alike, target)


def draw(image: np.ndarray, found: Answers) -> np.ndarray:
    """Draw an image (H, W, 3) uint8 with frames of query and strongest patches, all weights, and the patches."""
    strongest, zoom = found.strongest(), max(1, WIDTH // image.shape[1])
    # On dark gray the square root of the weights, so that small ones show.
    light = larger(np.sqrt(found.weights / found.weights.max()), found.scale)[: image.shape[0], : image.shape[1], None]
    gray = 0.5 * image.mean(2, keepdims=True)
    framed, weights = larger(image, zoom), larger((gray + light * (np.array(ANSWER) - gray)).astype(np.uint8), zoom)
    for weight, frame in reversed(strongest):
        outline(framed, frame, zoom, ANSWER, 1 + round(3 * weight / strongest[0][0]))
    for shown in (framed, weights):
        outline(shown, found.query_frame(), zoom, QUERY, 2)
    details = [detail(image, found.query_frame(), QUERY, "query")]
    details += [detail(image, frame, ANSWER, f"{100 * weight:.2g} %") for weight, frame in strongest]
    upper, lower = beside([framed, weights]), beside(details)
    width = max(upper.shape[1], lower.shape[1])
    return np.concatenate([widened(upper, width), widened(lower, width)])


def larger(image: np.ndarray, times: int) -> np.ndarray:
    """Repeat each pixel to a square."""
    return image.repeat(times, 0).repeat(times, 1)


def outline(image: np.ndarray, frame: Frame, zoom: int, colour: tuple[int, int, int], thickness: int) -> None:
    top, left, bottom, right = (at * zoom for at in frame)
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), colour, thickness)


def detail(image: np.ndarray, frame: Frame, colour: tuple[int, int, int], caption: str) -> np.ndarray:
    """Cut out and upscale a frame, in a border; black beyond the image, as the attention pads with zeros."""
    top, left, bottom, right = frame
    margin = max(bottom - top, right - left)
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
    inside = wide[top + margin : bottom + margin, left + margin : right + margin]
    large = cv2.resize(inside, (DETAIL, DETAIL), interpolation=cv2.INTER_NEAREST_EXACT)
    panel, font = Image.new("RGB", (DETAIL, 24), "white"), ImageFont.load_default(16)
    ImageDraw.Draw(panel).text((DETAIL / 2, 3), caption, fill=(32, 32, 32), font=font, anchor="ma")
    return np.concatenate([cv2.rectangle(large, (1, 1), (DETAIL - 2, DETAIL - 2), colour, 3), np.asarray(panel)])


def beside(images: list[np.ndarray]) -> np.ndarray:
    """Join images of one height, with white around and between them."""
    edged = [np.pad(image, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255) for image in images]
    return widened(np.concatenate(edged, axis=1), sum(image.shape[1] for image in edged) + GAP)


def widened(image: np.ndarray, width: int) -> np.ndarray:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255)
