"""SRFlow/train.py as a user starts it, on real pictures with a network of a few thousand weights."""

import itertools
import json
import math
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests import training as runs
from ci.tests.training import assert_same, losses, read, read_csv
from common import UserError
from common.checkpoint.files import Checkpoint
from common.config import options as config
from common.data.batches import BatchStream
from common.images import files as images
from common.runtime import Runtime
from common.training.loop import Trainer
from common.training.record import Record
from SRFlow import train
from SRFlow.src.dataloader.init import training_stream
from SRFlow.src.model.RRDBNet import RRDBNet
from SRFlow.src.model.SRFlowNet import Hyper, SRFlowNet
from SRFlow.src.model_utils import recipe, util
from SRFlow.src.model_utils.local_adapter import get_device_id, get_rank_id
from SRFlow.src.model_utils.options import TrainConfig

HYPER = Hyper(2, 4, 1, 2, (0,), 1, 1, 4)
NETWORK = {"scale": 2, "nf": 4, "nb": 1, "gc": 2, "stack": 0, "L": 1, "K": 1, "hidden_channels": 4}
TINY = NETWORK | {
    "patch_size": 16, "batch_size": 2, "niter": 40, "log_every": 1, "test_every": 20, "save_checkpoint_freq": 1,
    "ckpt_save_max": 99, "val_samples": 2, "val_heats": "0,0.5", "device_target": "CPU",
}  # fmt: skip
RATE = 0.005
UNREAD = ("RRDB.HRconv.", "RRDB.conv_last.", "RRDB.upconv1.", "flowUpsamplerNet.f.")  # of a network for x2


@pytest.fixture(scope="module")
def data(sample_dir, tmp_path_factory):
    """Four pictures to train on, and one to look at meanwhile."""
    root = tmp_path_factory.mktemp("data")
    for number in range(1, 6):
        picture = images.read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / f"000{number}.png")
        place = "DIV2K_train_HR" if number < 5 else "DIV2K_valid_HR"
        images.write_picture(root / place / f"000{number}.png", picture[:64, :72])
    return root


@pytest.fixture(scope="module")
def encoder_run(data, tmp_path_factory):
    """Of --stage rrdb: 40 steps, of which the second and third have a batch that is not finite."""
    made = BatchStream.batches

    def poisoned(self, first, last):
        for number, batch in enumerate(made(self, first, last), first):
            yield (batch[0] * np.float32(np.nan), batch[1]) if number in (1, 2) else batch

    settings = {"dataset_GT_path": data, "save_dir": tmp_path_factory.mktemp("rrdb"), **TINY, "stage": "rrdb"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchStream, "batches", poisoned)
        patch.setattr(Record, "draw", lambda self: None)  # takes seconds
        return runs.train(train.main, settings | {"lr": 0.005})


@pytest.fixture(scope="module")
def flow_run(data, encoder_run, tmp_path_factory):
    """40 steps with that encoder, which is trained as well after the twentieth."""
    folder, encoder = tmp_path_factory.mktemp("flow"), encoder_run / "ckpt" / "last.ckpt"
    settings = {"dataset_GT_path": data, "save_dir": folder, **TINY, "rrdb_path": encoder, "lr": RATE}
    return runs.train(train.main, settings)


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
    return config.merge(
        config.parse(TrainConfig, runs.words({"dataset_GT_path": data, **TINY}), description=""), changes, ""
    )


def weights_of(network) -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy().copy() for parameter in network.get_parameters()}


def changed(one: Checkpoint, other: Checkpoint) -> set[str]:
    return {name for name in one.weights if not np.array_equal(one.weights[name], other.weights[name])}


# ------------------------------------------------------------------------------------------------------------- the flow


def test_run_leaves_what_it_should(flow_run):
    names = {"config.yaml", "environment.txt", "train.log", "metrics.csv", "curve.png", "ckpt"}
    assert {path.name for path in flow_run.iterdir()} == names
    assert re.fullmatch(r"srflow_x2-\d{8}-\d{6}", flow_run.name)
    meta = read(flow_run).meta
    assert (meta["model"], meta["stage"], meta["scale"], meta["step"]) == ("SRFlow", "flow", 2, 40)
    assert Hyper(**meta["hyper"]) == HYPER
    assert config.merge(TrainConfig(), meta["config"], "") == config.load(TrainConfig, flow_run / "config.yaml")
    log = (flow_run / "train.log").read_text()
    count = sum(math.prod(array.shape) for array in weights_of(SRFlowNet(HYPER)).values())
    assert f"SRFlow x2, stage flow, {count:,} parameters; 4 pictures of " in log
    assert "1 worker(s) on CPU, device 0, 2 patches each; " in log
    assert "the encoder is trained as well from step 21 on" in log


