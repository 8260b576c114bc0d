"""IRN/train.py as a user starts it, on the real pictures of ci/sample with a network of 8,622 weights."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ci.tests import training
from ci.tests.clone import ROOT
from ci.tests.options import unused_options
from ci.tests.training import assert_same, losses, read, read_csv, start
from common import UserError
from common.checkpoint import files as checkpoint
from common.config import options as config
from common.images import files as images
from common.runtime import Runtime
from IRN import train
from IRN.src import measuring
from IRN.src.data.LQGT_dataset import training_stream
from IRN.src.data.util import validation_pictures
from IRN.src.network.Invnet import InvRescaleNet
from IRN.src.options import options
from IRN.src.options.options import TrainConfig

TINY = {
    "scale": 2, "block_num": 1, "growth": 4, "patch_size": 32, "batch_size": 2, "lr": 0.002, "niter": 4,
    "test_every": 2, "log_every": 1, "lambda_fit_forw": 7, "lambda_rec_back": 3, "lambda_ce_forw": 0.5,
    "save_checkpoint_freq": 1, "device_target": "CPU",
}  # fmt: skip
LR_X4 = ROOT / "ci" / "sample" / "DIV2K" / "DIV2K_train_LR_bicubic" / "X4"
PARTS = ("loss", "fit", "ce", "rec")
YML = """
model: IRN
scale: 2
datasets:
  train: {name: a few, mode: LQGT, dataroot_GT: DATA, batch_size: 2, GT_size: 32}
network_G: {which_model_G: {subnet_type: DBNet}, in_nc: 3, out_nc: 3, block_num: [1], gc: 4, scale: 2, init: xavier}
train: {lr_G: 2e-3, niter: 4, val_freq: 2, manual_seed: 10, lambda_fit_forw: 7, lambda_rec_back: 3, lambda_ce_forw: 0.5}
logger: {print_freq: 1}
"""


@pytest.fixture(scope="module")
def data(sample_dir, tmp_path_factory):
    """Eight pictures to train on, and a small one to look at meanwhile."""
    root = tmp_path_factory.mktemp("data")
    for number in range(1, 9):
        (root / "DIV2K_train_HR").mkdir(exist_ok=True)
        shutil.copy(sample_dir / "DIV2K" / "DIV2K_train_HR" / f"000{number}.png", root / "DIV2K_train_HR")
    picture = images.read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / "0009.png")
    images.write_picture(root / "DIV2K_valid_HR" / "0801.png", picture[:96, :128])
    return root


@pytest.fixture
def words(data, tmp_path):
    """Arguments of a tiny run in `tmp_path`, with changes."""

    def make(**changes):
        return training.words({"dataset_GT_path": data, "save_dir": tmp_path / "runs", **TINY, **changes})

    return make


@pytest.fixture
def run(data, tmp_path):
    """Train in this process; returns the run's folder."""

    def begin(**changes):
        settings = {"dataset_GT_path": data, "save_dir": tmp_path / "runs", **TINY, **changes}
        return training.train(train.main, settings)

    return begin


@pytest.fixture(scope="module")
def finished_run(data, tmp_path_factory):
    settings = {"dataset_GT_path": data, "save_dir": tmp_path_factory.mktemp("finished"), **TINY}
    return training.train(train.main, settings)


@pytest.fixture
def finished(finished_run, tmp_path):
    """A folder of a tiny run of 4 steps."""
    return Path(shutil.copytree(finished_run, tmp_path / "finished"))


# ------------------------------------------------------------------------------------------------------------- training


