"""train.py of the five models: a tiny network learns, the run says all about itself, and goes on bit for bit."""

import contextlib
import dataclasses
import importlib.util
import re
import shutil

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.specs import BY_NAME, SPECS, weights_of
from ci.tests.training import assert_same, last_step, losses, read, read_csv, train, words
from common import UserError, config, training
from common.runtime import Runtime, graph_mode
from common.training import mixed_precision


def is_option(spec, name):
    return name in {field.name for field in dataclasses.fields(spec.options("train"))}


GPU = Runtime("GPU")
IN_BLOCKS = [spec.name for spec in SPECS if is_option(spec, "memory")]
PARTS = {"SRFlow": "rrdb", "SRDiff": "rrdb"}  # what they train first


def test_the_seed_decides_the_first_weights(spec):
    network = spec.network()
    one, same, other = (type(network)(network.hyper, seed=seed) for seed in (1, 1, 2))
    assert_same(weights_of(one), weights_of(same))
    random = {parameter.name for parameter in one.trainable_params() if np.ptp(parameter.asnumpy()) > 0}
    assert len(random) > 10
    for name in random:
        assert np.isclose(weights_of(one)[name], weights_of(other)[name]).mean() < 0.1, name


def test_training_learns_and_leaves_a_complete_run(spec, trained):
    """The loss falls, the best checkpoint has the highest score, and the folder says all about it."""
    folder = trained(spec.name)
    found = losses(folder)
    assert len(found) == 40
    assert np.mean(found[-8:]) < np.mean(found[:4]) - spec.learns
    names = {"config.yaml", "environment.txt", "train.log", "metrics.csv", "ckpt"}
    names |= {"events"} if importlib.util.find_spec("tensorboardX") else set()
    assert {path.name for path in folder.iterdir()} == names | ({"curve.png"} if spec.name == "WDSR" else set())
    assert re.fullmatch(rf"{spec.name.lower()}_x2-\d{{8}}-\d{{6}}", folder.name)
    kept = {f"step_{step:07d}.ckpt" for step in range(1, 41) if step % 20 == 0 or spec.inside}
    assert {path.name for path in (folder / "ckpt").iterdir()} == kept | {"best.ckpt", "last.ckpt"}

    meta = read(folder).meta
    assert (meta["model"], meta["scale"], meta["step"]) == (spec.name, 2, 40)
    options = config.load(spec.options("train"), folder / "config.yaml")
    assert config.merge(type(options)(), meta["config"], "") == options
    assert (options.ema, options.resume) == (spec.train["ema"], "")
    assert spec.best in meta["best"]["name"]
    scores = [float(score) for (score,) in read_csv(folder, meta["best"]["name"]) if score]
    assert len(scores) == 2
    assert meta["best"]["score"] == pytest.approx(max(scores), abs=1e-4)
    assert meta["best"]["step"] == 20 * (1 + int(np.argmax(scores))) == read(folder, "best.ckpt").meta["step"]
    log = (folder / "train.log").read_text()
    assert f"{spec.parameters} " in log
    assert f"; 4 images{' of ' if spec.inside else '; '}" in log
    assert re.search(r"step 1/40: loss [-\d.e+]+, .*lr [\d.e-]+, \d+ ms/step, .* left\n", log)
    assert f"best: {meta['best']['name']} " in log
    assert f"{spec.name}/eval.py --checkpoint {folder}/ckpt/best.ckpt" in log


@pytest.mark.parametrize("model", PARTS)
def test_part_that_is_trained_first(model, trained):
    """By the L1 distance of the image that the encoder's own head draws."""
    folder = trained(model, PARTS[model])
    found, meta = losses(folder), read(folder).meta
    assert np.mean(found[-8:]) < 0.8 * np.mean(found[:8])
    assert (meta["model"], meta["stage"], meta["step"]) == (model, PARTS[model], 40)
    assert folder.name.startswith(f"{model.lower()}_x2_rrdb-")
    assert meta["best"]["name"].startswith("PSNR-RGB")
    first, last = (read(folder, f"{name}.ckpt").weights for name in ("step_0000001", "last"))
    assert [name for name in first if np.array_equal(first[name], last[name])] == [], "all of it learns"


