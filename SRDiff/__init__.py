"""SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models (Li et al., 2021, arXiv:2104.14951)."""

from typing import TYPE_CHECKING, Any

import common  # noqa: F401  (sets the environment before any module below imports mindspore)

if TYPE_CHECKING:
    from common.export import Upscale
    from SRDiff.src.model.srdiff import SRDiffNet


def load(weights: str = "", **options: Any) -> "Upscale":
    """Load a trained network from .ckpt, .safetensors or the authors' .pth; "" takes the demo weights.

    `options` are infer.py's: scale, sampler, steps, seed, tile, engine, device_target ... The result is called as
    `upscale(rgb, sampler="dpm", steps=10, seed=1)`: (H, W, 3) RGB, uint8 or uint16 -> (scale H, scale W, 3) of the same
    type; its `network` is the `nn.Cell`, in its inference form.
    """
    from SRDiff.src.model_utils.inference import load

    return load(weights, **options)


def build(**options: Any) -> "SRDiffNet":
    """Build the network with initial weights; `options` are train.py's: scale, model, seed ..."""
    from SRDiff.src.model_utils.options import TrainConfig
    from SRDiff.src.model_utils.util import WEIGHTS

    return WEIGHTS.initial(TrainConfig, options)
