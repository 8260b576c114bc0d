"""Figures of eval.py, and validation."""

from mindspore import Tensor

from common.evaluation import Figure, lr_psnr_figure, psnr_figure, ssim_figure, with_lpips
from common.images import Pair
from common.training import Validation, psnr_validation

from . import metrics
from .data.common import Upscaler
from .graphs import WDSRInference
from .model import WDSR, Hyper


def figures(scale: int, crop: int, lpips_weights: str) -> list[Figure]:
    """Return the figures by the benchmarks' convention, then by the authors' on DIV2K; `crop` -1 crops the scale."""
    benchmark = metrics.benchmark(scale, None if crop < 0 else crop)
    found = [psnr_figure(benchmark), ssim_figure(benchmark), psnr_figure(metrics.div2k(scale)), lr_psnr_figure(scale)]
    return with_lpips(found, lpips_weights)


def make_validation(pairs: list[Pair], hyper: Hyper) -> Validation | None:
    def upscaler(network: WDSR) -> Upscaler:
        form = WDSRInference(network)
        form.set_train(False)
        return Upscaler(lambda batch: form(Tensor(batch)).asnumpy(), hyper)

    return psnr_validation(pairs, hyper.scale, metrics.benchmark(hyper.scale), upscaler)