@pytest.mark.parametrize("model", PARTS)
def test_weights_of_something_else(root, model, trained, begun, tmp_path):
    encoder = trained(model, PARTS[model]) / "ckpt" / "last.ckpt"
    size, stage = {"SRFlow": ("gc", "flow"), "SRDiff": ("rrdb_num_feat", "diffusion")}[model]
    for changes, message in (
        ({"rrdb_path": encoder, size: 6}, r"last\.ckpt does not fit this network: .* shapes or types differ"),
        ({"ckpt_path": encoder}, r"last\.ckpt holds the encoder alone .--stage rrdb.: train .* with --rrdb_path"),
        ({"rrdb_path": root / "WDSR" / "weights" / "wdsr_b_small_x2.ckpt"}, f"holds WDSR, not {model}"),
        ({"resume": encoder, "stage": stage}, f"is a run of --stage rrdb, not {stage}"),
    ):
        with pytest.raises(UserError, match=message):
            begun(model, **changes)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("model", ["WDSR", "SRFlow", "SRDiff"])
def test_resumed_run_equals_the_uninterrupted_one(model, trained, tmp_path):
    """Every loss and figure, every bit of the weights and of the optimizer's state.

    Of the models whose trainings have a state of their own, and of one of the others; ci/tests/faults.py takes all.
    """
    spec, whole = BY_NAME[model], trained(model)
    folder = shutil.copytree(whole, tmp_path / whole.name)
    for path in (folder / "ckpt").iterdir():
        if path.name != "step_0000020.ckpt":
            path.unlink()
    assert spec.main("train", "--resume", folder / "ckpt" / "step_0000020.ckpt") == 0
    columns = ("step", "loss", "learning_rate", "gradient_norm", read(whole).meta["best"]["name"])
    assert read_csv(folder, *columns) == read_csv(whole, *columns)
    one, other = read(folder), read(whole)
    assert_same(one.weights, other.weights)
    assert_same(one.state, other.state)
    assert (one.meta["counters"], one.meta["best"]) == (other.meta["counters"], other.meta["best"])


def shaken(trainer):
    """The trainer, of whose network no parameter is zero any more, and its first batch."""
    rng = np.random.default_rng(1)
    for parameter in trainer.network.trainable_params():
        parameter.set_data(parameter + Tensor(rng.normal(0, 0.02, parameter.shape), ms.float32))
    return trainer, [Tensor(array) for array in next(trainer.stream.batches(0, 1))]


def step_of(trainer, batch, scale):
    """Values, gradients and norm as arrays."""
    values, gradients, norm, _ = trainer.gradient_step(Tensor([scale, 0], ms.float32), *batch)
    assert {each.dtype for each in (*values, *gradients)} == {ms.float32}
    return np.array([*map(float, values), float(norm)]), [each.asnumpy().astype(np.float64) for each in gradients]


