"""eval.py as a user starts it: figures told by NumPy, tables, pictures, data sets, and the seed's val.py."""

import csv
import logging
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ci.tests.IRN import nets
from ci.tests.workers import assert_two_make_the_table_of_one
from common import UserError
from common.images import files as images
from common.images.resize import imresize
from common.metrics.fidelity import Convention
from IRN import eval as evaluation
from IRN import infer
from IRN.src.data.util import evaluation_sets
from IRN.src.options.options import EvalConfig

LUMA = np.array([65.481, 128.553, 24.966]) / 255


@pytest.fixture(scope="module")
def haar(tmp_path_factory):
    """A checkpoint of the plain Haar transform."""
    return nets.save(tmp_path_factory.mktemp("weights") / "haar.ckpt", nets.make(nets.HAAR, last=0))


def smooth(height, width, seed):
    """Like a photograph, so that a PSNR of it says something."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return imresize(coarse, 4)[:height, :width]


def without_halves(picture):
    """The picture changed a little so that no mean of 2x2 pixels ends on .5, which rounds as the last bit has it."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    sums = picture[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).sum((1, 3), dtype=int)
    picture[:height:2, :width:2] ^= (sums % 4 == 2).astype(np.uint8)
    return picture


@pytest.fixture
def pictures(tmp_path):
    """A folder of two HR pictures, one with odd sides."""
    found = {"b2": without_halves(smooth(40, 48, 1)), "b10": without_halves(smooth(43, 37, 2))}
    for name, picture in found.items():
        images.write_picture(tmp_path / "Some" / f"{name}.png", picture)
    return tmp_path / "Some", found


def run(*arguments):
    assert evaluation.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def rows_of(folder, name="Some"):
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        return {row.pop("picture"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}


def psnr(a, b, crop, on_y=False):
    """As it is defined, of 8-bit pictures."""
    inner = slice(crop, -crop or None)
    a, b = (x[inner, inner].astype(np.float64) for x in (a, b))
    if on_y:
        a, b = a @ LUMA, b @ LUMA
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def even(picture, scale=2):
    return picture[: picture.shape[0] // scale * scale, : picture.shape[1] // scale * scale]


def bicubic_lr(picture, scale=2):
    """Rounded once, at the end."""
    return nets.eight_bits(imresize(even(picture, scale) / 255, 1 / scale))


# -------------------------------------------------------------------------------------------------------------- figures


def test_figures_of_the_haar_transform(haar, pictures, tmp_path):
    """Without couplings LR is the mean of 2x2 pixels, and with z = 0 HR is that mean four times."""
    folder, found = pictures
    run("--dataset_GT_path", folder, "--ckpt_path", haar, "--gaussian_scale", 0, "--output", tmp_path / "o")
    rows = rows_of(tmp_path / "o")
    assert list(rows) == ["b2", "b10"]
    for name, row in rows.items():
        hr = even(found[name])
        height, width = hr.shape[:2]
        small = np.rint(hr.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))).astype(np.uint8)
        large = small.repeat(2, 0).repeat(2, 1)
        reference = bicubic_lr(found[name])
        enlarged = imresize(reference, 2)
        for channels, on_y in (("Y", True), ("RGB", False)):
            head = f"PSNR-{channels} (crop 2): "
            assert row[head + "IRN"] == pytest.approx(psnr(large, hr, 2, on_y), abs=1e-9)
            assert row[head + "bicubic"] == pytest.approx(psnr(enlarged, hr, 2, on_y), abs=1e-9)
            assert row["LR " + head + "IRN"] == pytest.approx(psnr(small, reference, 2, on_y), abs=1e-9)
            assert row[head + "IRN, std over draws"] == 0
            ssim = Convention(channels.lower(), 2)  # SSIM itself is tested in ci/tests/common
            head = f"SSIM-{channels} (crop 2, 11x11 gaussian): "
            assert row[head + "IRN"] == pytest.approx(ssim.ssim(large, hr), abs=1e-12)
            assert row["LR " + head + "IRN"] == pytest.approx(ssim.ssim(small, reference), abs=1e-12)


