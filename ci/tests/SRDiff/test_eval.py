"""eval.py as a user starts it: figures of the written pictures by NumPy, several ways, data sets, lost samples."""

import csv
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest

from ci.tests.SRDiff.use import Chain, close, promised_noise, saved, smooth, used  # noqa: F401
from ci.tests.workers import assert_two_make_the_table_of_one
from common import UserError
from common.images import files as images
from common.images.resize import imresize
from common.mindrecord import PackOptions, pack
from SRDiff import eval as evaluation
from SRDiff.src.model_utils import pictures as sampling
from SRDiff.src.model_utils.measuring import evaluation_sets
from SRDiff.src.model_utils.options import EvalConfig

LUMA = np.array([65.481, 128.553, 24.966]) / 255
RGB = "PSNR-RGB (crop 0): "


@pytest.fixture
def pictures(tmp_path):
    """A folder of two HR pictures, one with odd sides."""
    found = {"b2": smooth(24, 32, 1), "b10": smooth(27, 37, 2)}
    for name, picture in found.items():
        images.write_picture(tmp_path / "Some" / f"{name}.png", picture)
    return tmp_path / "Some", found


def run(*arguments):
    assert evaluation.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def rows_of(folder, name="Some"):
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        return {row.pop("picture"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}


def psnr(a, b, on_y=False):
    """As it is defined, of 8-bit pictures."""
    a, b = (x.astype(np.float64) @ (LUMA if on_y else np.eye(3)) for x in (a, b))
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def test_figures_of_the_written_pictures(saved, used, pictures, tmp_path, capsys, caplog):  # noqa: F811
    folder, found = pictures
    out = tmp_path / "o"
    with caplog.at_level(logging.INFO):
        run("--dataset_GT_path", folder, "--ckpt_path", saved[4], "--sampler", "ddpm,dpm", "--steps", "0,3",
            "--samples", 2, "--output", out)  # fmt: skip
    rows, ways = rows_of(out), ("ddpm 10", "ddpm 3", "dpm 10", "dpm 3")
    assert list(rows) == ["b2", "b10"]
    for name, row in rows.items():
        hr = found[name][:24, :32]  # multiples of 8
        lr = imresize(hr, 1 / 4)
        assert row[RGB + "bicubic"] == pytest.approx(psnr(imresize(lr, 4), hr), abs=1e-9)
        for way in ways:
            place = out / "Some" / f"SR_{way.replace(' ', '_')}"
            samples = [images.read_rgb(place / f"{name}_{number}.png") for number in (1, 2)]
            scores = [psnr(sample, hr) for sample in samples]
            assert row[RGB + way] == pytest.approx(np.mean(scores), abs=1e-9)
            on_y = np.mean([psnr(sample, hr, on_y=True) for sample in samples])
            assert row[f"PSNR-Y (crop 0): {way}"] == pytest.approx(on_y, abs=1e-9)
            again = np.mean([psnr(imresize(sample, size=lr.shape[:2]), lr) for sample in samples])
            assert row[f"LR-PSNR-RGB (crop 0): {way}"] == pytest.approx(again, abs=0.05)  # halves rounded to even
            spread = np.stack(samples).astype(float).std(0).mean()
            assert row[f"diversity (std of 255): {way}"] == pytest.approx(spread, abs=1e-9)
            assert 0 < row[f"seconds per sample: {way}"] < row["seconds"]
        assert row[RGB + "dpm 3, std over draws"] == pytest.approx(np.std(scores), abs=1e-9)
    said = capsys.readouterr().out
    for words in ("SSIM-RGB (crop 0, 7x7 uniform)", "SSIM-Y (crop 0, 11x11 gaussian)", "LPIPS: not computed"):
        assert words in said
    assert {path.name for path in out.iterdir()} == {"Some", "Some.csv", "Some.md", "Some_summary.md"}
    assert {path.name for path in (out / "Some" / "strips").iterdir()} == {"b2.png", "b10.png"}
    assert f"b2: PSNR-RGB (crop 0) bicubic {rows['b2'][RGB + 'bicubic']:.2f}, ddpm 10 " in caplog.text

    lines = [re.split(r" *\| *", line)[1:-1] for line in (out / "Some_summary.md").read_text().splitlines()[2:]]
    assert [line[:2] for line in lines[2:]] == [["bicubic", ""], *([*way.split()] for way in ways)]
    place = lines[0].index("PSNR-RGB (crop 0)")
    mean = np.mean([row[RGB + "dpm 3"] for row in rows.values()])
    spread = np.mean([row[RGB + "dpm 3, std over draws"] for row in rows.values()])
    assert lines[-1][place] == f"{mean:.2f} ± {spread:.2f}"
    assert lines[2][-1] == ""  # bicubic's seconds

    lr = imresize(found["b2"], 1 / 4)
    chain = Chain(used[4], lr, (6, 8))
    second = images.read_rgb(out / "Some" / "SR_ddpm_10" / "b2_2.png")
    close(second, chain.picture(chain.sample(promised_noise("b2", chain.size, 10, 1))))


def test_one_way_and_one_sample(saved, pictures, tmp_path, capsys):  # noqa: F811
    """The first sample is the same alone and among others; another cut and crop are others' figures."""
    words = ("--dataset_GT_path", pictures[0], "--ckpt_path", saved[4], "--limit", 1, "--sampler", "ddim", "--steps", 3)
    run(*words, "--output", tmp_path / "one")
    run(*words, "--samples", 2, "--save_results", "no", "--cut_to", 1, "--crop", 4, "--output", tmp_path / "two")
    (one,), (two,) = (rows_of(tmp_path / name).values() for name in ("one", "two"))
    assert not any(word in key for key in one for word in ("std", "diversity"))
    assert "PSNR-Y (crop 4): ddim 3" in two
    assert (tmp_path / "one" / "Some" / "SR_ddim_3" / "b2.png").exists()
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"Some.csv", "Some.md", "Some_summary.md"}
    assert "±" in capsys.readouterr().out


