"""eval.py as a user starts it: several sets in one call, the seed's lines, figures of the written pictures by NumPy."""

import csv

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.CSNLN.use import batch_of, levels, saved, smooth, used  # noqa: F401
from ci.tests.workers import assert_two_make_the_table_of_one
from common import UserError
from common.config import options as config
from common.images import files as images
from common.images.resize import imresize
from CSNLN import eval as evaluation

LUMA = np.array([65.481, 128.553, 24.966]) / 255
Y, RGB = "PSNR-Y (crop 2): ", "PSNR-RGB (crop 2): "


@pytest.fixture
def data(tmp_path):
    """Set5 as the seed draws it, with LR pictures of its own; Set14 without; and the pictures."""
    found = {"baby": smooth(16, 20, 1), "bird": smooth(18, 22, 2), "lenna": smooth(19, 23, 3)}
    benchmark = tmp_path / "data" / "benchmark"
    for name, hr in found.items():
        images.write_picture(benchmark / ("Set14" if name == "lenna" else "Set5") / "HR" / f"{name}.png", hr)
    lr = {name: imresize(found[name], 1 / 2) // 2 for name in ("baby", "bird")}
    for name, picture in lr.items():
        images.write_picture(benchmark / "Set5" / "LR_bicubic" / "X2" / f"{name}x2.png", picture)
    found["lenna"] = found["lenna"][:18, :22]  # whole multiples of the scale
    return tmp_path / "data", found, {**lr, "lenna": imresize(found["lenna"], 1 / 2)}


def run(*arguments):
    assert evaluation.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row.pop("picture"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}


def psnr(a, b, matrix):
    """As it is defined, of 8-bit pictures without a border of 2."""
    a, b = (picture[2:-2, 2:-2].astype(np.float64) @ matrix for picture in (a, b))
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def test_several_sets_and_the_seeds_lines(saved, used, data, tmp_path, capsys, monkeypatch):  # noqa: F811
    root, hr, lr = data
    file = tmp_path / "mine.yaml"
    file.write_text(f"data_path: {root}\ndata_test: Set5+Set14\n")
    monkeypatch.chdir(tmp_path)
    run("--config", file, f"--ckpt_file={saved[2]}", "--output", tmp_path / "o")
    rows = {name: rows_of(tmp_path / "o" / f"{name}.csv") for name in ("Set5", "Set14")}
    assert [*rows["Set5"], *rows["Set14"]] == ["baby", "bird", "lenna"]
    for name, row in {**rows["Set5"], **rows["Set14"]}.items():
        place = tmp_path / "o" / ("Set14" if name == "lenna" else "Set5")
        sr, bicubic = images.read_rgb(place / "SR" / f"{name}.png"), imresize(lr[name], 2)
        assert (place / "strips" / f"{name}.png").exists()
        for matrix, figure in ((LUMA, Y), (np.eye(3), RGB)):
            assert row[figure + "SR"] == pytest.approx(psnr(sr, hr[name], matrix), abs=1e-9)
            assert row[figure + "bicubic"] == pytest.approx(psnr(bicubic, hr[name], matrix), abs=1e-9)
    whole = np.pad(lr["bird"], ((0, 1), (0, 1), (0, 0)), mode="reflect")  # 9x11: too small for pieces
    wanted = levels(used[2](Tensor(batch_of(whole))).asnumpy())[:18, :22]
    assert np.abs(images.read_rgb(tmp_path / "o" / "Set5" / "SR" / "bird.png") - wanted).max() < 0.51

    said = capsys.readouterr().out.splitlines()
    for number, name in enumerate(("baby", "bird")):
        assert f"{number} : current psnr: {rows['Set5'][name][Y + 'SR']:.4f} [PSNR-Y (crop 2)]" in said
    for name, row in rows.items():
        mean = np.mean([one[Y + "SR"] for one in row.values()])
        assert f"Mean psnr of {name} x2 is {mean:.4f} [PSNR-Y (crop 2)]" in said
    assert sum(line.startswith("Mean ssim of Set") for line in said) == 2
    assert "LPIPS: not computed (give --lpips_weights)" in said
    assert said[-1] == f"written to {tmp_path / 'o'}"
    files = {path.name for path in (tmp_path / "o").iterdir()}
    assert files == {"Set5", "Set5.csv", "Set5.md", "Set14", "Set14.csv", "Set14.md"}


def test_flags_of_the_table(saved, data, tmp_path, capsys):  # noqa: F811
    """--limit, --crop, --save_results, and a folder of pictures as a set, whose name is a path."""
    folder = data[0] / "benchmark" / "Set14" / "HR"
    words = ("--data_path", data[0], "--ckpt_file", saved[2], "--self_ensemble", "--save_results", "no", "--limit", 1)
    run(*words, "--data_test", f"{folder}+Set5", "--crop", 1, "--output", tmp_path / "o")
    assert {path.suffix for path in (tmp_path / "o").iterdir()} == {".csv", ".md"}
    assert len(list((tmp_path / "o").iterdir())) == 4
    assert list(rows_of(tmp_path / "o" / "Set5.csv")) == ["baby"]
    said = capsys.readouterr().out
    assert "[PSNR-Y (crop 1)]" in said
    assert ", chop, self_ensemble" in said


def test_the_configuration_names_the_data(root):
    """The seed's plain `python eval.py --ckpt_file=...` takes what its file says."""
    found = config.read_yaml(root / "CSNLN" / "default_config.yaml")
    options = evaluation.parse(evaluation.EvalConfig, ["--ckpt_file=x.ckpt"], "")
    assert (options.data_path, options.data_test) == (found["data_path"], found["data_test"])
    assert options.ckpt_file == "x.ckpt"


def test_lpips_of_real_pictures(saved, shared_data, tmp_path, capsys):  # noqa: F811
    """With the weights, of a picture that is large enough for them."""
    images.write_picture(tmp_path / "d" / "a.png", smooth(64, 64, 4))
    words = ("--data_path", tmp_path, "--data_test", "d", "--ckpt_file", saved[2], "--output", tmp_path / "o")
    run(*words, "--lpips_weights", shared_data / "lpips")
    (row,) = rows_of(tmp_path / "o" / "d.csv").values()
    assert 0 < row["LPIPS (AlexNet v0.1): bicubic"] < row["LPIPS (AlexNet v0.1): SR"]
    assert "LPIPS: not computed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data_path", "/nope"], "data_path is not a folder: /nope"),
        (["--data_test", "Set99"], "no data set 'Set99'"),
        (["--data_test", "DIV2K"], "DIV2K"),
        (["--data_tset", "Set5"], "did you mean '--data_test'"),
        (["--ckpt_file", "/nope.pt"], "checkpoint not found: /nope.pt"),
        (["--scale", "3"], "has scale 2, not 3"),
        (["--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["--lpips_weights", "/nope"], "/nope"),
        (["--data_test", "Twice"], "are named a"),
    ],
)
def test_mistakes_get_one_sentence(saved, data, tmp_path, monkeypatch, words, sentence):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    for place in ("x", "y"):
        images.write_picture(data[0] / "Twice" / place / "a.png", smooth(16, 16, 1))
    with pytest.raises(UserError) as raised:
        evaluation.main(["--ckpt_file", str(saved[2]), "--data_path", str(data[0]), *words])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_workers_make_the_table_of_one(saved, used, data, tmp_path, monkeypatch):  # noqa: F811
    root, hr, _ = data
    images.write_picture(root / "benchmark" / "Set14" / "HR" / "a.png", hr["bird"])
    images.write_picture(root / "benchmark" / "Set14" / "HR" / "z.png", hr["baby"])
    arguments = ["--data_path", root, "--data_test", "Set14", "--ckpt_file", saved[2]]
    assert_two_make_the_table_of_one(evaluation.main, arguments, tmp_path, monkeypatch)