def test_training_learns_and_leaves_a_complete_run(run, data):
    """Sixty steps: the loss falls, PSNR rises above that of the Haar transform, the rate falls at its milestone."""
    where = {"lr": 0.003, "niter": 60, "test_every": 15, "lr_steps": "20,45", "lr_gamma": 0.1}
    folder = run(batch_size=4, ema=0.5, save_checkpoint_freq=20, ckpt_save_max=2, name="x", data_name="mine", **where)
    found = losses(folder)
    assert len(found) == 60
    assert np.mean(found[-10:]) < 0.7 * np.mean(found[:5])
    column = "PSNR-Y (crop 2)"
    untrained = untrained_scores(data)[column]
    psnr = [float(value) for (value,) in read_csv(folder, column) if value]
    assert len(psnr) == 4
    assert min(psnr) > untrained
    assert psnr[-1] > untrained + 1
    rates = [float(rate) for (rate,) in read_csv(folder, "learning_rate") if rate]
    np.testing.assert_allclose(rates, [0.003] * 20 + [0.0003] * 25 + [0.00003] * 15)

    assert re.fullmatch(r"x-\d{8}-\d{6}", folder.name)
    names = {"config.yaml", "environment.txt", "train.log", "metrics.csv", "curve.png", "ckpt"}
    assert {path.name for path in folder.iterdir()} == names
    checkpoints = ["best.ckpt", "last.ckpt", "step_0000040.ckpt", "step_0000060.ckpt"]
    assert sorted(path.name for path in (folder / "ckpt").iterdir()) == checkpoints
    meta = read(folder).meta
    assert (meta["model"], meta["scale"], meta["step"], meta["epoch"]) == ("IRN", 2, 60, 30)
    assert meta["hyper"] == {"scale": 2, "block_num": [1], "growth": 4, "clamp": 1.0, "init": "xavier"}
    best = 15 * (1 + int(np.argmax(psnr)))
    assert meta["best"]["step"] == read(folder, "best.ckpt").meta["step"] == best
    saved = config.load(TrainConfig, folder / "config.yaml")
    assert config.merge(TrainConfig(), meta["config"], "") == saved
    assert (saved.lr, saved.niter, saved.lr_steps, saved.ema) == (0.003, 60, (20, 45), 0.5)

    log = (folder / "train.log").read_text()
    assert not set("█▏▎▍▌▋▊▉\r\x1b") & set(log), "no progress bar in the log"
    lines = [line.split(" ", 3)[3] for line in log.splitlines()]
    started = "IRN x2, 8,622 parameters; 8 pictures of mine; 1 worker(s) on CPU, 4 patches each; "
    assert any(line.startswith(started) for line in lines)
    number = r"[\d.e+]+"
    step = rf"step 1/60: loss {number}, fit {number}, ce {number}, rec {number}, lr 0\.003, \d+ ms/step, .* left"
    assert any(re.fullmatch(step, line) for line in lines)
    ends = [line for line in lines if line.startswith("best: ")]  # behind it: this test's reading
    assert ends[-1].startswith(f"best: {column} {max(psnr):.4f} at step {best}, in {folder}/ckpt/best.ckpt; next: ")


def untrained_scores(data):
    """Of the network with which every run starts: the Haar transform."""
    chosen = TrainConfig(scale=2, block_num=(1,), growth=4, dataset_GT_path=str(data))
    validate = measuring.make_validation(validation_pictures(chosen), chosen.hyper(), chosen.seed)
    return validate(InvRescaleNet(chosen.hyper(), chosen.seed))


def test_first_losses_are_those_of_the_haar_transform(finished_run, data):
    """The untrained network is the plain Haar transform: the three parts of the loss by hand, in float64."""
    chosen = TrainConfig(scale=2, patch_size=32, batch_size=2, dataset_GT_path=str(data))
    stream = training_stream(chosen, chosen.hyper(), Runtime("CPU"))
    hr, reference, z = (array.astype(np.float64) for array in next(stream.batches(0, 1)))

    a, b, c, d = (hr[:, :, top::2, left::2] for top in (0, 1) for left in (0, 1))
    lr_image = (a + b + c + d) / 4
    details = np.concatenate([(a - b + c - d) / 4, (a + b - c - d) / 4, (a - b - c + d) / 4], 1)
    rounded = np.round(lr_image.clip(0, 1) * 255) / 255
    columns, rows, diagonals = np.split(z, 3, 1)
    restored = np.empty_like(hr)
    restored[:, :, 0::2, 0::2] = rounded + columns + rows + diagonals
    restored[:, :, 0::2, 1::2] = rounded - columns + rows - diagonals
    restored[:, :, 1::2, 0::2] = rounded + columns - rows - diagonals
    restored[:, :, 1::2, 1::2] = rounded - columns - rows + diagonals
    fit = 7 * ((lr_image - reference) ** 2).sum() / 2
    ce = 0.5 * (details**2).sum() / 2
    rec = 3 * np.sqrt((hr - restored) ** 2 + 1e-6).sum() / 2
    found = [float(value) for value in read_csv(finished_run, *PARTS)[0]]
    np.testing.assert_allclose(found, [fit + ce + rec, fit, ce, rec], rtol=2e-5)


