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
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.ndimage import correlate1d

from common import UserError
from common.images import Rounding, imresize

Channels = Literal["rgb", "y"]
Luma = Literal["bt601", "edsr", "wdsr"]
SsimWindow = Literal["gaussian", "uniform7"]

PEAK = 255.0
LPIPS_NOT_COMPUTED = "LPIPS: not computed (give --lpips_weights)"

# Y = R, G, B (0 to 255) times these, plus 16: studio range, 16 to 235.
LUMA: dict[str, np.ndarray] = {
    "bt601": np.array([65.481, 128.553, 24.966]) / 255,  # MATLAB's rgb2ycbcr; IRN, RCAN and the benchmark tables
    "edsr": np.array([65.738, 129.057, 25.064]) / 256,  # EDSR's code and its heirs: CSNLN, MindSpore's old WDSR
    "wdsr": np.array([0.257, 0.504, 0.098]),  # WDSR's authors
}
LUMA_OFFSET = 16.0


class _Window(NamedTuple):
    taps: np.ndarray  # one axis of the separable window, sums to 1
    covariance: float  # factor on the moments: 1 = population, n / (n - 1) = sample
    text: str


def _gaussian(radius: int, sigma: float) -> np.ndarray:
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


_WINDOWS: dict[str, _Window] = {
    "gaussian": _Window(_gaussian(5, 1.5), 1.0, "11x11 gaussian"),
    "uniform7": _Window(np.full(7, 1 / 7), 49 / 48, "7x7 uniform"),  # scikit-image's default
}


def psnr(sr: np.ndarray, hr: np.ndarray, *, channels: Channels, crop: int, luma: Luma = "bt601") -> float:
    """Peak signal-to-noise ratio in dB, peak 255.

    Args:
        sr: (H, W, 3) RGB, uint8 or float, 0 to 255. With channels "y" also (H, W): a luma plane, taken as it is.
        hr: The ground truth, same shape.
        channels: "rgb" (one mean over all three) or "y".
        crop: Pixels cut from each of the four sides, 0 or more.
        luma: Key of `LUMA`; matters with "y" only.

    Returns:
        dB; inf for identical images.

    Raises:
        ValueError: Shapes differ, or an argument or dtype that has no meaning here.
        UserError: Nothing is left after the crop.
    """
    sr_planes, hr_planes = _prepare(sr, hr, channels, crop, luma, smallest=1, name="PSNR")
    mse = float(np.mean((sr_planes - hr_planes) ** 2))
    return float("inf") if mse == 0 else 10 * float(np.log10(PEAK**2 / mse))


def ssim(
    sr: np.ndarray,
    hr: np.ndarray,
    *,
    channels: Channels,
    crop: int,
    ssim_window: SsimWindow,
    luma: Luma = "bt601",
) -> float:
    """Structural similarity, at most 1: the mean over every place where the window fits, then over the channels.

    Args:
        sr: As for `psnr`.
        hr: The ground truth, same shape.
        channels: "rgb" (mean of the three channels) or "y".
        crop: Pixels cut from each side, before filtering.
        ssim_window: "gaussian" (11x11, sigma 1.5, population moments) or "uniform7" (7x7, sample moments).
        luma: Key of `LUMA`; matters with "y" only.

    Raises:
        ValueError: As for `psnr`.
        UserError: The window does not fit into what the crop leaves.
    """
    window = _lookup(_WINDOWS, ssim_window, "ssim_window")
    name = f"SSIM ({window.text})"
    sr_planes, hr_planes = _prepare(sr, hr, channels, crop, luma, smallest=len(window.taps), name=name)
    # Channel by channel, for memory: the moments of one channel of a 2K image take 0.1 GB.
    return float(np.mean([_ssim_plane(a, b, window) for a, b in zip(sr_planes, hr_planes, strict=True)]))


def lr_psnr(
    sr: np.ndarray,
    lr: np.ndarray,
    scale: int,
    *,
    channels: Channels,
    crop: int,
    rounding: Rounding,
    luma: Luma = "bt601",
) -> float:
    """PSNR between SR shrunk by `imresize` and the LR image it came from: does SR still explain its input?

    Args:
        sr: (h * scale, w * scale, 3), 0 to 255. `imresize` rounds uint8 in each of its passes, floats never.
        lr: (h, w, 3), 0 to 255.
        scale: Factor between the two.
        channels: As for `psnr`.
        crop: Pixels cut from each side of the LR images.
        rounding: Where `imresize` puts exact halves: "half_even" (SRFlow, SRDiff) or "half_up" (MATLAB).
        luma: As for `psnr`.

    Raises:
        ValueError: sr is not lr's size times scale, or as for `psnr`.
        UserError: Nothing is left after the crop.
    """
    if sr.shape != (lr.shape[0] * scale, lr.shape[1] * scale, *lr.shape[2:]):
        raise ValueError(f"sr must have the shape of lr times {scale}: sr {sr.shape}, lr {lr.shape}")
    shrunk = imresize(sr, size=lr.shape[:2], rounding=rounding)
    return psnr(shrunk, lr, channels=channels, crop=crop, luma=luma)


