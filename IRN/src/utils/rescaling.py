"""Pictures through IRN: the graphs of both directions, what runs them, and tiles where a picture is large."""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError, checkpoint, export
from common.checkpoint import Checkpoint, cache_of
from common.config import EvalOptions, InferOptions
from common.export import (
    Engine,
    Graph,
    Port,
    Progress,
    Span,
    fill_tiles,
    make_engine,
    refuse_small,
)
from common.images import to_float

from ..network.inference import Downscale, Upscale
from ..network.Invnet import COLORS, Hyper, InvRescaleNet
from .util import draw_z

DIRECTIONS = ("downscale", "upscale")
# Largest error of an exported graph, of the largest value. The couplings multiply by up to e^8 (clamp times their
# number), and with it the rounding of float32, 6e-8; this is a twentieth of a grey level.
TOLERANCE = 2e-4
CHECK_SIZES = ((6, 8), (9, 7))  # LR pixels, an export is compared at both
COPIES = {"onnxruntime": 5, "mindspore": 30}  # of all channels of a dense block that are in memory at a time, measured


def graph_of(network: InvRescaleNet, direction: str, batch_size: int = 1) -> Graph:
    """The graph "downscale" (hr_image -> lr_image) or "upscale" (lr_image, z -> hr_image), free in height and width.

    The height and width of hr_image must be multiples of the scale.
    """
    hyper = network.hyper

    def port(name: str, channels: int) -> Port:
        return Port(name, (batch_size, channels, "height", "width"))

    if direction == "downscale":
        sizes = [{"height": rows * hyper.scale, "width": columns * hyper.scale} for rows, columns in CHECK_SIZES]
        return Graph(Downscale(network), [port("hr_image", COLORS)], ["lr_image"], sizes)
    sizes = [{"height": rows, "width": columns} for rows, columns in CHECK_SIZES]
    return Graph(Upscale(network), [port("lr_image", COLORS), port("z", hyper.z_channels)], ["hr_image"], sizes)


def make_engines(
    network: InvRescaleNet,
    kind: str,
    directions: Sequence[str] = DIRECTIONS,
    *,
    cache: Path | None = None,
    digest: str = "",
) -> list[Engine]:
    """What runs each direction.

    Args:
        kind, cache: as for `common.export.make_engine`.
        digest: of the weights, see `digest_of`; each direction's export is kept under one of its own.
    """
    engines = []
    for direction in directions:
        form, inputs, outputs, sizes = graph_of(network, direction)
        own = hashlib.sha256(f"{digest} {direction}".encode()).hexdigest()
        engines.append(
            make_engine(kind, form, inputs, outputs, sizes=sizes, cache=cache, digest=own, tolerance=TOLERANCE)
        )
    return engines


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
        tile = self.tile or default_tile(self.hyper, size, engine)
        return fill_tiles(run, size, result, tile=tile, overlap=self.hyper.receptive_radius, **settings)


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


def default_tile(hyper: Hyper, size: tuple[int, int], engine: Engine) -> int:
    """Side of the tiles for a picture of `size` LR pixels; 0: the picture as a whole, which is less work.

    The first level, with most pixels, needs most memory. A tile is at least three times the reach of the network, even
    where that takes more memory: smaller ones are nearly all overlap.
    """
    levels = len(hyper.block_num)
    pixels, channels = 4 ** (levels - 1), COLORS * (9 if hyper.scale == 3 else 4)
    return export.default_tile(size, engine, pixels * (channels + 4 * hyper.growth), COPIES, 3 * hyper.receptive_radius)


def latent(seed: int, name: str, draw: int, hyper: Hyper, lr: np.ndarray, gaussian_scale: float) -> np.ndarray:
    """The z of one draw for one picture, told by its name: the same in tiles and whole, alone and among others.

    Returns:
        (1, 3 s^2 - 3, H, W) float32, normal with this standard deviation.
    """
    own = zlib.crc32(name.encode(errors="surrogateescape"))
    return draw_z([seed, own, draw], hyper, lr.shape) * np.float32(gaussian_scale)
