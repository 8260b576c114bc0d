"""`python -m common.metrics`: two folders that any program wrote, against naive NumPy."""

import csv

import numpy as np
import pytest
from PIL import Image

from common import UserError
from common.metrics.__main__ import main

RNG = np.random.default_rng(3)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """HR of 25x31 and 24x30; SR as infer.py names it, cut to multiples of 2; LR."""
    for name, (height, width) in {"a": (25, 31), "b": (24, 30)}.items():
        write(tmp_path / f"HR/{name}.png", RNG.integers(0, 256, (height, width, 3), np.uint8))
        write(tmp_path / f"SR/{name}_x2.png", RNG.integers(0, 256, (24, 30, 3), np.uint8))
        write(tmp_path / f"LR/{name}x2.png", RNG.integers(0, 256, (12, 15, 3), np.uint8))
    return tmp_path


def measure(folder, *words):
    assert main([str(folder / "SR"), str(folder / "HR"), "--csv", str(folder / "t.csv"), *words]) == 0
    with open(folder / "t.csv", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def naive_psnr(folder, name, crop, luma=None):
    sr = np.asarray(Image.open(folder / f"SR/{name}_x2.png"), np.float64)
    hr = np.asarray(Image.open(folder / f"HR/{name}.png"), np.float64)[: sr.shape[0], : sr.shape[1]]
    if luma is not None:
        sr, hr = sr @ luma, hr @ luma
    inside = slice(crop, -crop or None)
    return 10 * np.log10(255**2 / np.mean((sr[inside, inside] - hr[inside, inside]) ** 2))


def test_y_of_two_folders(folders, capsys):
    rows = measure(folders, "--scale", "2")
    luma = np.array([65.481, 128.553, 24.966]) / 255
    for name in "ab":
        assert float(rows[name]["PSNR-Y (crop 2): SR"]) == pytest.approx(naive_psnr(folders, name, 2, luma), abs=1e-9)
    assert "seconds" not in rows["a"]
    assert "peak 255, 2 pixels cropped" in capsys.readouterr().out


def test_lr_gives_the_scale_bicubic_and_lr_psnr(folders):
    row = measure(folders, "--protocol", "srflow", "--lr", str(folders / "LR"), "--report", str(folders / "r.html"))[
        "a"
    ]
    assert float(row["PSNR-RGB (crop 0): SR"]) == pytest.approx(naive_psnr(folders, "a", 0), abs=1e-9)
    assert {"PSNR-Y (crop 2): bicubic", "LR-PSNR-RGB (crop 0): SR"} < row.keys()
    assert (folders / "r.html").read_text().count('class="pane"') == 2 * 3  # bicubic, SR, HR


def test_report_without_lr(folders):
    measure(folders, "--crop", "0", "--report", str(folders / "r.html"))
    assert (folders / "r.html").read_text().count('class="pane"') == 2 * 2  # SR, HR


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["SR", "HR"], "type --crop N, or --scale N"),
        (["LR", "HR", "--crop", "0"], "expected one size"),
        (["SR/a_x2.png", "HR", "--crop", "0"], "have no x1 image"),
    ],
)
def test_mistakes(folders, words, said):
    paths = [str(folders / word) for word in words[:2]]
    with pytest.raises(UserError, match=said):
        main([*paths, *words[2:]])
