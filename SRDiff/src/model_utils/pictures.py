"""Images through SRDiff: what runs its graphs, the noise of each sample, tiles, and the work of infer.py.

The mathematics of the chain is in `model.sampling`.
"""

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common import UserError, config, export, images
from common.checkpoint import cache_of, digest_of
from common.config import TrainedOptions
from common.evaluation import Job, Results, log_result, progress_of, resized, result_names
from common.export import Engine, Progress, Upscale, make_engine, pad_to_multiple, plan_axis
from common.images import grid, imresize, to_uint8, to_uint16

from ..dataset.patches import enlarged, from_network, to_network
from ..model.sampling import Draw, Way, blend, sample, to_image
from ..model.srdiff import Hyper, SRDiffNet
from ..model.unet import COLORS
from .graphs import graph_of, lr_multiple, prepare
from .options import InferConfig
from .util import WEIGHTS, load_network

OVERLAP = 64  # HR pixels at the inner edges of a tile, beyond which its neighbour counts for more
COPIES = {"onnxruntime": 8, "mindspore": 68}  # of the first level's features that it takes, measured
ARRAYS = 7  # images of HR size, float32, that a step of the chain holds at once
PROCESS = 2**29  # bytes of a process that has loaded the network
KEPT = 2**30  # bytes of the encoder's features that are kept; those of further tiles are found anew at each step


class Trained(NamedTuple):
    """A trained network, ready for inference.

    Attributes:
        network: with its weights, in the form of `graphs.prepare`.
        source: name of the file.
        digest: tells the function of these weights from all others.
    """

    network: SRDiffNet
    source: str
    digest: str

    @property
    def hyper(self) -> Hyper:
        return self.network.hyper

    @property
    def cache(self) -> Path | None:
        return cache_of(self.source)


def load_trained(options: TrainedOptions) -> Trained:
    """Load a checkpoint; without one, the demo weights."""
    network, saved, source = load_network(options)
    return Trained(prepare(network), source, digest_of(network.hyper, saved))


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
    """Both graphs for 8- and 16-bit images of any size, in tiles where they are large.

    Args:
        trained: the network.
        engine: what runs it, see `common.export.make_engine`; a graph is prepared when it is first asked for.
        tile: side of the tiles in LR pixels; 0 takes the whole image as long as the process takes less than 2.5 GiB.
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
        """The engine of "encoder" or "predictor"; the export is kept beside the file of the weights."""
        if which not in self._engines:
            form, inputs, outputs, sizes = graph_of(self.trained.network, which)
            digest = hashlib.sha256(f"{self.trained.digest} {which}".encode()).hexdigest()
            self._engines[which] = make_engine(
                self.kind, form, inputs, outputs, sizes=sizes, cache=self.trained.cache, digest=digest
            )
        return self._engines[which]

    def look_at(self, lr: np.ndarray) -> "Look":
        """The noise predictor for an LR image (H, W, 3), uint8 or uint16."""
        return Look(lr, self)


class Look:
    """The noise predictor for one LR image, which the encoder has looked at.

    What is missing to a size that the networks take is padded by reflection, and cut off the results. The noise is
    that of the whole image. In tiles, the guesses of all tiles are blended at every step, so the chain continues with
    one image and has no seams; the tiles overlap, and the weight of each falls to nothing where it ends.

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
        """The noise of one sample of an image, told by its name: the same in tiles and whole, alone or not."""
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
        """x_0 (1, 3, sh, sw) of x at step `first`, default T - 1."""
        count = self.hyper.timesteps if first is None else first + 1
        steps = min(way.steps, count)
        with progress(steps * len(self.tiles)) if progress else nullcontext() as bar:

            def predict(x: np.ndarray, t: int) -> np.ndarray:
                return self.predict(x, t, bar)

            schedule = self.hyper.schedule()
            return sample(predict, schedule, x, draw, sampler=way.sampler, steps=steps, first=count - 1)

    def predict(self, x: np.ndarray, t: int, bar: Any = None) -> np.ndarray:
        """eps (1, 3, sh, sw) of x_t, of all tiles."""
        eps, step = np.zeros_like(x), np.full(1, t, np.float32)
        for number, (rows, columns) in enumerate(self.tiles):
            place = np.s_[:, :, rows.hr, columns.hr]
            found = self.predictor.run(x[place], step, self.condition(number))
            eps[place] += rows.weight[:, None] * columns.weight * found
            if bar is not None:
                bar.update(1)
        if not np.isfinite(eps).all():
            raise UserError(f"the noise predictor gives NaN or Inf, at step {t} of the chain")
        return eps

    def draw(self, draw: Draw, way: Way, progress: Progress | None = None) -> np.ndarray:
        """One sample: x_0 of the first noise."""
        return self.chain(draw(), draw, way, progress=progress)

    def residual(self, hr: np.ndarray) -> np.ndarray:
        """x_0 of an HR image (sH, sW, 3): its difference from the upscaled LR image, as in training."""
        difference = to_network(hr) - enlarged(self.lr, self.hyper.scale)
        found = (difference * np.float32(self.hyper.res_rescale)).clip(-1, 1)
        return fill_up(found.transpose(1, 2, 0), *self.shape[2:]).transpose(2, 0, 1)[None]

    def picture(self, residual: np.ndarray) -> np.ndarray:
        """(sH, sW, 3) in the LR image's type, of x_0."""
        up = enlarged(self.lr, self.hyper.scale)
        residual = residual[0, :, : up.shape[1], : up.shape[2]]
        convert = to_uint8 if self.lr.dtype == np.uint8 else to_uint16
        return convert(from_network(to_image(residual, up, self.hyper.res_rescale)))