@pytest.mark.parametrize(("model", "stage"), [*((name, "") for name in BY_NAME), *PARTS.items()])
def test_half_precision_is_near_float32(model, stage, begun, monkeypatch):
    """What --amp_level does on GPU and Ascend; the CPU can compute it, too, only slowly."""
    found = {}
    monkeypatch.setattr(
        training, "mixed_precision", lambda network, options, here: mixed_precision(network, options, GPU)
    )
    for level in ("O0", "O2"):
        given = {"amp_level": level, "name": level, "memory": "full", "stage": stage}
        trainer, batch = shaken(
            begun(model, **{key: value for key, value in given.items() if is_option(BY_NAME[model], key) and value})
        )
        compiled = (model, level) == ("IRN", "O2")  # PyNative mode leaves three of its gradients in half precision
        monkeypatch.setenv("MS_JIT", "1" if compiled else "0")
        with graph_mode() if compiled else contextlib.nullcontext():
            found[level] = step_of(trainer, batch, trainer.guard.loss_scale)
    (values, gradients), (values_of_half, gradients_of_half) = found.values()
    one, other = (np.concatenate([each.ravel() for each in some]) for some in (gradients, gradients_of_half))
    assert 1e-5 < np.linalg.norm(one - other) / np.linalg.norm(one) < 0.02
    np.testing.assert_allclose(values_of_half[:-1], values[:-1], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("model", IN_BLOCKS)
def test_block_by_block_the_gradients_are_the_same(model, begun, monkeypatch):
    """Of --memory low, with a loss scale and a clip: those of the network without a compiled graph."""
    trainer, batch = shaken(begun(model, memory="low", gclip=1e-2, name="low"))
    assert "; memory low: a step needs about " in (trainer.folder / "train.log").read_text()
    with graph_mode():
        values, gradients = step_of(trainer, batch, 4)
    assert values[-1] > 1e-2, "the clip has an effect"
    monkeypatch.setenv("MS_JIT", "0")
    wanted_values, wanted = step_of(*shaken(begun(model, memory="full", gclip=1e-2, name="full")), 4)
    np.testing.assert_allclose(values, wanted_values, rtol=1e-6)
    for found, each in zip(gradients, wanted, strict=True):
        if np.abs(each).max() < 1e-10:  # of a norm of 0.01: rounding errors alone, of one PReLU of CSNLN
            assert np.abs(found).max() < 1e-10
        else:
            assert np.abs(found - each).max() <= 1e-6 * np.abs(each).max()


def test_block_by_block_a_training_ends_the_same(data, tmp_path):
    """With a moving average and a clip, stopped as one graph and resumed block by block."""
    spec, found = BY_NAME["WDSR"], {}
    settings = {**spec.train, spec.data: data, "epochs": 2, "test_every": 4, "gclip": 20, "ckpt_save_interval": 1}
    for memory in ("low", "full"):
        found[memory] = train(
            lambda words: spec.main("train", *words), settings | {"memory": memory, "save_dir": tmp_path / memory}
        )
    half = found["full"] / "ckpt" / "step_0000004.ckpt"
    assert spec.main("train", "--resume", half, "--memory", "low") == 0
    one, other = read(found["low"]), read(found["full"])
    for arrays, wanted in ((one.weights, other.weights), (one.state, other.state)):
        for name, array in wanted.items():
            assert np.abs(arrays[name] - array).max() <= 1e-6 * max(1e-3, np.abs(array).max()), name


def test_resumed_run_with_other_options(spec, trained, begun, tmp_path, caplog):
    """The last run of the name goes on where it was, and it is said what differs."""
    caplog.set_level("INFO")
    assert begun(spec.name, resume="auto").step == 0
    assert "--resume auto: nothing to resume, a new run" in caplog.text
    shutil.rmtree(tmp_path / "runs")
    whole = trained(spec.name)
    shutil.copytree(whole, tmp_path / "runs" / whole.name)
    trainer = begun(spec.name, resume="auto", lr=0.25)
    assert (trainer.step, trainer.folder) == (40, tmp_path / "runs" / whole.name)
    assert_same(weights_of(trainer.network), read(whole).weights)
    assert_same(trainer.optimizer.state() | trainer.average.state(), read(whole).state)
    assert f"changed since the run was stopped: lr: {spec.train['lr']} -> 0.25" in caplog.text
    saved = config.load(spec.options("train"), trainer.folder / "config.yaml")
    assert (saved.lr, saved.resume) == (0.25, "")


def test_weights_to_start_from(spec, trained, begun):
    """Weights alone, by whichever name the option has; a checkpoint without an optimizer cannot be resumed."""
    folder = trained(spec.name)
    best = folder / "ckpt" / "best.ckpt"
    trainer = begun(spec.name, checkpoint=best)
    assert trainer.step == 0
    assert_same(weights_of(trainer.network), read(folder, "best.ckpt").weights)
    with pytest.raises(UserError, match=r"best\.ckpt cannot be resumed: it has no optimizer"):
        begun(spec.name, resume=best)


def test_checkpoints_elsewhere(trained, data, tmp_path):
    """In --ckpt_save_path; the run is resumed from there, without the weights that it began with."""
    spec, where, start = BY_NAME["WDSR"], tmp_path / "my ckpt", tmp_path / "start.ckpt"
    shutil.copy(trained("WDSR") / "ckpt" / "best.ckpt", start)
    few = {**spec.train, "test_every": 2, "epochs": 1, spec.data: data, "save_dir": tmp_path / "runs"}
    assert spec.main("train", *words(few | {"ckpt_path": start, "ckpt_save_path": where})) == 0
    assert {path.name for path in where.iterdir()} == {"best.ckpt", "last.ckpt", "step_0000002.ckpt"}
    start.unlink()
    assert spec.main("train", "--resume", where / "last.ckpt", "--epochs", 2) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert last_step(folder) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_distribute": "true"}, "--run_distribute needs a launcher"),
        ({"patch_size": 17}, r"--patch_size 17 \(HR pixels\) must be a multiple of"),
        ({"amp_level": "O2"}, "--amp_level O2 needs a GPU or Ascend: the CPU computes in float32 only"),
        ({"device_num": 2}, r"--device_num 2, but there are 1 worker\(s\)"),
    ],
)
def test_mistakes_leave_nothing(spec, begun, tmp_path, changes, message):
    """Those of a run; what else can be wrong in a command line is in wrong_input.txt."""
    (option,) = changes
    if not is_option(spec, option):
        pytest.skip("not an option of this model")
    with pytest.raises(UserError, match=message):
        begun(spec.name, **changes)
    assert not (tmp_path / "runs").exists(), "no empty run folder"