def test_first_step_is_adams_with_weight_decay(finished_run):
    """Where the gradient is zero, the decay alone moves the weights: behind conv5, which begins with zeros."""
    network = InvRescaleNet(TrainConfig(scale=2, block_num=(1,), growth=4).hyper(), TrainConfig().seed)
    after = read(finished_run, "step_0000001.ckpt").weights
    for parameter in network.trainable_params():
        before, moved = parameter.asnumpy().astype(np.float64), parameter.asnumpy() - after[parameter.name]
        if "conv5" in parameter.name:
            np.testing.assert_allclose(np.median(np.abs(moved)), 0.002, rtol=1e-3)
        else:
            decay = 1e-5 * before
            np.testing.assert_allclose(moved, 0.002 * decay / (np.abs(decay) + 1e-8), atol=2e-8)


# --------------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resume": "best"}, r"best\.ckpt cannot be resumed: it has no optimizer"),
        ({"resume": "last", "growth": 6}, r"last\.ckpt does not fit this network: .* shapes or types differ"),
        ({"resume": "last", "scale": 4}, r"IRN x4 takes 2 number\(s\) of blocks"),
        ({"resume": "last", "scale": 4, "block_num": "1,1"}, "does not fit this network"),
    ],
)
def test_checkpoints_that_cannot_be_resumed(finished, changes, message):
    path = finished / "ckpt" / f"{changes.pop('resume')}.ckpt"
    with pytest.raises(UserError, match=message):
        train.main(["--resume", str(path), *training.words(changes)])


@pytest.mark.parametrize("flag", ["resume", "ckpt_path"])
def test_truncated_checkpoint(words, finished, tmp_path, flag):
    last = finished / "ckpt" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"last\.ckpt is damaged"):
        train.main(words(**{flag: last}))
    assert not (tmp_path / "runs").exists()


def test_checkpoint_of_another_model(root, words, tmp_path):
    weights = root / "WDSR" / "weights" / "wdsr_b_small_x2.ckpt"
    with pytest.raises(UserError, match=r"wdsr_b_small_x2\.ckpt .*WDSR.* cannot be resumed here: expected IRN"):
        train.main(words(resume=weights))
    with pytest.raises(UserError, match=r"wdsr_b_small_x2\.ckpt holds WDSR, not IRN"):
        train.main(words(ckpt_path=weights))
    assert not (tmp_path / "runs").exists()


def test_start_weights(run, words, finished):
    """--ckpt_path: weights only; another size is refused."""
    last = finished / "ckpt" / "last.ckpt"
    second = run(ckpt_path=last, lr=0)
    assert_same(read(second).weights, read(finished).weights)
    assert read(second).meta["step"] == 4
    with pytest.raises(UserError, match=r"last\.ckpt has growth 4, not 6: leave the flag out"):
        train.main(words(ckpt_path=last, growth=6))


# -------------------------------------------------------------------------------------------------------------- options


def test_yml_in_the_authors_keys(finished, data, tmp_path):
    """-opt FILE means the same as the flags."""
    path = tmp_path / "train_IRN_x2.yml"
    path.write_text(YML.replace("DATA", str(data)))
    found = config.to_dict(config.parse(TrainConfig, ["-opt", str(path)], description=""))
    wanted = read(finished).meta["config"]
    others = {"log_every": 1, "data_name": "a few", "save_checkpoint_freq": 5000, "device_target": "auto"}
    wanted |= others | {"save_dir": "runs/IRN", "name": ""}
    assert {key: value for key, value in found.items() if value != wanted[key]} == {}


def test_pictures_to_look_at(data, sample_dir, caplog):
    """DIV2K_valid_HR beside the training pictures, or those that are named, or none."""
    caplog.set_level("INFO")

    def names(**changes):
        chosen = TrainConfig(**{"dataset_GT_path": str(data), **changes})
        return [pair.name for pair in validation_pictures(chosen)]

    hr = str(sample_dir / "DIV2K" / "DIV2K_train_HR")
    assert names() == names(dataset_GT_path=str(data / "DIV2K_train_HR")) == ["0801"]
    assert names(val_GT_path=hr, test_pictures=3) == ["0001", "0002", "0003"]
    assert len(names(val_GT_path=hr, test_pictures=0)) == 12
    assert names(dataset_GT_path=hr) == []
    assert "the run is not validated, last.ckpt is its result" in caplog.text


