"""WDSR: wide activation for efficient image super-resolution (arXiv:1808.08718), with weight normalisation."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from mindspore import nn

    from common.export import Upscale


def load(weights: str = "", **options: Any) -> "Upscale":
    """Load a trained network: `upscale = WDSR.load(scale=2)`, `sr = upscale(rgb)`.

    Args:
        weights: .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.
        options: those of infer.py: scale, engine, tile, self_ensemble, device_target ...

    Returns:
        A function: (H, W, 3) RGB, uint8 or uint16 -> (scale H, scale W, 3) of the same type; its `network` is the
        `nn.Cell`.
    """
    from common import config, runtime
    from WDSR.src import pictures, utils
    from WDSR.src.args import InferConfig

    options = config.merge(InferConfig(), {"checkpoint": str(weights), **options}, "load()")
    runtime.start(options.device_target)
    return pictures.make_upscaler(*utils.load_network(options), options)


def build(**options: Any) -> "nn.Cell":
    """Build the network with initial weights; `options` are train.py's: scale, model, n_feats, seed ..."""
    from common import config
    from WDSR.src.args import TrainConfig
    from WDSR.src.model import WDSR

    options = config.merge(TrainConfig(), options, "build()")
    return WDSR(options.hyper(), options.seed)
