"""PSNR, SSIM and LR-PSNR, with the convention as explicit arguments: a figure means nothing without it.

The same pair of images gives 36.0 dB on RGB and 40.9 dB on Y. Published figures differ in:

- channels: RGB, or the luma Y, which is never rounded here (MATLAB's `rgb2ycbcr` of a uint8 image does round it);
- luma: three sets of weights are in use, see `LUMA`. They move PSNR-Y by up to 1e-4 dB;
- gray ground truth: measured as it is, from 0 to 255, as MATLAB's scripts do, where it is one plane seen as RGB, which
  is how `common.images.read_hr` gives a gray file; Y of an RGB copy (16 to 235) has 1.32 dB more (Set14's bridge: 0.09
  dB on the mean);
- crop: pixels cut from each side: none, the scale (benchmarks), or the scale + 6 (DIV2K);
- SSIM window: 11x11 gaussian with population moments (Wang et al. 2004), or scikit-image's default.

And in whether SR was rounded to 8 bits, which is the caller's to do. Images are uint8, or floats in the
same range of 0 to 255; all arithmetic is float64. LPIPS is in `common.metrics.lpips`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.ndimage import correlate1d

from common import UserError
from common.images import BT601, Rounding, imresize

PEAK = 255.0
LPIPS_NOT_COMPUTED = "LPIPS: not computed (give --lpips_weights)"

# Y = R, G, B (0 to 255) times these, plus 16: studio range, 16 to 235.
LUMA: dict[str, np.ndarray] = {
    "bt601": BT601,  # MATLAB's rgb2ycbcr; IRN, RCAN and the benchmark tables
    "edsr": np.array([65.738, 129.057, 25.064]) / 256,  # EDSR's code and its heirs: CSNLN, MindSpore's old WDSR
    "wdsr": np.array([0.257, 0.504, 0.098]),  # WDSR's authors
}
LUMA_OFFSET = 16.0


class _Window(NamedTuple):
    taps: np.ndarray  # one axis of the separable window, sums to 1
    covariance: float  # factor on the moments: 1 = population, n / (n - 1) = sample
    text: str

    def filter(self, plane: np.ndarray) -> np.ndarray:
        """Return the weighted mean wherever the window fits: (h, w) -> (h - taps + 1, w - taps + 1)."""
        radius = len(self.taps) // 2
        rows = correlate1d(plane, self.taps, axis=0)[radius : plane.shape[0] - radius]
        return correlate1d(rows, self.taps, axis=1)[:, radius : plane.shape[1] - radius]


_GAUSSIAN = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
_WINDOWS: dict[str, _Window] = {
    "gaussian": _Window(_GAUSSIAN / _GAUSSIAN.sum(), 1.0, "11x11 gaussian"),
    "uniform7": _Window(np.full(7, 1 / 7), 49 / 48, "7x7 uniform"),  # scikit-image's default
}


@dataclass(frozen=True)
class Convention:
    """How figures are measured and what they are called.

    Images are (H, W, 3) RGB, uint8 or float, 0 to 255; with channels "y" also (H, W): a luma plane, taken as it is.
    """

    channels: Literal["rgb", "y"]  # "rgb": one mean over all three
    crop: int  # pixels cut from each of the four sides
    luma: Literal["bt601", "edsr", "wdsr"] = "bt601"  # matters with "y" only
    ssim_window: Literal["gaussian", "uniform7"] = "gaussian"

    def psnr(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """Return the peak signal-to-noise ratio in dB, peak 255; inf for identical images."""
        sr_planes, hr_planes = self._planes(sr, hr, smallest=1, name="PSNR")
        mse = float(np.mean((sr_planes - hr_planes) ** 2))
        return float("inf") if mse == 0 else 10 * float(np.log10(PEAK**2 / mse))

    def ssim(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """Return the structural similarity, at most 1: the mean over all places where the window fits, and channels.

        Equation 13 of Wang et al. 2004 with K1 = 0.01 and K2 = 0.03.
        """
        window, scores = _WINDOWS[self.ssim_window], []
        c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
        planes = self._planes(sr, hr, smallest=len(window.taps), name=f"SSIM ({window.text})")
        # Channel by channel, for memory: the moments of one channel of a 2K image take 0.1 GB.
        for x, y in zip(*planes, strict=True):
            mean_x, mean_y = window.filter(x), window.filter(y)
            variances = window.covariance * (window.filter(x * x + y * y) - mean_x**2 - mean_y**2)
            covariance = window.covariance * (window.filter(x * y) - mean_x * mean_y)
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            scores.append(float(np.mean(luminance * (2 * covariance + c2) / (variances + c2))))
        return float(np.mean(scores))

    def _planes(self, sr: np.ndarray, hr: np.ndarray, smallest: int, name: str) -> list[np.ndarray]:
        """Return both images as cropped float64 planes (C, h, w)."""
        if sr.shape != hr.shape:
            raise ValueError(f"sr and hr must have the same shape: sr {sr.shape}, hr {hr.shape}")
        crop, (height, width) = self.crop, sr.shape[:2]
        if min(height, width) - 2 * crop < smallest:
            side = smallest + 2 * crop
            raise UserError(f"{name} with crop {crop} needs images of at least {side}x{side}, found {height}x{width}")
        weights, offset = LUMA[self.luma], LUMA_OFFSET
        if hr.ndim == 3 and hr.strides[2] == 0:  # one plane seen as RGB: a gray image, measured as it is
            weights, offset = weights / weights.sum(), 0.0
        kept = [image[crop : height - crop, crop : width - crop].astype(np.float64) for image in (sr, hr)]
        if sr.ndim == 2:
            return [image[None] for image in kept]
        if self.channels == "y":
            return [(image @ weights + offset)[None] for image in kept]
        return [image.transpose(2, 0, 1) for image in kept]

    def label(self, metric: Literal["PSNR", "SSIM", "LR-PSNR"]) -> str:
        """Return a table's heading: "PSNR-Y (crop 4)", "SSIM-RGB (crop 0, 7x7 uniform)"."""
        details = [f"crop {self.crop}"]
        if self.channels == "y" and self.luma != "bt601":
            details.append(f"{self.luma} luma")
        if metric == "SSIM":
            details.append(_WINDOWS[self.ssim_window].text)
        return f"{metric}-{self.channels.upper()} ({', '.join(details)})"

    def describe(self) -> str:
        """Return the whole convention as a line below a table."""
        if self.channels == "y":
            weights = ", ".join(f"{weight:.6f}" for weight in LUMA[self.luma])
            planes = f"un-rounded Y = 16 + ({weights}) . RGB (gray files as they are)"
        else:
            planes = "RGB"
        window = _WINDOWS[self.ssim_window].text
        return f"PSNR and SSIM on {planes}, peak 255, {self.crop} pixels cropped from each side, SSIM window {window}"


