"""Images through SRDiff: `Sampler` runs its graphs, `Chain` the diffusion of an image; the work of infer.py."""

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from common import UserError, config, images
from common.checkpoint import cache_of
from common.evaluation import Job, Results, progress_of, result_names, write_result
from common.export import Engine, Progress, Upscale, default_tile, in_batches, make_engine, pad_to_multiple, plan_axis
from common.images import grid, imresize, to_uint8, to_uint16

from ..dataset.patches import from_network, to_network, upscaled
from ..model.sampling import Draw, Way, blend, sample, to_image
from ..model.unet import COLORS
from .graphs import graph_of, lr_multiple
from .options import InferConfig
from .util import WEIGHTS, Trained, load_trained

OVERLAP = 64  # HR pixels at the inner edges of a tile, beyond which its neighbour counts for more
COPIES = {"onnxruntime": 8, "mindspore": 68}  # of the first level's features that it takes, measured
ARRAYS = 7  # images of HR size, float32, that a step of the chain holds at once
PROCESS = 2**29  # bytes of a process that has loaded the network
CACHED = 2**30  # bytes of the encoder's features that are cached; those of further tiles are computed at each step


class Piece(NamedTuple):
    """A tile on one axis: what it covers of LR and HR, and its share in each HR pixel."""

    lr: slice
    hr: slice
    weight: np.ndarray


class Sampler:
    """Both graphs for 8- and 16-bit images of any size, in tiles where they are large.

    An engine is made when it is first asked for. `tile` is the tiles' side in LR pixels; 0 takes the whole image up to
    2.5 GiB. The noise predictor runs `batch` of them at once.
    """

    def __init__(self, trained: Trained, engine: str = "auto", tile: int = 0, batch: int = 1) -> None:
        self.trained, self.hyper, self.kind, self.tile, self.batch = trained, trained.hyper, engine, tile, batch
        self.multiple = lr_multiple(self.hyper)
        self.overlap = math.ceil(OVERLAP / self.hyper.scale / self.multiple) * self.multiple
        least = 2 * self.overlap + self.multiple
        if 0 < tile < least:
            raise UserError(f"--tile {tile} is hardly more than the overlap of tiles: take {least} or more")
        self._engines: dict[str, Engine] = {}

    def engine(self, which: str) -> Engine:
        if which not in self._engines:
            graph = graph_of(self.trained.network, which)
            digest = hashlib.sha256(f"{self.trained.digest} {which}".encode()).hexdigest()
            batch = self.batch if which == "predictor" else 1
            self._engines[which] = make_engine(self.kind, graph, cache_of(self.trained.source), digest, batch)
        return self._engines[which]


