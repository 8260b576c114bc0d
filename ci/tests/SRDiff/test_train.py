"""SRDiff/train.py as a user starts it, on real pictures with a network of a few thousand weights."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests import training as runs
from ci.tests.training import assert_same, losses, read, read_csv
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.config import options as config
from common.images import files as images
from common.images.resize import imresize
from common.runtime import Runtime
from common.training.loop import Trainer
from common.training.record import Record
from SRDiff import train
from SRDiff.src.dataset.patches import training_stream
from SRDiff.src.model.srdiff import Hyper, SRDiffNet
from SRDiff.src.model_utils import recipe, util
from SRDiff.src.model_utils.options import EvalConfig, TrainConfig

HYPER = Hyper(2, 8, (1,), 4, 2, 20)
NETWORK = {
    "scale": 2, "hidden_size": 8, "unet_dim_mults": "1", "rrdb_num_feat": 4, "rrdb_num_block": 2, "timesteps": 20,
}  # fmt: skip
TINY = NETWORK | {
    "patch_size": 16, "batch_size": 4, "max_updates": 40, "log_every": 1, "test_every": 20, "save_checkpoint_freq": 1,
    "ckpt_save_max": 99, "val_noises": 5, "val_steps": 4, "device_target": "CPU", "decay_steps": 30,
}  # fmt: skip
RATE = 0.005


@pytest.fixture(scope="module", autouse=True)
def no_curve():
    """Drawing it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "draw", lambda self: None)
        yield


@pytest.fixture(scope="module")
def data(sample_dir, tmp_path_factory):
    """Four pictures to train on, and one to look at meanwhile."""
    root = tmp_path_factory.mktemp("data")
    for number in range(1, 6):
        picture = images.read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / f"000{number}.png")
        place = "train" if number < 5 else "val"
        images.write_picture(root / "div2k" / place / "X1" / f"image_000{number}.png", picture[:64, :72])
    return root


@pytest.fixture(scope="module")
def encoder_run(data, tmp_path_factory):
    """Of --stage rrdb."""
    settings = {"dataset_GT_path": data, "save_dir": tmp_path_factory.mktemp("rrdb"), **TINY, "stage": "rrdb"}
    return runs.train(train.main, settings | {"lr": RATE})


@pytest.fixture(scope="module")
def noise_settings(data, encoder_run):
    """Of the noise predictor, with that encoder."""
    encoder = encoder_run / "ckpt" / "last.ckpt"
    return {"dataset_GT_path": data, **TINY, "rrdb_path": encoder, "lr": RATE, "ema": 0.9}


@pytest.fixture(scope="module")
def noise_run(noise_settings, tmp_path_factory):
    return runs.train(train.main, noise_settings | {"save_dir": tmp_path_factory.mktemp("noise")})


@pytest.fixture
def words(data, tmp_path):
    """Arguments of a tiny run in `tmp_path`, with changes."""

    def make(**changes):
        return runs.words({"dataset_GT_path": data, "save_dir": tmp_path / "runs", **TINY, **changes})

    return make


@pytest.fixture
def begun(words, monkeypatch):
    """begun(changes) -> the trainer that train.py would set off, which opens its folder alone here."""
    trainers = []

    def fit(self):
        self.folder = self.open_folder()
        trainers.append(self)
        return 0

    monkeypatch.setattr(Trainer, "fit", fit)

    def begin(**changes):
        assert train.main(words(**changes)) == 0
        return trainers[-1]

    return begin


def options(data, **changes) -> TrainConfig:
    return config.parse(TrainConfig, runs.words({"dataset_GT_path": data, **TINY, **changes}), description="")


def weights_of(network) -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy().copy() for parameter in network.get_parameters()}


def network_of(weights) -> SRDiffNet:
    network = SRDiffNet(HYPER)
    checkpoint.load_into(network, weights, source="the test")
    return network


def changed(one: Checkpoint, other: Checkpoint) -> set[str]:
    return {name for name in one.weights if not np.array_equal(one.weights[name], other.weights[name])}


# --------------------------------------------------------------------------------------------------------- the encoder


