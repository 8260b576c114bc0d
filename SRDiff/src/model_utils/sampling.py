"""Pictures through SRDiff: what runs its graphs, the noise of each sample, and tiles where a picture is large."""

import hashlib
import math
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from common import UserError, export
from common.export import Engine, Progress, make_engine, plan_axis
from common.images import to_uint8, to_uint16

from ..dataset.pictures import enlarged, from_network, to_network
from ..model.sampling import Draw, sample, to_image
from ..model.srdiff import Hyper
from ..model.unet import COLORS
from .graphs import graph_of, lr_multiple
from .trained import Trained

OVERLAP = 64  # HR pixels at the inner edges of a tile, beyond which its neighbour counts for more
COPIES = {"onnxruntime": 8, "mindspore": 68}  # of the first level's features that it takes, measured
ARRAYS = 7  # images of HR size, float32, that a step of the chain holds at once
PROCESS = 2**29  # bytes of a process that has loaded the network
KEPT = 2**30  # bytes of the encoder's features that are kept; those of further tiles are found anew at each step


class Way(NamedTuple):
    """How the chain is run, see `model.sampling.sample`; of a part of it, at most `steps`."""

    sampler: str
    steps: int

    def __str__(self) -> str:
        return f"{self.sampler} {self.steps}"


class NoNumbersError(UserError):
    """A sample ran to values that are no numbers."""


class Piece(NamedTuple):
    """A tile on one axis.

    Attributes:
        lr, hr: what it covers.
        weight: share of the tile in each HR pixel.
    """

    lr: slice
    hr: slice
    weight: np.ndarray


class Sampler:
    """Both graphs for 8- and 16-bit pictures of any size, in tiles where they are large.

    Args:
        trained: the network.
        engine: what runs it, see `common.export.make_engine`; a graph is prepared when it is first asked for.
        tile: side of the tiles in LR pixels; 0 takes the whole picture as long as the process takes less than 2.5 GiB.

    Raises:
        UserError: the tile is too small for the overlap.
    """

    def __init__(self, trained: Trained, engine: str = "auto", tile: int = 0) -> None:
        self.trained, self.hyper, self.kind, self.tile = trained, trained.hyper, engine, tile
        self.multiple = lr_multiple(self.hyper)
        self.overlap = math.ceil(OVERLAP / self.hyper.scale / self.multiple) * self.multiple
        least = 2 * self.overlap + self.multiple
        if 0 < tile < least:
            raise UserError(f"--tile {tile} is hardly more than the overlap of tiles: take {least} or more")
        self._engines: dict[str, Engine] = {}

    def engine(self, which: str) -> Engine:
        """What runs "encoder" or "predictor"; the export is kept beside the file of the weights."""
        if which not in self._engines:
            form, inputs, outputs, sizes = graph_of(self.trained.network, which)
            digest = hashlib.sha256(f"{self.trained.digest} {which}".encode()).hexdigest()
            self._engines[which] = make_engine(
                self.kind, form, inputs, outputs, sizes=sizes, cache=self.trained.cache, digest=digest
            )
        return self._engines[which]

    def look_at(self, lr: np.ndarray) -> "Look":
        """The noise predictor for an LR picture (H, W, 3), uint8 or uint16."""
        return Look(lr, self)