def test_mean_and_spread_over_the_draws(tiny, pictures, tmp_path):
    folder, found = pictures
    run("--dataset_GT_path", folder, "--ckpt_path", tiny[2], "--gaussian_scale", 0.3, "--seed", 4, "--draws", 3,
        "--save_lr", "--suffix", "_t", "--limit", 1, "--crop", 4, "--output", tmp_path / "o")  # fmt: skip
    (row,) = rows_of(tmp_path / "o").values()
    hr, network = found["b2"], nets.make(nets.TINY[2])
    lr = images.read_rgb(tmp_path / "o" / "Some" / "LR" / "b2_t.png")
    assert np.abs(lr.astype(int) - nets.eight_bits(nets.down(network, hr / 255))).max() <= 1
    restored = [
        nets.eight_bits(
            nets.up(network, lr / 255, np.float32(0.3) * nets.normal_z(4, "b2", draw, network.hyper, 20, 24))
        )
        for draw in range(3)
    ]
    scores = [psnr(picture, hr, 4, on_y=True) for picture in restored]
    assert np.std(scores) > 0.01
    assert row["PSNR-Y (crop 4): IRN"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert row["PSNR-Y (crop 4): IRN, std over draws"] == pytest.approx(np.std(scores), abs=1e-3)
    assert row["LR PSNR-RGB (crop 4): IRN"] == pytest.approx(psnr(lr, bicubic_lr(hr), 4), abs=1e-9)
    written = images.read_rgb(tmp_path / "o" / "Some" / "SR" / "b2_t.png")
    assert np.abs(written.astype(int) - restored[0]).max() <= 1


def test_tiles_change_no_figure(tiny, pictures, tmp_path):
    folder, _ = pictures
    for tile in (0, 25):
        run("--dataset_GT_path", folder, "--ckpt_path", tiny[2], "--tile", tile, "--draws", 1, "--save_results",
            "no", "--output", tmp_path / f"o{tile}")  # fmt: skip
    one, other = (rows_of(tmp_path / f"o{tile}") for tile in (0, 25))
    for row in (*one.values(), *other.values()):
        del row["seconds"]
    assert one == other
    assert not any("std" in key for key in one["b2"])


# ------------------------------------------------------------------------------------------------------ what is written


def test_tables_pictures_and_running_values(tiny, pictures, tmp_path, capsys, caplog):
    folder, _ = pictures
    with caplog.at_level(logging.INFO):
        run("--dataset_GT_path", folder, "--ckpt_path", tiny[2], "--draws", 2, "--save_lr", "--output",
            tmp_path / "o")  # fmt: skip
    out = tmp_path / "o"
    assert {path.name for path in out.iterdir()} == {"Some", "Some.csv", "Some.md"}
    for kind in ("SR", "LR", "strips"):
        assert {path.name for path in (out / "Some" / kind).iterdir()} == {"b2.png", "b10.png"}
    assert images.read_rgb(out / "Some" / "SR" / "b10.png").shape == (42, 36, 3)
    said = capsys.readouterr().out
    rows = rows_of(out)
    for head in (
        "PSNR-Y (crop 2)",
        "SSIM-RGB (crop 2, 11x11 gaussian)",
        "LR PSNR-Y (crop 2)",
        "LR SSIM-Y (crop 2, 11x11",
    ):
        assert head in said
    mean = np.mean([row["PSNR-Y (crop 2): IRN"] for row in rows.values()])
    assert f"{mean:.2f}" in re.search(r"^mean .*$", said, re.M)[0].split()
    assert "LPIPS: not computed (give --lpips_weights)" in said
    assert (out / "Some.md").read_text().count("\n|") == 5
    number = r"-?[\d.]+"
    figures = "; ".join(f"{{0}}{word} {number}" for word in ("PSNR", "SSIM", "PSNR_Y", "SSIM_Y"))
    line = f"{figures.format('')}; {figures.format('LR ')}"
    lines = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in lines if re.fullmatch(rf"\w[\w ]*: {line}", text)] == [
        "b2", "mean of 1", "b10", "mean of 2",
    ]  # fmt: skip
    row = rows["b2"]
    values = [row["PSNR-RGB (crop 2): IRN"], row["LR PSNR-RGB (crop 2): IRN"]]
    shown = next(text for text in lines if text.startswith("b2: "))
    assert shown.startswith(f"b2: PSNR {values[0]:.2f}; SSIM ")
    assert f"; LR PSNR {values[1]:.2f}; LR SSIM " in shown


def test_saved_lr_pictures_can_be_enlarged(tiny, pictures, tmp_path, caplog):
    folder, _ = pictures
    run("--dataset_GT_path", folder, "--ckpt_path", tiny[2], "--draws", 1, "--save_lr", "--save_results", "no",
        "--output", tmp_path / "o")  # fmt: skip
    assert {path.name for path in (tmp_path / "o" / "Some").iterdir()} == {"LR"}
    lr = tmp_path / "o" / "Some" / "LR"
    infer.main(["upscale", str(lr), "--ckpt_path", str(tiny[2]), "--output", str(tmp_path / "up")])
    assert "poorly" not in caplog.text
    assert images.read_rgb(tmp_path / "up" / "b10_hr.png").shape == (42, 36, 3)
    with Image.open(lr / "b10.png") as file:
        assert file.text["irn_original_size"] == "36x42"


