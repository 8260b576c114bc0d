"""WDSR/train.py as a user starts it, on the real pictures of ci/sample with a network of 1,834 weights."""

import dataclasses
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ci.tests import training
from ci.tests.options import unused_options
from ci.tests.training import assert_same, losses, read, read_csv
from common import UserError
from common.checkpoint import files as checkpoint
from common.config import options as config
from common.mindrecord import PackOptions, pack
from common.runtime import Runtime
from WDSR import train
from WDSR.src import args, recipe
from WDSR.src.args import TrainConfig
from WDSR.src.data import srdata
from WDSR.src.model import WDSR

TINY = {
    "data_range": "1-8/9-10", "n_resblocks": 1, "n_feats": 4, "patch_size": 16, "batch_size": 2, "lr": 0.01,
    "log_every": 1, "test_every": 4, "epochs": 1, "device_target": "CPU",
}  # fmt: skip


@pytest.fixture
def words(sample_dir, tmp_path):
    """Arguments of a tiny run in `tmp_path`, with changes."""

    def make(**changes):
        return training.words({"dir_data": sample_dir, "save_dir": tmp_path / "runs", **TINY, **changes})

    return make


@pytest.fixture
def run(sample_dir, tmp_path):
    """Train in this process; returns the run's folder."""

    def begin(**changes):
        return training.train(train.main, {"dir_data": sample_dir, "save_dir": tmp_path / "runs", **TINY, **changes})

    return begin


@pytest.fixture(scope="module")
def finished_run(sample_dir, tmp_path_factory):
    parent = tmp_path_factory.mktemp("finished")
    return training.train(train.main, {"dir_data": sample_dir, "save_dir": parent, **TINY})


@pytest.fixture
def finished(finished_run, tmp_path):
    """A folder of a tiny run of 4 steps."""
    return Path(shutil.copytree(finished_run, tmp_path / "finished"))


# ------------------------------------------------------------------------------------------------------------- training


def test_training_learns_and_leaves_a_complete_run(run):
    """One epoch of 100 steps, tested four times: the loss falls, PSNR rises, and the folder says all about it."""
    folder = run(
        test_every=25, epochs=4, batch_size=4, n_feats=8, patch_size=32, ema=0.9, ckpt_save_interval=2, name="x"
    )
    found = losses(folder)
    assert len(found) == 100
    assert np.mean(found[-20:]) < 0.5 * np.mean(found[:5])
    psnr = [float(value) for (value,) in read_csv(folder, "PSNR-Y (crop 2)") if value]
    assert len(psnr) == 4
    assert psnr == sorted(psnr)
    assert psnr[-1] > psnr[0] + 1
    assert psnr[-1] > 26

    assert re.fullmatch(r"x-\d{8}-\d{6}", folder.name)
    names = {"config.yaml", "environment.txt", "train.log", "metrics.csv", "curve.png", "ckpt"}
    assert {path.name for path in folder.iterdir()} == names
    checkpoints = ["best.ckpt", "last.ckpt", "step_0000050.ckpt", "step_0000100.ckpt"]
    assert sorted(path.name for path in (folder / "ckpt").iterdir()) == checkpoints
    meta = read(folder).meta
    assert (meta["model"], meta["scale"], meta["step"], meta["epoch"]) == ("WDSR", 2, 100, 50)
    assert meta["hyper"]["num_features"] == 8
    assert meta["best"]["step"] == read(folder, "best.ckpt").meta["step"] == 100
    options = config.load(TrainConfig, folder / "config.yaml")
    assert config.merge(TrainConfig(), meta["config"], "") == options
    assert (options.ema, options.n_feats, options.epochs) == (0.9, 8, 4)

    log = (folder / "train.log").read_text()
    assert not set("█▏▎▍▌▋▊▉\r\x1b") & set(log), "no progress bar in the log"
    lines = [line.split(" ", 3)[3] for line in log.splitlines()]
    started = "WDSR-B x2, 3,272 parameters; 8 pictures; 1 worker(s) on CPU, 4 patches each; "
    assert any(line.startswith(started) for line in lines)
    assert any(re.fullmatch(r"step 1/100: loss [\d.]+, lr 0\.01, \d+ ms/step, .* left", line) for line in lines)
    assert f"step 100: PSNR-Y (crop 2) {psnr[-1]:.4f} (best so far)" in lines
    best = f"{folder}/ckpt/best.ckpt"
    assert lines[-1].startswith(f"best: PSNR-Y (crop 2) {psnr[-1]:.4f} at step 100, in {best}; next: python ")
    assert lines[-1].endswith(f"WDSR/eval.py --checkpoint {best} --dir_data FOLDER")


