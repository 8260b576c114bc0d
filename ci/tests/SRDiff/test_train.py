"""What SRDiff's training alone has: the noise's loss, an encoder that stays, and a validation by samples."""

import math

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.specs import weights_of
from ci.tests.SRDiff.nets import left_of
from ci.tests.training import assert_same, losses, read, read_csv
from common import UserError
from common.checkpoint import Checkpoint, load_into, save
from common.images import imresize, read_rgb
from SRDiff.src.model.srdiff import Hyper, SRDiffNet

HYPER = Hyper(2, 8, (1,), 4, 2, 20)


@pytest.fixture
def noise_run(trained):
    """40 steps with a trained encoder."""
    return trained("SRDiff")


@pytest.fixture
def encoder(trained):
    """What --stage rrdb left."""
    return trained("SRDiff", "rrdb") / "ckpt" / "last.ckpt"


def network_of(weights) -> SRDiffNet:
    network = SRDiffNet(HYPER)
    load_into(network, weights, source="the test")
    return network


def encoder_in(weights):
    return {name: array for name, array in weights.items() if name.startswith("rrdb.")}


def test_first_loss_is_the_distance_from_the_noise(noise_run, begun, encoder):
    """By the paper's formulas in float64: the noisy residual, and what the network makes of it."""
    trainer = begun("SRDiff", rrdb_path=encoder)
    hr, lr, lr_up, t, eps = next(trainer.stream.batches(0, 1))
    left = left_of(HYPER)[t][:, None, None, None]
    residual = ((hr.astype(np.float64) - lr_up) * 2).clip(-1, 1)
    noisy = np.sqrt(left) * residual + np.sqrt(1 - left) * eps
    found = trainer.network(Tensor(noisy.astype(np.float32)), Tensor(t), Tensor(lr)).asnumpy()
    assert losses(noise_run)[0] == pytest.approx(np.abs(found - eps.astype(np.float64)).mean(), rel=1e-5)
    of_nothing = math.sqrt(2 / math.pi)  # the mean of |eps|, were no noise seen
    assert np.mean(losses(noise_run)[-8:]) < 0.93 * of_nothing < 0.94 * np.mean(losses(noise_run)[:3])


def test_the_encoder_stays(noise_run, encoder):
    assert_same(encoder_in(read(noise_run).weights), read(encoder.parents[1]).weights)
    first, second = (read(noise_run, f"step_000000{step}.ckpt") for step in (1, 2))
    predictor = {name for name in first.weights if name.startswith("denoise_fn.")}
    changed = {name for name in first.weights if not np.array_equal(first.weights[name], second.weights[name])}
    assert changed == predictor
    assert {n for n in first.state if "optimizer.first." in n} == {f"optimizer.first.{name}" for name in predictor}


def test_validation_shows_noise_loss_and_sampled_images(noise_run, data):
    """The last one once more by hand, with the averaged weights: the loss at t = 2, 6 ... 18, four DDIM steps."""
    best = read(noise_run).meta["best"]["name"]
    *_, found = ([float(value) for value in row] for row in read_csv(noise_run, best, "PSNR-RGB (crop 0)") if row[0])
    last = read(noise_run)
    averaged = {name.removeprefix("ema."): array for name, array in last.state.items() if name.startswith("ema.")}
    network = network_of(last.weights | averaged)
    whole = read_rgb(data / "DIV2K" / "DIV2K_valid_HR" / "0005.png")
    hr, lr = whole[24:40, 28:44], imresize(whole, 1 / 2)[12:20, 14:22]
    up = 2 * imresize(lr / 256, 2).transpose(2, 0, 1)[None] - 1
    hr_image, lr_image = ((image / 127.5 - 1).transpose(2, 0, 1)[None] for image in (hr, lr))
    lr_image, left, rng = (
        Tensor(lr_image.astype(np.float32)),
        HYPER.schedule().alphas_cumprod,
        np.random.default_rng([10, 3]),
    )

    def predict(x, t):
        return network(Tensor(x.astype(np.float32)), Tensor(np.array([t], np.int32)), lr_image).asnumpy().astype(float)

    distances = []
    for t in (2, 6, 10, 14, 18):
        eps = rng.standard_normal(up.shape, np.float32)
        noisy = np.sqrt(left[t]) * ((hr_image - up) * 2).clip(-1, 1) + np.sqrt(1 - left[t]) * eps
        distances.append(np.abs(predict(noisy, t) - eps).mean())
    assert found[0] == pytest.approx(-np.mean(distances), abs=1e-5)
    x, times = rng.standard_normal(up.shape, np.float32).astype(float), [0, 6, 13, 19]
    for place in (3, 2, 1, 0):
        share, after = left[times[place]], left[times[place - 1]] if place else 1.0
        clean = ((x - np.sqrt(1 - share) * predict(x, times[place])) / np.sqrt(share)).clip(-1, 1)
        x = np.sqrt(after) * clean + np.sqrt(1 - after) * (x - np.sqrt(share) * clean) / np.sqrt(1 - share)
    sr = np.rint((((x.clip(-1, 1) / 2 + up)[0].transpose(1, 2, 0) + 1) / 2).clip(0, 1) * 255)
    assert found[1] == pytest.approx(10 * np.log10(255**2 / np.mean((sr - hr) ** 2)), abs=2e-2)


def test_untrained_encoder_is_refused_unless_it_learns_or_is_wanted(begun, encoder, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MS_JIT", "0")  # a step of each, not compiled
    with pytest.raises(UserError, match="the encoder is not trained: train it by --stage rrdb and name the result by"):
        begun("SRDiff", ckpt_path="")
    assert not (tmp_path / "runs").exists()
    for changes, said, trained in (
        ({"fix_rrdb": "false"}, "the encoder begins untrained", {"denoise_fn", "rrdb"}),
        ({"random_rrdb": "true"}, "the encoder begins untrained and stays so", {"denoise_fn"}),
        ({"fix_rrdb": "false", "rrdb_path": encoder}, "", {"denoise_fn", "rrdb"}),
    ):
        caplog.clear()
        trainer = begun("SRDiff", **changes)
        assert said in caplog.text
        assert ("encoder begins untrained" in caplog.text) == bool(said)
        assert {parameter.name.split(".")[0] for parameter in trainer.optimizer.parameters} == trained
        loss, noise, own = trainer.train_step(next(trainer.stream.batches(0, 1)))[0]
        assert loss == pytest.approx(noise + own)
        assert (own > 0) == ("rrdb" in trained), "its own L1 distance is added"


def test_where_the_encoder_comes_from(begun, encoder, noise_run, tmp_path):
    """From a run of its own, out of a whole network, or from the authors' file, which names it by itself."""
    wanted, alone = read(encoder.parents[1]).weights, tmp_path / "rrdb.ckpt"
    save(alone, Checkpoint({name.removeprefix("rrdb."): array for name, array in wanted.items()}, {}))
    for path in (encoder, noise_run / "ckpt" / "last.ckpt", alone):
        assert_same(encoder_in(weights_of(begun("SRDiff", rrdb_path=path).network)), wanted)
    trainer = begun("SRDiff", stage="rrdb", ckpt_path=encoder)
    assert_same(weights_of(trainer.network), wanted)
    assert trainer.step == 0