# ------------------------------------------------------------------------------------------------------------ data sets


def write_set(folder, *names, size=(24, 24)):
    for name in names:
        images.write_picture(folder / f"{name}.png", smooth(*size, seed=len(name)))


def sets(**options):
    found = evaluation_sets(EvalConfig(**{key: str(value) for key, value in options.items()}), 2)
    return {name: [(pair.name, pair.lr and pair.lr.name) for pair in pairs] for name, pairs in found.items()}


def test_data_sets_are_found(tmp_path):
    write_set(tmp_path / "benchmark" / "Set5" / "HR", "baby")
    write_set(tmp_path / "Set14", "lenna", "ppt3")
    write_set(tmp_path / "DIV2K" / "DIV2K_valid_HR", "0801")
    write_set(tmp_path / "DIV2K" / "DIV2K_train_HR", "0001")
    write_set(tmp_path / "lr" / "Set5", "babyx2", size=(12, 12))
    root = {"dataset_GT_path": tmp_path}
    assert sets(**root, data_test="Set5+Set14") == {
        "Set5": [("baby", None)],
        "Set14": [("lenna", None), ("ppt3", None)],
    }
    assert sets(**root, data_test="Set5", dataset_LQ_path=tmp_path / "lr") == {"Set5": [("baby", "babyx2.png")]}
    lr = tmp_path / "lr" / "Set5"
    assert sets(dataset_GT_path=tmp_path / "benchmark" / "Set5", dataset_LQ_path=lr) == {
        "Set5": [("baby", "babyx2.png")]
    }
    assert sets(**root, data_test="DIV2K") == {"DIV2K": [("0801", None)]}
    for path in (tmp_path, tmp_path / "DIV2K", tmp_path / "DIV2K" / "DIV2K_valid_HR"):
        assert sets(dataset_GT_path=path) == {"DIV2K_valid_HR": [("0801", None)]}
    assert sets(dataset_GT_path=(tmp_path / "DIV2K").rename(tmp_path / "data v1.5"), data_test="DIV2K") == {
        "DIV2K": [("0801", None)]
    }
    assert sets(dataset_GT_path=tmp_path / "Set14") == {"Set14": [("lenna", None), ("ppt3", None)]}
    (tmp_path / "data v1.5").rename(tmp_path / "DIV2K")
    assert sets(**root, data_name="mine") == {"mine": [("0801", None)]}
    assert sets(dataset_GT_path=tmp_path / "benchmark" / "Set5", data_test="Set5") == {"Set5": [("baby", None)]}


def test_a_data_set_of_lr_pictures_is_the_reference(tiny, pictures, tmp_path):
    """With the LR pictures that IRN itself wrote, the LR figures are perfect."""
    folder, _ = pictures
    words = ["--dataset_GT_path", folder, "--ckpt_path", tiny[2], "--draws", 1]
    run(*words, "--save_lr", "--output", tmp_path / "o")
    run(*words, "--dataset_LQ_path", tmp_path / "o" / "Some" / "LR", "--output", tmp_path / "again")
    for row in rows_of(tmp_path / "again").values():
        assert row["LR PSNR-Y (crop 2): IRN"] == np.inf
        assert row["LR SSIM-RGB (crop 2, 11x11 gaussian): IRN"] == pytest.approx(1)


def test_a_real_benchmark(haar, shared_data, tmp_path):
    """Bicubic down and up on Set5 at x2: 33.66 dB in the papers, which enlarge the rounded luma alone."""
    lr = shared_data / "benchmark" / "Set5" / "LR_bicubic" / "X2"  # by MATLAB
    words = ("--dataset_GT_path", shared_data, "--data_test", "Set5", "--dataset_LQ_path", lr, "--ckpt_path", haar)
    run(*words, "--draws", 1, "--save_results", "no", "--output", tmp_path / "o")
    rows = rows_of(tmp_path / "o", "Set5")
    assert len(rows) == 5
    assert np.mean([row["PSNR-Y (crop 2): bicubic"] for row in rows.values()]) == pytest.approx(33.66, abs=0.02)


# --------------------------------------------------------------------------------------------------- val.py, the seed's


