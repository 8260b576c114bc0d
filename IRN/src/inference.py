"""An image through IRN, down and up, in tiles where it is large; and the LR file that says where it comes from."""

import hashlib
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from common import UserError, checkpoint
from common.atomic import replacing
from common.checkpoint import Checkpoint, cache_of
from common.config import EvalOptions, InferOptions
from common.evaluation import Job, Results, log_result, progress_of, result_names, write_result
from common.export import Engine, Progress, Span, default_tile, fill_tiles, pad_to_multiple, refuse_small
from common.images import check_writable, imresize, read_image, reduce_to_8_bit, to_float, write_image

from .graphs import DIRECTIONS, engine_of
from .network.Invnet import COLORS, Hyper, InvRescaleNet
from .options.options import DownscaleConfig, UpscaleConfig, parse_size
from .utils.util import WEIGHTS as NETWORKS

COPIES = {"onnxruntime": 5, "mindspore": 30}  # of all channels of a dense block that are in memory at a time, measured
SIZE, SCALE, WEIGHTS, GRAY = "irn_original_size", "irn_scale", "irn_weights", "irn_gray"  # keys of a PNG's text
DIGITS = 16  # of the weights' digest
log = logging.getLogger(__name__)


def digest_of(hyper: Hyper, saved: Checkpoint) -> str:
    """Identify the function of these weights: what one direction made, only the same can undo."""
    return hashlib.sha256(f"{checkpoint.digest(saved.weights)} {hyper.scale} {hyper.clamp}".encode()).hexdigest()


