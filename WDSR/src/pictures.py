"""An image through WDSR, in tiles where it is large."""

import numpy as np

from common.checkpoint import Checkpoint, cache_of, digest_of
from common.config import EvalOptions, InferOptions
from common.export import Progress, Upscale, make_engine, refuse_small, self_ensemble, tile_apply

from .data.common import Upscaler
from .graphs import CHECK_SIZES, OUTPUTS, WDSRInference, ports
from .model import WDSR

WHOLE, TILE = 512, 256  # LR pixels


def make_upscaler(network: WDSR, saved: Checkpoint, source: str, options: EvalOptions | InferOptions) -> Upscale:
    """Prepare a network, its weight normalisation folded, for images of 8 or 16 bit."""
    hyper, radius = network.hyper, network.hyper.receptive_radius
    refuse_small(options.tile, radius)
    form, cached = WDSRInference(network), {"cache": cache_of(source), "digest": digest_of(hyper, saved)}
    engine = make_engine(options.engine, form, ports(hyper), OUTPUTS, sizes=CHECK_SIZES, **cached)
    upscale = Upscaler(engine.run, hyper)
    if options.self_ensemble:
        upscale = self_ensemble(upscale)

    def run(image: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        whole = image.shape[0] * image.shape[1] <= WHOLE**2
        tiles = {"tile": options.tile or (0 if whole else TILE + 2 * radius), "overlap": radius}
        return tile_apply(upscale, image, scale=hyper.scale, out_dtype=image.dtype, progress=progress, **tiles)

    return Upscale(run, network, hyper.scale, engine.name)