class Chain:
    """The diffusion chain of one LR image (H, W, 3), uint8 or uint16, whose features the encoder has computed.

    Sides are padded by reflection to sizes that the networks take, and the results cut. The noise is that of the whole
    image. In tiles, the eps of all tiles are blended at every step, so the chain continues with one image and has no
    seams; the tiles overlap, and the weight of each falls to 0 where it ends. `shape` is x_t's, (1, 3, sh, sw).
    """

    def __init__(self, lr: np.ndarray, sampler: Sampler) -> None:
        self.hyper, self.lr = sampler.hyper, lr
        self.encoder, self.predictor = sampler.engine("encoder"), sampler.engine("predictor")
        scale, multiple = self.hyper.scale, sampler.multiple
        # Reflection padding needs two pixels at the lowest level.
        height, width = (max(2 * multiple, math.ceil(side / multiple) * multiple) for side in lr.shape[:2])
        self.input = to_network(fill_up(lr, height, width))[None]
        self.shape = (1, 3, height * scale, width * scale)
        self.batch, tile = sampler.batch, sampler.tile or self._default_tile(height, width)
        axes = (pieces(side, tile or side, sampler.overlap, multiple, scale) for side in (height, width))
        self.tiles = list(product(*axes))
        self._cached: dict[int, np.ndarray] = {}
        for number in range(len(self.tiles)):
            found = self.condition(number)
            if sum(cached.nbytes for cached in self._cached.values()) + found.nbytes > CACHED:
                break
            self._cached[number] = found

    def _default_tile(self, height: int, width: int) -> int:
        """Return the tiles' side, 0 for none; what the whole image takes is not left for tiles."""
        hyper, value = self.hyper, self.hyper.scale**2  # numbers of a channel for each LR pixel
        channel = 4 * height * width * value  # bytes
        taken = PROCESS + channel * ARRAYS * COLORS + min(CACHED, channel * hyper.hidden_size)
        values, least = hyper.hidden_size * value, 4 * OVERLAP // hyper.scale
        return default_tile((height, width), self.predictor, values, COPIES, least, taken)

    def condition(self, number: int) -> np.ndarray:
        """Return what the U-Net is told of a tile, (1, C, h, w)."""
        if number in self._cached:
            return self._cached[number]
        rows, columns = self.tiles[number]
        return self.encoder.run(self.input[:, :, rows.lr, columns.lr])

    def noise(self, seed: int, name: str, number: int) -> Draw:
        """Return the noise of one sample of an image, told by its name: the same in tiles and whole, alone or not."""
        rng = np.random.default_rng([seed, zlib.crc32(name.encode(errors="surrogateescape")), number])
        return lambda: rng.standard_normal(self.shape, np.float32)

    def run(
        self, x: np.ndarray, draw: Draw, way: Way, first: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Return x_0 (1, 3, sh, sw) of x at step `first`, default T - 1."""
        count = self.hyper.timesteps if first is None else first + 1
        steps = min(way.steps, count)
        with progress(steps * len(self.tiles)) if progress else nullcontext() as bar:

            def predict(x: np.ndarray, t: int) -> np.ndarray:
                return self.predict(x, t, bar)

            schedule = self.hyper.schedule()
            return sample(predict, schedule, x, draw, sampler=way.sampler, steps=steps, first=count - 1)

    def predict(self, x: np.ndarray, t: int, bar: Any = None) -> np.ndarray:
        """Return eps (1, 3, sh, sw) of x_t, of all tiles."""
        eps, places = np.zeros_like(x), [np.s_[:, :, rows.hr, columns.hr] for rows, columns in self.tiles]
        for numbers in in_batches(range(len(places)), self.batch):
            pieces = np.concatenate([x[places[number]] for number in numbers])
            conditions = np.concatenate([self.condition(number) for number in numbers])
            found = self.predictor.run(pieces, np.full(len(numbers), t, np.float32), conditions)
            for number, eps_of_tile in zip(numbers, found, strict=True):
                rows, columns = self.tiles[number]
                eps[places[number]] += rows.weight[:, None] * columns.weight * eps_of_tile
            if bar is not None:
                bar.update(len(numbers))
        if not np.isfinite(eps).all():
            raise UserError(f"the noise predictor gives NaN or Inf, at step {t} of the chain")
        return eps

    def sample(self, draw: Draw, way: Way, progress: Progress | None = None) -> np.ndarray:
        return self.run(draw(), draw, way, progress=progress)

    def residual(self, hr: np.ndarray) -> np.ndarray:
        """Return x_0 of an HR image (sH, sW, 3): its difference from the upscaled LR image, as in training."""
        difference = to_network(hr) - upscaled(self.lr, self.hyper.scale)
        found = (difference * np.float32(self.hyper.res_rescale)).clip(-1, 1)
        return fill_up(found.transpose(1, 2, 0), *self.shape[2:]).transpose(2, 0, 1)[None]

    def image(self, residual: np.ndarray) -> np.ndarray:
        """Return (sH, sW, 3) in the LR image's type, of x_0."""
        up = upscaled(self.lr, self.hyper.scale)
        residual = residual[0, :, : up.shape[1], : up.shape[2]]
        convert = to_uint8 if self.lr.dtype == np.uint8 else to_uint16
        return convert(from_network(to_image(residual, up, self.hyper.res_rescale)))


def fill_up(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, ...) padded by reflection to the right and below."""
    missing = [(0, wanted - found) for wanted, found in zip((height, width), image.shape, strict=False)]
    return np.pad(image, missing + [(0, 0)] * (image.ndim - 2), mode="reflect")


def pieces(length: int, tile: int, overlap: int, multiple: int, scale: int) -> Sequence[Piece]:
    """Return the tiles on an axis of LR pixels; at each HR pixel their weights add up to 1.

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


# --------------------------------------------------------------------------------------------- the commands of infer.py


def load(weights: str, **options: Any) -> Upscale:
    options = WEIGHTS.asked(InferConfig, weights, options)
    sampler = Sampler(load_trained(options), options.runner, options.tile, options.tile_batch)

    def run(lr: np.ndarray, progress: Progress | None = None, seed: int = options.seed, **way: str | int) -> np.ndarray:
        chosen = config.merge(options, way, "upscale()").way(sampler.hyper.timesteps)
        chain = Chain(lr, sampler)
        return chain.image(chain.sample(chain.noise(seed, "", 0), chosen, progress))

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
    rgb, *_ = image = images.read_image(job.source)
    images.check_writable(targets[0], *(side * (1 if options.fuse else scale) for side in rgb.shape[:2]))
    name = (job.inside / job.source.name).as_posix()
    make = fuse if options.fuse else interpolate if options.interpolate else upscale
    samples = []
    for target, hr in zip(targets, make(rgb, name, sampler, options), strict=True):
        like = image._replace(rgb=hr) if options.fuse else image  # a fused image's colours are of two
        hr = write_result(job.source, like, target, hr, outscale=options.outscale)
        samples += [hr] if sheet else []
    if sheet:
        images.write_image(sheet, grid(samples, columns=count if options.interpolate else 0))


def upscale(lr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    chain, way = Chain(lr, sampler), options.way(sampler.hyper.timesteps)
    for number in range(options.samples):
        draw = chain.noise(options.seed, name, number)
        yield chain.image(chain.sample(draw, way, progress_of(name, "step")))


def interpolate(lr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """Yield images between the first two samples of an LR image (the paper: "latent space interpolation").

    Both samples' residuals are brought to step t and mixed there, and the chain is run from there, with the same noise
    for all weights.
    """
    chain, t, way = Chain(lr, sampler), options.step(sampler.hyper.timesteps), options.way(sampler.hyper.timesteps)
    schedule, progress = sampler.hyper.schedule(), progress_of(name, "step")
    ends = [chain.sample(chain.noise(options.seed, name, number), way, progress).clip(-1, 1) for number in (0, 1)]
    for weight in options.weight:
        draw = chain.noise(options.seed, name, 2)
        x = blend(schedule, ends, (1 - weight, weight), t, draw)
        yield chain.image(chain.run(x, draw, way, t, progress))


def fuse(hr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """Yield an HR image with a part of another in it (the paper: "content fusion").

    The residual of the composite is brought to step t, and the chain is run from there under the given image's bicubic
    LR image.
    """
    height, width = hr.shape[:2]
    part, share = images.read_image(options.fuse).rgb, share_of(options, height, width)
    if part.shape != hr.shape:
        raise UserError(f"--fuse takes images of one size: {name} is {width}x{height}, {options.fuse} {size_of(part)}")
    scale, t = sampler.hyper.scale, options.step(sampler.hyper.timesteps)
    way = options.way(sampler.hyper.timesteps)
    mixed = (1 - share) * images.to_float(hr) + share * images.to_float(part)
    hr, mixed = (pad_to_multiple(image, scale * sampler.multiple) for image in (hr, mixed))
    chain, progress = Chain(imresize(hr, 1 / scale), sampler), progress_of(name, "step")
    residual = chain.residual(mixed)
    for number in range(options.samples):
        draw = chain.noise(options.seed, name, number)
        x = sampler.hyper.schedule().q_sample(residual, t, draw())
        result = chain.image(chain.run(x, draw, way, t, progress))[:height, :width]
        yield images.DecodedImage(mixed, None, ()).colored_alike(result)


def share_of(options: InferConfig, height: int, width: int) -> np.ndarray:
    """(height, width, 1) float32: how much of each pixel is the other image's, by --box or --mask."""
    if options.mask:
        mask = images.read_image(options.mask).rgb
        if mask.shape[:2] != (height, width):
            raise UserError(f"{options.mask} is {size_of(mask)}: the mask must have the images' size, {width}x{height}")
        return images.to_float(mask).mean(2, keepdims=True)
    top, left, rows, columns = options.box
    if top + rows > height or left + columns > width:
        raise UserError(f"--box {','.join(map(str, options.box))} leaves the image of {width}x{height}")
    share = np.zeros((height, width, 1), np.float32)
    share[top : top + rows, left : left + columns] = 1
    return share


def size_of(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
