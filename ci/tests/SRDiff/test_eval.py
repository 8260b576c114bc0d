"""What SRDiff's eval.py alone has: a summary of several ways to sample, packed patches."""

import re

import numpy as np
import pytest

from ci.tests.specs import smooth, write
from ci.tests.test_evaluation import rows_of
from common.mindrecord import PackOptions, pack
from SRDiff import eval as evaluation

RGB = "PSNR-RGB (crop 0): "


@pytest.fixture
def run(saved, tmp_path):
    """run(data, *words) -> rows of the table."""

    def begin(data, *words, to="o"):
        given = ["--dataset_GT_path", data, "--ckpt_path", saved["SRDiff"], "--output", tmp_path / to, *words]
        assert evaluation.main([*map(str, given), "--device_target", "CPU"]) == 0
        return rows_of(tmp_path / to / f"{data.stem}.csv")

    return begin


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "Some", {"b2": smooth(24, 32, 1), "b10": smooth(27, 37, 2)})


def test_summary_of_the_ways(run, data, tmp_path):
    rows = run(data, "--sampler", "ddpm,dpm", "--steps", "0,3", "--samples", 2)
    ways = ("ddpm 10", "ddpm 3", "dpm 10", "dpm 3")
    for row in rows.values():
        assert all(0 < row[f"seconds per sample: {way}"] < row["seconds"] for way in ways)
    text = (tmp_path / "o" / "Some_summary.md").read_text()
    lines = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines()[2:]]
    assert [line[:2] for line in lines[2:]] == [["bicubic", ""], *([*way.split()] for way in ways)]
    mean = np.mean([row[RGB + "dpm 3"] for row in rows.values()])
    spread = np.mean([row[RGB + "dpm 3, std over draws"] for row in rows.values()])
    assert lines[-1][lines[0].index("PSNR-RGB (crop 0)")] == f"{mean:.2f} ± {spread:.2f}"
    cut = run(data, "--sampler", "ddim", "--steps", 3, "--cut_to", 1, "--limit", 1, to="cut")
    assert not any(word in key for key in cut["b2"] for word in ("std", "diversity"))


def test_packed_patches(run, tmp_path):
    path = tmp_path / "patches.mindrecord"
    pack(PackOptions(hr=write(tmp_path / "hr", {"a": smooth(60, 72, 3)}), scale=4, output=path, patch=32, crops=3))
    assert len(run(path, "--limit", 2, "--sampler", "ddim", "--steps", 2, "--save_results", "no")) == 2
