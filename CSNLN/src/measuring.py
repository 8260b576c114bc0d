"""Figures of eval.py, and validation."""

from collections.abc import Callable

import numpy as np

from common.evaluation import Figure, lr_psnr_figure, psnr_figure, ssim_figure, with_lpips
from common.images import Pair
from common.metrics import Convention
from common.training import Validation, psnr_validation

from .config import InferConfig
from .CSNLN import CSNLN, Hyper
from .dataset.common import Upscaler
from .graphs import make_engine
from .inference import chopped


def figures(scale: int, crop: int, lpips_weights: str) -> list[Figure]:
    """Return the figures on Y as the paper, then on RGB; `crop` -1 crops the scale."""
    paper, colours = Convention("y", scale if crop < 0 else crop), Convention("rgb", scale if crop < 0 else crop)
    found = [psnr_figure(paper), ssim_figure(paper), psnr_figure(colours), lr_psnr_figure(scale)]
    return with_lpips(found, lpips_weights)


def make_validation(pairs: list[Pair], hyper: Hyper) -> Validation | None:
    """Return network -> mean PSNR-Y of images chopped as the authors do; None without pairs.

    On CPU in ONNX Runtime, if it is installed: MindSpore takes 4 to 5 times as long.
    """

    def upscaler(network: CSNLN) -> Callable[[np.ndarray], np.ndarray]:
        engine = make_engine("auto", network, InferConfig().attention_memory * 2**20)
        return chopped(Upscaler(engine.run, hyper), hyper.scale)

    return psnr_validation(pairs, hyper.scale, Convention("y", hyper.scale), upscaler)