# --------------------------------------------------------------------------------------------------------------- resume


def test_changed_options_of_a_resumed_run(finished, capsys):
    folder = finished
    assert train.main(["--resume", str(folder), "--epochs", "2", "--lr", "0.005"]) == 0
    said = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("changed since the run was stopped")
    ]
    assert sorted(line.partition("stopped: ")[2] for line in said) == ["epochs: 1 -> 2", "lr: 0.01 -> 0.005"]
    assert [rate for (rate,) in read_csv(folder, "learning_rate") if rate] == ["0.01"] * 4 + ["0.005"] * 4
    assert read(folder).meta["config"]["epochs"] == 2
    assert config.load(TrainConfig, folder / "config.yaml").resume == "", (
        "or a new run with it would go on with this one"
    )


def test_start_weights_are_not_needed_again_to_resume(run, finished, tmp_path):
    weights = tmp_path / "start.ckpt"
    shutil.copy(finished / "ckpt" / "best.ckpt", weights)
    folder = run(ckpt_path=weights)
    weights.unlink()
    assert train.main(["--resume", str(folder), "--epochs", "2"]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resume": "best"}, r"best\.ckpt cannot be resumed: it has no optimizer"),
        ({"resume": "last", "n_feats": 6}, r"last\.ckpt does not fit this network: .* shapes or types differ"),
        ({"resume": "last", "scale": 4}, r"does not fit this network"),
    ],
)
def test_checkpoints_that_cannot_be_resumed(finished, changes, message):
    words = [word for key, value in changes.items() if key != "resume" for word in (f"--{key}", str(value))]
    with pytest.raises(UserError, match=message):
        train.main(["--resume", str(finished / "ckpt" / f"{changes['resume']}.ckpt"), *words])


# -------------------------------------------------------------------------------------------------------------- options


def test_start_weights(run, words, finished):
    second = run(ckpt_path=finished / "ckpt" / "last.ckpt", lr=0, ema=0.5)
    assert_same(read(second).weights, read(finished).weights)
    assert read(second).meta["step"] == 4
    with pytest.raises(UserError, match="has num_features 4, not 6: leave the flag out"):
        train.main(words(ckpt_path=finished / "ckpt" / "last.ckpt", n_feats=6))


def options(**changes):
    return dataclasses.replace(TrainConfig(test_every=10, epochs=40, lr=0.5), **changes)


def test_decay():
    """The rate at each epoch, and from which step on; steps count from 0."""
    rates = {decay: recipe.learning_rate(options(decay=decay)) for decay in ("2", "20-25", "cosine")}
    assert [rates["2"](step) for step in (0, 19, 20, 39, 40, 60)] == [0.5, 0.5, 0.25, 0.25, 0.125, 0.0625]
    assert [rates["20-25"](step) for step in (0, 199, 200, 249, 250, 399)] == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    np.testing.assert_allclose([rates["cosine"](step) for step in (0, 200, 400, 500)], [0.5, 0.25, 0, 0], atol=1e-12)
    tenth = recipe.learning_rate(options(decay="20-25", gamma=0.1))
    np.testing.assert_allclose([tenth(step) for step in (199, 200, 250)], [0.5, 0.05, 0.005])
    for wrong in ("", "0", "2-", "2.5", "-3", "20-x", "linear", "²", "9" * 5000):
        with pytest.raises(
            UserError, match=r"--decay must be a number of epochs, epochs joined by - \(20-25\), or cosine"
        ):
            recipe.learning_rate(options(decay=wrong))


def test_plan_takes_every_option():
    """Epochs are counted in --test_every steps; the loss scale counts in half precision only."""
    plan = recipe.plan(
        options(gclip=3.0, ema=0.9, log_every=7, save_every=8, ckpt_save_interval=2, ckpt_save_max=4, loss_scale=64.0)
    )
    assert (plan.steps, plan.gradient_clip, plan.ema_decay, plan.log_every) == (400, 3.0, 0.9, 7)
    assert (plan.save_every, plan.keep_every, plan.keep_at_most, plan.validate_every) == (8, 20, 4, 10)
    assert plan.loss_scale == 1
    assert recipe.plan(options(amp_level="O2", loss_scale=64.0)).loss_scale == 64
    assert recipe.plan(options(ckpt_save_interval=0)).keep_every == 0


