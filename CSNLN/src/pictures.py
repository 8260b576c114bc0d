"""An image through CSNLN: upscaled, in tiles where it is large; and which patches its attention weighs for a pixel."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from mindspore import Tensor, ops
from PIL import Image, ImageDraw, ImageFont

from common import UserError
from common.export import Progress, Upscale, pad_to_multiple, self_ensemble
from common.images import to_float, to_uint8, to_uint16

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
Frame = tuple[int, int, int, int]  # top, left, bottom, right, in LR pixels; may reach beyond the image


def make_upscaler(network: CSNLN, options: EvalConfig | InferConfig) -> Upscale:
    """Prepare a network for images of 8 or 16 bit, in tiles where they are large."""
    hyper = network.hyper
    engine = graphs.make_engine(options.engine, network, options.attention_memory * 2**20)
    piece = Upscaler(engine.run, hyper)

    def enlarge(picture: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        with progress(number_of_runs(picture.shape, hyper.scale, options)) if progress else nullcontext() as bar:

            def run(lr_image: np.ndarray) -> np.ndarray:
                result = piece(lr_image)
                if bar is not None:
                    bar.update(1)
                return result

            upscale = chopped(run, hyper.scale) if options.chop else run
            upscale = self_ensemble(upscale) if options.self_ensemble else upscale
            result = upscale(to_float(picture))
        if not np.isfinite(result).all():
            raise UserError("the network gives NaN or Inf: are these the weights that were meant?")
        return to_uint8(result) if picture.dtype == np.uint8 else to_uint16(result)

    return Upscale(enlarge, network, hyper.scale, engine.name)


def number_of_runs(shape: tuple[int, ...], scale: int, options: EvalConfig | InferConfig) -> int:
    """How often the network is run for an image."""
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
    """A function that quarters its image until the pieces are small, and joins what `function` makes of them.

    A piece reads at least `shave` pixels beyond its quarter, and its sides are multiples of the scale. Images that
    such a piece would not fit into go through `function` whole.

    Args:
        function: (h, w, C) -> (h * scale, w * scale, C).
    """

    def enlarge(picture: np.ndarray) -> np.ndarray:
        halves = picture.shape[0] // 2, picture.shape[1] // 2
        height, width = (rounded(half + shave, scale) for half in halves)
        if height > picture.shape[0] or width > picture.shape[1]:
            return function(picture)
        is_last = height * width < least or (height, width) == picture.shape[:2]
        inner = function if is_last else enlarge
        result = np.empty((picture.shape[0] * scale, picture.shape[1] * scale, picture.shape[2]), np.float32)
        axes = [quarters(*sizes, scale) for sizes in zip(picture.shape, halves, (height, width), strict=False)]
        for rows, columns in product(*axes):
            piece = inner(np.ascontiguousarray(picture[rows.read, columns.read]))
            result[rows.target, columns.target] = piece[rows.kept, columns.kept]
        return result

    return enlarge


def rounded(length: int, scale: int) -> int:
    """The next multiple of the scale; of a multiple the next, too."""
    return length + scale - length % scale


def quarters(length: int, half: int, piece: int, scale: int) -> tuple[Quarter, Quarter]:
    """The first and the second piece on an axis of the image, of which the first is for `half` pixels."""
    seam, stop, rest = half * scale, length * scale, (length - half) * scale
    first = Quarter(slice(0, piece), slice(0, seam), slice(0, seam))
    return first, Quarter(slice(length - piece, length), slice(piece * scale - rest, None), slice(seam, stop))


# ------------------------------------------------------------------------------------------- the attention of a pixel


class Answers(NamedTuple):
    """Weights of the cross-scale attention for one pixel of the LR image.

    Attributes:
        weights: (h, w) of all patches, their sum is 1; patch (k, l) lies around the s x s pixels (k s, l s).
        scale: s.
        query: (row, column).
    """

    weights: np.ndarray
    scale: int
    query: tuple[int, int]

    def strongest(self) -> list[tuple[float, Frame]]:
        """(weight, frame of the patch of 3s x 3s pixels), the strongest first; of those that overlap only the first."""
        left, found = self.weights.copy(), []
        while len(found) < STRONGEST and left.max() > 0:
            row, column = np.unravel_index(left.argmax(), left.shape)
            top, start = (self.scale * (int(at) - 1) for at in (row, column))
            found.append((float(left[row, column]), (top, start, top + 3 * self.scale, start + 3 * self.scale)))
            left[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        return found

    def query_frame(self) -> Frame:
        """The 3x3 pixels that are compared."""
        row, column = self.query
        return row - 1, column - 1, row + 2, column + 2


def answers(network: CSNLN, picture: np.ndarray, query: tuple[int, int], time: int) -> Answers:
    """Run the network until a cell is applied for the `time`-th time (0: the last), and look at its attention.

    At x4 it is the attention of the cell's first step, on LR pixels.

    Args:
        picture: (H, W, 3) uint8 or uint16.
    """
    hyper = network.hyper
    (height, width), (row, column) = picture.shape[:2], query
    if row >= height or column >= width:
        raise UserError(f"--attention {row},{column} is outside the image, which has {height} rows and {width} columns")
    if time > hyper.depth:
        raise UserError(f"--attention_time {time}: the cell of this network is applied {hyper.depth} times")
    network.set_train(False)
    padded = pad_to_multiple(to_float(picture), hyper.attention_scale)
    x = network.head(network.sub_mean(Tensor(np.ascontiguousarray(padded.transpose(2, 0, 1)[None]))))
    for _ in range((time or hyper.depth) - 1):
        x, _ = network.SEM(x)
    queries, keys, _ = network.SEM.multi_source_projection.up_attention.compared(x)
    place = row * padded.shape[1] + column
    weights = attend(ops.matmul(queries[:, place : place + 1], keys), SHARPNESS).asnumpy()
    small = [side // hyper.attention_scale for side in padded.shape[:2]]
    return Answers(weights.reshape(small), hyper.attention_scale, query)


def draw(picture: np.ndarray, found: Answers) -> np.ndarray:
    """The image with the frames of the query and of the strongest patches; all weights; and the framed patches.

    Args:
        picture: (H, W, 3) uint8.

    Returns:
        (height, width, 3) uint8.
    """
    strongest, zoom = found.strongest(), max(1, WIDTH // picture.shape[1])
    framed, weights = larger(picture, zoom), larger(weight_map(picture, found), zoom)
    for weight, frame in reversed(strongest):
        outline(framed, frame, zoom, ANSWER, 1 + round(3 * weight / strongest[0][0]))
    for shown in (framed, weights):
        outline(shown, found.query_frame(), zoom, QUERY, 2)
    details = [captioned(detail(picture, found.query_frame(), QUERY), "query")]
    details += [captioned(detail(picture, frame, ANSWER), f"{100 * weight:.2g} %") for weight, frame in strongest]
    upper, lower = beside([framed, weights]), beside(details)
    width = max(upper.shape[1], lower.shape[1])
    return np.concatenate([widened(upper, width), widened(lower, width)])


def weight_map(picture: np.ndarray, found: Answers) -> np.ndarray:
    """The image in dark gray, coloured by the square root of the weights, so that small ones show."""
    light = larger(np.sqrt(found.weights / found.weights.max()), found.scale)[: picture.shape[0], : picture.shape[1]]
    gray = 0.5 * picture.mean(2, keepdims=True)
    return (gray + light[..., None] * (np.array(ANSWER) - gray)).astype(np.uint8)


def larger(picture: np.ndarray, times: int) -> np.ndarray:
    """Each pixel becomes a square."""
    return picture.repeat(times, 0).repeat(times, 1)


def outline(picture: np.ndarray, frame: Frame, zoom: int, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw the frame into an upscaled image."""
    top, left, bottom, right = (at * zoom for at in frame)
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, thickness)


def detail(picture: np.ndarray, frame: Frame, colour: tuple[int, int, int]) -> np.ndarray:
    """What is in the frame, upscaled, in a border; black beyond the image, as the attention pads with zeros."""
    top, left, bottom, right = frame
    margin = max(bottom - top, right - left)
    wide = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)))
    inside = wide[top + margin : bottom + margin, left + margin : right + margin]
    large = cv2.resize(inside, (DETAIL, DETAIL), interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.rectangle(large, (1, 1), (DETAIL - 2, DETAIL - 2), colour, 3)


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """The image with a line of text below."""
    panel = Image.new("RGB", (picture.shape[1], 24), "white")
    font = ImageFont.load_default(16)
    ImageDraw.Draw(panel).text((picture.shape[1] / 2, 3), text, fill=(32, 32, 32), font=font, anchor="ma")
    return np.concatenate([picture, np.asarray(panel)])


def beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Images of one height, with white around and between them."""
    edged = [np.pad(picture, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255) for picture in pictures]
    return widened(np.concatenate(edged, axis=1), sum(picture.shape[1] for picture in edged) + GAP)


def widened(picture: np.ndarray, width: int) -> np.ndarray:
    """White to the right, up to a width."""
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