def test_encoder_learns_by_its_own_picture(encoder_run, data):
    """The first loss by hand, the run's parts, and a checkpoint that says what it is."""
    chosen = options(data, stage="rrdb")
    hr, lr = next(training_stream(chosen, HYPER, Runtime("CPU")).batches(0, 1))
    network = SRDiffNet(HYPER, chosen.seed)
    wanted = np.abs(hr - network.rrdb(Tensor(lr)).asnumpy()).mean(dtype=np.float64)
    found = losses(encoder_run)
    assert len(found) == 40
    assert found[0] == pytest.approx(wanted, rel=1e-5)
    assert np.mean(found[-8:]) < 0.8 * np.mean(found[:8])
    meta = read(encoder_run).meta
    assert (meta["model"], meta["stage"], meta["scale"], meta["step"]) == ("SRDiff", "rrdb", 2, 40)
    assert re.fullmatch(r"srdiff_x2_rrdb-\d{8}-\d{6}", encoder_run.name)
    encoder = weights_of(network.rrdb)
    assert set(read(encoder_run).weights) == set(encoder)
    after = read(encoder_run, "step_0000001.ckpt").weights
    assert min(np.abs(after[name] - array).max() for name, array in encoder.items()) > 1e-6, "all of it learns"
    assert meta["best"]["name"] == "PSNR-RGB (crop 0)"
    best = max(float(score) for (score,) in read_csv(encoder_run, "PSNR-RGB (crop 0)") if score)
    assert meta["best"]["score"] == pytest.approx(best, abs=1e-4)


# ------------------------------------------------------------------------------------------------- the noise predictor


def test_run_leaves_what_it_should(noise_run):
    names = {"config.yaml", "environment.txt", "train.log", "metrics.csv", "ckpt"}
    assert {path.name for path in noise_run.iterdir()} == names
    assert re.fullmatch(r"srdiff_x2-\d{8}-\d{6}", noise_run.name)
    meta = read(noise_run).meta
    assert (meta["model"], meta["stage"], meta["scale"], meta["step"]) == ("SRDiff", "diffusion", 2, 40)
    assert Hyper(**meta["hyper"]) == HYPER
    assert config.merge(TrainConfig(), meta["config"], "") == config.load(TrainConfig, noise_run / "config.yaml")
    assert json.loads(json.dumps(meta)) == meta
    count = sum(math.prod(array.shape) for array in weights_of(SRDiffNet(HYPER)).values())
    log = (noise_run / "train.log").read_text()
    assert f"SRDiff x2, stage diffusion, {count:,} parameters; 4 pictures of " in log
    assert "1 worker(s) on CPU, 4 patches each; " in log


def test_first_loss_is_the_distance_from_the_noise(noise_run, encoder_run, data):
    """By the paper's formulas in float64: the noisy residual, and what the network makes of it."""
    chosen = options(data)
    hr, lr, lr_up, t, eps = next(training_stream(chosen, HYPER, Runtime("CPU")).batches(0, 1))
    at = np.linspace(0, 21, 21) / 21
    left = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2
    left = np.cumprod(1 - np.clip(1 - left[1:] / left[:-1], 0, 0.999))[t][:, None, None, None]
    residual = ((hr.astype(np.float64) - lr_up) * 2).clip(-1, 1)
    noisy = np.sqrt(left) * residual + np.sqrt(1 - left) * eps
    network = network_of(weights_of(SRDiffNet(HYPER, chosen.seed)) | read(encoder_run).weights)
    found = network(Tensor(noisy.astype(np.float32)), Tensor(t), Tensor(lr)).asnumpy()
    assert losses(noise_run)[0] == pytest.approx(np.abs(found - eps.astype(np.float64)).mean(), rel=1e-5)