def fill_up(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, ...) padded by reflection to the right and below."""
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
    """Side of the tiles for an image of `size` LR pixels; 0: the image as a whole, which is less work.

    The arrays of the whole image and the features that are kept take their part of the memory, tiles get the rest.
    """
    value = hyper.scale**2  # numbers of a channel for each LR pixel
    channel = 4 * size[0] * size[1] * value  # bytes
    taken = PROCESS + channel * ARRAYS * COLORS + min(KEPT, channel * hyper.hidden_size)
    return export.default_tile(size, engine, hyper.hidden_size * value, COPIES, 4 * OVERLAP // hyper.scale, taken)


# --------------------------------------------------------------------------------------------------- what infer.py does


def load(weights: str, **options: Any) -> Upscale:
    """Load a network for inference, see `SRDiff.load`."""
    options = WEIGHTS.asked(InferConfig, weights, options)
    sampler = Sampler(load_trained(options), options.engine, options.tile)

    def run(lr: np.ndarray, progress: Progress | None = None, seed: int = options.seed, **way: str | int) -> np.ndarray:
        chosen = config.merge(options, way, "upscale()").way(sampler.hyper.timesteps)
        look = sampler.look_at(lr)
        return look.picture(look.draw(look.noise(seed, "", 0), chosen, progress))

    return Upscale(run, sampler.trained.network, sampler.hyper.scale, sampler.engine("predictor").name)


def work(job: Job, results: Results, sampler: Sampler, options: InferConfig) -> None:
    """A file -> its images, and a sheet of several; alpha is upscaled by bicubic, or kept where the size is."""
    scale = sampler.hyper.scale
    shown_scale = options.outscale or scale
    suffix = options.suffix or ("_fused" if options.fuse else "_x{scale}")
    suffix += "_between" if options.interpolate else ""
    count = len(options.weight) if options.interpolate else options.samples
    names = result_names(job.source, suffix, options.format, shown_scale, count)
    targets = [results.reserve(job, name) for name in names]
    several = "row" if options.interpolate else "samples"
    (sheet_name,) = result_names(job.source, f"{suffix}_{several}", "png", shown_scale)
    sheet = results.reserve(job, sheet_name) if count > 1 else None
    rgb, alpha, notes, icc, _ = picture = images.read_picture(job.source)
    images.check_writable(targets[0], *(side * (1 if options.fuse else scale) for side in rgb.shape[:2]))
    if alpha is not None and not options.fuse:
        notes = (*notes, "alpha upscaled by bicubic")
    name = (job.inside / job.source.name).as_posix()
    make = fuse if options.fuse else interpolate if options.interpolate else enlarge
    shown = []
    for target, hr in zip(targets, make(rgb, name, sampler, options), strict=True):
        hr = hr if options.fuse else picture.colored_alike(resized(hr, rgb, options.outscale))
        images.write_picture(target, hr, None if alpha is None else imresize(alpha, size=hr.shape[:2]), icc)
        log_result(job.source, rgb, target, hr, notes)
        shown += [hr] if sheet else []
    if sheet:
        images.write_picture(sheet, grid(shown, columns=count if options.interpolate else 0))


def enlarge(lr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    look, way = sampler.look_at(lr), options.way(sampler.hyper.timesteps)
    for number in range(options.samples):
        draw = look.noise(options.seed, name, number)
        yield look.picture(look.draw(draw, way, progress_of(name, "step")))


def interpolate(lr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """Images between the first two samples of an LR image (the paper: "latent space interpolation").

    Both samples' residuals are brought to step t and mixed there, and the chain is run from there. The noise is the
    same for all weights, so that nothing else makes the images differ.
    """
    look, t, way = sampler.look_at(lr), options.step(sampler.hyper.timesteps), options.way(sampler.hyper.timesteps)
    schedule, progress = sampler.hyper.schedule(), progress_of(name, "step")
    ends = [look.draw(look.noise(options.seed, name, number), way, progress).clip(-1, 1) for number in (0, 1)]
    for weight in options.weight:
        draw = look.noise(options.seed, name, 2)
        x = blend(schedule, ends, (1 - weight, weight), t, draw)
        yield look.picture(look.chain(x, draw, way, t, progress))


def fuse(hr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """An HR image with a part of another in it (the paper: "content fusion").

    The part is put in its place, the residual of the result is brought to step t, and the chain is run from there under
    the LR image that bicubic makes of the given one.
    """
    height, width = hr.shape[:2]
    part, share = images.read_picture(options.fuse).rgb, share_of(options, height, width)
    if part.shape != hr.shape:
        raise UserError(f"--fuse takes images of one size: {name} is {width}x{height}, {options.fuse} {size_of(part)}")
    scale, t = sampler.hyper.scale, options.step(sampler.hyper.timesteps)
    way = options.way(sampler.hyper.timesteps)
    mixed = (1 - share) * images.to_float(hr) + share * images.to_float(part)
    hr, mixed = (pad_to_multiple(picture, scale * sampler.multiple) for picture in (hr, mixed))
    lr = imresize(hr, 1 / scale)
    look, progress = sampler.look_at(lr), progress_of(name, "step")
    residual = look.residual(mixed)
    for number in range(options.samples):
        draw = look.noise(options.seed, name, number)
        x = sampler.hyper.schedule().q_sample(residual, t, draw())
        result = look.picture(look.chain(x, draw, way, t, progress))[:height, :width]
        yield images.Picture(mixed, None, ()).colored_alike(result)


def share_of(options: InferConfig, height: int, width: int) -> np.ndarray:
    """(height, width, 1) float32: how much of each pixel is the other image's, by --box or --mask."""
    if options.mask:
        mask = images.read_picture(options.mask).rgb
        if mask.shape[:2] != (height, width):
            raise UserError(f"{options.mask} is {size_of(mask)}: the mask must have the images' size, {width}x{height}")
        return images.to_float(mask).mean(2, keepdims=True)
    top, left, rows, columns = options.box
    if top + rows > height or left + columns > width:
        raise UserError(f"--box {','.join(map(str, options.box))} leaves the image of {width}x{height}")
    share = np.zeros((height, width, 1), np.float32)
    share[top : top + rows, left : left + columns] = 1
    return share


def size_of(picture: np.ndarray) -> str:
    """`640x480`."""
    return f"{picture.shape[1]}x{picture.shape[0]}"
