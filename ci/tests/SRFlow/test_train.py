"""What SRFlow's training alone has: the first batch's ActNorms, the likelihood, an encoder that waits, ModelArts."""

import itertools
import math
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.specs import BY_NAME, weights_of
from ci.tests.training import assert_same, losses, read, read_csv, words
from common import UserError
from common.images import imresize, read_rgb
from common.training import Trainer
from SRFlow import train
from SRFlow.src.model.SRFlowNet import Hyper, SRFlowNet

HYPER, RATE = Hyper(2, 4, 1, 2, (0,), 1, 1, 4), 0.005
UNREAD = ("RRDB.HRconv.", "RRDB.conv_last.", "RRDB.upconv1.", "flowUpsamplerNet.f.")  # of a network for x2


@pytest.fixture
def flow_run(trained):
    """40 steps with a trained encoder, which is trained as well after the twentieth."""
    return trained("SRFlow")


@pytest.fixture
def encoder(trained):
    """What --stage rrdb left."""
    return trained("SRFlow", "rrdb") / "ckpt" / "last.ckpt"


def changed(one, other):
    return {name for name in one.weights if not np.array_equal(one.weights[name], other.weights[name])}


def test_actnorms_are_set_from_the_first_batch(flow_run, begun, encoder):
    """The first one by hand: squeezed noisy patches have mean 0 and deviation 1 behind it. Adam then moved it by lr."""
    trainer = begun("SRFlow", rrdb_path=encoder)
    hr, _, noise = next(trainer.stream.batches(0, 1))
    noisy = hr.astype(np.float64) + (noise - 0.5) / 32
    squeezed = np.concatenate([noisy[:, c : c + 1, i::2, j::2] for c in range(3) for i in (0, 1) for j in (0, 1)], 1)
    for found, tolerance in (
        (read(flow_run, "step_0000001.ckpt").weights, 1.01 * RATE),
        (weights_of(trainer.network), 1e-5),
    ):
        bias, logs = (found[f"flowUpsamplerNet.layers.1.actnorm.{name}"].ravel() for name in ("bias", "logs"))
        np.testing.assert_allclose(bias, -squeezed.mean((0, 2, 3)), atol=tolerance)
        np.testing.assert_allclose(logs, -np.log(squeezed.std((0, 2, 3)) + 1e-6), atol=tolerance)
        assert all(array.any() for name, array in found.items() if name.endswith("actnorm.bias")), "all of them"