def psnr(sr: np.ndarray, hr: np.ndarray, **convention: Any) -> float:
    """Return `Convention(...).psnr`, with the convention in words: channels="y", crop=4."""
    return Convention(**convention).psnr(sr, hr)


def ssim(sr: np.ndarray, hr: np.ndarray, **convention: Any) -> float:
    """Return `Convention(...).ssim`, with the convention in words."""
    return Convention(**convention).ssim(sr, hr)


def lr_psnr(sr: np.ndarray, lr: np.ndarray, scale: int, *, rounding: Rounding, **convention: Any) -> float:
    """Return the PSNR of SR downscaled by `imresize` against the LR image that it came from, its input.

    Args:
        sr: (h * scale, w * scale, 3), 0 to 255. `imresize` rounds uint8 in each of its passes, floats never.
        lr: (h, w, 3), 0 to 255.
        rounding: where `imresize` puts exact halves: "half_even" (SRFlow, SRDiff) or "half_up" (MATLAB).
        convention: `Convention`'s fields; the crop is in LR pixels.
    """
    if sr.shape != (lr.shape[0] * scale, lr.shape[1] * scale, *lr.shape[2:]):
        raise ValueError(f"sr must have the shape of lr times {scale}: sr {sr.shape}, lr {lr.shape}")
    return psnr(imresize(sr, size=lr.shape[:2], rounding=rounding), lr, **convention)


# What the papers and their code report, by name: PROTOCOLS["benchmark-y"](scale).
PROTOCOLS: dict[str, Callable[[int], Convention]] = {
    "benchmark-y": lambda scale: Convention("y", scale),  # Set5, Set14, B100, Urban100; IRN's paper on all its sets
    "benchmark-y-edsr": lambda scale: Convention("y", scale, luma="edsr"),  # CSNLN's code; MindSpore's WDSR
    "benchmark-y-wdsr": lambda scale: Convention("y", scale, luma="wdsr"),  # WDSR's authors
    "div2k-rgb": lambda scale: Convention("rgb", scale + 6),  # EDSR, WDSR and CSNLN on DIV2K
    "irn-rgb": lambda scale: Convention("rgb", scale),  # IRN's log prints it beside benchmark-y
    "srflow": lambda scale: Convention("rgb", 0, ssim_window="uniform7"),
    "srdiff": lambda scale: Convention("rgb", 0, ssim_window="uniform7"),
}