def test_actnorms_are_set_from_the_first_batch(flow_run, data):
    """The first one by hand: squeezed noisy patches have mean 0 and deviation 1 behind it. Adam then moved it by lr."""
    chosen = options(data)
    hr, _, noise = next(training_stream(chosen, HYPER, Runtime("CPU")).batches(0, 1))
    noisy = hr.astype(np.float64) + (noise - 0.5) / 32
    squeezed = np.concatenate([noisy[:, c : c + 1, i::2, j::2] for c in range(3) for i in (0, 1) for j in (0, 1)], 1)
    found = read(flow_run, "step_0000001.ckpt").weights
    bias, logs = (found[f"flowUpsamplerNet.layers.1.actnorm.{name}"].ravel() for name in ("bias", "logs"))
    np.testing.assert_allclose(bias, -squeezed.mean((0, 2, 3)), atol=1.01 * RATE)
    np.testing.assert_allclose(logs, -np.log(squeezed.std((0, 2, 3)) + 1e-6), atol=1.01 * RATE)
    norms = [array for name, array in found.items() if name.endswith("actnorm.bias")]
    assert len(norms) == 2 + 1 + 4
    assert all(array.any() for array in norms), "all of them"


def test_first_loss_is_the_negative_log_likelihood(flow_run, encoder_run, data):
    """In bits per pixel, by the density formula in float64, with noise of 1/32 and its constant once per pixel."""
    chosen = options(data, rrdb_path=str(encoder_run / "ckpt" / "last.ckpt"))
    network = recipe.make_network(chosen, HYPER, from_start=True)
    hr, lr, noise = next(training_stream(chosen, HYPER, Runtime("CPU")).batches(0, 1))
    recipe.initialise(network, 32, hr, lr, noise)
    latents, logdet = network.forward(Tensor(hr + (noise - np.float32(0.5)) / np.float32(32)), Tensor(lr))
    density = logdet.asnumpy().astype(np.float64)
    for latent in latents:
        z = latent.asnumpy().astype(np.float64).reshape(2, -1)
        density += (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(1)
    wanted = np.mean((density - 256 * math.log(32)) / (-math.log(2) * 256))
    assert losses(flow_run)[0] == pytest.approx(wanted, rel=1e-4)


def test_training_learns(flow_run):
    found = losses(flow_run)
    assert len(found) == 40
    assert np.mean(found[-5:]) < np.mean(found[:5]) - 1


def test_encoder_waits_and_what_is_not_read_never_changes(flow_run):
    steps = {step: read(flow_run, f"step_{step:07d}.ckpt") for step in (1, 2, 19, 20, 21, 22, 40)}
    names = set(steps[1].weights)
    never = {name for name in names if name.startswith(UNREAD)}
    encoder = {name for name in names if name.startswith("RRDB.")} - never
    flow = names - encoder - never
    assert min(len(never), len(encoder), len(flow)) > 5
    for before, after in itertools.pairwise(steps):
        assert changed(steps[before], steps[after]) == (flow if after <= 20 else flow | encoder), after
    moments = {step: {name for name in steps[step].state if "optimizer.first." in name} for step in steps}
    assert moments[20] == {f"optimizer.first.{name}" for name in flow}
    assert moments[21] == moments[20] | {f"encoder.optimizer.first.{name}" for name in encoder}
    assert [int(steps[40].state[name]) for name in ("optimizer.steps", "encoder.optimizer.steps")] == [40, 20]


def test_released_encoder_begins_with_adams_first_step(flow_run):
    """Its moments are its own: its first step has the length of the rate, which the flow's 21st has not."""
    before, after = (read(flow_run, f"step_{step:07d}.ckpt").weights for step in (20, 21))
    rate = RATE / 2  # which has fallen at the 20th step
    name = "RRDB.trunk_conv.weight"
    np.testing.assert_allclose(np.median(np.abs(after[name] - before[name])), rate, rtol=1e-3)
    name = "flowUpsamplerNet.layers.1.invconv.weight"
    assert np.median(np.abs(after[name] - before[name])) < 0.95 * rate


def test_rate_falls_as_the_authors(flow_run):
    """At half, three quarters, 0.9 and 0.95 of the steps; a fall is felt by the step that has its number, from 1."""
    rates = [float(rate) / RATE for (rate,) in read_csv(flow_run, "learning_rate") if rate]
    np.testing.assert_allclose(rates, [1] * 19 + [0.5] * 10 + [0.25] * 6 + [0.125] * 2 + [0.0625] * 3)


def test_validation_shows_likelihood_and_psnr_of_each_heat(flow_run, data):
    columns = (recipe.LIKELIHOOD, "PSNR-RGB (crop 2), heat 0", "PSNR-RGB (crop 2), heat 0.5")
    found = [[float(value) for value in row] for row in read_csv(flow_run, *columns) if row[0]]
    assert len(found) == 2
    best = int(np.argmax([row[0] for row in found]))
    said = read(flow_run).meta["best"]
    assert (said["name"], said["score"], said["step"]) == (columns[0], found[best][0], 20 * (best + 1))
    # The second look once more by hand: heat 0 is the flow's inverse of zeros.
    network, weights = SRFlowNet(HYPER), read(flow_run).weights
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(weights[parameter.name]))
    whole = images.read_rgb(data / "DIV2K_valid_HR" / "0005.png")
    from common.images.resize import imresize

    hr, lr = whole[24:40, 28:44], imresize(whole, 1 / 2)[12:20, 14:22]
    zeros = [Tensor(np.zeros((1, *shape), np.float32)) for shape in HYPER.latent_shapes(8, 8)]
    lr = Tensor((lr / np.float32(255)).transpose(2, 0, 1)[None].astype(np.float32))
    picture = network.inverse(zeros, lr)[0].asnumpy()[0].transpose(1, 2, 0)
    error = np.rint(picture.clip(0, 1) * 255)[2:-2, 2:-2] - hr.astype(np.float64)[2:-2, 2:-2]
    assert found[1][1] == pytest.approx(10 * math.log10(255**2 / np.mean(error**2)), abs=1e-3)


