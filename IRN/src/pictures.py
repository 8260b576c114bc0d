"""An image through IRN, down and up, in tiles where it is large; and the LR file that says where it comes from."""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from common import UserError, checkpoint
from common.atomic import replacing
from common.checkpoint import Checkpoint, cache_of
from common.config import EvalOptions, InferOptions, counting_number
from common.export import Engine, Progress, Span, default_tile, fill_tiles, refuse_small
from common.images import to_float, write_picture

from .graphs import DIRECTIONS, make_engines
from .network.Invnet import COLORS, Hyper, InvRescaleNet

COPIES = {"onnxruntime": 5, "mindspore": 30}  # of all channels of a dense block that are in memory at a time, measured
SIZE, SCALE, WEIGHTS, GRAY = "irn_original_size", "irn_scale", "irn_weights", "irn_gray"  # keys of a PNG's text
DIGITS = 16  # of the weights' digest


def digest_of(hyper: Hyper, saved: Checkpoint) -> str:
    """Tells the function of these weights from all others: what one direction made, only the same can undo."""
    return hashlib.sha256(f"{checkpoint.digest(saved.weights)} {hyper.scale} {hyper.clamp}".encode()).hexdigest()


class Rescaler:
    """Both directions for 8- and 16-bit pictures of any size, in tiles where they are large.

    Args:
        hyper: of the network.
        engines: what runs "downscale", "upscale" or both.
        tile: side of the tiles in LR pixels; 0 takes the whole picture as long as that takes less than
            2.5 GiB.

    Raises:
        UserError: the tile is smaller than what the network sees.
    """

    def __init__(self, hyper: Hyper, engines: Mapping[str, Engine], tile: int = 0) -> None:
        refuse_small(tile, hyper.receptive_radius)
        self.hyper, self.engines, self.tile = hyper, engines, tile

    @property
    def name(self) -> str:
        """What runs it, for reports."""
        return next(iter(self.engines.values())).name

    def downscale(self, hr: np.ndarray, progress: Progress | None = None, out_dtype: Any = np.uint8) -> np.ndarray:
        """(sH, sW, 3) uint8 or uint16 -> (H, W, 3), clipped and rounded to 8 bits.

        Args:
            out_dtype: np.float32 leaves the values as the network gives them, about 0 ... 1.
        """
        engine, scale = self.engines["downscale"], self.hyper.scale

        def run(row: Span, column: Span) -> np.ndarray:
            piece = hr[row.start * scale : row.stop * scale, column.start * scale : column.stop * scale]
            return run_once(engine, to_float(piece).transpose(2, 0, 1)[None])

        size = hr.shape[0] // scale, hr.shape[1] // scale
        return self._fill(run, engine, size, np.empty((*size, COLORS), out_dtype), scale=1, progress=progress)

    def upscale(
        self, lr: np.ndarray, z: np.ndarray, progress: Progress | None = None, out_dtype: Any = None
    ) -> np.ndarray:
        """(H, W, 3) uint8 or uint16 and z (1, 3 s^2 - 3, H, W) -> (sH, sW, 3), clipped and rounded to lr's type.

        Args:
            out_dtype: np.float32 leaves the values as the network gives them, about 0 ... 1.
        """
        engine, scale = self.engines["upscale"], self.hyper.scale

        def run(row: Span, column: Span) -> np.ndarray:
            rows, columns = slice(row.start, row.stop), slice(column.start, column.stop)
            return run_once(engine, to_float(lr[rows, columns]).transpose(2, 0, 1)[None], z[:, :, rows, columns])

        height, width = lr.shape[:2]
        result = np.empty((height * scale, width * scale, COLORS), out_dtype or lr.dtype)
        return self._fill(run, engine, (height, width), result, scale=scale, progress=progress)

    def _fill(self, run: Callable, engine: Engine, size: tuple[int, int], result: np.ndarray, **settings) -> np.ndarray:
        tile = self.tile or self.default_tile(size, engine)
        return fill_tiles(run, size, result, tile=tile, overlap=self.hyper.receptive_radius, **settings)

    def default_tile(self, size: tuple[int, int], engine: Engine) -> int:
        """Side of the tiles for an image of `size` LR pixels, see `common.export.default_tile`.

        The first level, with most pixels, needs most memory.
        """
        hyper = self.hyper
        pixels, channels = 4 ** (len(hyper.block_num) - 1), COLORS * (9 if hyper.scale == 3 else 4)
        return default_tile(size, engine, pixels * (channels + 4 * hyper.growth), COPIES, 3 * hyper.receptive_radius)


def run_once(engine: Engine, *arrays: np.ndarray) -> np.ndarray:
    """One picture through a graph, as (H, W, 3).

    Raises:
        UserError: values that are no numbers.
    """
    output = engine.run(*arrays)
    if np.isnan(output).any():
        raise UserError("these weights give values that are no numbers: take another checkpoint")
    return output[0].transpose(1, 2, 0)