def test_training_learns_and_the_encoder_stays(noise_run, encoder_run):
    found, of_nothing = losses(noise_run), math.sqrt(2 / math.pi)  # the mean of |eps|, were no noise seen
    assert len(found) == 40
    assert np.mean(found[:3]) > 0.99 * of_nothing
    assert np.mean(found[-8:]) < 0.93 * of_nothing
    assert_same({n: a for n, a in read(noise_run).weights.items() if n.startswith("rrdb.")}, read(encoder_run).weights)
    first, second = (read(noise_run, f"step_000000{step}.ckpt") for step in (1, 2))
    predictor = {name for name in first.weights if name.startswith("denoise_fn.")}
    assert len(predictor) > 30
    assert changed(first, second) == predictor
    assert {name for name in first.state if "optimizer.first." in name} == {
        f"optimizer.first.{name}" for name in predictor
    }


def test_rate_is_halved(noise_run):
    rates = [float(rate) / RATE for (rate,) in read_csv(noise_run, "learning_rate") if rate]
    np.testing.assert_allclose(rates, [1] * 30 + [0.5] * 10)


def test_validation_shows_noise_loss_and_sampled_pictures(noise_run, data):
    """The second look once more by hand, with the averaged weights: the loss at t = 2, 6 ... 18, four DDIM steps."""
    columns = (recipe.NOISE, "PSNR-RGB (crop 0)", recipe.LR_PSNR)
    found = [[float(value) for value in row] for row in read_csv(noise_run, *columns) if row[0]]
    assert len(found) == 2
    best = int(np.argmax([row[0] for row in found]))
    said = read(noise_run).meta["best"]
    assert (said["name"], said["score"], said["step"]) == (columns[0], found[best][0], 20 * (best + 1))
    last = read(noise_run)
    averaged = {name.removeprefix("ema."): array for name, array in last.state.items() if name.startswith("ema.")}
    network = network_of(last.weights | averaged)

    whole = images.read_rgb(data / "div2k" / "val" / "X1" / "image_0005.png")
    hr, lr = whole[24:40, 28:44], imresize(whole, 1 / 2)[12:20, 14:22]
    up = 2 * imresize(lr / 256, 2).transpose(2, 0, 1)[None] - 1
    hr_image, lr_image = ((picture / 127.5 - 1).transpose(2, 0, 1)[None] for picture in (hr, lr))
    lr_image = Tensor(lr_image.astype(np.float32))
    left = HYPER.schedule().alphas_cumprod
    rng = np.random.default_rng([options(data).seed, 3])

    def predict(x, t):
        return network(Tensor(x.astype(np.float32)), Tensor(np.array([t], np.int32)), lr_image).asnumpy().astype(float)

    distances = []
    for t in (2, 6, 10, 14, 18):
        eps = rng.standard_normal(up.shape, np.float32)
        noisy = np.sqrt(left[t]) * ((hr_image - up) * 2).clip(-1, 1) + np.sqrt(1 - left[t]) * eps
        distances.append(np.abs(predict(noisy, t) - eps).mean())
    assert found[1][0] == pytest.approx(-np.mean(distances), abs=1e-5)

    x = rng.standard_normal(up.shape, np.float32).astype(float)
    times = [0, 6, 13, 19]
    for place in (3, 2, 1, 0):
        share, after = left[times[place]], left[times[place - 1]] if place else 1.0
        clean = ((x - np.sqrt(1 - share) * predict(x, times[place])) / np.sqrt(share)).clip(-1, 1)
        x = np.sqrt(after) * clean + np.sqrt(1 - after) * (x - np.sqrt(share) * clean) / np.sqrt(1 - share)
    sr = np.rint((((x.clip(-1, 1) / 2 + up)[0].transpose(1, 2, 0) + 1) / 2).clip(0, 1) * 255).astype(np.uint8)
    error = (
        np.mean((sr.astype(float) - hr) ** 2),
        np.mean((imresize(sr, 1 / 2, rounding="half_even").astype(float) - lr) ** 2),
    )
    np.testing.assert_allclose(found[1][1:], 10 * np.log10(255**2 / np.array(error)), atol=2e-2)


# ----------------------------------------------------------------------------------------------- what a run begins with


