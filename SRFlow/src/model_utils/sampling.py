"""Pictures through SRFlow: graphs of both directions, what runs them, latents, and tiles where a picture is large."""

import hashlib
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from common import UserError, export
from common.export import (
    Engine,
    Graph,
    Port,
    Progress,
    Span,
    fill_tiles,
    make_engine,
    pad_to_multiple,
)
from common.images import to_float

from ..model.FlowUpsamplerNet import COLORS
from ..model.folding import Arrays
from ..model.inference import Decode, Encode
from ..model.reading import TOGETHER
from ..model.SRFlowNet import Hyper, draw_latents
from .trained import Trained

TOLERANCE = 1e-4  # largest error of an exported graph, of the largest value: the inverse multiplies rounding errors
CHECK_CELLS = ((2, 3), (4, 2))  # an export is compared at both; a cell is a square of `Hyper.lr_multiple` LR pixels
COPIES = {"onnxruntime": 3.5, "mindspore": 15}  # of the values counted in `default_tile`, measured
# LR pixels at the inner edges of a tile that are not trusted. The network sees further, the authors' several hundred
# pixels, but what is far away hardly counts.
OVERLAP = 24


class Encoded(NamedTuple):
    """What a picture is to the flow.

    Attributes:
        latents: each (1, C, h, w), see `Hyper.latent_shapes`.
        nll: negative log-likelihood in bits per HR pixel, of the picture as it is, without noise.
    """

    latents: list[np.ndarray]
    nll: float


def graph_of(arrays: Arrays, hyper: Hyper, direction: str, batch_size: int = 1) -> Graph:
    """The graph "decode" (lr_image, latent_0 ... -> hr_image) or "encode" (hr_image, lr_image -> latent_0 ..., logdet_0
    ...), free in height and width. The sides of lr_image must be multiples of `Hyper.lr_multiple`.
    """
    shapes = [hyper.latent_shapes(*(side * hyper.lr_multiple for side in cells)) for cells in CHECK_CELLS]
    lr_image = Port("lr_image", (batch_size, COLORS, "height", "width"))
    sizes = [
        dict(zip(("height", "width"), (n * hyper.lr_multiple for n in cells), strict=True)) for cells in CHECK_CELLS
    ]
    names = [f"latent_{number}" for number in range(len(shapes[0]))]
    if direction == "decode":
        latents = [
            Port(name, (batch_size, shape[0], f"height_{number}", f"width_{number}"))
            for number, (name, shape) in enumerate(zip(names, shapes[0], strict=True))
        ]
        for size, found in zip(sizes, shapes, strict=True):
            for number, (_, height, width) in enumerate(found):
                size |= {f"height_{number}": height, f"width_{number}": width}
        return Graph(Decode(arrays, hyper), [lr_image, *latents], ["hr_image"], sizes)
    sizes = [size | {f"hr_{side}": length * hyper.scale for side, length in size.items()} for size in sizes]
    hr_image = Port("hr_image", (batch_size, COLORS, "hr_height", "hr_width"))
    maps = [f"logdet_{number}" for number in range(hyper.levels)]
    return Graph(Encode(arrays, hyper), [hr_image, lr_image], [*names, *maps], sizes)