def test_resumed_run_equals_the_uninterrupted_one(flow_run, tmp_path, monkeypatch):
    """Stopped before the release of the encoder: every loss and bit of the last checkpoint."""
    folder = Path(shutil.copytree(flow_run, tmp_path / "run"))
    for path in (folder / "ckpt").iterdir():
        if path.name != "step_0000019.ckpt":
            path.unlink()
    monkeypatch.setattr(Record, "draw", lambda self: None)
    assert train.main(["--resume", str(folder / "ckpt" / "step_0000019.ckpt")]) == 0
    columns = ("step", "loss", "learning_rate", "gradient_norm", recipe.LIKELIHOOD)
    assert read_csv(folder, *columns) == read_csv(flow_run, *columns)
    one, other = read(folder), read(flow_run)
    assert_same(one.weights, other.weights)
    assert_same(one.state, other.state)
    assert one.meta["counters"] == other.meta["counters"]


@pytest.mark.parametrize(("step", "released"), [(20, False), (22, True)])
def test_run_stopped_at_or_behind_the_release(begun, flow_run, tmp_path, step, released):
    """It has taken over everything that was saved, and what the next step trains is what it would have trained."""
    folder = Path(shutil.copytree(flow_run, tmp_path / "runs" / flow_run.name))
    path = folder / "ckpt" / f"step_{step:07d}.ckpt"
    for niter in (40, 80):  # with more steps the release would be later; what is released stays so
        trainer, saved = begun(resume=path, rrdb_path="x", niter=niter), read(folder, path.name)
        assert (trainer.step, trainer.gradient_step.release, trainer.optimizer.released) == (step, niter // 2, released)
        assert_same(weights_of(trainer.network), saved.weights)
        assert_same(trainer.optimizer.state(), saved.state)
        trained = {parameter.name for parameter in trainer.optimizer.parameters}
        assert ("RRDB.conv_first.weight" in trained) == released


def test_untrained_encoder_is_trained_from_the_first_step(begun, flow_run, caplog):
    trainer = begun()
    assert trainer.gradient_step.release == 0
    assert (
        "the encoder begins untrained, so it is trained from the first step; better train it beforehand" in caplog.text
    )
    caplog.clear()
    begun(resume=flow_run, rrdb_path="")
    assert "untrained" not in caplog.text, "of a resumed run it is not true"


# --------------------------------------------------------------------------------------------------------- the encoder


def test_encoder_learns_by_its_own_picture(encoder_run, data):
    """The first loss by hand, the run's parts, and a checkpoint that says what it is."""
    chosen = options(data, stage="rrdb")
    hr, lr = next(training_stream(chosen, HYPER, Runtime("CPU")).batches(0, 1))
    encoder = RRDBNet(4, 1, 2, 2, np.random.default_rng(chosen.seed))
    wanted = np.abs(hr - encoder(Tensor(lr)).asnumpy()).mean(dtype=np.float64)
    found = losses(encoder_run)
    assert [math.isfinite(loss) for loss in found] == [step not in (2, 3) for step in range(1, 41)]
    assert found[0] == pytest.approx(wanted, rel=1e-5)
    assert np.mean(found[-8:]) < 0.8 * np.mean(found[3:11])
    meta = read(encoder_run).meta
    assert (meta["model"], meta["stage"], meta["step"]) == ("SRFlow", "rrdb", 40)
    assert encoder_run.name.startswith("srflow_x2_rrdb-")
    assert set(read(encoder_run).weights) == set(weights_of(encoder))
    assert "PSNR-RGB (crop 2)" in meta["best"]["name"]
    after = read(encoder_run, "step_0000001.ckpt").weights
    moved = {name: np.abs(after[name] - array).max() for name, array in weights_of(encoder).items()}
    assert min(moved.values()) > 1e-6, "all of it learns"


def test_step_that_is_not_finite_is_skipped_and_counted(encoder_run):
    steps = [read(encoder_run, f"step_000000{step}.ckpt") for step in range(1, 6)]
    assert_same(steps[0].weights, steps[2].weights)
    assert changed(steps[2], steps[3])
    assert [step.meta["counters"]["bad_steps"] for step in steps] == [0, 1, 2, 2, 2]
    assert int(steps[4].state["optimizer.steps"]) == 3
    assert "step 2 skipped: loss nan" in (encoder_run / "train.log").read_text()


def test_flow_begins_with_the_trained_encoder(begun, encoder_run, flow_run):
    """From its own checkpoint, from the encoder's inside a whole one; strictly."""
    inside = {f"RRDB.{name}": array for name, array in read(encoder_run).weights.items()}
    network = begun(rrdb_path=encoder_run / "ckpt" / "last.ckpt").network
    assert_same({name: array for name, array in weights_of(network).items() if name.startswith("RRDB.")}, inside)
    network, whole = begun(rrdb_path=flow_run / "ckpt" / "last.ckpt").network, read(flow_run).weights
    same = {name for name, array in weights_of(network).items() if np.array_equal(array, whole[name])}
    assert {name for name in whole if name.startswith("RRDB.")} <= same
    assert "flowUpsamplerNet.layers.1.actnorm.bias" not in same


def test_whole_network_to_begin_with(begun, flow_run):
    """Its ActNorms are not set anew, and its encoder waits as well."""
    trainer = begun(ckpt_path=flow_run / "ckpt" / "last.ckpt", niter=6)
    assert_same(weights_of(trainer.network), read(flow_run).weights)
    assert (trainer.step, trainer.gradient_step.release, trainer.optimizer.released) == (0, 3, False)


def test_average_of_the_weights_takes_in_a_waiting_encoder(begun, encoder_run):
    trainer = begun(rrdb_path=encoder_run / "ckpt" / "last.ckpt", ema=0.9)
    names = {name for name in weights_of(trainer.network) if not name.startswith(UNREAD)}
    assert set(trainer.average.state()) == {f"ema.{name}" for name in names}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"rrdb_path": "x"}, 50),
        ({"rrdb_path": "x", "train_RRDB_delay": 0.255}, 25),
        ({"rrdb_path": "x", "train_RRDB": True}, 0),
        ({"ckpt_path": "x", "train_RRDB_delay": 1.0}, 100),
        ({}, 0),
    ],
)
def test_when_the_encoder_is_released(data, changes, wanted):
    assert recipe.release_step(options(data, **changes), 100) == wanted