def make_rescaler(
    network: InvRescaleNet,
    saved: Checkpoint,
    source: str,
    options: EvalOptions | InferOptions,
    directions: Sequence[str] = DIRECTIONS,
) -> Rescaler:
    """The network of `load_network`, ready for pictures; exports are kept beside the file of the weights."""
    Rescaler(network.hyper, {}, options.tile)  # says no before anything is exported
    digest = digest_of(network.hyper, saved)
    engines = make_engines(network, options.engine, directions, cache=cache_of(source), digest=digest)
    return Rescaler(network.hyper, dict(zip(directions, engines, strict=True)), options.tile)


def latent(seed: int, name: str, draw: int, hyper: Hyper, lr: np.ndarray, gaussian_scale: float) -> np.ndarray:
    """The z of one draw for one picture, told by its name: the same in tiles and whole, alone and among others.

    Returns:
        (1, 3 s^2 - 3, H, W) float32, normal with this standard deviation.
    """
    own = zlib.crc32(name.encode(errors="surrogateescape"))
    return draw_z([seed, own, draw], hyper, lr.shape) * np.float32(gaussian_scale)


def draw_z(seed: list[int], hyper: Hyper, lr_shape: tuple[int, ...]) -> np.ndarray:
    """A standard normal z (1, 3 s^2 - 3, H, W) for an LR picture (H, W, 3); the seed decides it, not the device."""
    return np.random.default_rng(seed).standard_normal((1, hyper.z_channels, *lr_shape[:2]), np.float32)


# ------------------------------------------------------------------------------------- the LR file


class Origin(NamedTuple):
    """Where an LR picture comes from.

    Attributes:
        height, width: of the HR picture, before it was continued to multiples of the scale.
        scale: HR over LR.
        weights: digest of the network, see `digest_of`; its first 16 digits are kept.
        gray: whether the HR image has no colour, while the LR image's colours hold its detail.
    """

    height: int
    width: int
    scale: int
    weights: str
    gray: bool = False


def check_format(word: str) -> str:
    """The ending of LR files, with its point.

    Raises:
        UserError: a format that changes values, or is not known.
    """
    word = word.lower().lstrip(".")
    if word in ("jpg", "jpeg"):
        raise UserError(
            "an LR picture is not written as JPEG, which changes the values that up-scaling needs: take png"
        )
    if word not in ("png", "bmp"):
        raise UserError(f"--format of LR pictures must be png or bmp, not {word!r}")
    return f".{word}"


def write_lr(path: Path, lr: np.ndarray, alpha: np.ndarray | None, origin: Origin, icc: bytes | None = None) -> None:
    """Write an LR picture (H, W, 3) uint8 and its transparency (H, W); a PNG says where it comes from.

    Args:
        icc: ICC profile of the colours.

    Raises:
        UserError: the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        write_picture(path, lr, alpha, icc)
        return
    text = PngImagePlugin.PngInfo()
    text.add_text(SIZE, f"{origin.width}x{origin.height}")
    text.add_text(SCALE, str(origin.scale))
    text.add_text(WEIGHTS, origin.weights[:DIGITS])
    if origin.gray:
        text.add_text(GRAY, "yes")
    picture = Image.fromarray(lr if alpha is None else np.dstack([lr, alpha]))
    try:
        with replacing(path) as temporary:
            picture.save(temporary, format="PNG", pnginfo=text, icc_profile=icc)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def read_origin(text: Mapping[str, str]) -> Origin | None:
    """What the texts of an image say of its origin; None when they say nothing."""
    try:
        width, height = parse_size(text[SIZE])
        return Origin(height, width, int(text[SCALE]), text[WEIGHTS], GRAY in text)
    except (KeyError, ValueError, UserError):
        return None


def parse_size(text: str) -> tuple[int, int]:
    """`511x333` -> (width, height).

    Raises:
        UserError: anything else.
    """
    sides = [counting_number(word) for word in text.lower().split("x")]
    if len(sides) != 2 or not sides[0] or not sides[1]:
        raise UserError(f"a size is written as WIDTHxHEIGHT, 511x333, not {text!r}")
    return sides[0], sides[1]


def original_size(
    path: Path, lr_size: tuple[int, int], scale: int, origin: Origin | None, asked: str
) -> tuple[int, int]:
    """(height, width) of the HR picture: what was asked for, else what the file says, else all of it.

    Args:
        lr_size: (height, width).
        asked: `511x333`; "" when nothing is asked for.

    Raises:
        UserError: the size that was asked for is not one that becomes an LR picture of this size.
    """
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
    """Why up-scaling by these weights may not bring back what the LR picture was made of; "" when it should."""
    if origin is None:
        return (
            "does not say that IRN's downscale made it: rescaling is not super-resolution, so an LR picture made in "
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
    """Whether a picture of this (height, width) becomes an LR picture of that."""
    return (-(-size[0] // scale), -(-size[1] // scale)) == tuple(lr_size)
