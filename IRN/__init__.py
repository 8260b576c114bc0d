"""IRN: invertible image rescaling (arXiv:2005.05650), down-scaling and up-scaling by one invertible network."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from IRN.src.inference import Rescaler
    from IRN.src.network.Invnet import InvRescaleNet


def load(weights: str = "", **options: Any) -> "Rescaler":
    """Load a trained network from .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.

    `options` are infer.py's: scale, seed, gaussian_scale, tile, engine, device_target ... The result's `downscale(rgb)`
    is (sH, sW, 3) RGB, uint8 or uint16 -> (H, W, 3) uint8, its `upscale(lr, seed=1)` the other way with a random z; its
    `network` is the `nn.Cell`.
    """
    from IRN.src.inference import load

    return load(weights, **options)


def build(**options: Any) -> "InvRescaleNet":
    """Build the network with initial weights; `options` are train.py's: scale, model, block_num, seed ..."""
    from IRN.src.options.options import TrainConfig
    from IRN.src.utils.util import WEIGHTS

    return WEIGHTS.initial(TrainConfig, options)