def test_encoder_that_is_not_fixed_is_trained_as_well(words, data, encoder_run, tmp_path):
    """The authors' test was upside down. The loss is the noise's and that of the encoder's own picture."""
    encoder = encoder_run / "ckpt" / "last.ckpt"
    changes = {"rrdb_path": encoder, "fix_rrdb": False, "loss_type": "l2", "max_updates": 2, "val_GT_path": ""}
    assert train.main(words(**changes)) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    first, second = (read(folder, f"step_000000{step}.ckpt") for step in (1, 2))
    assert changed(first, second) == set(first.weights)
    assert {name for name in first.state if "optimizer.first." in name} == {
        f"optimizer.first.{name}" for name in first.weights
    }
    loss, noise, aux = (float(value) for value in read_csv(folder, "loss", "noise", "encoder")[0])
    assert loss == pytest.approx(noise + aux, rel=1e-6)
    hr, lr, *_, eps = next(training_stream(options(data), HYPER, Runtime("CPU")).batches(0, 1))
    network = network_of(weights_of(SRDiffNet(HYPER)) | read(encoder_run).weights)
    assert aux == pytest.approx(np.abs(network.rrdb(Tensor(lr)).asnumpy() - hr).mean(dtype=float), rel=1e-5)
    assert noise > 0.5 * np.mean(eps.astype(float) ** 2), "squared"


def test_untrained_encoder_is_refused_unless_it_learns_or_is_wanted(words, begun, tmp_path, caplog):
    with pytest.raises(UserError, match="the encoder is not trained: train it by --stage rrdb and name the result by"):
        train.main(words())
    assert not (tmp_path / "runs").exists()
    trainer = begun(fix_rrdb="false")
    assert "the encoder begins untrained\n" in caplog.text
    assert len(trainer.optimizer.parameters) == len(weights_of(trainer.network))
    trainer = begun(random_rrdb="true")
    assert "the encoder begins untrained and stays so" in caplog.text
    assert {parameter.name.split(".")[0] for parameter in trainer.optimizer.parameters} == {"denoise_fn"}


def test_where_the_encoder_comes_from(begun, encoder_run, noise_run, tmp_path):
    """From a run of its own, out of a whole network, or from the authors' file, which names it by itself."""
    encoder = read(encoder_run).weights
    alone = tmp_path / "rrdb.ckpt"
    checkpoint.save(alone, Checkpoint({name.removeprefix("rrdb."): array for name, array in encoder.items()}, {}))
    for path in (encoder_run / "ckpt" / "best.ckpt", noise_run / "ckpt" / "last.ckpt", alone):
        wanted = read(encoder_run, "best.ckpt").weights if path.name == "best.ckpt" else encoder
        found = weights_of(begun(rrdb_path=path).network)
        assert_same({name: array for name, array in found.items() if name.startswith("rrdb.")}, wanted)
    network = begun(ckpt_path=noise_run / "ckpt" / "last.ckpt").network
    assert_same(weights_of(network), read(noise_run).weights)
    trainer = begun(stage="rrdb", ckpt_path=encoder_run / "ckpt" / "last.ckpt")
    assert_same(weights_of(trainer.network), encoder)
    assert trainer.step == 0


def test_settings_that_reach_the_trainer(begun, encoder_run):
    encoder = encoder_run / "ckpt" / "last.ckpt"
    trainer = begun(rrdb_path=encoder, gclip=0.5, ema=0.9, beta1=0.5, beta2=0.9)
    assert (trainer.plan.gradient_clip, trainer.plan.ema_decay, trainer.optimizer.betas) == (0.5, 0.9, (0.5, 0.9))


def test_going_on_with_the_latest_run(begun, noise_run, tmp_path, caplog):
    caplog.set_level("INFO")
    chosen = TrainConfig(scale=2, save_dir=str(tmp_path / "runs"))
    assert train.runs.latest(chosen.save_dir, train.run_name(chosen)) == ""
    assert "--resume auto: nothing to go on with, a new run" in caplog.text
    shutil.copytree(noise_run, tmp_path / "runs" / noise_run.name)
    shutil.copytree(noise_run, tmp_path / "runs" / "srdiff_x2_rrdb-20991231-000000")
    trainer = begun(resume="auto", rrdb_path="gone.ckpt")
    assert (trainer.step, trainer.folder) == (40, tmp_path / "runs" / noise_run.name)
    assert_same(trainer.optimizer.state() | trainer.average.state(), read(noise_run).state)
    assert config.load(TrainConfig, trainer.folder / "config.yaml").resume == ""


