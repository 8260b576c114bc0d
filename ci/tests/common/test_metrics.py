"""PSNR and SSIM against naive NumPy, scikit-image and published figures; test_goldens.py has the authors' functions."""

import numpy as np
import pytest

from common import UserError
from common.images.files import read_rgb
from common.metrics.fidelity import PROTOCOLS, psnr, ssim

SET5 = ("baby", "bird", "butterfly", "head", "woman")


@pytest.fixture
def pair():
    """A smooth image and a noisy copy, uint8, (23, 31, 3)."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:23, :31]
    hr = 128 + 90 * np.sin(rows / 4)[..., None] * np.cos(columns[..., None] / 5 + np.arange(3))
    sr = hr + random.normal(0, 12, hr.shape)
    return sr.clip(0, 255).round().astype(np.uint8), hr.round().astype(np.uint8)


def test_psnr_by_hand():
    hr = np.full((12, 10, 3), 100, np.uint8)
    sr = hr.copy()
    sr[..., 0] = 105
    assert psnr(sr, hr, channels="rgb", crop=0) == pytest.approx(10 * np.log10(255**2 * 3 / 25), abs=1e-12)
    for luma, weight in (("bt601", 65.481 / 255), ("edsr", 65.738 / 256), ("wdsr", 0.257)):
        wanted = 20 * np.log10(255 / (5 * weight))
        assert psnr(sr, hr, channels="y", crop=0, luma=luma) == pytest.approx(wanted, abs=1e-10)
    # One pixel outside the crop, one inside it: only the second counts, among (12 - 6) * (10 - 6) * 3 values.
    sr = hr.copy()
    sr[2, 5, 1], sr[3, 3, 1] = 0, 90
    assert psnr(sr, hr, channels="rgb", crop=3) == pytest.approx(10 * np.log10(255**2 * 72 / 100), abs=1e-12)


def test_scikit_image(pair):
    measure = pytest.importorskip("skimage.metrics")
    sr, hr = pair
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for name, options in (("gaussian", gaussian), ("uniform7", {})):
        wanted = measure.structural_similarity(hr, sr, data_range=255, channel_axis=-1, **options)
        assert ssim(sr, hr, channels="rgb", crop=0, ssim_window=name) == pytest.approx(wanted, abs=1e-10)
    wanted = measure.peak_signal_noise_ratio(hr, sr, data_range=255)
    assert psnr(sr, hr, channels="rgb", crop=0) == pytest.approx(wanted, abs=1e-10)


def test_too_small_images(pair):
    sr, hr = pair
    assert psnr(sr, hr, channels="rgb", crop=11) > 0  # one row is left
    with pytest.raises(UserError, match="crop 12 needs images of at least 25x25, found 23x31"):
        psnr(sr, hr, channels="rgb", crop=12)
    assert 0 < ssim(sr, hr, channels="y", crop=6, ssim_window="gaussian") < 1  # the window fits exactly
    with pytest.raises(UserError, match=r"11x11 gaussian.*at least 25x25, found 23x31"):
        ssim(sr, hr, channels="y", crop=7, ssim_window="gaussian")


def test_figures_carry_their_convention():
    assert PROTOCOLS["benchmark-y"](4).label("PSNR") == "PSNR-Y (crop 4)"
    assert PROTOCOLS["benchmark-y"](4).label("SSIM") == "SSIM-Y (crop 4, 11x11 gaussian)"
    assert PROTOCOLS["benchmark-y-wdsr"](2).label("PSNR") == "PSNR-Y (crop 2, wdsr luma)"
    assert PROTOCOLS["div2k-rgb"](3).label("PSNR") == "PSNR-RGB (crop 9)"
    assert PROTOCOLS["srflow"](4).label("SSIM") == "SSIM-RGB (crop 0, 7x7 uniform)"
    assert PROTOCOLS["srdiff"](4).label("LR-PSNR") == "LR-PSNR-RGB (crop 0)"
    assert "un-rounded Y = 16 + (0.256788, 0.504129, 0.097906) . RGB" in PROTOCOLS["benchmark-y"](4).describe()


def test_published_rcan_on_set5(shared_data):
    figures = []
    for name in SET5:
        sr = read_rgb(shared_data / "metric_vectors" / "RCAN_Set5_x4" / f"{name}.png")
        hr = read_rgb(shared_data / "benchmark" / "Set5" / "HR" / f"{name}.png")
        convention = PROTOCOLS["benchmark-y"](4)
        figures.append((convention.psnr(sr, hr), convention.ssim(sr, hr)))
    mean_psnr, mean_ssim = np.mean(figures, axis=0)
    assert (round(mean_psnr, 2), round(mean_ssim, 4)) == (32.63, 0.9002)
