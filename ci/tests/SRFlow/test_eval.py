"""eval.py as a user starts it: figures told by NumPy, tables, pictures, and the seed's protocol on patches."""

import csv
import logging
import re

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.workers import assert_two_make_the_table_of_one
from common import UserError
from common.images import files as images
from common.images.resize import imresize
from common.mindrecord import PackOptions, PatchRecords, pack
from common.runtime import graph_mode
from SRFlow import eval as evaluation
from SRFlow.src.model.SRFlow import NegativeLogLikelihood
from SRFlow.src.model_utils.measuring import evaluation_sets
from SRFlow.src.model_utils.options import EvalConfig

LUMA = np.array([65.481, 128.553, 24.966]) / 255


def smooth(height, width, seed):
    """Like a photograph, so that a PSNR of it says something."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return imresize(coarse, 4)[:height, :width]


@pytest.fixture
def pictures(tmp_path):
    """A folder of two HR pictures, one with odd sides."""
    found = {"b2": smooth(40, 48, 1), "b10": smooth(43, 37, 2)}
    for name, picture in found.items():
        images.write_picture(tmp_path / "Some" / f"{name}.png", picture)
    return tmp_path / "Some", found


def run(*arguments):
    assert evaluation.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def rows_of(folder, name="Some"):
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        return {row.pop("picture"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)}


def psnr(a, b, crop=0, on_y=False):
    """As it is defined, of 8-bit pictures."""
    inner = slice(crop, -crop or None)
    a, b = (x[inner, inner].astype(np.float64) for x in (a, b))
    if on_y:
        a, b = a @ LUMA, b @ LUMA
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def written(folder, heat, name):
    return images.read_rgb(folder / "Some" / f"SR_heat_{heat}" / f"{name}.png")


# ---------------------------------------------------------------------------------------------------------------- table


def test_figures_of_the_written_pictures(tiny, used, pictures, tmp_path, capsys, caplog):
    folder, found = pictures
    with caplog.at_level(logging.INFO):
        run("--dataset_GT_path", folder, "--ckpt_path", tiny[4], "--heats", "0,0.6", "--samples", 3, "--output",
            tmp_path / "o")  # fmt: skip
    out, rows = tmp_path / "o", rows_of(tmp_path / "o")
    assert list(rows) == ["b2", "b10"]
    for name, row in rows.items():
        hr = found[name][: found[name].shape[0] // 4 * 4, : found[name].shape[1] // 4 * 4]
        lr = imresize(hr, 1 / 4)
        samples = {"0": [written(out, "0", name)]}
        samples["0.6"] = [written(out, "0.6", f"{name}_{number}") for number in (1, 2, 3)]
        scores = [psnr(sample, hr) for sample in samples["0.6"]]
        assert np.std(scores) > 1e-4
        head = "PSNR-RGB (crop 0): "
        assert row[head + "bicubic"] == pytest.approx(psnr(imresize(lr, 4), hr), abs=1e-9)
        assert row[head + "heat 0"] == pytest.approx(psnr(samples["0"][0], hr), abs=1e-9)
        assert row[head + "heat 0.6"] == pytest.approx(np.mean(scores), abs=1e-9)
        assert row[head + "heat 0.6, std over draws"] == pytest.approx(np.std(scores), abs=1e-9)
        on_y = [psnr(sample, hr, 4, on_y=True) for sample in samples["0.6"]]
        assert row["PSNR-Y (crop 4): heat 0.6"] == pytest.approx(np.mean(on_y), abs=1e-9)
        again = [imresize(sample, size=lr.shape[:2]) for sample in samples["0.6"]]
        agreement = np.mean([psnr(small, lr) for small in again])
        assert row["LR-PSNR-RGB (crop 0): heat 0.6"] == pytest.approx(agreement, abs=0.05)  # halves rounded to even
        spread = np.stack(samples["0.6"]).astype(float).std(0).mean()
        assert row["diversity (std of 255): heat 0"] == 0
        assert row["diversity (std of 255): heat 0.6"] == pytest.approx(spread, abs=1e-9)
        assert spread > 1
        assert row["NLL (bits per pixel, no noise): HR"] == pytest.approx(likelihood(used[4], hr, lr), abs=1e-4)
    said = capsys.readouterr().out
    mean = np.mean([row["PSNR-RGB (crop 0): heat 0.6"] for row in rows.values()])
    assert f"{mean:.2f}" in re.search(r"^mean .*$", said, re.M)[0].split()
    for words in ("SSIM-RGB (crop 0, 7x7 uniform)", "SSIM-Y (crop 4, 11x11 gaussian)", "LPIPS: not computed"):
        assert words in said
    assert {path.name for path in out.iterdir()} == {"Some", "Some.csv", "Some.md"}
    assert {path.name for path in (out / "Some" / "strips").iterdir()} == {"b2.png", "b10.png"}
    assert (out / "Some.md").read_text().count("\n|") == 5
    assert f"b2: PSNR-RGB (crop 0) bicubic {rows['b2']['PSNR-RGB (crop 0): bicubic']:.2f}, heat 0 " in caplog.text


def likelihood(network, hr, lr):
    """By the objective of training, of pictures continued by reflection to what the network takes."""
    hr = np.pad(hr, [(0, -side % 8) for side in hr.shape[:2]] + [(0, 0)], mode="reflect")
    lr = np.pad(lr, [(0, -side % 2) for side in lr.shape[:2]] + [(0, 0)], mode="reflect")
    images_ = [Tensor((x[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)) for x in (hr, lr)]
    with graph_mode(False):
        return NegativeLogLikelihood(network).per_picture(*images_).asnumpy().item()


def test_a_heat_and_a_sample_by_themselves(tiny, pictures, tmp_path):
    """The first sample of a heat is the same alone and among others; without samples there is nothing to spread."""
    folder, _ = pictures
    words = ("--dataset_GT_path", folder, "--ckpt_path", tiny[4], "--limit", 1, "--nll", "no")
    run(*words, "--heats", "0.3,0.6", "--samples", 2, "--output", tmp_path / "many")
    run(*words, "--heat", 0.6, "--output", tmp_path / "one")
    assert np.array_equal(written(tmp_path / "one", "0.6", "b2"), written(tmp_path / "many", "0.6", "b2_1"))
    (row,) = rows_of(tmp_path / "one").values()
    assert not any(word in key for key in row for word in ("std", "NLL", "diversity"))
    run(*words, "--heat", 0.6, "--seed", 11, "--save_results", "no", "--output", tmp_path / "other")
    assert rows_of(tmp_path / "other")["b2"] != row
    assert {path.name for path in (tmp_path / "other").iterdir()} == {"Some.csv", "Some.md"}


# ----------------------------------------------------------------------------------------------- patches, as the seed's


@pytest.fixture
def records(tmp_path):
    """A packed set of patches."""
    images.write_picture(tmp_path / "hr" / "a.png", smooth(60, 72, 3))
    path = tmp_path / "valid" / "DIV2K_X4_valid.mindrecord"
    path.parent.mkdir()
    pack(PackOptions(hr=tmp_path / "hr", scale=4, output=path, patch=32, crops=3))
    return path


def test_the_seeds_lines(tiny, used, records, tmp_path, capsys):
    run("--dataset_GT_path", records, "--ckpt_path", tiny[4], "--heat", 0, "--output", tmp_path / "o")
    lines = capsys.readouterr().out.splitlines()
    number = r"\[-?\d[\d.e-]*\]"
    for place, line in enumerate(lines[:3], 1):
        assert re.fullmatch(rf"Get the number {place} data psnrloss: {number}, ssim_loss: {number}", line)
    assert re.fullmatch(rf"The mean of psnr is: {number}", lines[3])
    assert re.fullmatch(rf"The mean of ssim is: {number}", lines[4])
    assert lines[5:] == [f"written to {tmp_path / 'o'}"]
    wanted = []
    for hr, lr, _ in PatchRecords(records).read():
        image = Tensor((lr[None].transpose(0, 3, 1, 2) / 255).astype(np.float32))
        latents = [Tensor(np.zeros((1, *shape), np.float32)) for shape in used[4].hyper.latent_shapes(8, 8)]
        with graph_mode(False):
            sr = used[4].inverse(latents, image)[0].asnumpy()[0].transpose(1, 2, 0)
        wanted.append(psnr(np.rint(sr.clip(0, 1) * 255).astype(np.uint8), hr))
    said = [float(re.search(r"psnrloss: \[(.*?)\]", line)[1]) for line in lines[:3]]
    np.testing.assert_allclose(said, wanted, atol=0.02)  # a value that rounds to its neighbour
    assert float(re.search(r"\[(.*)\]", lines[3])[1]) == pytest.approx(np.mean(said), abs=1e-4)
    rows = rows_of(tmp_path / "o", "DIV2K_X4_valid")
    assert [row["PSNR-RGB (crop 0), heat 0: SR"] for row in rows.values()] == pytest.approx(said, abs=1e-5)


def test_patches_in_a_folder_and_records_in_a_table(tiny, pictures, records, tmp_path, capsys):
    folder, _ = pictures
    words = ("--ckpt_path", tiny[4], "--limit", 1, "--heats", "0,0.5", "--nll", "no", "--save_results", "no")
    run("--dataset_GT_path", folder, "--protocol", "patches", *words, "--output", tmp_path / "f")
    said = capsys.readouterr().out
    assert (
        len(re.findall(r"^Get the number 1 data", said, re.M))
        == len(re.findall(r"^The mean of ssim is", said, re.M))
        == 2
    )
    assert {path.name for path in (tmp_path / "f").glob("*.csv")} == {"Some_heat_0.csv", "Some_heat_0.5.csv"}
    run("--dataset_GT_path", records, "--protocol", "table", *words, "--output", tmp_path / "r")
    assert "PSNR-Y (crop 4)" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "r", "DIV2K_X4_valid")) == 1


def test_the_seeds_file(tiny, records, tmp_path, capsys):
    """A yml file in the seed's sections names the patches, the weights and the heat; n_max is not evaluation's."""
    (tmp_path / "run.yml").write_text(
        f"datasets:\n  val:\n    dataroot: {records}\n    n_max: 2\ntest_pretrained_model_path: {tiny[4]}\nheat: 0.4\n"
    )
    run("--opt", tmp_path / "run.yml", "--limit", "2", "--output", tmp_path / "o")  # n_max is for looks in training
    lines = capsys.readouterr().out.splitlines()
    assert [line[:21] for line in lines[:4]] == [
        "Get the number 1 data", "Get the number 2 data", "The mean of psnr is: ", "The mean of ssim is: ",
    ]  # fmt: skip
    assert "PSNR-RGB (crop 0), heat 0.4: SR" in next(iter(rows_of(tmp_path / "o", "DIV2K_X4_valid").values()))


# ------------------------------------------------------------------------------------------------------------ data sets


def test_data_sets_are_found(tmp_path):
    for place in ("benchmark/Set5/HR/baby", "Set14/lenna", "DIV2K/DIV2K_valid_HR/0801", "DIV2K/DIV2K_train_HR/0001"):
        images.write_picture(tmp_path / f"{place}.png", smooth(24, 24, 1))
    images.write_picture(tmp_path / "lr" / "Set5" / "babyx4.png", smooth(6, 6, 1))

    def sets(**options):
        found = evaluation_sets(EvalConfig(**{key: str(value) for key, value in options.items()}), 4)
        return {name: [(pair.name, pair.lr and pair.lr.name) for pair in pairs] for name, pairs in found.items()}

    both = {"Set5": [("baby", None)], "Set14": [("lenna", None)]}
    assert sets(dataset_GT_path=tmp_path, data_test="Set5+Set14") == both
    with_lr = {"Set5": [("baby", "babyx4.png")]}
    assert sets(dataset_GT_path=tmp_path, data_test="Set5", dataset_LQ_path=tmp_path / "lr") == with_lr
    assert sets(dataset_GT_path=tmp_path / "benchmark" / "Set5") == {"Set5": [("baby", None)]}
    assert sets(dataset_GT_path=tmp_path / "DIV2K") == {"DIV2K_valid_HR": [("0801", None)]}
    assert sets(val_GT_path=tmp_path / "Set14", data_name="mine") == {"mine": [("lenna", None)]}


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which pictures? type --dataset_GT_path FOLDER, or FILE.mindrecord"),
        (["--dataset_GT_path", "/nope"], "/nope"),
        (["--dataset_GT_path", "/nope.mindrecord"], "/nope.mindrecord"),
        (["--dataset_GT_path", "EMPTY"], "found none"),
        (["--dataset_GT_path", "EMPTY", "--data_test", "Set99"], "no data set 'Set99'"),
        (["--dataset_GT_path", "SOME", "--dataset_LQ_path", "SOME"], "needs 12x10"),
        (["--dataset_GT_path", "TRAIN"], "has no DIV2K_valid_HR; for the training pictures type --dataset_GT_path"),
        (["--dataset_GT_path", "SMALL"], "dot: SSIM"),
        (["--dataset_GT_path", "CUT"], "is damaged or cut off"),
        (["--dataset_GT_path", "TWICE"], "are named a"),
        (["--dataset_GT_path", "SOME", "--ckpt_path", "/nope.pth"], "checkpoint not found: /nope.pth"),
        (["--dataset_GT_path", "SOME", "--scale", "2"], "has scale 4, not 2"),
        (["--dataset_GT_path", "RECORDS", "--ckpt_path", "X2"], "was packed for x4, not x2"),
        (["--dataset_GT_path", "SOME", "--samples", "0"], "samples must be 1 or more"),
        (["--dataset_GT_path", "SOME", "--heats", "0.5,-1"], "--heats are standard deviations, 0 or more, not -1"),
        (["--dataset_GT_path", "SOME", "--heats", "0.5,x"], "heats must be a number, not 'x'"),
        (["--dataset_GT_path", "SOME", "--tile", "5"], "--tile 5 is hardly more than the overlap"),
        (["--dataset_GT_path", "SOME", "--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["--dataset_GT_path", "SOME", "--opt", "/nope.yml"], "cannot read the configuration '/nope.yml'"),
        (["--dataset_GT_path", "SOME", "--lpips_weights", "/nope"], "/nope"),
        (["--dataset_GT_path", "SOME", "--protocol", "seed"], "protocol must be one of auto, table, patches"),
    ],
)
def test_mistakes_get_one_sentence(tiny, pictures, records, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for place, size in (
        ("train/DIV2K_train_HR/0001", 24),
        ("small/dot", 12),
        ("cut/a", 24),
        ("twice/x/a", 24),
        ("twice/y/a", 24),
    ):
        images.write_picture(tmp_path / f"{place}.png", smooth(size, size, 1))
    whole = (tmp_path / "cut" / "a.png").read_bytes()
    (tmp_path / "cut" / "a.png").write_bytes(whole[: len(whole) // 2])
    places = {name: str(tmp_path / name.lower()) for name in ("EMPTY", "TRAIN", "SMALL", "CUT", "TWICE")}
    places |= {"SOME": str(pictures[0]), "RECORDS": str(records), "X2": str(tiny[2])}
    with pytest.raises(UserError) as raised:
        evaluation.main(["--ckpt_path", str(tiny[4]), *(places.get(word, word) for word in words)])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_real_benchmark(tiny, shared_data, tmp_path):
    """Bicubic x4 on the butterfly of Set5, whose LR picture MATLAB made: the papers have 28.42 dB for the whole set."""
    words = ("--dataset_GT_path", shared_data, "--data_test", "Set5", "--ckpt_path", tiny[4])
    lr = shared_data / "benchmark" / "Set5" / "LR_bicubic" / "X4"
    run(*words, "--dataset_LQ_path", lr, "--nll", "no", "--save_results", "no", "--output", tmp_path / "o")
    rows = rows_of(tmp_path / "o", "Set5")
    assert len(rows) == 5
    assert np.mean([row["PSNR-Y (crop 4): bicubic"] for row in rows.values()]) == pytest.approx(28.42, abs=0.03)


@pytest.mark.parametrize("protocol", ["table", "patches"])
def test_two_workers_make_the_table_of_one(tiny, used, pictures, tmp_path, monkeypatch, capsys, protocol):
    images.write_picture(pictures[0] / "b3.png", smooth(24, 28, 3))
    arguments = [
        "--dataset_GT_path",
        pictures[0],
        "--ckpt_path",
        tiny[4],
        "--heats",
        "0,0.6",
        "--samples",
        2,
        "--report",
    ]
    assert_two_make_the_table_of_one(evaluation.main, [*arguments, "--protocol", protocol], tmp_path, monkeypatch)
    said = capsys.readouterr().out.splitlines()
    if protocol == "patches":
        lines = [[line for line in part if "number" in line or "mean" in line] for part in (said[:10], said[10:])]
        assert lines[0][:8] == lines[1][:8], "the seed's lines, those of rank 0 at the end"