def test_lost_samples_are_named_and_the_others_count(saved, pictures, tmp_path, monkeypatch, capsys):  # noqa: F811
    """The second sample of the one picture, and both of the other."""
    drawn = []
    broken = SimpleNamespace(run=lambda x, t, cond: np.full_like(x, np.nan))

    class Failing(sampling.Look):
        def draw(self, *arguments, **options):
            drawn.append(self)
            if len(drawn) > 1:
                self.predictor = broken
            return super().draw(*arguments, **options)

    monkeypatch.setattr(sampling, "Look", Failing)
    words = ("--dataset_GT_path", pictures[0], "--ckpt_path", saved[4], "--sampler", "ddim", "--steps", 2)
    run(*words, "--samples", 2, "--output", tmp_path / "o")
    said = capsys.readouterr()
    assert "3 sample(s) ran to values that are no numbers: b2, ddim 2, sample 2: " in said.out
    assert "b10 is left out of the table" in said.err
    (row,) = rows_of(tmp_path / "o").values()
    sample = images.read_rgb(tmp_path / "o" / "Some" / "SR_ddim_2" / "b2_1.png")
    assert row[RGB + "ddim 2"] == pytest.approx(psnr(sample, pictures[1]["b2"]), abs=1e-9)
    assert (tmp_path / "o" / "Some_summary.md").read_text().count("\n- b10, ddim 2, sample ") == 2


def test_packed_patches(saved, tmp_path, capsys):  # noqa: F811
    images.write_picture(tmp_path / "hr" / "a.png", smooth(60, 72, 3))
    path = tmp_path / "patches.mindrecord"
    pack(PackOptions(hr=tmp_path / "hr", scale=8, output=path, patch=32, crops=3))
    run("--dataset_GT_path", path, "--ckpt_path", saved[8], "--limit", 2, "--sampler", "ddim", "--steps", 2,
        "--save_results", "no", "--output", tmp_path / "o")  # fmt: skip
    assert len(rows_of(tmp_path / "o", "patches")) == 2
    assert "patches x8, SRDiff" in capsys.readouterr().out


