"""Images through SRFlow: `Sampler` runs both directions; `Latents` are infer.py's files; its commands."""

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common import UserError, images
from common.atomic import replacing
from common.checkpoint import cache_of
from common.evaluation import Job, Results, progress_of, result_names, write_result
from common.export import Engine, Progress, Span, Upscale, default_tile, fill_tiles, make_engine, pad_to_multiple
from common.images import grid, imresize, to_float

from ..model.FlowUpsamplerNet import COLORS
from ..model.SRFlowNet import Hyper, draw_latents
from .graphs import TOGETHER, graph_of
from .options import HEAT, DecodeConfig, EncodeConfig, InterpolateConfig, UpscaleConfig
from .util import WEIGHTS, Trained, load_trained

COPIES = {"onnxruntime": 3.5, "mindspore": 15}  # of the values counted in `Sampler._tiles`, measured
# LR pixels at the inner edges of a tile that are not trusted. The network sees further, the authors' several hundred
# pixels, but what is far away hardly counts.
OVERLAP = 24
KIND, ABOUT, LR = "SRFlow latents", "about", "lr_image"  # what a file of latents says it is; two of its arrays
log = logging.getLogger(__name__)


class Sampler:
    """Both directions for 8- and 16-bit images of any size, in tiles where they are large.

    Sides are padded by reflection to multiples of `Hyper.lr_multiple`, and the results cut. An engine is made when it
    is first asked for. `tile` is the tiles' side in LR pixels; 0 takes the whole image up to 2.5 GiB. `batch` of them
    are run at once.
    """

    def __init__(self, trained: Trained, engine: str = "auto", tile: int = 0, batch: int = 1) -> None:
        self.trained, self.hyper, self.kind, self.tile, self.batch = trained, trained.hyper, engine, tile, batch
        self.overlap = -(-OVERLAP // self.hyper.lr_multiple)  # cells
        least = (2 * self.overlap + 1) * self.hyper.lr_multiple
        if 0 < tile < least:
            raise UserError(f"--tile {tile} is hardly more than the overlap of tiles: take {least} or more")
        self._engines: dict[str, Engine] = {}

    def engine(self, direction: str) -> Engine:
        if direction not in self._engines:
            graph = graph_of(self.trained.arrays, self.hyper, direction)
            digest = hashlib.sha256(f"{self.trained.digest} {direction} {self.hyper.bound}".encode()).hexdigest()
            cache = cache_of(self.trained.source)
            self._engines[direction] = make_engine(self.kind, graph, cache, digest, self.batch)
        return self._engines[direction]

    def heat(self, asked: float | None) -> float:
        return next(given for given in (asked, self.trained.heat, HEAT) if given is not None)

    def draw(self, lr: np.ndarray, heat: float, seed: int, name: str, number: int) -> list[np.ndarray]:
        """Return the latents of one sample of an image, told by its name: the same in tiles and whole, alone and among
        others; at all heats the same but for their size.
        """
        sides = (-(-length // self.hyper.lr_multiple) * self.hyper.lr_multiple for length in lr.shape[:2])
        rng = np.random.default_rng([seed, zlib.crc32(name.encode(errors="surrogateescape")), number])
        return draw_latents(self.hyper, (1, *sides), heat, rng)

    def decode(self, lr: np.ndarray, latents: Sequence[np.ndarray], progress: Progress | None = None) -> np.ndarray:
        """(H, W, 3) uint8 or uint16 and the latents of `draw` -> (sH, sW, 3), clipped and rounded to lr's type."""
        engine, side = self.engine("decode"), self.hyper.lr_multiple
        padded = pad_to_multiple(lr, side)
        cells = padded.shape[0] // side, padded.shape[1] // side

        def read(row: Span, column: Span) -> tuple[np.ndarray, ...]:
            factors = [latent.shape[2] // cells[0] for latent in latents]
            parts = [z[:, :, inside(row, n), inside(column, n)] for z, n in zip(latents, factors, strict=True)]
            return as_input(padded, row, column, side), *parts

        def run(*inputs: np.ndarray) -> np.ndarray:
            (found,) = finite(engine.run(*inputs))
            return found.transpose(0, 2, 3, 1)

        scale = self.hyper.scale
        result = np.empty((lr.shape[0] * scale, lr.shape[1] * scale, COLORS), lr.dtype)
        return fill_tiles(read, run, cells, result, scale=side * scale, progress=progress, **self._tiles(cells, engine))

    def encode(
        self, hr: np.ndarray, lr: np.ndarray, progress: Progress | None = None
    ) -> tuple[list[np.ndarray], float]:
        """(sH, sW, 3) and (H, W, 3), uint8 or uint16, -> latents for `decode`, and the NLL in bits per HR pixel."""
        engine, side, scale = self.engine("encode"), self.hyper.lr_multiple, self.hyper.scale
        lr, hr = pad_to_multiple(lr, side), pad_to_multiple(hr, side * scale)
        cells = lr.shape[0] // side, lr.shape[1] // side
        shapes = self.hyper.latent_shapes(*lr.shape[:2])
        level_sides = [(side * scale) >> level for level in range(1, self.hyper.levels + 1)]
        factors = [shape[1] // cells[0] for shape in shapes] + level_sides

        def read(row: Span, column: Span) -> tuple[np.ndarray, np.ndarray]:
            return as_input(hr, row, column, side * scale), as_input(lr, row, column, side)

        def run(*inputs: np.ndarray) -> np.ndarray:
            found = finite(*engine.run(*inputs))
            return np.concatenate([to_cells(part, factor) for part, factor in zip(found, factors, strict=True)], 3)

        channels = [shape[0] for shape in shapes] + [1] * self.hyper.levels
        widths = [count * factor**2 for count, factor in zip(channels, factors, strict=True)]
        packed = np.empty((*cells, sum(widths)), np.float32)
        fill_tiles(read, run, cells, packed, scale=1, progress=progress, **self._tiles(cells, engine))
        parts = np.split(packed, np.cumsum(widths)[:-1], 2)
        latents = [from_cells(part, factor) for part, factor in zip(parts, factors, strict=False)][: len(shapes)]
        log_density = sum(part.sum(dtype=np.float64) for part in parts[len(shapes) :])
        log_density -= sum(0.5 * np.sum(np.square(z, dtype=np.float64) + math.log(2 * math.pi)) for z in latents)
        return latents, -log_density / (math.log(2) * hr.shape[0] * hr.shape[1])

    def _tiles(self, cells: tuple[int, int], engine: Engine) -> dict[str, int]:
        """Return the tiles' side and overlap in cells, for an image of so many cells, and how many are run at once."""
        hyper, side = self.hyper, self.hyper.lr_multiple
        level = hyper.scale**2 / 4  # pixels of the first level for each of LR
        # Most of the memory: hidden layers of some steps at the first level, and what they read of the features there.
        values = 2 * TOGETHER * hyper.hidden_channels * level + 4 * hyper.condition * level
        size = cells[0] * side, cells[1] * side
        tile = self.tile or default_tile(size, engine, values, COPIES, 4 * OVERLAP)
        return {"tile": tile // side, "overlap": self.overlap, "batch": self.batch}


def inside(span: Span, side: int) -> slice:
    """Return the pixels of a span of cells, which are squares of `side` pixels."""
    return slice(span.start * side, span.stop * side)


def as_input(image: np.ndarray, row: Span, column: Span, side: int) -> np.ndarray:
    """Cut (H, W, 3) to these cells: (1, 3, h, w) float32 in [0, 1]."""
    return to_float(image[inside(row, side), inside(column, side)]).transpose(2, 0, 1)[None]


def to_cells(image: np.ndarray, side: int) -> np.ndarray:
    """(N, C, H * side, W * side) -> (N, H, W, C * side^2)."""
    number, channels, height, width = image.shape
    cells = image.reshape(number, channels, height // side, side, width // side, side).transpose(0, 2, 4, 1, 3, 5)
    return cells.reshape(number, height // side, width // side, -1)


def from_cells(cells: np.ndarray, side: int) -> np.ndarray:
    height, width, _ = cells.shape
    image = cells.reshape(height, width, -1, side, side).transpose(2, 0, 3, 1, 4)
    return image.reshape(1, -1, height * side, width * side)


def finite(*arrays: np.ndarray) -> Sequence[np.ndarray]:
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError(
            "these weights give NaN or Inf, or too large for one: take another checkpoint, or a smaller --heat"
        )
    return arrays


def slerp(one: Sequence[np.ndarray], other: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """Interpolate between two samples on the arc between them; `share` 0 is the one, 1 the other.

    Normal latents of many dimensions have all about the same length, which a straight line between them would leave.
    """
    a, b = (np.concatenate([part.ravel() for part in parts]).astype(np.float64) for parts in (one, other))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = math.acos(min(1.0, max(-1.0, a @ b / lengths))) if lengths > 0 else 0.0
    weights = (1 - share, share)
    if math.sin(angle) > 1e-6:
        weights = tuple(math.sin(part * angle) / math.sin(angle) for part in weights)
    return [(weights[0] * x + weights[1] * y).astype(np.float32) for x, y in zip(one, other, strict=True)]


# ---------------------------------------------------------------------------------------------------- a file of latents


class Latents(NamedTuple):
    """One image as the flow sees it.

    Attributes:
        parts: see `Hyper.latent_shapes`, each (1, C, h, w) float32.
        lr: (H, W, 3) uint8 or uint16.
        height, width: of the image; the rest of what the latents give is cut off.
        digest: of the network, see `util.Trained`.
    """

    parts: list[np.ndarray]
    lr: np.ndarray
    height: int
    width: int
    digest: str

    def image(self, parts: Sequence[np.ndarray], sampler: Sampler, progress: Progress) -> np.ndarray:
        """Decode these or other latents of the same LR image, to the original size."""
        result = sampler.decode(self.lr, parts, progress)[: self.height, : self.width]
        return images.DecodedImage(self.lr, None, ()).colored_alike(result)


def write_latents(path: Path, latents: Latents) -> None:
    """Write a file that `np.load` opens: `latent_0` ..., `lr_image`, and JSON."""
    about = {"kind": KIND, "height": latents.height, "width": latents.width, "digest": latents.digest}
    arrays = {f"latent_{number}": part for number, part in enumerate(latents.parts)}
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, **{LR: latents.lr, ABOUT: np.array(json.dumps(about))})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def read_latents(path: Path, sampler: Sampler) -> Latents:
    """Read what `write_latents` wrote, for this network; warn when other weights made it."""
    hyper = sampler.hyper
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
        about = json.loads(str(arrays.pop(ABOUT)))
        lr, found = arrays.pop(LR), [arrays[f"latent_{number}"].astype(np.float32) for number in range(len(arrays))]
        if about["kind"] != KIND or lr.dtype not in (np.uint8, np.uint16) or lr.ndim != 3 or lr.shape[2] != 3:
            raise ValueError(f"its {LR} is {lr.shape} {lr.dtype}")
        latents = Latents(found, lr, int(about["height"]), int(about["width"]), str(about["digest"]))
    except FileNotFoundError:
        raise UserError(f"expected latents (.npz), but there is no {path}") from None
    except Exception as error:  # np.load has no common class for its errors
        raise UserError(f"{path} is damaged, or no file that infer.py encode wrote: {error}") from None
    if not all(np.isfinite(part).all() for part in found):
        raise UserError(f"{path} holds NaN or Inf")
    sides = [-(-length // hyper.lr_multiple) * hyper.lr_multiple for length in lr.shape[:2]]
    wanted = [(1, *shape) for shape in hyper.latent_shapes(*sides)]
    if [part.shape for part in found] != wanted:
        raise UserError(f"{path} holds latents {[part.shape for part in found]}, this network takes {wanted}")
    if not (0 < latents.height <= sides[0] * hyper.scale and 0 < latents.width <= sides[1] * hyper.scale):
        raise UserError(f"{path} is of an image of {latents.width}x{latents.height}, larger than its latents give")
    if latents.digest != sampler.trained.digest:
        log.warning("%s was made by other weights: these make another image of it", path)
    return latents


# --------------------------------------------------------------------------------------------- the commands of infer.py


def load(weights: str, **options: Any) -> Upscale:
    options = WEIGHTS.asked(UpscaleConfig, weights, options)
    sampler = Sampler(load_trained(options), options.runner, options.tile, options.tile_batch)

    def run(
        lr: np.ndarray, progress: Progress | None = None, heat: float | None = options.heat, seed: int = options.seed
    ) -> np.ndarray:
        return sampler.decode(lr, sampler.draw(lr, sampler.heat(heat), seed, "", 0), progress)

    return Upscale(run, sampler.trained.network, sampler.hyper.scale, sampler.engine("decode").name)


def upscale(job: Job, results: Results, sampler: Sampler, options: UpscaleConfig) -> None:
    """LR file -> HR files, one for each sample, and a sheet of several; alpha is upscaled by bicubic."""
    scale, count = sampler.hyper.scale, options.samples
    shown_scale = options.outscale or scale
    names = result_names(job.source, options.suffix, options.format, shown_scale, count)
    targets = [results.reserve(job, name) for name in names]
    (sheet_name,) = result_names(job.source, f"{options.suffix}_samples", "png", shown_scale)
    sheet = results.reserve(job, sheet_name) if count > 1 else None
    latent_targets = [results.reserve(job, f"{Path(name).stem}.npz") for name in names if options.save_latents]
    lr, *_ = image = images.read_image(job.source)
    images.check_writable(targets[0], *(scale * side for side in lr.shape[:2]))
    heat, samples = sampler.heat(options.heat), []
    for number, target in enumerate(targets):
        latents = sampler.draw(lr, heat, options.seed, (job.inside / job.source.name).as_posix(), number)
        hr = sampler.decode(lr, latents, progress_of(job.source))
        if options.save_latents:
            write_latents(latent_targets[number], Latents(latents, lr, *hr.shape[:2], sampler.trained.digest))
        hr = write_result(job.source, image, target, hr, [f"heat {heat:g}"], options.outscale)
        samples += [hr] if sheet else []
    if sheet:
        images.write_image(sheet, grid(samples))


def encode(job: Job, results: Results, sampler: Sampler, options: EncodeConfig) -> None:
    """HR file -> latents and, in the log, the likelihood. Transparency is not kept."""
    target, hyper = results.reserve(job, f"{job.source.stem}.npz"), sampler.hyper
    image, alpha, notes, icc, _ = images.read_image(job.source)
    said = [*notes, *(["transparency is not kept"] if alpha is not None else [])]
    said += ["ICC profile is not kept"] if icc else []
    if options.lr:
        hr, lr = with_lr(job, image, Path(options.lr), hyper)
        said += ["cut to the LR image"] if hr.shape[:2] < image.shape[:2] else []
    else:
        hr = pad_to_multiple(image, hyper.scale * hyper.lr_multiple)
        lr = imresize(hr, 1 / hyper.scale)
        said += ["LR image made by bicubic"]
    latents, nll = sampler.encode(hr, lr, progress_of(job.source))
    height, width = (min(sides) for sides in zip(hr.shape[:2], image.shape[:2], strict=True))
    write_latents(target, Latents(latents, lr, height, width, sampler.trained.digest))
    deviation = np.concatenate([part.ravel() for part in latents]).std(dtype=np.float64)
    said += [f"NLL {nll:.3f} bits per pixel", f"latents of deviation {deviation:.3f}"]
    log.info("%s %dx%d -> %s (%s)", job.source, *image.shape[1::-1], target, "; ".join(said))


def with_lr(job: Job, hr: np.ndarray, path: Path, hyper: Hyper) -> tuple[np.ndarray, np.ndarray]:
    """Return HR, cut or padded by reflection to fit its LR image, and that: a file, or HR's namesake in a folder."""
    if path.is_dir():
        names = {job.source.stem, f"{job.source.stem}x{hyper.scale}"}
        found = [file for file in images.find_images(path) if file.stem in names]
        if len(found) != 1:
            raise UserError(f"{path} holds {len(found)} images named {' or '.join(sorted(names))}: expected one")
        path = found[0]
    lr = images.read_image(path).rgb
    height, width = (side * hyper.scale for side in lr.shape[:2])
    if not all(abs(found - wanted) < hyper.scale for found, wanted in zip(hr.shape[:2], (height, width), strict=True)):
        raise UserError(
            f"{path} is {lr.shape[1]}x{lr.shape[0]}: x{hyper.scale} of it is {width}x{height}, but {job.source} is "
            f"{hr.shape[1]}x{hr.shape[0]}"
        )
    return pad_to_multiple(hr[:height, :width], hyper.scale)[:height, :width], lr


def decode(job: Job, results: Results, sampler: Sampler, options: DecodeConfig) -> None:
    (name,) = result_names(job.source, options.suffix, options.format, sampler.hyper.scale)
    target, latents = results.reserve(job, name), read_latents(job.source, sampler)
    image = latents.image(latents.parts, sampler, progress_of(job.source))
    images.write_image(target, image)
    log.info("%s -> %s %dx%d", job.source, target, *image.shape[1::-1])


def interpolate(one: Job, other: Job, results: Results, sampler: Sampler, options: InterpolateConfig) -> None:
    """Two files of latents -> images from the one to the other, and a row of them."""
    stem = f"{one.source.stem}_to_{other.source.stem}"
    names = result_names(Path(f"{stem}.npz"), options.suffix, options.format, sampler.hyper.scale, options.steps)
    targets = [results.reserve(one, name) for name in names]
    row_target = results.reserve(one, f"{stem}_row.png")
    a, b = (read_latents(job.source, sampler) for job in (one, other))
    if not np.array_equal(a.lr, b.lr) or (a.height, a.width) != (b.height, b.width):
        raise UserError(f"{one.source} and {other.source} are not of the same LR image: nothing lies between them")
    row = []
    for number, target in enumerate(targets):
        parts = slerp(a.parts, b.parts, number / (options.steps - 1))
        row.append(a.image(parts, sampler, progress_of(target)))
        images.write_image(target, row[-1])
        log.info("%s %dx%d", target, *row[-1].shape[1::-1])
    images.write_image(row_target, grid(row, columns=len(row)))
