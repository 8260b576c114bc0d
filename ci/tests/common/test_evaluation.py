"""Tables and pictures of an evaluation: right figures, right places, right names."""

import csv

import numpy as np
import pytest

from common import UserError
from common.evaluation.table import Figure, evaluate, lr_psnr_figure, psnr_figure, ssim_figure
from common.images import files as images
from common.images.pairs import find_pairs
from common.images.resize import imresize
from common.metrics.fidelity import Convention


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(5)
    for name in ("a2", "a10"):
        smooth = imresize(rng.integers(0, 256, (12, 14, 3), dtype=np.uint8), 4)
        images.write_picture(tmp_path / "HR" / f"{name}.png", smooth)
    return find_pairs(tmp_path / "HR", None, 2)


def naive_psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_figures_of_both_columns(pairs, tmp_path):
    shifted = {}

    def upscale(lr):
        sr = np.clip(imresize(lr, 2).astype(int) + 3, 0, 255).astype(np.uint8)
        shifted[lr.tobytes()] = sr
        return sr

    table = evaluate("t", pairs, upscale, [psnr_figure(Convention("rgb", 0))], 2, None)
    assert list(table.rows) == ["a2", "a10"]  # natural order
    for pair in pairs:
        hr = images.read_rgb(pair.hr)
        lr = imresize(hr, 0.5)
        bicubic, network = table.rows[pair.name]["PSNR-RGB (crop 0)"]
        assert bicubic == pytest.approx(naive_psnr(imresize(lr, 2), hr), abs=1e-9)
        assert network == pytest.approx(naive_psnr(shifted[lr.tobytes()], hr), abs=1e-9)
        assert network != bicubic
    means = table.mean("PSNR-RGB (crop 0)")
    assert means[1] == pytest.approx(np.mean([row["PSNR-RGB (crop 0)"][1] for row in table.rows.values()]))


def test_files_and_console(pairs, tmp_path):
    figures = [psnr_figure(Convention("y", 2)), ssim_figure(Convention("y", 2)), lr_psnr_figure(2)]
    table = evaluate("Set x2", pairs, lambda lr: imresize(lr, 2), figures, 2, tmp_path / "out")
    table.write(tmp_path / "out", "Set")
    with open(tmp_path / "out" / "Set.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["a2", "a10"]
    for row in rows:
        assert float(row["PSNR-Y (crop 2): SR"]) == table.rows[row["picture"]]["PSNR-Y (crop 2)"][1]
    markdown = (tmp_path / "out" / "Set.md").read_text()
    assert markdown.count("\n|") == 5  # heading, rule, two pictures, mean
    lines = table.console().splitlines()
    assert len({len(line) for line in lines[2:]}) == 1  # aligned
    assert "PSNR-Y (crop 2)" in lines[1]
    assert "mean" in lines[-1]
    for name in ("a2", "a10"):
        assert images.read_rgb(tmp_path / "out" / "SR" / f"{name}.png").shape == (48, 56, 3)
        strip = images.read_rgb(tmp_path / "out" / "strips" / f"{name}.png")
        assert strip.shape[1] > 4 * 56


def test_pictures_of_one_name_in_two_folders_are_refused(pairs, tmp_path):
    for folder in ("left", "right"):
        images.write_picture(tmp_path / "both" / folder / "a.png", images.read_rgb(pairs[0].hr))
    with pytest.raises(UserError, match="two pictures of t are named a"):
        evaluate("t", find_pairs(tmp_path / "both", None, 2), lambda lr: imresize(lr, 2), [], 2, None)


def test_mismatched_pictures_are_named(tmp_path):
    grey = np.full((16, 16, 3), 9, np.uint8)
    images.write_picture(tmp_path / "HR" / "a.png", grey)
    images.write_picture(tmp_path / "LR" / "ax2.png", grey)
    figure = Figure("PSNR", lambda sr, hr, lr: 0.0)
    with pytest.raises(UserError, match=r"ax2\.png is 16x16, but x2 of .*a\.png needs 8x8"):
        evaluate("t", find_pairs(tmp_path / "HR", tmp_path / "LR", 2), lambda lr: lr, [figure], 2, None)