def test_data_sets_are_found(tmp_path):
    for place in ("benchmark/Set5/HR/baby", "Set14/lenna", "div2k/val/X1/image_0000", "div2k/train/X1/image_0001"):
        images.write_picture(tmp_path / f"{place}.png", smooth(24, 24, 1))
    images.write_picture(tmp_path / "div2k" / "val" / "X4" / "image_0000.png", smooth(6, 6, 1))
    images.write_picture(tmp_path / "lr" / "Set5" / "babyx4.png", smooth(6, 6, 1))

    def sets(**options):
        found = evaluation_sets(EvalConfig(**{key: str(value) for key, value in options.items()}), 4)
        return {name: [(pair.name, pair.lr and pair.lr.name) for pair in pairs] for name, pairs in found.items()}

    both = {"Set5": [("baby", None)], "Set14": [("lenna", None)]}
    assert sets(dataset_GT_path=tmp_path, data_test="Set5+Set14") == both
    with_lr = {"Set5": [("baby", "babyx4.png")]}
    assert sets(dataset_GT_path=tmp_path, data_test="Set5", dataset_LQ_path=tmp_path / "lr") == with_lr
    assert sets(dataset_GT_path=tmp_path / "div2k") == {"div2k": [("image_0000", "image_0000.png")]}
    assert sets(dataset_GT_path=tmp_path / "Set14", data_name="mine") == {"mine": [("lenna", None)]}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which pictures? type --dataset_GT_path FOLDER, or FILE.mindrecord"),
        (["--dataset_GT_path", "/nope"], "/nope"),
        (["--dataset_GT_path", "/nope.mindrecord"], "/nope.mindrecord"),
        (["--dataset_GT_path", "EMPTY"], "found none"),
        (["--dataset_GT_path", "EMPTY", "--data_test", "Set99"], "no data set 'Set99'"),
        (["--dataset_GT_path", "SMALL"], "dot is smaller than 8x8, and pictures are cut to multiples of it (--cut_to)"),
        (["--dataset_GT_path", "SMALL", "--cut_to", "1"], "dot: SSIM"),
        (["--dataset_GT_path", "TWICE"], "are named a"),
        (["--dataset_GT_path", "SOME", "--ckpt_path", "/nope.pth"], "checkpoint not found: /nope.pth"),
        (["--dataset_GT_path", "SOME", "--scale", "2"], "has scale 4, not 2"),
        (["--dataset_GT_path", "SOME", "--samples", "0"], "samples must be 1 or more"),
        (["--dataset_GT_path", "SOME", "--sampler", "ddpm,dmp"], "sampler must be one of ddpm, ddim, dpm, not 'dmp'"),
        (["--dataset_GT_path", "SOME", "--steps", "5,11"], "--steps are numbers from 1 to 10"),
        (["--dataset_GT_path", "SOME", "--steps", "x"], "steps must be a whole number, not 'x'"),
        (["--dataset_GT_path", "SOME", "--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["--dataset_GT_path", "SOME", "--lpips_weights", "/nope"], "/nope"),
    ],
)
def test_mistakes_get_one_sentence(saved, pictures, tmp_path, monkeypatch, words, sentence):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for place, size in (("small/dot", 7), ("twice/x/a", 24), ("twice/y/a", 24)):
        images.write_picture(tmp_path / f"{place}.png", smooth(size, size, 1))
    places = {name: str(tmp_path / name.lower()) for name in ("EMPTY", "SMALL", "TWICE")}
    places["SOME"] = str(pictures[0])
    few = ["--sampler", "ddim", "--steps", "1"]
    with pytest.raises(UserError) as raised:
        evaluation.main(["--ckpt_path", str(saved[4]), *few, *(places.get(word, word) for word in words)])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_workers_make_the_table_of_one(saved, used, pictures, tmp_path, monkeypatch):  # noqa: F811
    images.write_picture(pictures[0] / "b3.png", smooth(24, 24, 3))
    arguments = ["--dataset_GT_path", pictures[0], "--ckpt_path", saved[4], "--samples", 2, "--steps", 3, "--report"]
    assert_two_make_the_table_of_one(evaluation.main, arguments, tmp_path, monkeypatch)
    one, two = ((tmp_path / kind / "Some_summary.md").read_text().splitlines() for kind in ("one", "two"))
    assert [line.rsplit("|", 2)[0] for line in one] == [line.rsplit("|", 2)[0] for line in two], "but for the seconds"
