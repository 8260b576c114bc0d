"""What SRDiff's eval.py alone has: a summary of several ways to sample, lost samples, packed patches."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from ci.tests.specs import psnr, smooth, write
from ci.tests.test_evaluation import rows_of
from common.images import read_rgb
from common.mindrecord import PackOptions, pack
from SRDiff import eval as evaluation
from SRDiff.src.model_utils import pictures as sampling

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


def test_lost_samples_are_named_and_the_others_count(run, data, tmp_path, monkeypatch, capsys):
    """The second sample of the one picture, and both of the other."""
    drawn, broken = [], SimpleNamespace(run=lambda x, t, cond: np.full_like(x, np.nan))

    class Failing(sampling.Look):
        def draw(self, *arguments, **options):
            drawn.append(self)
            if len(drawn) > 1:
                self.predictor = broken
            return super().draw(*arguments, **options)

    monkeypatch.setattr(sampling, "Look", Failing)
    (row,) = run(data, "--sampler", "ddim", "--steps", 2, "--samples", 2).values()
    said = capsys.readouterr()
    assert re.search(r"3 sample\(s\) ran to .*: b2, ddim 2, sample 2: ", said.out)
    assert "b10 is left out of the table" in said.err
    sample = read_rgb(tmp_path / "o" / "Some" / "SR_ddim_2" / "b2_1.png")
    assert row[RGB + "ddim 2"] == pytest.approx(psnr(sample, smooth(24, 32, 1)), abs=1e-9)
    assert (tmp_path / "o" / "Some_summary.md").read_text().count("\n- b10, ddim 2, sample ") == 2


def test_packed_patches(run, tmp_path):
    path = tmp_path / "patches.mindrecord"
    pack(PackOptions(hr=write(tmp_path / "hr", {"a": smooth(60, 72, 3)}), scale=4, output=path, patch=32, crops=3))
    assert len(run(path, "--limit", 2, "--sampler", "ddim", "--steps", 2, "--save_results", "no")) == 2