def test_every_flag_of_the_seed_is_there():
    """The names that the port's users type, with their spellings of values."""
    words = (
        "--scale 2 --dataset_GT_path a --dataset_LQ_path b --device_target CPU --device_num 1 --run_distribute False"
    )
    made = config.parse(TrainConfig, [*words.split(), "--resume_state", "c"], description="")
    assert (made.dataset_GT_path, made.dataset_LQ_path, made.resume) == ("a", "b", "c")
    assert (made.scale, made.device_num, made.run_distribute) == (2, 1, False)


def test_every_option_is_used(root):
    classes = {cls for name, cls in vars(options).items() if name.endswith("Config")}
    assert len(classes) == 5
    assert unused_options(root / "IRN", classes) == set()


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_GT_path": ""}, "which pictures. type --dataset_GT_path FOLDER"),
        ({"dataset_GT_path": "/nope"}, "--dataset_GT_path is not a folder: /nope"),
        ({"dataset_LQ_path": "/nope"}, "--dataset_LQ_path is not a folder: /nope"),
        ({"dataset_LQ_path": LR_X4}, r"8 of 8 images of .*DIV2K_train_HR have no x2 image in .*X4: 0001\.png"),
        ({"val_GT_path": "/nope"}, "--val_GT_path is not there: /nope"),
        ({"patch_size": 33}, r"--patch_size 33 \(HR pixels\) must be a multiple of the scale, 2"),
        ({"patch_size": 600}, "every training picture is smaller than the patch of 600x600"),
        ({"scale": 5}, "scale must be one of 2, 3, 4, 8"),
        ({"block_num": "1,1"}, r"IRN x2 takes 1 number\(s\) of blocks"),
        ({"clamp": -1}, "clamp must be 0 or more"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"niter": 0}, "niter must be 1 or more"),
        ({"beta2": 1}, "beta2 must be below 1"),
        ({"lr_scheme": "never"}, "lr_scheme must be one of MultiStepLR, CosineAnnealingLR_Restart"),
        ({"restart_weights": 1}, "0 restarts need as many restart_weights, not 1"),
        ({"amp_level": "O2"}, "--amp_level O2 needs a GPU or Ascend: the CPU computes in float32 only"),
        ({"run_distribute": "true"}, "--run_distribute needs a launcher"),
        ({"device_num": 2}, r"--device_num 2, but there are 1 worker\(s\): scripts/run_distribute_train.sh"),
        ({"device_target": "TPU"}, "device_target must be one of auto, Ascend, GPU, CPU"),
        ({"ckpt_path": "/nope.ckpt"}, r"checkpoint not found: /nope\.ckpt"),
        ({"resume": "/nope"}, "checkpoint not found: /nope"),
        ({"opt": "/nope.yml"}, r"cannot read the configuration '/nope\.yml'"),
        ({"patchsize": 32}, "unrecognized arguments: --patchsize 32.* did you mean '--patch_size'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(words, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as raised:
        train.main(words(**changes))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists(), "no empty run folder"


def test_truncated_picture_is_named(words, tmp_path, data):
    folder = shutil.copytree(data, tmp_path / "data")
    picture = folder / "DIV2K_train_HR" / "0003.png"
    picture.write_bytes(picture.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"0003\.png is damaged or cut off"):
        train.main(words(dataset_GT_path=folder, batch_size=8))


@pytest.mark.slow
def test_diverging_training_ends_with_the_last_good_checkpoint(root, data, tmp_path):
    """As the seed starts it, in IRN's folder with the yml of the authors' recipe: one sentence and exit code 2."""
    tiny = training.words({**TINY, "lr": 1e6, "niter": 100, "test_every": 100, "save_every": 1})
    command = ["-opt", "./src/options/train/train_IRN_x2.yml", "--dataset_GT_path", str(data), *tiny]
    process = start(Path("train.py"), [*command, "--save_dir", str(tmp_path / "runs")], root / "IRN")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 2, said
    message = r"error: stopped at step \d+: the loss was not finite for 20 steps in a row; the last good checkpoint is "
    assert re.match(message, said.splitlines()[-1])
    assert "Traceback" not in said
    (last,) = (tmp_path / "runs").glob("*/ckpt/last.ckpt")
    assert str(last) in said.splitlines()[-1]
    assert all(np.isfinite(array).all() for array in checkpoint.read(last).weights.values())
