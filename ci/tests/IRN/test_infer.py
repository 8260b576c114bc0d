"""What IRN's infer.py alone has: downscale, and what the LR file says to upscale."""

import logging

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ci.tests.IRN import nets
from ci.tests.specs import BY_NAME, noise, write
from common import UserError
from common.images import imresize, read_image, read_rgb
from IRN import infer


@pytest.fixture
def run(saved, tmp_path):
    """run(command, source, folder, *words) -> the files that are written into `tmp_path`/folder."""

    def begin(command, source, to, *words, weights=saved["IRN"]):
        given = [command, source, "--output", tmp_path / to, "--ckpt_path", weights, "--device_target", "CPU", *words]
        assert infer.main([str(word) for word in given]) == 0
        return sorted((tmp_path / to).rglob("*.*"))

    return begin


def texts(path):
    with Image.open(path) as file:
        file.load()
        return {key: value for key, value in file.text.items() if key.startswith("irn_")}


def strip_texts(path):
    """What many programs do to an image that they store again."""
    iio.imwrite(path, iio.imread(path))
    assert texts(path) == {}


@pytest.mark.parametrize("kind", ["colour", "gray", "alpha", "16 bits"])
def test_an_image_goes_both_ways(run, tmp_path, kind):
    """By the training form on the image with reflection padding; back to its size, whatever program stored LR."""
    hr = noise(27, 38, {"gray": 1, "alpha": 4}.get(kind, 3))
    stored = hr.astype(np.uint16) * 257 if kind == "16 bits" else hr
    write(tmp_path, {"a.png": stored}) if kind == "16 bits" else iio.imwrite(tmp_path / "a.png", stored)
    (lr_path,) = run("downscale", tmp_path / "a.png", "lr")
    (hr_path,) = run("upscale", lr_path, "hr", "--gaussian_scale", 0.5, "--seed", 7)
    assert (lr_path.name, hr_path.name) == ("a_lr_x2.png", "a_lr_x2_hr.png")
    network, lr, restored = nets.make(), read_image(lr_path), read_image(hr_path)
    continued = np.pad(hr if hr.ndim == 3 else np.dstack([hr] * 3), [(0, 1), (0, 0), (0, 0)], mode="reflect")
    wanted = nets.eight_bits(nets.down(network, continued[..., :3] / 255))
    assert np.abs(lr.rgb.astype(int) - wanted).max() <= 1  # values that are halves but for the last bit
    assert lr.rgb.dtype == restored.rgb.dtype == np.uint8
    assert restored.rgb.shape == (27, 38, 3)
    if kind != "gray":
        wanted = nets.eight_bits(nets.upscale(network, lr.rgb, lr_path.name))[:27]
        assert np.abs(restored.rgb.astype(int) - wanted).max() <= 1
    found = texts(lr_path)
    assert len(found.pop("irn_weights")) == 16
    assert found.pop("irn_gray", "no") == ("yes" if kind == "gray" else "no")
    assert found == {"irn_original_size": "38x27", "irn_scale": "2"}
    if kind == "alpha":
        assert np.array_equal(lr.alpha, imresize(continued[..., 3], 1 / 2))
        assert np.array_equal(restored.alpha, imresize(lr.alpha, 2)[:27])


def test_tiles_change_nothing(run, tmp_path):
    write(tmp_path, {"a": noise(90, 76)})
    one, other = (run("downscale", tmp_path / "a.png", f"lr{tile}", "--tile", tile)[0] for tile in (0, 25))
    assert one.read_bytes() == other.read_bytes()


def test_size_without_notes(run, tmp_path, caplog):
    write(tmp_path, {"a": noise(13, 17)})
    with caplog.at_level(logging.INFO):
        (lr,) = run("downscale", tmp_path / "a.png", "lr")
    assert "padded by reflection to 18x14, upscale cuts it off" in caplog.text
    assert "poorly" not in caplog.text
    strip_texts(lr)
    (bare,) = run("upscale", lr, "bare")
    assert "does not say that IRN's downscale made it: rescaling is not super-resolution" in caplog.text
    assert "all of it, since the original size is not known: --size gives it" in caplog.text
    (asked,) = run("upscale", lr, "asked", "--size", "17x14")
    assert read_rgb(bare).shape == (14, 18, 3)
    assert np.array_equal(read_rgb(asked), read_rgb(bare)[:14, :17])
    for size in ("15x14", "19x14", "17"):
        with pytest.raises(UserError, match="size"):
            run("upscale", lr, "wrong", "--size", size)
    run("downscale", tmp_path / "a.png", "bmp", "--format", "bmp")
    assert "upscale --size 17x13 cuts it off" in caplog.text
    with pytest.raises(UserError, match="is not written as JPEG, which changes the values"):
        run("downscale", tmp_path / "a.png", "jpg", "--format", "jpg")


def test_images_of_other_weights_scales_and_shapes_are_doubted(run, saved, tmp_path, caplog):
    network = nets.make(seed=4)
    other = BY_NAME["IRN"].save(tmp_path / "other.ckpt", {p.name: p.asnumpy() for p in network.get_parameters()})
    write(tmp_path, {"a": noise(12, 16)})
    (lr,) = run("downscale", tmp_path / "a.png", "lr")

    def said(weights):
        caplog.clear()
        run("upscale", lr, "hr", weights=weights)
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    assert said(saved["IRN"]) == []
    assert said(other) == [f"{lr} was made by other weights: it comes back poorly"]
    info = PngImagePlugin.PngInfo()
    for key, value in texts(lr).items():
        info.add_text(key, value.replace("2", "4") if key == "irn_scale" else value)
    Image.fromarray(read_rgb(lr)).save(lr, pnginfo=info)
    assert said(saved["IRN"]) == [f"{lr} was made at x4, these weights are x2: it comes back poorly"]
    info.add_text("irn_scale", "2")
    Image.fromarray(read_rgb(lr)[:4]).save(lr, pnginfo=info)  # cut by a program that keeps texts
    (sentence,) = said(saved["IRN"])
    assert "is not as it was made: 16x12, which it says it was" in sentence
    assert read_rgb(tmp_path / "hr" / "a_lr_x2_hr.png").shape == (8, 16, 3)