class Look:
    """The noise predictor for one LR picture, which the encoder has looked at.

    What is missing to a size that the networks take is continued by reflection, and cut off the results. The noise is
    that of the whole picture. In tiles, the guesses of all tiles are blended at every step, so the chain goes on with
    one picture and has no seams; the tiles overlap, and the weight of each falls to nothing where it ends.

    Attributes:
        shape: of x_t, (1, 3, sh, sw).
        tiles: rows and columns of each.
    """

    def __init__(self, lr: np.ndarray, sampler: Sampler) -> None:
        self.hyper, self.lr = sampler.hyper, lr
        self.encoder, self.predictor = sampler.engine("encoder"), sampler.engine("predictor")
        scale, multiple = self.hyper.scale, sampler.multiple
        # Reflected borders need two pixels at the lowest level.
        height, width = (max(2 * multiple, math.ceil(side / multiple) * multiple) for side in lr.shape[:2])
        self.input = to_network(fill_up(lr, height, width))[None]
        self.shape = (1, 3, height * scale, width * scale)
        tile = sampler.tile or default_tile(self.hyper, (height, width), self.predictor)
        axes = (pieces(side, tile or side, sampler.overlap, multiple, scale) for side in (height, width))
        self.tiles = list(product(*axes))
        self._kept: dict[int, np.ndarray] = {}
        for number in range(len(self.tiles)):
            found = self.condition(number)
            if sum(kept.nbytes for kept in self._kept.values()) + found.nbytes > KEPT:
                break
            self._kept[number] = found

    def condition(self, number: int) -> np.ndarray:
        """What the U-Net is told of a tile, (1, C, h, w)."""
        if number in self._kept:
            return self._kept[number]
        rows, columns = self.tiles[number]
        return self.encoder.run(self.input[:, :, rows.lr, columns.lr])

    def noise(self, seed: int, name: str, number: int) -> Draw:
        """The noise of one sample of a picture, told by its name: the same in tiles and whole, alone or not."""
        rng = np.random.default_rng([seed, zlib.crc32(name.encode(errors="surrogateescape")), number])
        return lambda: rng.standard_normal(self.shape, np.float32)

    def chain(
        self,
        x: np.ndarray,
        draw: Draw,
        way: Way,
        first: int | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """x_0 (1, 3, sh, sw) of x at step `first`, default T - 1.

        Raises:
            NoNumbersError: values that are no numbers.
        """
        count = self.hyper.timesteps if first is None else first + 1
        steps = min(way.steps, count)
        with progress(steps * len(self.tiles)) if progress else nullcontext() as bar:

            def predict(x: np.ndarray, t: int) -> np.ndarray:
                return self.predict(x, t, bar)

            schedule = self.hyper.schedule()
            return sample(predict, schedule, x, draw, sampler=way.sampler, steps=steps, first=count - 1)

    def predict(self, x: np.ndarray, t: int, bar: Any = None) -> np.ndarray:
        """eps (1, 3, sh, sw) of x_t, of all tiles.

        Raises:
            NoNumbersError: values that are no numbers.
        """
        eps, step = np.zeros_like(x), np.full(1, t, np.float32)
        for number, (rows, columns) in enumerate(self.tiles):
            place = np.s_[:, :, rows.hr, columns.hr]
            found = self.predictor.run(x[place], step, self.condition(number))
            eps[place] += rows.weight[:, None] * columns.weight * found
            if bar is not None:
                bar.update(1)
        if not np.isfinite(eps).all():
            raise NoNumbersError(f"the noise predictor gives values that are no numbers, at step {t} of the chain")
        return eps

    def draw(self, draw: Draw, way: Way, progress: Progress | None = None) -> np.ndarray:
        """One sample: x_0 of the first noise."""
        return self.chain(draw(), draw, way, progress=progress)

    def residual(self, hr: np.ndarray) -> np.ndarray:
        """x_0 of an HR picture (sH, sW, 3): its difference from the enlarged LR picture, as in training."""
        difference = to_network(hr) - enlarged(self.lr, self.hyper.scale)
        found = (difference * np.float32(self.hyper.res_rescale)).clip(-1, 1)
        return fill_up(found.transpose(1, 2, 0), *self.shape[2:]).transpose(2, 0, 1)[None]

    def picture(self, residual: np.ndarray) -> np.ndarray:
        """(sH, sW, 3) in the LR picture's type, of x_0."""
        up = enlarged(self.lr, self.hyper.scale)
        residual = residual[0, :, : up.shape[1], : up.shape[2]]
        convert = to_uint8 if self.lr.dtype == np.uint8 else to_uint16
        return convert(from_network(to_image(residual, up, self.hyper.res_rescale)))


def fill_up(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, ...) continued by reflection to the right and below."""
    missing = [(0, wanted - found) for wanted, found in zip((height, width), picture.shape, strict=False)]
    return np.pad(picture, missing + [(0, 0)] * (picture.ndim - 2), mode="reflect")


def pieces(length: int, tile: int, overlap: int, multiple: int, scale: int) -> Sequence[Piece]:
    """Tiles on an axis of LR pixels; at each HR pixel their weights add up to 1.

    Where two overlap, the weight of the one falls and of the other rises as the square of a sine.
    """
    spans = plan_axis(length, tile, overlap, multiple)
    weights = np.zeros((len(spans), length * scale))
    for number, span in enumerate(spans):
        place = np.arange(span.start * scale, span.stop * scale) + 0.5
        weight = np.ones(len(place))
        if number > 0:
            shared = (spans[number - 1].stop - span.start) * scale
            weight *= np.sin(np.pi / 2 * ((place - span.start * scale) / shared).clip(0, 1)) ** 2
        if number < len(spans) - 1:
            shared = (span.stop - spans[number + 1].start) * scale
            weight *= np.sin(np.pi / 2 * ((span.stop * scale - place) / shared).clip(0, 1)) ** 2
        weights[number, span.start * scale : span.stop * scale] = weight
    weights /= weights.sum(0)
    hr = [slice(span.start * scale, span.stop * scale) for span in spans]
    return [
        Piece(slice(span.start, span.stop), place, weight[place].astype(np.float32))
        for span, place, weight in zip(spans, hr, weights, strict=True)
    ]


def default_tile(hyper: Hyper, size: tuple[int, int], engine: Engine) -> int:
    """Side of the tiles for a picture of `size` LR pixels; 0: the picture as a whole, which is less work.

    The arrays of the whole picture and the features that are kept take their part of the memory, tiles get the rest.
    """
    value = hyper.scale**2  # numbers of a channel for each LR pixel
    channel = 4 * size[0] * size[1] * value  # bytes
    taken = PROCESS + channel * ARRAYS * COLORS + min(KEPT, channel * hyper.hidden_size)
    return export.default_tile(size, engine, hyper.hidden_size * value, COPIES, 4 * OVERLAP // hyper.scale, taken)
