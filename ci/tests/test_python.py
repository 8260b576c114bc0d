"""The five models from Python: `load` and `build` of each package, with the demo weights."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from mindspore import nn
from PIL import Image

from common import UserError

MODELS = ("WDSR", "CSNLN", "IRN", "SRFlow", "SRDiff")
TAKES = {"SRFlow": {"heat": 0.8, "seed": 1}, "SRDiff": {"sampler": "dpm", "steps": 2, "seed": 1}}
RGB = np.random.default_rng(5).integers(0, 256, (20, 24, 3), np.uint8)


def package(model):
    return importlib.import_module(model)


def test_importing_a_package_does_not_import_mindspore(root):
    code = f"import sys, {', '.join(MODELS)}; print('mindspore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("model", MODELS)
def test_load(model):
    loaded, takes = package(model).load(), TAKES.get(model, {})
    upscale = loaded.upscale if model == "IRN" else loaded
    scale = 4 if model in TAKES else 2
    sr = upscale(RGB, **takes)
    assert (sr.shape, sr.dtype) == ((20 * scale, 24 * scale, 3), np.uint8)
    np.testing.assert_array_equal(upscale(RGB, **takes), sr)
    if takes:
        assert (upscale(RGB, **takes | {"seed": 2}) != sr).any()
    deep = upscale(RGB.astype(np.uint16) * 257, **takes)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - sr).max() < 0.6  # what rounding to 8 bits takes
    assert isinstance(loaded.network, nn.Cell)


def test_irn_there_and_back():
    irn = package("IRN").load(scale=2)
    lr = irn.downscale(RGB)
    assert (lr.shape, lr.dtype) == ((10, 12, 3), np.uint8)
    assert irn.downscale(RGB[:19]).shape == (10, 12, 3)


def test_irn_draws_z_as_load_says():
    irn, seeded = package("IRN").load(scale=2), package("IRN").load(scale=2, seed=3)
    mean, drawn = package("IRN").load(scale=2, gaussian_scale=0).upscale(RGB), irn.upscale(RGB, seed=3)
    np.testing.assert_array_equal(seeded.upscale(RGB), drawn)
    np.testing.assert_array_equal(irn.upscale(RGB, gaussian_scale=0), mean)
    assert (drawn != irn.upscale(RGB)).any()
    assert (drawn != mean).any()


@pytest.mark.parametrize("model", ["WDSR", "CSNLN"])
def test_infer_writes_what_load_gives(model, tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), "-o", str(tmp_path), "--self_ensemble", "-s", "2"]
    assert importlib.import_module(f"{model}.infer").main(words) == 0
    written = np.asarray(Image.open(tmp_path / "a_x2.png"))
    np.testing.assert_array_equal(package(model).load(scale=2, self_ensemble=True)(RGB), written)


@pytest.mark.parametrize("model", ["WDSR", "CSNLN", "SRFlow", "SRDiff"])
def test_outscale(model, tmp_path):
    Image.fromarray(np.dstack([RGB, RGB[..., 0]])).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--outscale", "1.5"]
    words += ["--steps", "2"] if model == "SRDiff" else []
    assert importlib.import_module(f"{model}.infer").main(words) == 0
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "a_x1.5.png"
    assert Image.open(path).size == (36, 30)
    assert Image.open(path).mode == "RGBA"


def test_mistakes_are_said():
    with pytest.raises(UserError, match="unknown key 'scal'; did you mean 'scale'"):
        package("WDSR").load(scal=4)
    with pytest.raises(UserError, match=r"nowhere\.pth"):
        package("WDSR").load("nowhere.pth")