@dataclass(frozen=True)
class Convention:
    """How a figure is measured and what it is called; the fields are the arguments of `psnr` and `ssim`."""

    channels: Channels
    crop: int
    luma: Luma = "bt601"
    ssim_window: SsimWindow = "gaussian"

    def __post_init__(self) -> None:
        _check(self.channels, self.crop)
        _lookup(LUMA, self.luma, "luma")
        _lookup(_WINDOWS, self.ssim_window, "ssim_window")

    def psnr(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """`psnr` by this convention."""
        return psnr(sr, hr, channels=self.channels, crop=self.crop, luma=self.luma)

    def ssim(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """`ssim` by this convention."""
        window = self.ssim_window
        return ssim(sr, hr, channels=self.channels, crop=self.crop, luma=self.luma, ssim_window=window)

    def label(self, metric: Literal["PSNR", "SSIM", "LR-PSNR"]) -> str:
        """A table's heading: "PSNR-Y (crop 4)", "SSIM-RGB (crop 0, 7x7 uniform)"."""
        details = [f"crop {self.crop}"]
        if self.channels == "y" and self.luma != "bt601":
            details.append(f"{self.luma} luma")
        if metric == "SSIM":
            details.append(_WINDOWS[self.ssim_window].text)
        return f"{metric}-{self.channels.upper()} ({', '.join(details)})"

    def describe(self) -> str:
        """The whole convention as a line below a table."""
        if self.channels == "y":
            weights = ", ".join(f"{weight:.6f}" for weight in LUMA[self.luma])
            planes = f"un-rounded Y = 16 + ({weights}) . RGB (gray files as they are)"
        else:
            planes = "RGB"
        window = _WINDOWS[self.ssim_window].text
        return f"PSNR and SSIM on {planes}, peak 255, {self.crop} pixels cropped from each side, SSIM window {window}"


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


def _prepare(
    sr: np.ndarray, hr: np.ndarray, channels: str, crop: int, luma: str, *, smallest: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both images as cropped float64 planes (C, h, w), checked."""
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must have the same shape: sr {sr.shape}, hr {hr.shape}")
    _check(channels, crop)
    height, width = sr.shape[:2]
    if min(height, width) - 2 * crop < smallest:
        side = smallest + 2 * crop
        raise UserError(f"{name} with crop {crop} needs images of at least {side}x{side}, found {height}x{width}")
    weights, offset = _lookup(LUMA, luma, "luma"), LUMA_OFFSET
    if hr.ndim == 3 and hr.strides[2] == 0:  # one plane seen as RGB: a gray image, measured as it is
        weights, offset = weights / weights.sum(), 0.0
    return _planes(sr, channels, crop, weights, offset), _planes(hr, channels, crop, weights, offset)


def _planes(image: np.ndarray, channels: str, crop: int, weights: np.ndarray, offset: float) -> np.ndarray:
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(f"images must be uint8, or float in [0, 255], got {image.dtype}")
    is_plane = image.ndim == 2 and channels == "y"
    if not is_plane and (image.ndim != 3 or image.shape[2] != 3):
        raise ValueError(f'images must be (H, W, 3), or (H, W) with channels "y", got {image.shape}')
    kept = image[crop : image.shape[0] - crop, crop : image.shape[1] - crop].astype(np.float64)
    if is_plane:
        return kept[None]
    return (kept @ weights + offset)[None] if channels == "y" else kept.transpose(2, 0, 1)


def _ssim_plane(x: np.ndarray, y: np.ndarray, window: _Window) -> float:
    """Equation 13 of Wang et al. 2004 with K1 = 0.01 and K2 = 0.03, averaged; x and y are (h, w)."""
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_x, mean_y = _filter(x, window), _filter(y, window)
    variances = window.covariance * (_filter(x * x + y * y, window) - mean_x**2 - mean_y**2)
    covariance = window.covariance * (_filter(x * y, window) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (variances + c2)))


def _filter(plane: np.ndarray, window: _Window) -> np.ndarray:
    """The window's weighted mean wherever it fits: (h, w) -> (h - taps + 1, w - taps + 1)."""
    radius = len(window.taps) // 2
    rows = correlate1d(plane, window.taps, axis=0)[radius : plane.shape[0] - radius]
    return correlate1d(rows, window.taps, axis=1)[:, radius : plane.shape[1] - radius]


def _check(channels: str, crop: int) -> None:
    if channels not in get_args(Channels):
        raise ValueError(f'channels must be "rgb" or "y", got {channels!r}')
    if crop < 0:
        raise ValueError(f"crop must be 0 or more pixels, got {crop}")


def _lookup(table: dict, key: str, name: str):
    if key not in table:
        raise ValueError(f"{name} must be one of {', '.join(table)}, got {key!r}")
    return table[key]