@pytest.mark.parametrize(
    ("place", "program", "option"),
    [
        ("IRN", "val.py", "./src/options/test/test_IRN_x4.yml"),
        (".", "IRN/val.py", "IRN/src/options/test/test_IRN_x4.yml"),
        ("elsewhere", "ROOT/IRN/val.py", "ROOT/IRN/src/options/test/test_IRN_x4.yml"),
    ],
)
def test_val_forwards_from_everywhere(root, tiny, tmp_path, place, program, option):
    (tmp_path / "elsewhere").mkdir()
    cwd = tmp_path / place if place == "elsewhere" else root / place
    words = [word.replace("ROOT", str(root)) for word in (program, "-opt", option)]
    command = [sys.executable, *words, "--device_target", "CPU"]
    without = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert (without.returncode, without.stderr) == (2, "error: which pictures? type --dataset_GT_path FOLDER\n")
    if place != "elsewhere":
        return
    write_set(tmp_path / "large", "a", size=(80, 84))  # SSIM of the LR picture needs 11x11 within the border
    command += ["--dataset_GT_path", str(tmp_path / "large"), "--ckpt_path", str(tiny[4]), "--draws", "1"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "DIV2K x4, IRN" in done.stdout
    (made,) = (cwd / "runs" / "IRN").iterdir()
    assert re.fullmatch(r"eval_DIV2K_x4-\d{8}-\d{6}", made.name)
    assert {path.name for path in made.iterdir()} == {"DIV2K", "DIV2K.csv", "DIV2K.md"}


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which pictures? type --dataset_GT_path FOLDER"),
        (["--dataset_GT_path", "/nope"], "--dataset_GT_path is not a folder: /nope"),
        (["--dataset_GT_path", "EMPTY"], "found none"),
        (["--dataset_GT_path", "EMPTY", "--data_test", "Set99"], "no data set 'Set99'"),
        (["--dataset_GT_path", "SOME", "--dataset_LQ_path", "/nope"], "--dataset_LQ_path is not a folder: /nope"),
        (["--dataset_GT_path", "SOME", "--dataset_LQ_path", "SOME"], "needs 24x20"),
        (["--dataset_GT_path", "TRAIN"], "has no DIV2K_valid_HR; for the training pictures type --dataset_GT_path"),
        (["--dataset_GT_path", "SMALL"], "dot.png: SSIM"),
        (["--dataset_GT_path", "CUT"], "is damaged or cut off"),
        (["--dataset_GT_path", "TWICE"], "are named a"),
        (["--dataset_GT_path", "SOME", "--ckpt_path", "/nope.pth"], "checkpoint not found: /nope.pth"),
        (["--dataset_GT_path", "SOME", "--scale", "4"], "has scale 2, not 4"),
        (["--dataset_GT_path", "SOME", "--draws", "0"], "draws must be 1 or more"),
        (["--dataset_GT_path", "SOME", "--tile", "5"], "--tile 5 is smaller than what this network sees"),
        (["--dataset_GT_path", "SOME", "--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["--dataset_GT_path", "SOME", "-opt", "/nope.yml"], "cannot read the configuration '/nope.yml'"),
        (["--dataset_GT_path", "SOME", "--lpips_weights", "/nope"], "/nope"),
    ],
)
def test_mistakes_get_one_sentence(tiny, pictures, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_set(tmp_path / "train" / "DIV2K_train_HR", "0001")
    write_set(tmp_path / "small", "dot", size=(12, 14))
    write_set(tmp_path / "cut", "a")
    whole = (tmp_path / "cut" / "a.png").read_bytes()
    (tmp_path / "cut" / "a.png").write_bytes(whole[: len(whole) // 2])
    for folder in "xy":
        write_set(tmp_path / "twice" / folder, "a")
    places = {name: str(tmp_path / name.lower()) for name in ("EMPTY", "TRAIN", "SMALL", "CUT", "TWICE")}
    places["SOME"] = str(pictures[0])
    with pytest.raises(UserError) as raised:
        evaluation.main(["--ckpt_path", str(tiny[2]), *(places.get(word, word) for word in words)])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_workers_make_the_table_of_one(haar, pictures, tmp_path, monkeypatch):
    images.write_picture(pictures[0] / "b3.png", smooth(32, 36, 3))
    arguments = ["--dataset_GT_path", pictures[0], "--ckpt_path", haar, "--draws", 2, "--report"]
    assert_two_make_the_table_of_one(evaluation.main, arguments, tmp_path, monkeypatch)
