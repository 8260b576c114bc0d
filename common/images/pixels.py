"""Arithmetic on images as arrays: number formats, cropping to multiples, RGB and YCbCr."""

import numpy as np

BT601 = np.array([65.481, 128.553, 24.966]) / 255  # Y - 16 of RGB in 0..255: studio range, as MATLAB's rgb2ycbcr
_CHROMA = np.array([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_INVERSE = np.array([[0.00456621] * 3, [0, -0.00153632, 0.00791071], [0.00625893, -0.00318811, 0]]) * 255


def to_float(rgb: np.ndarray) -> np.ndarray:
    """Turn uint8 or uint16 into float32 in [0, 1]."""
    return rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Turn float in [0, 1] into uint8: clipped, times 255, rounded half to even (as the authors' code rounds)."""
    return _quantise(x, np.uint8)


def to_uint16(x: np.ndarray) -> np.ndarray:
    """Turn float in [0, 1] into uint16, as `to_uint8`."""
    return _quantise(x, np.uint16)


def _quantise(x: np.ndarray, dtype: type) -> np.ndarray:
    if np.isnan(x).any():
        raise ValueError(f"{np.isnan(x).sum()} of {x.size} values are NaN")
    return np.rint(x.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


def reduce_to_8_bit(rgb: np.ndarray) -> np.ndarray:
    """Return v / 257, rounded: 65535 becomes 255, and an image widened from 8 bits comes back unchanged."""
    return ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Cut the lower and right edge so that both sides are multiples of `scale`, as all benchmarks do."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def rgb_to_y(rgb: np.ndarray) -> np.ndarray:
    """Return the luma (H, W) float64 in 16..235, un-rounded, of RGB in [0, 255]."""
    return rgb.astype(np.float64) @ BT601 + 16


def rgb_to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float64 Y in 16..235 and Cb, Cr in 16..240, un-rounded, of RGB in [0, 255]."""
    return rgb.astype(np.float64) @ np.vstack([BT601, _CHROMA]).T + [16, 128, 128]


def ycbcr_to_rgb(ycbcr: np.ndarray) -> np.ndarray:
    """Invert it, un-rounded and unclipped, with the constants of the authors' code (4 to 6 digits)."""
    return ycbcr.astype(np.float64) @ _INVERSE + [-222.921, 135.576, -276.836]
