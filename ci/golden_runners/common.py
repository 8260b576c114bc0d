"""Runners that belong to no model: metrics, colours, imresize, and the file of learning rates."""

import re
from collections.abc import Callable

import numpy as np

from common.images import imresize, modcrop, rgb_to_ycbcr, to_uint8, ycbcr_to_rgb
from common.metrics import PROTOCOLS, Convention, lr_psnr

from .core import NO_RUNNER, NOT_COMPARED, Golden
from .registry import find_schedule, fixture

# What each figure of a pair of images is: (pattern, convention, tolerance). Group 1 is the metric. "float64" marks
# functions that the authors compute in float64, the others in float32.
FIGURES: list[tuple[str, Callable[[re.Match], Convention], str]] = [
    (r"irn/(psnr)_(rgb|y)_crop(\d+)", lambda m: Convention(m[2], int(m[3])), "psnr_db_abs_float64_functions"),
    (r"irn/(ssim)_(rgb|y)_crop(\d+)", lambda m: Convention(m[2], int(m[3])), "ssim_abs"),
    (r"csnln/(psnr)_benchmark_y_x(\d+)_range\d+", lambda m: PROTOCOLS["benchmark-y-edsr"](int(m[2])), "psnr_db_abs"),
    (r"csnln/(psnr)_div2k_rgb_x(\d+)_range\d+", lambda m: PROTOCOLS["div2k-rgb"](int(m[2])), "psnr_db_abs"),
    (r"wdsr/(psnr)_rgb_shave(\d+)", lambda m: Convention("rgb", int(m[2])), "psnr_db_abs"),
    (r"wdsr/(psnr)_y_shave(\d+)", lambda m: PROTOCOLS["benchmark-y-wdsr"](int(m[2])), "psnr_db_abs"),
    (r"wdsr_yjn/(psnr)_rgb_x(\d+)", lambda m: PROTOCOLS["div2k-rgb"](int(m[2])), "psnr_db_abs"),
    (r"mindspore_port_wdsr/(psnr)_y_x(\d+)", lambda m: PROTOCOLS["benchmark-y-edsr"](int(m[2])), "psnr_db_abs"),
    (r"mindspore_port_wdsr/(ssim)_y_x(\d+)", lambda m: PROTOCOLS["benchmark-y-edsr"](int(m[2])), "ssim_abs"),
    (r"(?:srflow|srdiff)/(psnr)", lambda m: PROTOCOLS["srflow"](1), "psnr_db_abs_float64_functions"),
    (r"(?:srflow|srdiff)/(ssim)", lambda m: PROTOCOLS["srflow"](1), "ssim_abs"),
]
RESIZE = {  # group of imresize.npz -> (input dtype, arguments, name of the tolerance; "" asks for equality)
    "irn_np": (np.float32, {"weight_dtype": np.float32}, "irn_np_abs"),
    "irn_np_noantialias": (np.float32, {"weight_dtype": np.float32, "antialiasing": False}, "irn_np_abs"),
    "matlab_f64": (np.float64, {}, "matlab_f64_abs"),
    "matlab_u8": (np.uint8, {"rounding": "half_even"}, ""),
}
SRDIFF_SCALE = 4


@fixture("metrics.npz")
def metrics(golden: Golden) -> None:
    for key in golden.under("pair"):
        number, name = key.split("/", 1)
        _figure(golden, f"pair{key}", name, golden[f"in/sr{number}_rgb"], golden[f"in/gt{number}_rgb"])
    _colours(golden)
    whole = to_uint8(golden["in/quant_range1"])
    for key in golden.under("csnln/quantize_range"):
        scaled = whole * np.float32(float(key) / 255)
        golden.compare(f"csnln/quantize_range{key}", scaled, bounds=_abs(golden, "color_f32_abs"), quantity="rounding")


