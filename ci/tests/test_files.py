"""What the five do with the files that they read and write: by the programs, with networks of one block."""

import importlib
import logging

import numpy as np
import pytest
from PIL import Image, ImageCms

from ci.tests.wrong_input import tiny_networks
from common import UserError
from common.checkpoint.files import Checkpoint, save
from common.images import files as images

MODELS = ("WDSR", "IRN", "SRFlow", "SRDiff", "CSNLN")
UPSCALE = {"IRN": ["upscale"]}  # the command, where one must be typed
DATA = {"WDSR": "--dir_data", "CSNLN": "--data_path"}  # the others: --dataset_GT_path
FAST = {"SRDiff": ["--steps", "1", "--sampler", "ddim"]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Model -> its checkpoint and scale."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for model, network, description in tiny_networks():
        arrays = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
        save(folder / f"{model}.ckpt", Checkpoint(arrays, description))
        found[model] = folder / f"{model}.ckpt", description["scale"]
    return found


@pytest.fixture
def infer(weights, tmp_path, monkeypatch):
    """Run a model's infer.py in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(model, *words):
        words = [*UPSCALE.get(model, []), *words, "--ckpt_path", str(weights[model][0]), "--engine", "mindspore"]
        return importlib.import_module(f"{model}.infer").main([*words, *FAST.get(model, [])])

    return run


def pixels(height=16, width=24):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("model", MODELS)
def test_any_file_and_the_others_are_done(infer, weights, tmp_path, caplog, model):
    """Profiles are kept; TIFF, WebP and links are read; what cannot be written is said before it is computed."""
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels()).save(tmp_path / "in" / "a.png", icc_profile=profile)
    Image.fromarray(pixels()).save(tmp_path / "in" / "b.tif", icc_profile=profile)
    Image.fromarray(pixels()).save(tmp_path / "elsewhere" / "c.webp", icc_profile=profile)
    (tmp_path / "in" / "link").symlink_to("../elsewhere")
    images.write_picture(tmp_path / "in" / "wide.png", pixels(2, 40_000))
    long = "n" * 250
    images.write_picture(tmp_path / "in" / f"{long}.png", pixels())
    scale = weights[model][1]
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match="2 of 5 pictures could not be"):
        infer(model, "in", "--output", "out", "--format", "jpg", "--suffix", "_up")
    for name in ("a", "b", "link/c"):
        with Image.open(tmp_path / "out" / f"{name}_up.jpg") as made:
            assert made.size == (24 * scale, 16 * scale)
            assert made.info["icc_profile"] == profile
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 2
    assert any(f"{long}_up.jpg has more than 255 bytes" in line for line in said)
    assert any("JPEG at most 65500 a side: type --format png" in line for line in said)


def written_over(model):
    """Files of a folder, the one that a result of the other would replace, and the options that it takes."""
    sheet = "samples" if model in ("SRFlow", "SRDiff") else "compare"
    options = {
        "SRFlow": ["--samples", "2"],
        "SRDiff": ["--samples", "2"],
        "WDSR": ["--compare"],
        "CSNLN": ["--compare"],
    }
    return ("x", []) if model == "IRN" else (sheet, options[model])


@pytest.mark.parametrize("model", MODELS)
def test_no_result_replaces_an_input(infer, tmp_path, model):
    """Nor do the strips and sheets beside the results."""
    sheet, options = written_over(model)
    victim = tmp_path / "in" / ("a_up.png" if model == "IRN" else f"a_up_{sheet}.png")
    images.write_picture(tmp_path / "in" / "a.png", pixels())
    images.write_picture(victim, pixels(8, 8))
    before = victim.read_bytes()
    with pytest.raises(UserError, match="1 of 2 pictures could not be"):
        infer(model, "in", "--output", "in", "--suffix", "_up", *options)
    assert victim.read_bytes() == before


def test_no_result_replaces_what_is_fused_in(infer, tmp_path):
    """SRDiff reads it anew for each image."""
    for name in ("face.png", "out/face_fused.png"):
        images.write_picture(tmp_path / name, pixels(32, 32))
    words = ["face.png", "--fuse", "out/face_fused.png", "--box", "0,0,16,16", "--t", "2", "--output", "out"]
    with pytest.raises(UserError, match=r"out/face_fused\.png would be overwritten"):
        infer("SRDiff", *words)


@pytest.mark.parametrize("model", MODELS)
def test_no_result_of_an_evaluation_replaces_an_image(weights, tmp_path, monkeypatch, model):
    """A set whose images are where the evaluation would write its own."""
    monkeypatch.chdir(tmp_path)
    images.write_picture(tmp_path / "pics" / "SR" / "a.png", pixels(32, 32))
    words = [DATA.get(model, "--dataset_GT_path"), ".", "--data_test", "pics", "--ckpt_path", str(weights[model][0])]
    with pytest.raises(UserError, match="has pics already: type a new folder"):
        importlib.import_module(f"{model}.eval").main([*words, "--engine", "mindspore", "--output", "."])
    assert [path.name for path in tmp_path.rglob("*.*")] == ["a.png"]
