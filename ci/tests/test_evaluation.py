"""eval.py of the five: figures by NumPy of the written images, tables and strips, several sets."""

import csv
import re

import numpy as np
import pytest

from ci.tests.specs import BY_NAME, noise, psnr, smooth, write
from common import UserError
from common.images import imresize, read_rgb

SAMPLED = {"SRFlow", "SRDiff"}  # several results of each image: how they differ is a figure


@pytest.fixture
def hr(tmp_path):
    """Two sets, one with an image of odd sides."""
    found = {"One": {"b2": smooth(40, 48, 1), "b10": smooth(43, 37, 2)}, "Two": {"c": smooth(32, 40, 3)}}
    for name, images in found.items():
        write(tmp_path / "sets" / name, images)
    return found


@pytest.fixture
def evaluate(saved, tmp_path):
    """evaluate(spec, *words) -> {set: {image: {column: value}}}, with what it wrote in `tmp_path`/out."""

    def run(spec, *words, to="out"):
        given = ["--dataset_GT_path", tmp_path / "sets", "--ckpt_path", saved[spec.name], *spec.evaluate]
        words = [*given, "--output", tmp_path / to, "--device_target", "CPU", *words]
        assert spec.main("eval", *words) == 0
        return {path.stem: rows_of(path) for path in sorted((tmp_path / to).glob("*.csv"))}

    return run


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row.pop("image"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}


def written(folder, name):
    """The SR images of one HR image: one, or its samples."""
    paths = sorted(folder.glob(f"{name}.png")) or sorted(folder.glob(f"{name}_?.png"))
    return [read_rgb(path) for path in paths]


def test_figures_of_the_written_images(spec, hr, evaluate, tmp_path, capsys):
    """Each image's, by their definition; means on the console; in Markdown; and strips to look at."""
    words = ["--draws", 1] if spec.name == "IRN" else []  # of which only the first is written
    rows, out, crop = evaluate(spec, "--data_test", "One+Two", *words), tmp_path / "out", spec.crop
    assert {name: list(found) for name, found in rows.items()} == {"One": ["b2", "b10"], "Two": ["c"]}
    for place, name, image in [(place, name, image) for place, images in hr.items() for name, image in images.items()]:
        row = rows[place][name]
        image = image[: len(image) // spec.multiple * spec.multiple, : image.shape[1] // spec.multiple * spec.multiple]
        lr = imresize(image / 255, 1 / spec.scale) if spec.name == "IRN" else imresize(image, 1 / spec.scale)
        lr = np.rint(lr.clip(0, 1) * 255).astype(np.uint8) if spec.name == "IRN" else lr
        made = {way: written(out / place / folder, name) for way, folder in spec.ways.items()}
        for way, results in {**made, "bicubic": [imresize(lr, spec.scale)]}.items():
            for channels, border, on_y in (("Y", crop, True), ("RGB", spec.crop_rgb, False)):
                wanted = [psnr(result, image, border, on_y=on_y) for result in results]
                head = f"PSNR-{channels} (crop {border}): {way}"
                assert row[head] == pytest.approx(np.mean(wanted), abs=1e-9)
                last = way == list(spec.ways)[-1]
                assert (f"{head}, std over draws" in row) == (last and len(results) > 1)
                if last and len(results) > 1:
                    assert row[f"{head}, std over draws"] == pytest.approx(np.std(wanted), abs=1e-9)
            if spec.name != "IRN" and way != "bicubic":
                again = [psnr(imresize(result, size=lr.shape[:2]), lr) for result in results]
                assert row[f"LR-PSNR-RGB (crop 0): {way}"] == pytest.approx(np.mean(again), abs=0.05)
            if spec.name in SAMPLED and way != "bicubic":
                spread = np.stack(results).astype(float).std(0).mean()
                assert row[f"diversity (std of 255): {way}"] == pytest.approx(spread, abs=1e-9)
                assert (spread > 0.1) == (len(results) > 1)
        assert (out / place / "strips" / f"{name}.png").exists()
    said = capsys.readouterr().out
    first = f"PSNR-Y (crop {crop}): {next(iter(spec.ways))}"
    for place, found in rows.items():
        mean = np.mean([row[first] for row in found.values()])
        if spec.name in ("WDSR", "CSNLN"):
            assert f"Mean psnr of {place} x2 is {mean:.4f} [PSNR-Y (crop 2)]" in said
        assert f"{mean:.2f}" in said
        assert (out / f"{place}.md").read_text().count("\n| ") + (out / f"{place}.md").read_text().count("\n|") >= 3
    assert "LPIPS: not computed (give --lpips_weights)" in said
    assert f"written to {out}" in said
    assert re.search(r"SSIM-Y \(crop \d, 11x11 gaussian\)", said)


def test_flags_of_the_table(spec, hr, evaluate, tmp_path, capsys):
    """--limit, --crop, --save_results; a folder of images by its path; figures need no image to be written."""
    rows = evaluate(spec, "--data_test", tmp_path / "sets" / "One", "--limit", 1, "--crop", 1, "--save_results", "no")
    assert list(rows["One"]) == ["b2"]
    assert any(key.startswith("PSNR-Y (crop 1): ") for key in rows["One"]["b2"])
    names = {"One.csv", "One.md"} | ({"One_summary.md"} if spec.name == "SRDiff" else set())
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert "PSNR-Y (crop 1)" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "message"), [("Twice", "are named a"), ("Small", "SSIM|dot is smaller than 8x8")])
def test_sets_that_cannot_be_measured(spec, name, message, evaluate, tmp_path):
    images = {"Twice": {"x/a": noise(24, 24), "y/a": noise(24, 24)}, "Small": {"dot": noise(7, 7)}}
    write(tmp_path / "sets" / name, images[name])
    with pytest.raises(UserError, match=message) as caught:
        evaluate(spec, "--data_test", name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("model", "scale", "value"), [("IRN", 2, 33.66), ("SRFlow", 4, 28.42)])
def test_a_real_benchmark(model, scale, value, saved, shared_data, tmp_path):
    """Bicubic down by MATLAB and up on Set5, as the papers have it."""
    lr = shared_data / "benchmark" / "Set5" / "LR_bicubic" / f"X{scale}"
    words = ["--dataset_GT_path", shared_data, "--data_test", "Set5", "--dataset_LQ_path", lr, "--save_results", "no"]
    few = {"IRN": ["--draws", 1], "SRFlow": ["--heat", 0, "--nll", "no"]}[model]
    spec = BY_NAME[model]
    assert spec.main("eval", *words, *few, "--ckpt_path", saved[model], "--output", tmp_path / "o") == 0
    rows = rows_of(tmp_path / "o" / "Set5.csv")
    mean = np.mean([row[f"PSNR-Y (crop {scale}): bicubic"] for row in rows.values()])
    assert mean == pytest.approx(value, abs=0.03)


def test_lpips_of_real_images(saved, shared_data, tmp_path, capsys):
    write(tmp_path / "d", {"a": smooth(64, 64, 4)})
    words = ["--data_path", tmp_path, "--data_test", "d", "--ckpt_file", saved["CSNLN"], "--output", tmp_path / "o"]
    assert BY_NAME["CSNLN"].main("eval", *words, "--lpips_weights", shared_data / "lpips") == 0
    (row,) = rows_of(tmp_path / "o" / "d.csv").values()
    assert 0 < row["LPIPS (AlexNet v0.1): bicubic"] < row["LPIPS (AlexNet v0.1): SR"]
    assert "LPIPS: not computed" not in capsys.readouterr().out
