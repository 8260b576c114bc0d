"""SRFlow: super-resolution by a conditional normalising flow (arXiv:2006.14200), trained by its exact likelihood."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from common.export import Upscale
    from SRFlow.src.model.SRFlowNet import SRFlowNet


def load(weights: str = "", **options: Any) -> "Upscale":
    """Load a trained network from .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.

    `options` are infer.py's: scale, heat, seed, tile, engine, device_target ... The result is called as
    `upscale(rgb, heat=0.8, seed=1)`: (H, W, 3) RGB, uint8 or uint16 -> (scale H, scale W, 3) of the same type; its
    `network` is the `nn.Cell`.
    """
    from SRFlow.src.model_utils.inference import load

    return load(weights, **options)


def build(**options: Any) -> "SRFlowNet":
    """Build the network with initial weights; `options` are train.py's: scale, model, seed ..."""
    from SRFlow.src.model_utils.options import TrainConfig
    from SRFlow.src.model_utils.util import WEIGHTS

    return WEIGHTS.initial(TrainConfig, options)
