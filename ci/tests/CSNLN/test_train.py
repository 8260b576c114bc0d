"""CSNLN/train.py as a user starts it, on the real pictures of ci/sample with the smallest network."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ci.tests import training
from ci.tests.training import losses, read, read_csv
from common import UserError
from common.config import options as config
from common.images import files as images
from CSNLN import train
from CSNLN.src.config import TrainConfig

TINY = {
    "data_range": "1-8/9-10", "n_feats": 4, "depth": 1, "patch_size": 16, "batch_size": 4,
    "lr": 5e-3, "gclip": 1, "ema": 0.9, "log_every": 1, "test_every": 30, "epochs": 2, "save_every": 10,
    "ckpt_save_interval": 1, "device_target": "CPU",
}  # fmt: skip
PSNR = "PSNR-Y (crop 2)"


@pytest.fixture(scope="module")
def run(sample_dir, tmp_path_factory):
    """run(parent, option=value ...): train in this process, looking at two small pictures; returns the run's folder."""
    looked_at = tmp_path_factory.mktemp("pictures")
    for name in ("0009.png", "0010.png"):
        picture = images.read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / name)
        images.write_picture(looked_at / name, picture[100:164, 100:180])

    def begin(parent: Path, **changes) -> Path:
        settings = {"data_path": sample_dir, "data_test": looked_at, "save_dir": parent, **TINY, **changes}
        return training.train(train.main, settings)

    return begin


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A run of two epochs of 30 steps."""
    return run(tmp_path_factory.mktemp("whole"), name="x")


def test_training_learns_and_leaves_a_complete_run(whole):
    """The loss falls, PSNR rises, and the folder says all about it."""
    found = losses(whole)
    assert len(found) == 60
    assert np.mean(found[-10:]) < 0.6 * np.mean(found[:5])
    first, last = (float(value) for (value,) in read_csv(whole, PSNR) if value)
    assert last > first + 1

    assert re.fullmatch(r"x-\d{8}-\d{6}", whole.name)
    names = {"config.yaml", "environment.txt", "train.log", "metrics.csv", "curve.png", "ckpt"}
    assert {path.name for path in whole.iterdir()} == names
    checkpoints = ["best.ckpt", "last.ckpt", "step_0000030.ckpt", "step_0000060.ckpt"]
    assert sorted(path.name for path in (whole / "ckpt").iterdir()) == checkpoints
    meta = read(whole).meta
    assert (meta["model"], meta["scale"], meta["step"], meta["epoch"]) == ("CSNLN", 2, 60, 30)
    assert meta["hyper"] == {"scale": 2, "n_feats": 4, "depth": 1}
    assert config.load(TrainConfig, whole / "config.yaml") == config.merge(TrainConfig(), meta["config"], "")
    log = (whole / "train.log").read_text()
    assert "CSNLN x2, 3,253 parameters; 8 pictures; 1 worker(s) on CPU, 4 patches each; " in log
    assert f"step 60: {PSNR} {last:.4f} (best so far)" in log


def test_recomputing_is_what_the_option_says(run, tmp_path, monkeypatch):
    """Its gradients are compared in test_model; here, that they are taken."""

    class Reached(Exception):  # noqa: N818
        pass

    def note(network, *settings):
        raise Reached(type(network).__name__, *settings)

    monkeypatch.setattr("CSNLN.src.recomputing.RecomputingStep", note)
    with pytest.raises(Reached) as raised:
        run(tmp_path, recompute=2, gclip=0.5)
    assert raised.value.args == ("CSNLN", 2, 0.5, 1)


def test_start_weights(whole, run, tmp_path):
    """Those of another run, or the authors'; the run begins at step 0, and they must fit."""
    weights = shutil.copy(whole / "ckpt" / "best.ckpt", tmp_path / "start.ckpt")
    with pytest.raises(UserError, match=r"has n_feats \d+, not 6: leave the flag out"):
        run(tmp_path / "runs", pre_trained=weights, n_feats=6)
    with pytest.raises(UserError, match=r"checkpoint not found: /nope\.ckpt"):
        run(tmp_path / "runs", pre_trained="/nope.ckpt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amp_level": "O2"}, "--amp_level O2 needs a GPU or Ascend: the CPU computes in float32 only"),
        ({"run_distribute": "true"}, "--run_distribute needs a launcher"),
        ({"decay": "never"}, "--decay must be epochs joined by -"),
        ({"patch_size": 18}, r"--patch_size 18 \(HR pixels\) must be a multiple of 4 at x2"),
        ({"recompute": 3}, "--batch_size 4 must be a multiple of --recompute 3"),
        ({"scale": 5}, "scale must be one of 2, 3, 4"),
        ({"data_path": "/nope"}, "data_path is not a folder: /nope"),
        ({"data_train": "Set99"}, "no data set 'Set99': looked for "),
        ({"data_range": "20-30/9-10"}, "has none of the images 20-30; type --data_range"),
        ({"resume": "/nope"}, "checkpoint not found: /nope"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(run, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path / "runs", **changes)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists(), "no empty run folder"


def test_checkpoints_that_cannot_be_resumed(whole):
    with pytest.raises(UserError, match=r"best\.ckpt cannot be resumed: it has no optimizer"):
        train.main(["--resume", str(whole / "ckpt" / "best.ckpt"), "--epochs", "3"])