def test_first_loss_is_the_negative_log_likelihood(flow_run, begun, encoder):
    """In bits per pixel, by the density formula in float64, with noise of 1/32 and its constant once per pixel."""
    trainer = begun("SRFlow", rrdb_path=encoder)
    hr, lr, noise = next(trainer.stream.batches(0, 1))
    latents, logdet = trainer.network.forward(Tensor(hr + (noise - np.float32(0.5)) / np.float32(32)), Tensor(lr))
    density = logdet.asnumpy().astype(np.float64)
    for latent in latents:
        z = latent.asnumpy().astype(np.float64).reshape(2, -1)
        density += (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(1)
    wanted = np.mean((density - 256 * math.log(32)) / (-math.log(2) * 256))
    assert losses(flow_run)[0] == pytest.approx(wanted, rel=1e-4)


def test_encoder_waits_and_what_is_not_read_never_changes(flow_run):
    """When it is released, its moments are its own: its first step has the length of the rate, the flow's 21st not."""
    steps = {step: read(flow_run, f"step_{step:07d}.ckpt") for step in (1, 2, 19, 20, 21, 22, 40)}
    names = set(steps[1].weights)
    never = {name for name in names if name.startswith(UNREAD)}
    encoder = {name for name in names if name.startswith("RRDB.")} - never
    flow = names - encoder - never
    assert min(len(never), len(encoder), len(flow)) > 5
    for before, after in itertools.pairwise(steps):
        assert changed(steps[before], steps[after]) == (flow if after <= 20 else flow | encoder), after
    assert [int(steps[40].state[name]) for name in ("optimizer.steps", "encoder.optimizer.steps")] == [40, 20]
    for name, share in (("RRDB.trunk_conv.weight", 1), ("flowUpsamplerNet.layers.1.invconv.weight", 0.95)):
        moved = np.median(np.abs(steps[21].weights[name] - steps[20].weights[name])) / (RATE / 2)  # which fell at 20
        assert moved == pytest.approx(1, rel=1e-3) if share == 1 else moved < share


def test_validation_shows_likelihood_and_psnr_of_each_heat(flow_run, data):
    """Heat 0 is the flow's inverse of zeros, of the patch in the middle."""
    scores = [float(value) for (value,) in read_csv(flow_run, "PSNR-RGB (crop 2), heat 0") if value]
    assert len([value for (value,) in read_csv(flow_run, "PSNR-RGB (crop 2), heat 0.5") if value]) == 2
    network, weights = SRFlowNet(HYPER), read(flow_run).weights
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(weights[parameter.name]))
    whole = read_rgb(data / "DIV2K" / "DIV2K_valid_HR" / "0005.png")
    hr, lr = whole[24:40, 28:44], imresize(whole, 1 / 2)[12:20, 14:22]
    zeros = [Tensor(np.zeros((1, *shape), np.float32)) for shape in HYPER.latent_shapes(8, 8)]
    lr = Tensor((lr / np.float32(255)).transpose(2, 0, 1)[None].astype(np.float32))
    image = network.inverse(zeros, lr)[0].asnumpy()[0].transpose(1, 2, 0)
    error = np.rint(image.clip(0, 1) * 255)[2:-2, 2:-2] - hr.astype(np.float64)[2:-2, 2:-2]
    assert scores[-1] == pytest.approx(10 * math.log10(255**2 / np.mean(error**2)), abs=1e-3)


