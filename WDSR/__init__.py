"""WDSR: wide activation for efficient image super-resolution (arXiv:1808.08718), with weight normalisation."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from mindspore import nn

    from common.export import Upscale


def load(weights: str = "", **options: Any) -> "Upscale":
    """Load a trained network from .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.

    `options` are infer.py's: scale, engine, tile ... The result is a function: (H, W, 3) RGB, uint8 or uint16 ->
    (scale H, scale W, 3) of the same type; its `network` is the `nn.Cell`.
    """
    from WDSR.src import inference
    from WDSR.src.args import InferConfig
    from WDSR.src.utils import WEIGHTS

    options = WEIGHTS.asked(InferConfig, weights, options)
    return inference.make_upscaler(*WEIGHTS.load_network(options), options)


def build(**options: Any) -> "nn.Cell":
    """Build the network with initial weights; `options` are train.py's: scale, model, n_feats, seed ..."""
    from WDSR.src.args import TrainConfig
    from WDSR.src.utils import WEIGHTS

    return WEIGHTS.initial(TrainConfig, options)