class Sampler:
    """Both directions for 8- and 16-bit pictures of any size, in tiles where they are large.

    What is missing to a multiple of `Hyper.lr_multiple` is continued by reflection and cut off afterwards.

    Args:
        trained: the network.
        engine: what runs it, see `common.export.make_engine`; a direction is prepared when it is first asked for.
        tile: side of the tiles in LR pixels; 0 takes the whole picture as long as that takes less than 2.5 GiB.

    Raises:
        UserError: the tile is too small for the overlap.
    """

    def __init__(self, trained: Trained, engine: str = "auto", tile: int = 0) -> None:
        self.trained, self.hyper, self.kind, self.tile = trained, trained.hyper, engine, tile
        self.overlap = -(-OVERLAP // self.hyper.lr_multiple)  # cells
        least = (2 * self.overlap + 1) * self.hyper.lr_multiple
        if 0 < tile < least:
            raise UserError(f"--tile {tile} is hardly more than the overlap of tiles: take {least} or more")
        self._engines: dict[str, Engine] = {}

    def engine(self, direction: str) -> Engine:
        """What runs "decode" or "encode"; the export is kept beside the file of the weights."""
        if direction not in self._engines:
            form, inputs, outputs, sizes = graph_of(self.trained.arrays, self.hyper, direction)
            digest = hashlib.sha256(f"{self.trained.digest} {direction} {self.hyper.bound}".encode()).hexdigest()
            self._engines[direction] = make_engine(
                self.kind, form, inputs, outputs,
                sizes=sizes, cache=self.trained.cache, digest=digest, tolerance=TOLERANCE,
            )  # fmt: skip
        return self._engines[direction]

    def decode(
        self, lr: np.ndarray, latents: Sequence[np.ndarray], progress: Progress | None = None, out_dtype: Any = None
    ) -> np.ndarray:
        """(H, W, 3) uint8 or uint16 and its latents -> (sH, sW, 3), clipped and rounded to lr's type.

        Args:
            latents: as `draw` gives them.
            out_dtype: np.float32 leaves the values as the network gives them, about 0 ... 1.

        Raises:
            UserError: the network gives values that are no numbers.
        """
        engine, side = self.engine("decode"), self.hyper.lr_multiple
        padded = pad_to_multiple(lr, side)
        cells = padded.shape[0] // side, padded.shape[1] // side

        def run(row: Span, column: Span) -> np.ndarray:
            pieces = [cut(latent, row, column, latent.shape[2] // cells[0]) for latent in latents]
            return only_numbers(engine.run(as_input(padded, row, column, side), *pieces))[0].transpose(1, 2, 0)

        height, width = lr.shape[0] * self.hyper.scale, lr.shape[1] * self.hyper.scale
        result = np.empty((height, width, COLORS), out_dtype or lr.dtype)
        return self._fill(run, engine, cells, result, side * self.hyper.scale, progress)

    def encode(self, hr: np.ndarray, lr: np.ndarray, progress: Progress | None = None) -> Encoded:
        """(sH, sW, 3) and (H, W, 3), uint8 or uint16, -> latents for `decode`, and the likelihood.

        Raises:
            UserError: the network gives values that are no numbers.
        """
        engine, side, scale = self.engine("encode"), self.hyper.lr_multiple, self.hyper.scale
        lr, hr = pad_to_multiple(lr, side), pad_to_multiple(hr, side * scale)
        cells = lr.shape[0] // side, lr.shape[1] // side
        shapes = self.hyper.latent_shapes(*lr.shape[:2])
        level_sides = [(side * scale) >> level for level in range(1, self.hyper.levels + 1)]
        factors = [shape[1] // cells[0] for shape in shapes] + level_sides

        def run(row: Span, column: Span) -> np.ndarray:
            inputs = as_input(hr, row, column, side * scale), as_input(lr, row, column, side)
            found = only_numbers(*engine.run(*inputs))
            return np.concatenate([to_cells(part, factor) for part, factor in zip(found, factors, strict=True)], 2)

        channels = [shape[0] for shape in shapes] + [1] * self.hyper.levels
        widths = [count * factor**2 for count, factor in zip(channels, factors, strict=True)]
        packed = self._fill(run, engine, cells, np.empty((*cells, sum(widths)), np.float32), 1, progress)
        parts = np.split(packed, np.cumsum(widths)[:-1], 2)
        latents = [from_cells(part, factor) for part, factor in zip(parts, factors, strict=False)][: len(shapes)]
        log_density = sum(part.sum(dtype=np.float64) for part in parts[len(shapes) :])
        log_density -= sum(0.5 * np.sum(np.square(z, dtype=np.float64) + math.log(2 * math.pi)) for z in latents)
        return Encoded(latents, -log_density / (math.log(2) * hr.shape[0] * hr.shape[1]))

    def draw(self, lr: np.ndarray, heat: float, seed: int, name: str, number: int) -> list[np.ndarray]:
        """The latents of one sample of one picture, told by its name: the same in tiles and whole, alone and among
        others. Those of another heat are the same but for their size.
        """
        sides = (-(-length // self.hyper.lr_multiple) * self.hyper.lr_multiple for length in lr.shape[:2])
        rng = np.random.default_rng([seed, zlib.crc32(name.encode(errors="surrogateescape")), number])
        return draw_latents(self.hyper, (1, *sides), heat, rng)

    def _fill(
        self,
        run: Callable[[Span, Span], np.ndarray],
        engine: Engine,
        cells: tuple[int, int],
        result: np.ndarray,
        scale: int,
        progress: Progress | None,
    ) -> np.ndarray:
        side = self.hyper.lr_multiple
        tile = (self.tile or default_tile(self.hyper, (cells[0] * side, cells[1] * side), engine)) // side
        return fill_tiles(run, cells, result, scale=scale, tile=tile, overlap=self.overlap, progress=progress)


def cut(picture: np.ndarray, row: Span, column: Span, side: int) -> np.ndarray:
    """The part (N, C, h, w) of a picture whose cells are squares of `side` pixels."""
    return picture[:, :, row.start * side : row.stop * side, column.start * side : column.stop * side]


def as_input(picture: np.ndarray, row: Span, column: Span, side: int) -> np.ndarray:
    """The same part of (H, W, 3) as (1, 3, h, w) float32 in [0, 1]."""
    piece = picture[row.start * side : row.stop * side, column.start * side : column.stop * side]
    return to_float(piece).transpose(2, 0, 1)[None]


def to_cells(picture: np.ndarray, side: int) -> np.ndarray:
    """(1, C, H * side, W * side) -> (H, W, C * side^2)."""
    _, channels, height, width = picture.shape
    cells = picture.reshape(channels, height // side, side, width // side, side).transpose(1, 3, 0, 2, 4)
    return cells.reshape(height // side, width // side, -1)


def from_cells(cells: np.ndarray, side: int) -> np.ndarray:
    """The inverse of `to_cells`."""
    height, width, _ = cells.shape
    picture = cells.reshape(height, width, -1, side, side).transpose(2, 0, 3, 1, 4)
    return picture.reshape(1, -1, height * side, width * side)


def only_numbers(*arrays: np.ndarray) -> Any:
    """The arrays, or the only one.

    Raises:
        UserError: a value in them is no number.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError(
            "these weights give values that are no numbers, or too large for one: take another checkpoint, or a "
            "smaller --heat"
        )
    return arrays[0] if len(arrays) == 1 else arrays


def default_tile(hyper: Hyper, size: tuple[int, int], engine: Engine) -> int:
    """Side of the tiles for a picture of `size` LR pixels; 0: the picture as a whole, which is less work.

    What takes most of the memory, for each LR pixel: the hidden layers of some steps at the first level, and the sums
    of the features' tiles there.
    """
    level = hyper.scale**2 / 4  # pixels of the first level for each of LR
    values = 2 * TOGETHER * hyper.hidden_channels * level + 4 * hyper.condition * level
    return export.default_tile(size, engine, values, COPIES, 4 * OVERLAP)


def slerp(one: Sequence[np.ndarray], other: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """The latents a `share` of the way from one sample to another, on the arc between them.

    Normal latents of many dimensions have all about the same length, which the straight way between them would leave.
    """
    a, b = (np.concatenate([part.ravel() for part in parts]).astype(np.float64) for parts in (one, other))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = math.acos(min(1.0, max(-1.0, a @ b / lengths))) if lengths > 0 else 0.0
    weights = (1 - share, share)
    if math.sin(angle) > 1e-6:
        weights = tuple(math.sin(part * angle) / math.sin(angle) for part in weights)
    return [(weights[0] * x + weights[1] * y).astype(np.float32) for x, y in zip(one, other, strict=True)]