@pytest.mark.parametrize(
    ("changes", "lr_side", "scale"),
    [
        ({}, 48, 2),
        ({"scale": "4"}, 48, 4),
        ({"patch_size": 36, "scale": "3"}, 12, 3),
        ({"scale": "2+3+4", "task_id": 2}, 48, 4),
    ],
)
def test_patch_size_is_that_of_the_hr_patch(changes, lr_side, scale, shared_or_sample):
    chosen = options(dir_data=str(shared_or_sample), data_range="1-2/9-9", batch_size=3, **changes)
    lr, hr = next(srdata.training_stream(chosen, chosen.hyper(), Runtime("CPU")).batches(0, 1))
    assert (lr.shape, hr.shape) == ((3, 3, lr_side, lr_side), (3, 3, lr_side * scale, lr_side * scale))


@pytest.fixture(scope="module")
def shared_or_sample(sample_dir, tmp_path_factory):
    """The sample's HR pictures without its LR pictures, which are then made, for x3 too."""
    root = tmp_path_factory.mktemp("data") / "DIV2K" / "DIV2K_train_HR"
    shutil.copytree(sample_dir / "DIV2K" / "DIV2K_train_HR", root)
    return root.parents[1]


def test_several_training_sets(run, tmp_path, sample_dir):
    """A+B: a folder of HR pictures each, beside DIV2K's."""
    hr = sample_dir / "DIV2K" / "DIV2K_train_HR"
    for name, numbers in {"A": "12", "B": "3"}.items():
        (tmp_path / name).mkdir()
        for number in numbers:
            shutil.copy(hr / f"000{number}.png", tmp_path / name)
    folder = run(data_train=f"{tmp_path / 'A'}+{tmp_path / 'B'}+DIV2K", data_range="5-6/9-9")
    assert "; 5 pictures; " in (folder / "train.log").read_text()
    assert [path for path in Path(tmp_path / "A").rglob("*") if path.suffix != ".png"] == [], "nothing is written there"


def test_luma_only(run):
    folder = run(n_colors=1)
    assert read(folder).weights["head.0.weight_v"].shape[1] == 1
    assert math.isfinite(float(read_csv(folder, "PSNR-Y (crop 2)")[-1][0]))


def test_decoded_files_train_the_same(run, finished, tmp_path, sample_dir):
    """--ext sep: the same losses as from the pictures, whose folder is left as it is."""
    data = shutil.copytree(sample_dir, tmp_path / "data")
    first, second = run(dir_data=data, ext="sep"), run(dir_data=data, ext="sep")
    assert losses(first) == losses(second) == losses(finished)
    decoded = sorted(path.name for path in (data / "DIV2K" / "DIV2K_train_HR_decoded").iterdir())
    assert len(decoded) == 3 * 8, "two pictures and their digests"
    assert len(list((data / "DIV2K" / "DIV2K_train_HR").iterdir())) == 12


def test_mindrecord_as_training_data(run, words, tmp_path, sample_dir):
    packed = tmp_path / "x2.mindrecord"
    div2k = sample_dir / "DIV2K"
    lr = div2k / "DIV2K_train_LR_bicubic" / "X2"
    pack(PackOptions(hr=div2k / "DIV2K_train_HR", lr=lr, output=packed, scale=2, patch=64, crops=2))
    folder = run(data_train=packed, no_augment="true")
    assert "; 24 pictures; " in (folder / "train.log").read_text()
    assert len(losses(folder)) == 4
    with pytest.raises(UserError, match=r"x2\.mindrecord was packed for x2, not x4"):
        train.main(words(data_train=packed, scale=4))
    with pytest.raises(UserError, match=r"x2\.mindrecord holds patches of 64, smaller than --patch_size 80"):
        train.main(words(data_train=packed, patch_size=80))


def test_checkpoints_elsewhere(run, words, tmp_path):
    """Files stand in --ckpt_save_path; the run is found from there and from its folder; no other run may harm it."""
    where = tmp_path / "my ckpt"
    folder = run(ckpt_save_path=where)
    assert sorted(path.name for path in where.iterdir()) == ["best.ckpt", "last.ckpt", "step_0000004.ckpt"]
    with pytest.raises(UserError, match=r"my ckpt holds checkpoints of another run"):
        train.main(words(ckpt_save_path=where))
    assert train.main(["--resume", str(where / "last.ckpt"), "--epochs", "2"]) == 0
    assert train.main(["--resume", str(folder), "--epochs", "3"]) == 0
    assert len(losses(folder)) == 12
    assert checkpoint.read(where / "last.ckpt").meta["step"] == 12


