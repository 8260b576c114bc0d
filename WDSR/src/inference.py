"""An image through WDSR, in tiles where it is large."""

import numpy as np

from common.checkpoint import Checkpoint, cache_of, digest_of
from common.config import EvalOptions, InferOptions
from common.export import Graph, Progress, Span, Upscale, fill_tiles, make_engine, refuse_small, self_ensemble
from common.images import to_float

from .data.common import Upscaler
from .graphs import CHECK_SIZES, OUTPUTS, WDSRInference, ports
from .model import WDSR

WHOLE, TILE = 512, 256  # LR pixels


def make_upscaler(network: WDSR, saved: Checkpoint, source: str, options: EvalOptions | InferOptions) -> Upscale:
    """Prepare a network, its weight normalisation folded, for images of 8 or 16 bit."""
    hyper, radius = network.hyper, network.hyper.receptive_radius
    refuse_small(options.tile, radius)
    graph = Graph(WDSRInference(network), ports(hyper), OUTPUTS, CHECK_SIZES)
    engine = make_engine(options.runner, graph, cache_of(source), digest_of(hyper, saved), options.tile_batch)
    upscale = Upscaler(engine.run, hyper)
    if options.self_ensemble:
        upscale = self_ensemble(upscale)

    def run(image: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        (height, width, colors), scale = image.shape, hyper.scale
        tile = options.tile or (0 if height * width <= WHOLE**2 else TILE + 2 * radius)

        def read(rows: Span, columns: Span) -> tuple[np.ndarray]:
            return (to_float(image[rows.start : rows.stop, columns.start : columns.stop])[None],)

        result = np.empty((height * scale, width * scale, colors), image.dtype)
        settings = {"scale": scale, "tile": tile, "overlap": radius, "batch": options.tile_batch}
        return fill_tiles(read, upscale, (height, width), result, progress=progress, **settings)

    return Upscale(run, network, hyper.scale, engine.name)
