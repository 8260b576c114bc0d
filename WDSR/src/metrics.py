"""PSNR and SSIM as WDSR's results are measured: `common.metrics`, and which convention belongs to which data."""

from common.metrics import Convention, psnr, ssim

__all__ = ["Convention", "benchmark", "div2k", "psnr", "ssim"]


def benchmark(scale: int, crop: int | None = None) -> Convention:
    """Return that of Set5, Set14, B100, Urban100 and the seed's figure on DIV2K: Y, a border of `scale` cropped."""
    return Convention("y", scale if crop is None else crop)


def div2k(scale: int) -> Convention:
    """Return that of the authors' figures on DIV2K: RGB, a border of scale + 6 cropped."""
    return Convention("rgb", scale + 6)