def test_test_only(run, tmp_path, capsys):
    """What eval.py does; the checkpoint tells its scale."""
    folder = run(scale=4, patch_size=32)
    capsys.readouterr()
    data = read(folder).meta["config"]["dir_data"]
    checkpoint_path = folder / "ckpt" / "best.ckpt"
    words = ["--test_only", "--ckpt_path", str(checkpoint_path), "--dir_data", data, "--data_range", "1-8/9-10"]
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert train.main(words) == 0
    finally:
        os.chdir(before)
    said = capsys.readouterr().out
    assert "DIV2K x4" in said
    stated = float(re.search(r"Mean psnr of DIV2K x4 is ([\d.]+) \[PSNR-Y \(crop 4\)\]", said)[1])
    assert stated == pytest.approx(read(folder).meta["best"]["score"], abs=2e-3), "as measured while training"


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amp_level": "O2"}, "--amp_level O2 needs a GPU or Ascend: the CPU computes in float32 only"),
        ({"run_distribute": "true"}, "--run_distribute needs a launcher"),
        ({"decay": "never"}, "--decay must be a number of epochs"),
        ({"patch_size": 15}, r"--patch_size 15 \(HR pixels\) must be a multiple of the scale, 2"),
        ({"scale": "2+4", "task_id": 2}, r"--task_id 2 is beyond the 2 scale\(s\) of --scale 2\+4"),
        ({"scale": "two"}, "--scale must be 2, 3, 4 or several"),
        ({"scale": "7"}, r"--scale must be 2, 3, 4 or several as .*, not .7."),
        ({"dir_data": "/nope"}, "--dir_data is not a folder: /nope"),
        ({"data_train": "Set99"}, "no data set 'Set99': looked for "),
        ({"data_range": "20-30/9-10"}, "has none of the images 20-30; type --data_range"),
        ({"data_range": "1-8"}, "--data_range must look like 1-800/801-900"),
        ({"track": "unknown"}, "no x2 images of the track unknown: expected"),
        ({"batch_size": 0}, "command line: batch_size must be 1 or more"),
        ({"test_every": 0}, "command line: test_every must be 1 or more"),
        ({"seed": -1}, "command line: seed must be 0 or more"),
        ({"beta2": 1}, "command line: beta2 must be below 1"),
        ({"ckpt_path": "/nope.ckpt"}, r"checkpoint not found: /nope\.ckpt"),
        ({"resume": "/nope"}, "checkpoint not found: /nope"),
        ({"device_target": "TPU"}, "device_target must be one of auto, Ascend, GPU, CPU"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(words, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as raised:
        train.main(words(**changes))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists(), "no empty run folder"


def test_diverging_training_ends_with_the_last_good_checkpoint(words, tmp_path):
    """Exit code 2 (runtime.run_main) and the file from which to go on; every saved weight is finite."""
    with pytest.raises(
        UserError, match=r"stopped at step \d+: the loss was not finite for 20 steps in a row; the last good"
    ):
        train.main(words(lr=1e25, test_every=50, save_every=1))
    (last,) = (tmp_path / "runs").glob("*/ckpt/last.ckpt")
    assert all(np.isfinite(array).all() for array in checkpoint.read(last).weights.values())


# ----------------------------------------------------------------------------------------------------- options are used


def test_every_option_is_used(root):
    classes = [cls for name, cls in vars(args).items() if name.endswith("Config")]
    assert len(classes) == 4
    assert unused_options(root / "WDSR", classes) == set()


def test_every_flag_of_the_seed_is_there():
    """The names of the original's --help, which its users type."""
    seed = (
        "dir_data data_train data_test data_range ext scale patch_size rgb_range n_colors no_augment model n_resblocks "
        "n_feats res_scale test_every epochs batch_size test_only lr ckpt_save_path ckpt_save_interval ckpt_save_max "
        "ckpt_path task_id"
    )
    assert set(seed.split()) <= {field.name for field in dataclasses.fields(TrainConfig)}


def test_parameters_are_those_of_the_network():
    assert sum(p.size for p in WDSR(TrainConfig(n_resblocks=1, n_feats=4).hyper()).trainable_params()) == 1834