def test_checkpoint_is_what_other_programs_take(noise_run):
    path = str(noise_run / "ckpt" / "last.ckpt")
    network, saved, source = util.load_network(EvalConfig(ckpt_path=path))
    assert (network.hyper, source) == (HYPER, path)
    assert_same(weights_of(network), saved.weights)


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_GT_path": ""}, r"which pictures. type --dataset_GT_path FOLDER, or a \.mindrecord"),
        ({"dataset_GT_path": "/nope"}, "--dataset_GT_path is not there: /nope"),
        ({"patch_size": 17}, r"--patch_size 17 \(HR pixels\) must be a multiple of 2"),
        ({"stage": "both"}, "stage must be one of diffusion, rrdb, not 'both'"),
        ({"scale": 3}, "scale must be one of 2, 4, 8"),
        ({"loss_type": "ssim"}, "loss_type must be one of l1, l2, not 'ssim'"),
        ({"rrdb_num_block": 1}, "2 blocks or more are needed, not 1"),
        ({"model": "srdiff_smal"}, "did you mean 'srdiff_small'"),
        ({"device_num": 2}, r"--device_num 2, but there are 1 worker\(s\): scripts/run_distribute_train_gpu\.sh"),
        ({"run_distribute": "true"}, "--run_distribute needs a launcher"),
        ({"ckpt_path": "/nope.ckpt"}, r"checkpoint not found: /nope\.ckpt"),
        ({"rrdb_path": "/nope.ckpt"}, r"checkpoint not found: /nope\.ckpt"),
        ({"resume": "/nope"}, "checkpoint not found: /nope"),
        ({"config": "/nope.yaml"}, r"cannot read the configuration '/nope\.yaml'"),
        ({"max_update": 32}, "unrecognized arguments: --max_update 32.* did you mean '--max_updates'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(words, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as raised:
        train.main(words(**changes))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists(), "no empty run folder"


def test_weights_of_something_else(root, words, encoder_run, noise_run, tmp_path):
    encoder, whole = (folder / "ckpt" / "last.ckpt" for folder in (encoder_run, noise_run))
    other = root / "WDSR" / "weights" / "wdsr_b_small_x2.ckpt"
    mistakes = [
        (
            {"rrdb_path": encoder, "rrdb_num_feat": 6},
            r"last\.ckpt does not fit this network: .* shapes or types differ",
        ),
        ({"rrdb_path": encoder, "rrdb_num_block": 3}, r"last\.ckpt does not fit this network"),
        ({"ckpt_path": encoder}, r"last\.ckpt holds the encoder alone .*--rrdb_path"),
        ({"ckpt_path": whole, "hidden_size": 12}, r"last\.ckpt has hidden_size \d+, not 12: leave the flag out"),
        ({"rrdb_path": other}, r"wdsr_b_small_x2\.ckpt holds WDSR, not SRDiff"),
        ({"resume": other}, r"WDSR.* cannot be resumed here: expected SRDiff"),
        ({"resume": encoder, "stage": "diffusion"}, "is a run of --stage rrdb, not diffusion"),
        ({"resume": noise_run / "ckpt" / "best.ckpt"}, r"best\.ckpt cannot be resumed: it has no optimizer"),
    ]
    for changes, message in mistakes:
        with pytest.raises(UserError, match=message):
            train.main(words(**changes))
    assert not (tmp_path / "runs").exists()


def test_trained_part_is_said_by_the_options(data):
    for changes, wanted in (({}, {"denoise_fn"}), ({"fix_rrdb": False}, {"denoise_fn", "rrdb"})):
        part = recipe.trained_part(SRDiffNet(HYPER), options(data, **changes))
        assert {parameter.name.split(".")[0] for parameter in part.trainable_params()} == wanted
    part = recipe.trained_part(SRDiffNet(HYPER), options(data, stage="rrdb"))
    assert {parameter.name.split(".")[0] for parameter in part.get_parameters()} == {"rrdb"}