def _figure(golden: Golden, key: str, name: str, sr: np.ndarray, hr: np.ndarray) -> None:
    if match := re.fullmatch(r"irn/(psnr|ssim)_identical", name):
        value = getattr(Convention("rgb", 0), match[1])(hr, hr)
        golden.compare(key, value, bounds={"atol_absolute": 0}, quantity="same")
    elif match := re.fullmatch(r"srdiff/lr_psnr_x(\d+)", name):
        scale = int(match[1])
        sr, hr = modcrop(sr, scale), modcrop(hr, scale)
        lr = imresize(hr, 1 / scale, rounding="half_even")
        value = lr_psnr(sr, lr, scale, channels="rgb", crop=0, rounding="half_even")
        golden.compare(key, value, bounds=_abs(golden, "psnr_db_abs_float64_functions"), quantity="lr_psnr")
    elif name == "srdiff/ssim_module":
        golden.set_aside(key, NOT_COMPARED, "SSIM as a training loss: nothing here trains with it")
    for pattern, make, bound in FIGURES:
        if match := re.fullmatch(pattern, name):
            value = getattr(make(match), match[1])(sr, hr)
            golden.compare(key, value, bounds=_abs(golden, bound), quantity=f"{match[1]} {name.split('/')[0]}")


def _colours(golden: Golden) -> None:
    """Ours work on 0 to 255 and never round; the authors' take floats in 0 to 1, or round 8 bits to 8 bits."""
    floats, whole = golden["in/color_f32"].astype(np.float64) * 255, golden["in/color_u8"]
    made = {"tensor2img_uint8_bgr_hwc": to_uint8(golden["in/tensor2img"][0].transpose(1, 2, 0))[..., ::-1]}
    for name, order in (("rgb2ycbcr", slice(None)), ("bgr2ycbcr", slice(None, None, -1))):
        for form, full in (
            ("f32", rgb_to_ycbcr(floats[..., order]) / 255),
            ("u8", rgb_to_ycbcr(whole[..., order]).round()),
        ):
            made[f"{name}_y_{form}"], made[f"{name}_full_{form}"] = full[..., 0], full
    made["ycbcr2rgb_f32"] = ycbcr_to_rgb(golden["color/rgb2ycbcr_full_f32"].astype(np.float64) * 255) / 255
    made["ycbcr2rgb_u8"] = ycbcr_to_rgb(golden["color/rgb2ycbcr_full_u8"]).round().clip(0, 255)
    for name in golden.under("color/"):
        if name in made:
            bounds = _abs(golden, "color_f32_abs" if name.endswith("_f32") else "")
            golden.compare(f"color/{name}", made[name], bounds=bounds)


@fixture("imresize.npz")
def resize(golden: Golden) -> None:
    for group, (dtype, arguments, bound) in RESIZE.items():
        for name in golden.under(f"{group}/"):
            image, factor = re.fullmatch(r"(.+)_((?:up|down)[\d.]+)", name).groups()
            source = golden[f"in/{image}_{'u8' if dtype == np.uint8 else 'f32'}"].astype(dtype)
            scale = float(factor[2:]) if factor.startswith("up") else 1 / float(factor[4:])
            golden.compare(f"{group}/{name}", imresize(source, scale, **arguments), bounds=_abs(golden, bound))
    for name in golden.under("srdiff_data/"):
        image, step = re.fullmatch(r"(.+)_(img_lr_u8|img_lr_up_m1p1_hwc)", name).groups()
        value = imresize(golden[f"in/{image}_u8"], 1 / SRDIFF_SCALE, rounding="half_even")
        if step == "img_lr_up_m1p1_hwc":  # SRDiff divides by 256 here, not by 255
            value = (imresize(value / 256, SRDIFF_SCALE) - 0.5) / 0.5
        bounds = _abs(golden, "" if step == "img_lr_u8" else "irn_np_abs")
        golden.compare(f"srdiff_data/{name}", value, bounds=bounds)


@fixture("lr_schedules.npz")
def schedules(golden: Golden) -> None:
    for key in golden.arrays:
        name, _, what = key.rpartition("/")
        if what == "k":
            golden.set_aside(key)
        elif what == "lr" and (runner := find_schedule(name)):
            golden.compare(key, runner.function(golden, name), bounds=golden.tolerance, quantity=name)
        elif what == "lr":
            golden.set_aside(key, NO_RUNNER, "not built yet")


def _abs(golden: Golden, name: str) -> dict[str, float]:
    """The manifest's bound of this name on the largest difference; "" asks for equality."""
    return {"atol_absolute": golden.tolerance[name] if name else 0}