def test_steps_of_a_run(data):
    """Of several workers and of passes over the data; milestones in shares or in steps."""

    def plan(workers=1, **changes):
        return recipe.plan(options(data, **changes), HYPER, workers, 100)

    assert (plan(niter=80).steps, plan(8, niter=80).steps, plan(8, niter=80, schedule_batch=16).steps) == (80, 10, 80)
    assert plan(epochs=3).steps == 150
    assert plan(8, niter=80, test_every=40).validate_every == 5
    rate = plan(niter=80, lr_steps=(10, 20), lr=1.0).learning_rate
    assert [rate(step) for step in (0, 8, 9, 18, 19, 79)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    rate = plan(niter=80, lr_steps_inverse_rel=(0.75,), lr=1.0, lr_steps_rel=(0.5,)).learning_rate
    assert [rate(step) for step in (0, 38, 39, 58, 59)] == [1, 1, 0.5, 0.5, 1]


# ------------------------------------------------------------------------------------------------------ going on, cloud


def test_going_on_with_the_latest_run(tmp_path, caplog):
    """--resume auto: the youngest of this name that has something to go on with, else a new run."""
    caplog.set_level("INFO")
    chosen = TrainConfig(scale=2, save_dir=str(tmp_path))

    def latest(options: TrainConfig) -> str:
        return train.runs.latest(options.save_dir, train.run_name(options))

    assert latest(chosen) == ""
    assert "--resume auto: nothing to go on with, a new run" in caplog.text
    for name in ("srflow_x2-20261101-000000", "srflow_x2-20261102-000000", "srflow_x2_rrdb-20261103-000000"):
        (tmp_path / name / "ckpt").mkdir(parents=True)
        (tmp_path / name / "ckpt" / "last.ckpt").touch()
    (tmp_path / "srflow_x2-20261104-000000" / "ckpt").mkdir(parents=True)
    assert latest(chosen) == str(tmp_path / "srflow_x2-20261102-000000")
    assert latest(config.merge(chosen, {"stage": "rrdb"}, "")).endswith("rrdb-20261103-000000")
    assert latest(config.merge(chosen, {"name": "other"}, "")) == ""


def test_auto_goes_on(begun, flow_run, tmp_path):
    assert begun(resume="auto").step == 0
    shutil.rmtree(tmp_path / "runs")
    shutil.copytree(flow_run, tmp_path / "runs" / flow_run.name)
    trainer = begun(resume="auto")
    assert (trainer.step, trainer.folder, trainer.optimizer.released) == (40, tmp_path / "runs" / flow_run.name, True)
    assert config.load(TrainConfig, trainer.folder / "config.yaml").resume == ""


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

    monkeypatch.setitem(
        sys.modules, "moxing", types.SimpleNamespace(file=types.SimpleNamespace(copy_parallel=copy_parallel))
    )
    return copied


def cloud(tmp_path) -> dict[str, object]:
    """Options of a ModelArts job."""
    here = {"data_path": tmp_path / "cache" / "data", "output_path": tmp_path / "cache" / "train"}
    return {"enable_modelarts": "true", "data_url": "obs://b/data", "train_url": "obs://b/runs", **here}


def test_modelarts_job(begun, data, tmp_path, moxing):
    """Data come from the cloud once, and the run goes there; paths in the options lie in the data."""
    shutil.copytree(data, tmp_path / "obs" / "b" / "data")
    trainer = begun(dataset_GT_path="", **cloud(tmp_path))
    assert len(trainer.stream.pictures) == 4
    assert trainer.folder.parent == tmp_path / "cache" / "train"
    sent = tmp_path / "obs" / "b" / "runs" / trainer.folder.name
    assert (sent / "config.yaml").is_file()
    second = begun(dataset_GT_path="DIV2K_valid_HR", **cloud(tmp_path))
    assert [pair.name for pair in second.stream.pictures.pairs] == ["0005"]
    here = str(tmp_path / "cache" / "data"), str(tmp_path / "cache" / "train")
    assert moxing == [("obs://b/data", here[0]), *2 * [(here[1], "obs://b/runs")]]


def test_failed_modelarts_job_sends_what_there_is(words, data, tmp_path, moxing, monkeypatch):
    shutil.copytree(data, tmp_path / "obs" / "b" / "data")

    def fit(self):
        self.open_folder()
        raise UserError("the disk is full")

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(UserError, match="the disk is full"):
        train.main(words(dataset_GT_path="", **cloud(tmp_path)))
    assert list((tmp_path / "obs" / "b" / "runs").glob("*/config.yaml"))
    monkeypatch.setenv("RANK_ID", "1")
    moxing.clear()
    with pytest.raises(UserError, match="the disk is full"):
        train.main(words(dataset_GT_path="", **cloud(tmp_path)))
    assert moxing == [], "the first worker sends, and the data are there"


def test_mistakes_of_modelarts_jobs(words, tmp_path, moxing, monkeypatch):
    with pytest.raises(UserError, match=r"cannot copy obs://b/data to .*/cache/data: no such object: obs://b/data"):
        train.main(words(**cloud(tmp_path)))
    with pytest.raises(UserError, match=r"--enable_modelarts needs --data_url .* and --train_url"):
        train.main(words(enable_modelarts="true", data_url="obs://b/data"))
    monkeypatch.setitem(sys.modules, "moxing", None)
    with pytest.raises(
        UserError, match="--enable_modelarts needs the package moxing, which only ModelArts' machines have"
    ):
        train.main(words(**cloud(tmp_path)))


def test_place_that_the_environment_tells(monkeypatch):
    for name, get in (("DEVICE_ID", get_device_id), ("RANK_ID", get_rank_id)):
        for text, wanted in (("", 0), ("3", 3)):
            monkeypatch.setenv(name, text)
            assert get() == wanted
        monkeypatch.setenv(name, "x")
        with pytest.raises(UserError, match=f"{name} must be a number, not 'x'"):
            get()


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_GT_path": ""}, r"which pictures. type --dataset_GT_path FOLDER, or a \.mindrecord"),
        ({"dataset_GT_path": "/nope"}, "--dataset_GT_path is not there: /nope"),
        ({"val_GT_path": "/nope"}, "--val_GT_path is not there: /nope"),
        ({"patch_size": 17}, r"--patch_size 17 \(HR pixels\) must be a multiple of 2"),
        ({"stage": "both"}, "stage must be one of flow, rrdb, not 'both'"),
        ({"scale": 3}, "scale must be one of 2, 4, 8"),
        ({"L": 4}, "at x2 the flow has 1 to 2 levels"),
        ({"model": "srflow_smal"}, "did you mean 'srflow_small'"),
        ({"device_num": 2}, r"--device_num 2, but there are 1 worker\(s\): scripts/run_distribute_train_gpu\.sh"),
        ({"run_distribute": "true"}, "--run_distribute needs a launcher"),
        ({"ckpt_path": "/nope.ckpt"}, r"checkpoint not found: /nope\.ckpt"),
        ({"rrdb_path": "/nope.pth"}, r"checkpoint not found: /nope\.pth"),
        ({"resume": "/nope"}, "checkpoint not found: /nope"),
        ({"opt": "/nope.yml"}, r"cannot read the configuration '/nope\.yml'"),
        ({"quants": 32}, "unrecognized arguments: --quants 32.* did you mean '--quant'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(words, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as raised:
        train.main(words(**changes))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists(), "no empty run folder"


def test_weights_of_something_else(root, words, encoder_run, flow_run, tmp_path):
    encoder, flow = (folder / "ckpt" / "last.ckpt" for folder in (encoder_run, flow_run))
    other = root / "WDSR" / "weights" / "wdsr_b_small_x2.ckpt"
    mistakes = [
        ({"rrdb_path": encoder, "gc": 3}, r"last\.ckpt does not fit this network: .* shapes or types differ"),
        ({"rrdb_path": encoder, "nb": 2}, r"last\.ckpt does not fit this network"),
        ({"ckpt_path": encoder}, r"last\.ckpt holds the encoder alone .--stage rrdb.: train the flow with --rrdb_path"),
        ({"ckpt_path": flow, "K": 2}, r"last\.ckpt has steps 1, not 2: leave the flag out"),
        ({"rrdb_path": other}, r"wdsr_b_small_x2\.ckpt holds WDSR, not SRFlow"),
        ({"resume": other}, r"WDSR.* cannot be resumed here: expected SRFlow"),
        ({"resume": encoder, "stage": "flow"}, "is a run of --stage rrdb, not flow"),
        ({"resume": flow_run / "ckpt" / "best.ckpt"}, r"best\.ckpt cannot be resumed: it has no optimizer"),
    ]
    for changes, message in mistakes:
        with pytest.raises(UserError, match=message):
            train.main(words(**changes))
    assert not (tmp_path / "runs").exists()


def test_checkpoint_is_what_other_programs_take(flow_run):
    """The network that a run leaves is rebuilt from its file alone; what it says of itself is plain JSON."""
    from SRFlow.src.model_utils.use_options import EvalConfig

    path = str(flow_run / "ckpt" / "last.ckpt")
    network, saved, source = util.load_network(EvalConfig(ckpt_path=path))
    assert (network.hyper, source) == (HYPER, path)
    assert_same(weights_of(network), saved.weights)
    assert json.loads(json.dumps(saved.meta)) == saved.meta
