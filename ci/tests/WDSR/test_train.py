"""What WDSR's training alone has: luma networks, several sets and scales, decoded files, --test_only."""

import re
import shutil

import numpy as np
import pytest

from ci.tests.specs import noise, weights_of, write
from ci.tests.training import read
from common import UserError
from common.images import write_image
from WDSR import train


def test_luma_only(begun):
    trainer = begun("WDSR", n_colors=1)
    assert weights_of(trainer.network)["head.0.weight_v"].shape[1] == 1
    assert next(trainer.stream.batches(0, 1))[0].shape == (4, 1, 8, 8)
    assert all(np.isfinite(list(trainer.validate(trainer.network).values())))


@pytest.mark.parametrize(
    ("changes", "lr_side", "scale"),
    [
        ({"patch_size": 0}, 48, 2),
        ({"scale": "2+3+4", "task_id": 2, "patch_size": 48}, 12, 4),
        ({"scale": 3, "patch_size": 36}, 12, 3),
    ],
)
def test_patch_size_is_that_of_the_hr_patch(begun, sample_dir, changes, lr_side, scale):
    lr, hr = next(begun("WDSR", dir_data=sample_dir, **changes).stream.batches(0, 1))
    assert (lr.shape[2:], hr.shape[2:]) == ((lr_side, lr_side), (lr_side * scale, lr_side * scale))


def test_several_training_sets(begun, data, tmp_path):
    """A+B: a folder of HR images each, beside DIV2K's; nothing is written there."""
    for name, numbers in {"A": "12", "B": "3"}.items():
        write(tmp_path / name, {number: noise(20, 24, seed=int(number)) for number in numbers})
    trainer = begun("WDSR", data_train=f"{tmp_path / 'A'}+{tmp_path / 'B'}+DIV2K", data_range="3-4/5-5")
    assert [pair.name for pair in trainer.stream.images.pairs] == ["1", "2", "3", "0003", "0004"]
    assert {path.suffix for path in tmp_path.glob("[AB]/*")} == {".png"}
    with pytest.raises(UserError, match="no x2 images of the track unknown: expected"):
        begun("WDSR", track="unknown")


def batch_of(trainer):
    return [array.tolist() for array in next(trainer.stream.batches(0, 1))]


@pytest.mark.parametrize("kind", ["-hr.npy", "-lr.npy", ".sha256"])
def test_decoded_files_train_the_same(begun, data, tmp_path, caplog, kind):
    """--ext sep: the batches of the images, also when a decoded file was damaged or its image has changed."""
    root = shutil.copytree(data, tmp_path / "data")
    wanted = batch_of(begun("WDSR", dir_data=root))
    assert batch_of(begun("WDSR", dir_data=root, ext="sep")) == wanted
    assert batch_of(begun("WDSR", dir_data=root, ext="sep")) == wanted
    assert not [record for record in caplog.records if "decoded again" in record.getMessage()]
    for path in (root / "DIV2K" / "DIV2K_train_HR_decoded").glob(f"*{kind}"):
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert batch_of(begun("WDSR", dir_data=root, ext="sep")) == wanted
    assert "is not as it was written: its images are decoded again" in caplog.text
    for path in (root / "DIV2K" / "DIV2K_train_HR").iterdir():
        write_image(path, noise(64, 72))
    changed = batch_of(begun("WDSR", dir_data=root, ext="sep"))
    assert changed == batch_of(begun("WDSR", dir_data=root)) != wanted


def test_test_only(trained, data, tmp_path, monkeypatch, capsys):
    """What eval.py does: as measured while training."""
    monkeypatch.chdir(tmp_path)
    best = trained("WDSR") / "ckpt" / "best.ckpt"
    words = ["--test_only", "--ckpt_path", str(best), "--dir_data", str(data), "--data_range", "1-4/5-5"]
    assert train.main(words) == 0
    stated = re.search(r"Mean psnr of DIV2K x2 is ([\d.]+) \[PSNR-Y \(crop 2\)\]", capsys.readouterr().out)
    assert float(stated[1]) == pytest.approx(read(trained("WDSR")).meta["best"]["score"], abs=2e-3)
