"""What infer.py of each model gives a photographer: images as gray as they came, and how long it will take."""

import importlib
import logging
import re

import numpy as np
import pytest
from PIL import Image

from common import images
from common import runtime as console

COMMANDS = {
    "WDSR": ["--tile", "60"],
    "IRN upscale": ["--tile", "104"],
    "IRN downscale": ["--tile", "104"],
    "SRFlow": ["--tile", "52", "--heat", "0.9", "--samples", "2"],
    "SRDiff": ["--steps", "2", "--samples", "2"],
    "CSNLN": [],
}
UNIT = {"SRDiff": "steps", "CSNLN": "pieces"}


def run(command, source, output, *words):
    """Run infer.py with the demo weights; the files written, by the stem of their source."""
    model, *name = command.split()
    infer = importlib.import_module(f"{model}.infer")
    arguments = [*name, str(source), "--output", str(output), *COMMANDS[command], *words, "--device_target", "CPU"]
    assert infer.main(arguments) == 0
    return {path.name: Image.open(path) for path in sorted(output.iterdir())}


def photo(width=64, height=24):
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(1).normal(0, 9, (height, width))
    return (2 * columns + 3 * rows + noise).clip(0, 255).astype(np.uint8)


def test_gray_comes_back_gray_from_irn_at_no_loss(tmp_path):
    """The LR image keeps the colours that hold the detail."""
    Image.fromarray(photo()).save(tmp_path / "a.png")
    run("IRN downscale", tmp_path / "a.png", tmp_path / "lr")
    run("IRN upscale", tmp_path / "lr", tmp_path / "hr")
    rgb = images.read_rgb(tmp_path / "hr" / "a_lr_x2_hr.png")
    assert (rgb == rgb[..., :1]).all()
    assert np.ptp(images.read_rgb(tmp_path / "lr" / "a_lr_x2.png"), axis=2).max() > 0


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "IRN downscale"])
def test_gray_comes_back_gray(command, tmp_path):
    gray = photo()
    alpha = np.full_like(gray, 200)
    files = {
        "gray.png": Image.fromarray(gray),
        "photo.jpg": Image.fromarray(gray),
        "alpha.png": Image.fromarray(np.dstack([gray, alpha])),
        "deep.png": Image.fromarray(gray.astype(np.uint16) * 257),
        "colorless.png": Image.fromarray(np.dstack([gray] * 3)),
        "color.png": Image.fromarray(np.dstack([gray, gray[::-1], gray[:, ::-1]])),
    }
    (tmp_path / "in").mkdir()
    for name, image in files.items():
        image.save(tmp_path / "in" / name)
    made = run(command, tmp_path / "in", tmp_path / "out")
    for name, image in made.items():
        rgb = images.read_image(tmp_path / "out" / name).rgb
        colored = (rgb != rgb[..., :1]).any()
        assert colored == name.startswith("color_"), name
        if "samples" not in name:
            source = next(image for source, image in files.items() if name.startswith(source.partition(".")[0] + "_"))
            assert image.mode in (["LA", "RGBA"] if source.mode == "LA" else [source.mode]), name
            assert abs(rgb.mean() / np.iinfo(rgb.dtype).max - np.mean(gray) / 255) < 0.05, name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_says_how_long_it_will_take(command, tmp_path, monkeypatch, caplog):
    """After the first tile, and then as often as the patience ends."""
    Image.fromarray(photo(width=220)).save(tmp_path / "a.png")
    monkeypatch.setattr(console, "PATIENCE", 0)
    with caplog.at_level(logging.INFO):
        run(command, tmp_path / "a.png", tmp_path / "out")
    told = re.findall(rf"a\.png: (\d+) of (\d+) {UNIT.get(command, 'tiles')}, about .* left", caplog.text)
    assert [int(done) for done, _ in told[: int(told[0][1]) - 1]] == list(range(1, int(told[0][1])))
