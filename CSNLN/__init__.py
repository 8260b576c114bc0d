"""CSNLN: Image Super-Resolution with Cross-Scale Non-Local Attention (Mei et al., CVPR 2020, arXiv:2006.01424)."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from mindspore import nn

    from common.export import Upscale


def load(weights: str = "", **options: Any) -> "Upscale":
    """Load a trained network from .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.

    `options` are infer.py's: scale, engine, tile, self_ensemble, device_target ... The result is a function: (H, W, 3)
    RGB, uint8 or uint16 -> (scale H, scale W, 3) of the same type; its `network` is the `nn.Cell`.
    """
    from CSNLN.src import inference
    from CSNLN.src.config import InferConfig
    from CSNLN.src.utils import WEIGHTS

    options = WEIGHTS.asked(InferConfig, weights, options)
    return inference.make_upscaler(WEIGHTS.load_network(options)[0], options)


def build(**options: Any) -> "nn.Cell":
    """Build the network with initial weights; `options` are train.py's: scale, model, n_feats, seed ..."""
    from CSNLN.src.config import TrainConfig
    from CSNLN.src.utils import WEIGHTS

    return WEIGHTS.initial(TrainConfig, options)