@pytest.mark.parametrize(("step", "released"), [(20, False), (22, True)])
def test_run_stopped_at_or_behind_the_release(begun, flow_run, tmp_path, step, released):
    """It has taken over everything that was saved, and what the next step trains is what it would have trained."""
    folder = Path(shutil.copytree(flow_run, tmp_path / "runs" / flow_run.name))
    path = folder / "ckpt" / f"step_{step:07d}.ckpt"
    for niter in (40, 80):  # with more steps the release would be later; what is released stays so
        trainer, saved = begun("SRFlow", resume=path, rrdb_path="x", niter=niter), read(folder, path.name)
        assert (trainer.step, trainer.gradient_step.release, trainer.optimizer.released) == (step, niter // 2, released)
        assert_same(weights_of(trainer.network), saved.weights)
        assert_same(trainer.optimizer.state(), saved.state)
        trained = {parameter.name for parameter in trainer.optimizer.parameters}
        assert ("RRDB.conv_first.weight" in trained) == released


def test_where_the_encoder_comes_from_and_when_it_is_released(begun, encoder, flow_run, caplog):
    """Untrained it is trained from the first step; from its own checkpoint, or inside a whole network, it waits."""
    assert begun("SRFlow").gradient_step.release == 0
    assert "the encoder begins untrained, so it is trained from the first step; better train it before" in caplog.text
    inside = {f"RRDB.{name}": array for name, array in read(encoder.parents[1]).weights.items()}
    trainer = begun("SRFlow", rrdb_path=encoder, ema=0.9, train_RRDB_delay=0.255)
    assert trainer.gradient_step.release == 10
    assert_same({n: a for n, a in weights_of(trainer.network).items() if n.startswith("RRDB.")}, inside)
    names = {name for name in weights_of(trainer.network) if not name.startswith(UNREAD)}
    assert set(trainer.average.state()) == {f"ema.{name}" for name in names}, "the average takes in what waits"
    whole = read(flow_run).weights
    trainer = begun("SRFlow", ckpt_path=flow_run / "ckpt" / "last.ckpt", train_RRDB="true")
    assert_same(weights_of(trainer.network), whole)
    assert trainer.gradient_step.release == 0
    network = begun("SRFlow", rrdb_path=flow_run / "ckpt" / "last.ckpt").network
    same = {name for name, array in weights_of(network).items() if np.array_equal(array, whole[name])}
    assert {name for name in whole if name.startswith("RRDB.")} <= same
    assert "flowUpsamplerNet.layers.1.actnorm.bias" not in same, "of the first batch"


# ------------------------------------------------------------------------------------------------------------ ModelArts


@pytest.fixture
def moxing(monkeypatch, tmp_path):
    """A stand-in for ModelArts' package: obs://x is the folder `tmp_path`/obs/x; what it copied."""
    copied = []

    def place(path: str) -> Path:
        return tmp_path / "obs" / path.removeprefix("obs://") if path.startswith("obs://") else Path(path)

    def copy_parallel(source, target):
        copied.append((source, target))
        if not place(source).is_dir():
            raise OSError(f"no such object:\n{source}")
        shutil.copytree(place(source), place(target), dirs_exist_ok=True)

    file = types.SimpleNamespace(copy_parallel=copy_parallel)
    monkeypatch.setitem(sys.modules, "moxing", types.SimpleNamespace(file=file))
    return copied


@pytest.fixture
def cloud(tmp_path):
    """Options of a ModelArts job."""
    here = {"data_path": tmp_path / "cache" / "data", "output_path": tmp_path / "cache" / "train"}
    return {"enable_modelarts": "true", "data_url": "obs://b/data", "train_url": "obs://b/runs", **here}


def test_modelarts_job(begun, data, tmp_path, moxing, cloud):
    """Data come from the cloud once, and the run goes there; paths in the options lie in the data."""
    shutil.copytree(data / "DIV2K", tmp_path / "obs" / "b" / "data")
    trainer = begun("SRFlow", dataset_GT_path="", **cloud)
    assert len(trainer.stream.images) == 4
    assert trainer.folder.parent == tmp_path / "cache" / "train"
    assert (tmp_path / "obs" / "b" / "runs" / trainer.folder.name / "config.yaml").is_file()
    second = begun("SRFlow", dataset_GT_path="DIV2K_valid_HR", **cloud)
    assert [pair.name for pair in second.stream.images.pairs] == ["0005"]
    here = str(tmp_path / "cache" / "data"), str(tmp_path / "cache" / "train")
    assert moxing == [("obs://b/data", here[0]), *2 * [(here[1], "obs://b/runs")]]


def test_modelarts_job_that_fails(data, tmp_path, moxing, cloud, monkeypatch):
    """What there is is sent, by the first worker alone; other mistakes are said."""
    command = words({**BY_NAME["SRFlow"].train, "dataset_GT_path": "", **cloud})
    with pytest.raises(UserError, match=r"cannot copy obs://b/data to .*/cache/data: no such object: obs://b/data"):
        train.main(command)
    shutil.copytree(data / "DIV2K", tmp_path / "obs" / "b" / "data")

    def fit(self):
        self.open_folder()
        raise UserError("the disk is full")

    monkeypatch.setattr(Trainer, "fit", fit)
    for rank, copies in (("0", 2), ("1", 0)):
        monkeypatch.setenv("RANK_ID", rank)
        moxing.clear()
        with pytest.raises(UserError, match="the disk is full"):
            train.main(command)
        assert len(moxing) == copies
        assert list((tmp_path / "obs" / "b" / "runs").glob("*/config.yaml"))
    with pytest.raises(UserError, match=r"--enable_modelarts needs --data_url .* and --train_url"):
        train.main([*command, "--train_url", ""])
    monkeypatch.setitem(sys.modules, "moxing", None)
    with pytest.raises(UserError, match="--enable_modelarts needs the package moxing, which only ModelArts' machines"):
        train.main(command)
