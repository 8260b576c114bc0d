"""IRN: invertible image rescaling (arXiv:2005.05650), down-scaling and up-scaling by one invertible network."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from IRN.src.network.Invnet import InvRescaleNet
    from IRN.src.pictures import Rescaler


def load(weights: str = "", **options: Any) -> "Rescaler":
    """Load a trained network: `irn = IRN.load(scale=2)`, `lr = irn.downscale(rgb)`, `hr = irn.upscale(lr)`.

    Args:
        weights: .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.
        options: those of infer.py: scale, engine, tile, device_target ...

    Returns:
        downscale: (sH, sW, 3) RGB, uint8 or uint16 -> (H, W, 3) uint8; upscale: the other way, with a random z;
        network: the `nn.Cell`.
    """
    from IRN.src import pictures
    from IRN.src.options.options import UpscaleConfig
    from IRN.src.utils.util import WEIGHTS

    options = WEIGHTS.asked(UpscaleConfig, weights, options)
    return pictures.make_rescaler(*WEIGHTS.load_network(options), options)


def build(**options: Any) -> "InvRescaleNet":
    """Build the network with initial weights; `options` are train.py's: scale, model, block_num, seed ..."""
    from IRN.src.options.options import TrainConfig
    from IRN.src.utils.util import WEIGHTS

    return WEIGHTS.initial(TrainConfig, options)