class Rescaler:
    """Both directions for 8- and 16-bit images of any size, in tiles where they are large.

    `tile` is the tiles' side in LR pixels; 0 takes the whole image up to 2.5 GiB. `batch` of them are run at once.
    """

    def __init__(
        self, network: InvRescaleNet, engines: Mapping[str, Engine], tile: int, batch: int, digest: str
    ) -> None:
        self.network, self.hyper, self.engines, self.digest = network, network.hyper, engines, digest
        self.tile, self.batch = tile, batch
        self.seed, self.gaussian_scale = 10, 1.0  # of `upscale`, unless it is told

    @property
    def name(self) -> str:
        """Return the engine of each direction, or that of both, for reports."""
        return " and ".join(dict.fromkeys(engine.name for engine in self.engines.values()))

    def downscale(self, hr: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """(sH, sW, 3) uint8 or uint16, padded by reflection to multiples of s -> (H, W, 3) uint8, clipped."""
        engine, scale = self.engines["downscale"], self.hyper.scale
        hr = pad_to_multiple(hr, scale)

        def read(row: Span, column: Span) -> tuple[np.ndarray]:
            piece = hr[row.start * scale : row.stop * scale, column.start * scale : column.stop * scale]
            return (to_float(piece).transpose(2, 0, 1)[None],)

        size = hr.shape[0] // scale, hr.shape[1] // scale
        return self._fill(read, engine, size, np.empty((*size, COLORS), np.uint8), scale=1, progress=progress)

    def upscale(
        self,
        lr: np.ndarray,
        z: np.ndarray | None = None,
        progress: Progress | None = None,
        seed: int | None = None,
        gaussian_scale: float | None = None,
    ) -> np.ndarray:
        """(H, W, 3) uint8 or uint16 and z (1, 3 s^2 - 3, H, W) -> (sH, sW, 3), clipped and rounded to lr's type.

        Without z one of deviation `gaussian_scale` is drawn by the seed.
        """
        engine, scale = self.engines["upscale"], self.hyper.scale
        if z is None:
            z = draw_z([self.seed if seed is None else seed], self.hyper, lr.shape)
            z = z * np.float32(self.gaussian_scale if gaussian_scale is None else gaussian_scale)

        def read(row: Span, column: Span) -> tuple[np.ndarray, np.ndarray]:
            rows, columns = slice(row.start, row.stop), slice(column.start, column.stop)
            return to_float(lr[rows, columns]).transpose(2, 0, 1)[None], z[:, :, rows, columns]

        height, width = lr.shape[:2]
        result = np.empty((height * scale, width * scale, COLORS), lr.dtype)
        return self._fill(read, engine, (height, width), result, scale=scale, progress=progress)

    def _fill(
        self, read: Callable, engine: Engine, size: tuple[int, int], result: np.ndarray, **settings
    ) -> np.ndarray:
        hyper, radius = self.hyper, self.hyper.receptive_radius
        # The first level, with most pixels, needs most memory.
        pixels, channels = 4 ** (len(hyper.block_num) - 1), COLORS * (9 if hyper.scale == 3 else 4)
        values = pixels * (channels + 4 * hyper.growth)
        tile = self.tile or default_tile(size, engine, values, COPIES, least=3 * radius)
        run = partial(run_once, engine)
        return fill_tiles(read, run, size, result, tile=tile, overlap=radius, batch=self.batch, **settings)


def run_once(engine: Engine, *arrays: np.ndarray) -> np.ndarray:
    output = engine.run(*arrays)
    if np.isnan(output).any():
        raise UserError("these weights give NaN or Inf: take another checkpoint")
    return output.transpose(0, 2, 3, 1)


def make_rescaler(
    network: InvRescaleNet,
    saved: Checkpoint,
    source: str,
    options: EvalOptions | InferOptions,
    directions: Sequence[str] = DIRECTIONS,
) -> Rescaler:
    refuse_small(options.tile, network.hyper.receptive_radius)
    cache, digest = cache_of(source), digest_of(network.hyper, saved)
    batch = options.tile_batch
    engines = {one: engine_of(network, one, options.runner, cache, digest, batch) for one in directions}
    return Rescaler(network, engines, options.tile, batch, digest)


def latent(seed: int, name: str, draw: int, hyper: Hyper, lr: np.ndarray, gaussian_scale: float) -> np.ndarray:
    """Return z (1, 3 s^2 - 3, H, W) of a draw for an image, told by its name, in tiles and whole the same."""
    own = zlib.crc32(name.encode(errors="surrogateescape"))
    return draw_z([seed, own, draw], hyper, lr.shape) * np.float32(gaussian_scale)


def draw_z(seed: list[int], hyper: Hyper, lr_shape: tuple[int, ...]) -> np.ndarray:
    """Draw a standard normal z (1, 3 s^2 - 3, H, W) for an LR image (H, W, 3); the seed decides it, not the device."""
    return np.random.default_rng(seed).standard_normal((1, hyper.z_channels, *lr_shape[:2]), np.float32)


# --------------------------------------------------------------------------------------------- the commands of infer.py


def load(weights: str, **options: Any) -> Rescaler:
    """Load a network for both directions, see `IRN.load`."""
    options = NETWORKS.asked(UpscaleConfig, weights, options)
    rescaler = make_rescaler(*NETWORKS.load_network(options), options)
    rescaler.seed, rescaler.gaussian_scale = options.seed, options.gaussian_scale
    return rescaler


def downscale(job: Job, results: Results, rescaler: Rescaler, options: DownscaleConfig) -> None:
    """HR file -> LR file; alpha is downscaled by bicubic; sides are padded by reflection to multiples of the scale."""
    scale = rescaler.hyper.scale
    (name,) = result_names(job.source, options.suffix, options.format, scale)
    target = results.reserve(job, name)
    rgb, alpha, notes, icc, _ = read_image(job.source)
    height, width = rgb.shape[:2]
    if min(height, width) < scale:
        raise UserError(f"{job.source} is {width}x{height}: x{scale} takes images of {scale}x{scale} or more")
    padded = pad_to_multiple(rgb, scale)
    lr = rescaler.downscale(padded, progress_of(job.source))
    gray = bool((rgb == rgb[..., :1]).all())  # made gray here, LR would lose the detail that its colours hold: 10 dB
    said = [*notes, *(["written with 8"] if rgb.dtype == np.uint16 else [])]
    if padded is not rgb:
        undone = "upscale cuts it off" if target.suffix == ".png" else f"upscale --size {width}x{height} cuts it off"
        said.append(f"padded by reflection to {padded.shape[1]}x{padded.shape[0]}, {undone}")
    if gray:
        said.append("its colours hold detail, upscale makes it gray again")
    if alpha is not None:
        alpha = imresize(pad_to_multiple(alpha, scale), 1 / scale)
        alpha = reduce_to_8_bit(alpha) if alpha.dtype == np.uint16 else alpha
        said.append("alpha reduced by bicubic")
    write_lr(target, lr, alpha, Origin(height, width, scale, rescaler.digest, gray), icc)
    log_result(job.source, rgb, target, lr, said)


def upscale(job: Job, results: Results, rescaler: Rescaler, options: UpscaleConfig) -> None:
    """LR file -> HR files, one for each z, of the size that the HR image had; alpha is upscaled by bicubic."""
    hyper = rescaler.hyper
    names = result_names(job.source, options.suffix, options.format, hyper.scale, options.samples)
    targets = [results.reserve(job, name) for name in names]
    lr, alpha, _, _, text = image = read_image(job.source)
    origin = read_origin(text)
    height, width = original_size(job.source, lr.shape[:2], hyper.scale, origin, options.size)
    check_writable(targets[0], height, width)
    if doubtful := doubt(origin, lr.shape[:2], hyper.scale, rescaler.digest):
        log.warning("%s %s", job.source, doubtful)
    said = ["alpha upscaled by bicubic"] if alpha is not None else []
    if (height, width) != (lr.shape[0] * hyper.scale, lr.shape[1] * hyper.scale):
        said.append("cut to the original size")
    elif origin is None and not options.size:
        said.append("all of it, since the original size is not known: --size gives it")
    if origin and origin.gray:
        image = image._replace(rgb=lr[..., [0, 0, 0]])
    if alpha is not None:
        image = image._replace(alpha=imresize(alpha, hyper.scale)[:height, :width])
    for draw, target in enumerate(targets):
        z = latent(options.seed, (job.inside / job.source.name).as_posix(), draw, hyper, lr, options.gaussian_scale)
        hr = rescaler.upscale(lr, z, progress_of(job.source))[:height, :width]
        write_result(job.source, image, target, hr, said)


class Origin(NamedTuple):
    """Metadata of an LR image, in its PNG: the HR image's size, the scale, the weights' digest (its first 16 digits).

    `gray`: the HR image has no colour, while the LR image's colours hold its detail.
    """

    height: int
    width: int
    scale: int
    weights: str
    gray: bool = False


def write_lr(path: Path, lr: np.ndarray, alpha: np.ndarray | None, origin: Origin, icc: bytes | None = None) -> None:
    """Write an LR image (H, W, 3) uint8, with alpha (H, W) and an ICC profile; a PNG says where it comes from."""
    if path.suffix.lower() != ".png":
        write_image(path, lr, alpha, icc)
        return
    text = PngImagePlugin.PngInfo()
    text.add_text(SIZE, f"{origin.width}x{origin.height}")
    text.add_text(SCALE, str(origin.scale))
    text.add_text(WEIGHTS, origin.weights[:DIGITS])
    if origin.gray:
        text.add_text(GRAY, "yes")
    image = Image.fromarray(lr if alpha is None else np.dstack([lr, alpha]))
    try:
        with replacing(path) as temporary:
            image.save(temporary, format="PNG", pnginfo=text, icc_profile=icc)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def read_origin(text: Mapping[str, str]) -> Origin | None:
    """Return what an image's texts say of its origin; None when they say nothing."""
    try:
        width, height = parse_size(text[SIZE])
        return Origin(height, width, int(text[SCALE]), text[WEIGHTS], GRAY in text)
    except (KeyError, ValueError, UserError):
        return None


def original_size(
    path: Path, lr_size: tuple[int, int], scale: int, origin: Origin | None, asked: str
) -> tuple[int, int]:
    """Return (height, width) of HR: as asked for (`511x333` or ""), else as the file says, else all of it."""
    height, width = lr_size[0] * scale, lr_size[1] * scale
    if asked:
        wanted = parse_size(asked)[::-1]
        if not fits(wanted, lr_size, scale):
            least = f"{width - scale + 1}x{height - scale + 1}"
            raise UserError(f"--size {asked} is no size for {path}: x{scale} gives {least} to {width}x{height}")
        return wanted
    if origin is not None and fits((origin.height, origin.width), lr_size, scale):
        return origin.height, origin.width
    return height, width


def doubt(origin: Origin | None, lr_size: tuple[int, int], scale: int, weights: str) -> str:
    """Return why up-scaling by these weights may not bring back what the LR image was made of; "" when it should."""
    if origin is None:
        return (
            "does not say that IRN's downscale made it: rescaling is not super-resolution, so an LR image made in "
            "another way comes back poorly"
        )
    if origin.scale != scale:
        return f"was made at x{origin.scale}, these weights are x{scale}: it comes back poorly"
    if origin.weights != weights[:DIGITS]:
        return "was made by other weights: it comes back poorly"
    if not fits((origin.height, origin.width), lr_size, scale):
        return f"is not as it was made: {origin.width}x{origin.height}, which it says it was, becomes another size"
    return ""


def fits(size: tuple[int, int], lr_size: tuple[int, int], scale: int) -> bool:
    """Return whether an image of this (height, width) becomes an LR image of that."""
    return (-(-size[0] // scale), -(-size[1] // scale)) == tuple(lr_size)
