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
    """Figures of eval.py: the benchmarks' convention first, then the authors' on DIV2K.

    Args:
        crop: border left out of PSNR-Y and SSIM-Y; -1 takes the scale.
        lpips_weights: "" leaves LPIPS out.
    """
    benchmark = metrics.benchmark(scale, None if crop < 0 else crop)
    found = [psnr_figure(benchmark), ssim_figure(benchmark), psnr_figure(metrics.div2k(scale)), lr_psnr_figure(scale)]
    return with_lpips(found, lpips_weights)


def make_validation(pairs: list[Pair], hyper: Hyper) -> Validation | None:
    """Return network -> its mean PSNR-Y, eager, see `common.training.psnr_validation`."""

    def upscaler(network: WDSR) -> Upscaler:
        form = WDSRInference(network)
        form.set_train(False)
        return Upscaler(lambda batch: form(Tensor(batch)).asnumpy(), hyper)

    return psnr_validation(pairs, hyper.scale, metrics.benchmark(hyper.scale), upscaler)
