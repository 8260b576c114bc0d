"""The fit loop on a network of 15 weights: exact resume, guards, checkpoints, and its arithmetic against NumPy."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from ci.tests.training import assert_same, losses, read_csv
from common import UserError, runtime
from common.checkpoint import files as checkpoint
from common.config import TrainOptions
from common.runtime import Runtime
from common.training import loop as training
from common.training import memory
from common.training.loop import Plan, Trainer
from common.training.optimizer import Adam, MovingAverage
from common.training.repeated import BlockStep, Repeated, settled
from common.training.runs import RunFiles
from common.training.step import GradientStep, mixed_precision
from common.training.validation import Validation

HERE = Runtime("CPU")


@pytest.fixture(autouse=True, scope="module")
def device():
    runtime.start("CPU", seed=1)


@pytest.fixture(autouse=True)
def no_curve(monkeypatch):
    """Drawing it takes longer than the training."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


class Net(nn.Cell):
    """tanh(x W) + b."""

    def __init__(self, seed=0):
        super().__init__()
        weight = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
        self.weight = Parameter(Tensor(weight), name="weight")
        self.bias = Parameter(Tensor(np.zeros(3, np.float32)), name="bias")

    def construct(self, x):
        return ops.tanh(ops.matmul(x, self.weight)) + self.bias


class Loss(nn.Cell):
    """(mean squared error, mean error)."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x, y):
        error = self.network(x) - y
        return (error * error).mean(), error.mean()


class Stream:
    """Batches that depend on the step alone; `at[step]` is called while the step before has yet to be done."""

    global_batch_size, images = 5, range(10)

    def __init__(self, at=None, bad=()):
        self.at, self.bad = at or {}, bad

    def prefetched(self, first, last):
        for step in range(first, last):
            self.at.get(step, lambda: None)()
            rng = np.random.default_rng(step)
            x, y = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
            yield x, y * np.float32(np.nan if step in self.bad else 1)


def trainer(folder, network=None, stream=None, on="some images", validate=None, **changes):
    """A Trainer whose folder is made when it opens it; `validate` measures on the images `on`."""

    def make():
        folder.mkdir(exist_ok=True)
        return folder

    settings = {"steps": 12, "log_every": 1, "validate_every": 4, "save_every": 4}
    plan = Plan(**{**settings, "learning_rate": lambda step: 0.1 / (1 + step), **changes})
    parts = {"part_names": ("error",), "validate": validate and Validation(validate, on)}
    network, meta = network or Net(), {"model": "Net", "config": {}}
    return Trainer(network, Loss(network), stream or Stream(), plan, HERE, make, meta, **parts)


def weights_of(run):
    return {parameter.name: parameter.asnumpy().copy() for parameter in run.network.get_parameters()}


def twice(number):
    """Send the signal as `timeout` does: to its child and to its child's group. It is one request."""
    return lambda: [os.kill(os.getpid(), number) for _ in range(2)]


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    """Bit for bit, also where a non-finite batch halved the loss scale before the stop."""
    changes = {"ema_decay": 0.8, "loss_scale": 1024.0, "gradient_clip": 0.5}
    changes["validate"] = lambda network: {"score": float(network.bias.asnumpy()[0])}
    whole = trainer(tmp_path / "whole", stream=Stream(bad=(2,)), **changes)
    assert whole.fit() == 0
    first = trainer(tmp_path / "parts", stream=Stream({7: twice(signal.SIGTERM)}, bad=(2,)), **changes)
    assert first.fit() == 128 + signal.SIGTERM
    saved = checkpoint.read(first.files.last)
    assert (first.step, saved.meta["step"], saved.meta["epoch"]) == (7, 7, 3.5), "the step of the signal is done"
    second = trainer(tmp_path / "parts", Net(seed=9), Stream(bad=(2,)), **changes)
    second.resume(saved, "last.ckpt")
    assert (second.guard.bad_steps, second.guard.loss_scale) == (1, 512)
    assert second.fit() == 0
    columns = "step", "loss", "error", "learning_rate", "gradient_norm", "score"
    assert read_csv(tmp_path / "parts", *columns) == read_csv(tmp_path / "whole", *columns)
    one, other = (checkpoint.read(run.files.last) for run in (second, whole))
    assert_same(one.weights | one.state, other.weights | other.state)
    assert one.meta | {"folder": ""} == other.meta | {"folder": ""}


def test_nothing_to_do(tmp_path):
    trainer(tmp_path / "run").fit()
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    again = trainer(tmp_path / "run")
    again.resume(checkpoint.read(tmp_path / "run" / "ckpt" / "last.ckpt"), "last.ckpt")
    assert again.fit() == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*")) == before


@contextlib.contextmanager
def began(root, code):
    """A process that has said `begun`."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": {**os.environ, "PYTHONPATH": str(root)}}
    with subprocess.Popen([sys.executable, "-c", code], **settings) as process:
        try:
            assert process.stdout.readline() == b"begun\n"
            yield process
        finally:
            process.kill()


STUCK = """
import hashlib
from common.training.loop import StopRequest
with StopRequest():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # as in the compiler, no handler of Python's runs for minutes
"""


def test_second_signal_ends_at_once_while_the_compiler_runs(root):
    with began(root, STUCK) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"\n"
        assert b"once more ends at once" in process.stdout.readline()
        time.sleep(1.5)  # two at once are one request
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_interrupt_while_programs_are_imported_has_no_traceback(root):
    with began(root, "import common, time; print('begun', flush=True); time.sleep(60)") as process:
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == b"interrupted\n"
        assert process.returncode == -signal.SIGINT


# ----------------------------------------------------------------------------------------------------- damaged images

DAMAGE = "0003.png is damaged or cut off (truncated): replace it by a whole copy"


def damaged():
    raise UserError(DAMAGE)


def test_damaged_image_costs_no_step(tmp_path):
    """The run ends with all that was learned in last.ckpt, as Ctrl-C leaves it, and a sentence that says what to do."""
    run = trainer(tmp_path / "run", stream=Stream({7: damaged}), ema_decay=0.8)
    with pytest.raises(UserError, match=re.escape(f"{DAMAGE}; step 7 is saved, ") + f".*--resume {tmp_path}/run$"):
        run.fit()
    saved = checkpoint.read(run.files.last)
    assert (run.step, saved.meta["step"], len(losses(tmp_path / "run"))) == (7, 7, 7)
    assert_same(saved.weights, weights_of(run))
    assert_same(saved.state, run.optimizer.state() | run.average.state())


def test_damaged_image_of_the_first_step(tmp_path):
    """There is nothing to save, and no run's folder."""
    with pytest.raises(UserError, match=f"^{re.escape(DAMAGE)}$"):
        trainer(tmp_path / "run", stream=Stream({0: damaged})).fit()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_damage_that_one_of_several_workers_meets(tmp_path, monkeypatch, rank):
    """It asks all to stop a step before, when they still meet, and leaves only when the main one has saved."""
    run, asked, meetings = trainer(tmp_path / "run", stream=Stream({7: damaged}), save_every=12), [], []
    step = run.gradient_step

    def all_reduce(tensor):
        meetings.append((run.step, run.files.last.exists()))
        return tensor

    run.gradient_step = lambda control, *batch: asked.append(float(control[1])) or step(control, *batch)
    run.here = Runtime("CPU", rank=rank, world_size=2)
    monkeypatch.setattr(training.ops, "AllReduce", lambda: all_reduce)
    with pytest.raises(UserError, match=rf"--resume {'RUN' if rank else tmp_path / 'run'}$"):
        run.fit()
    assert (asked, meetings) == ([0, 0, 0, 0, 0, 0, 1], [(7, rank == 0)])


def test_bad_step_changes_nothing_and_is_counted(tmp_path, caplog):
    run = trainer(tmp_path / "run", ema_decay=0.5)
    batches = list(Stream(bad=(3,)).prefetched(0, 5))
    with runtime.graph_mode():
        for batch in batches[:3]:
            run.train_step(batch)
        before = weights_of(run) | run.optimizer.state() | run.average.state()
        values, _ = run.train_step(batches[3])
        assert math.isnan(values[0])
        assert_same(weights_of(run) | run.optimizer.state() | run.average.state(), before)
        assert (run.guard.bad_steps, run.guard.bad_in_a_row) == (1, 1)
        run.train_step(batches[4])
    assert (run.guard.bad_steps, run.guard.bad_in_a_row) == (1, 0)
    assert not np.array_equal(weights_of(run)["weight"], before["weight"])
    assert "skipped: loss nan" in caplog.text


def test_overflowing_gradient_is_a_bad_step(tmp_path):
    """The loss is finite, its gradient times the loss scale is not; the scale is halved, and later doubled again."""
    run, (x, y) = trainer(tmp_path / "run", loss_scale=2.0**120), next(Stream().prefetched(0, 1))
    before = weights_of(run)
    with runtime.graph_mode():
        values, norm = run.train_step((x * 1000, y * 1e4))
    assert (math.isfinite(values[0]), math.isfinite(norm)) == (True, False)
    assert_same(weights_of(run), before)
    assert run.guard.loss_scale == 2.0**119
    for scale in (2.0**119, 2.0**120, 2.0**120):
        assert run.guard.loss_scale == scale
        for _ in range(2000):
            run.guard.note_good(2.0**120)


def test_too_many_bad_steps_in_a_row(tmp_path):
    """Also counted across a stop; two good ones in between start the count again."""
    bad, settings = (1, 2, 5, 6, 7), {"bad_steps_at_most": 3, "save_every": 2}
    first = trainer(tmp_path / "run", stream=Stream({7: twice(signal.SIGTERM)}, bad=bad), **settings)
    assert first.fit() == 143
    second = trainer(tmp_path / "run", stream=Stream(bad=bad), **settings)
    second.resume(checkpoint.read(first.files.last), "last.ckpt")
    said = f"stopped at step 8: the loss was not finite for 3 steps in a row; .* {tmp_path}/run/ckpt/last.ckpt; try a "
    with pytest.raises(UserError, match=said):
        second.fit()
    assert all(np.isfinite(array).all() for array in checkpoint.read(second.files.last).weights.values())


def test_best_last_and_numbered_checkpoints(tmp_path):
    scores, intervals = iter([1.0, float("nan"), 3.0, float("inf")]), {"validate_every": 3, "save_every": 5}
    intervals |= {"keep_every": 2, "keep_at_most": 3}
    run = trainer(tmp_path / "run", validate=lambda network: {"PSNR": next(scores), "SSIM": 0.0}, **intervals)
    run.fit()
    steps = {path.name: checkpoint.read(path).meta["step"] for path in (tmp_path / "run" / "ckpt").iterdir()}
    assert steps == {"best.ckpt": 9, "last.ckpt": 12, **{f"step_{step:07d}.ckpt": step for step in (8, 10, 12)}}
    best = {"name": "PSNR", "score": 3.0, "step": 9, "on": "some images"}
    assert checkpoint.read(run.files.last).meta["best"] == best
    assert read_csv(tmp_path / "run", "step", "PSNR")[3:5] == [["3", "1.0"], ["4", ""]]


def test_best_score_belongs_to_what_it_was_measured_on(tmp_path):
    """Validated on other images a resumed run chooses anew; on the same ones it does not."""

    def best_after(steps, *scores, **changes):
        scores = iter(scores)
        run = trainer(tmp_path / "run", validate=lambda network: {"PSNR": next(scores)}, steps=steps, **changes)
        if steps > 4:
            run.resume(checkpoint.read(tmp_path / "run" / "ckpt" / "last.ckpt"), "last.ckpt")
        run.fit()
        return checkpoint.read(tmp_path / "run" / "ckpt" / "best.ckpt").meta["step"]

    assert best_after(4, 5.0) == 4
    assert best_after(8, 4.0) == 4
    assert best_after(16, 2.0, 1.0, on="others") == 12


def test_leftovers_of_kills_are_removed(tmp_path):
    """When a run is opened; what others have put there stays."""
    files, ckpt = RunFiles(tmp_path / "run"), tmp_path / "run" / "ckpt"
    files.open()
    for path in (ckpt / ".last.ab3d_f8h.tmp.ckpt", tmp_path / "run" / ".metrics.ab3d_f8h.tmp.csv"):
        path.write_bytes(b"half")
    mine = [ckpt / name for name in (".last.notes.ckpt", "mine.ab3d_f8h.tmp.ckpt", "last.ckpt")]
    for path in mine:
        path.touch()
    files.open()
    assert sorted(ckpt.iterdir()) == sorted(mine)
    assert sorted((tmp_path / "run").iterdir()) == [ckpt]


def numpy_gradients(network, x, y):
    """Of the mean squared error, in float64 by hand."""
    weight, bias = (parameter.asnumpy().astype(np.float64) for parameter in network.trainable_params())
    hidden = np.tanh(x.astype(np.float64) @ weight)
    error = hidden + bias - y
    outer = 2 * error / error.size
    return (error**2).mean(), error.mean(), [x.T @ (outer * (1 - hidden**2)), outer.sum(0)]


@pytest.mark.parametrize("clip", [0.0, 0.05, 1e6])
def test_gradients_norm_and_clip(clip):
    """torch.nn.utils.clip_grad_norm_: gradients times min(1, clip / (norm + 1e-6))."""
    network, (x, y) = Net(), next(Stream().prefetched(0, 1))
    step = GradientStep(Loss(network), ms.ParameterTuple(network.trainable_params()), clip)
    with runtime.graph_mode():
        values, gradients, norm, stop = step(Tensor([1.0, 0.0], ms.float32), Tensor(x), Tensor(y))
    loss, error, wanted = numpy_gradients(network, x, y)
    wanted_norm = np.sqrt(sum((g**2).sum() for g in wanted))
    factor = min(1.0, clip / (wanted_norm + 1e-6)) if clip else 1.0
    np.testing.assert_allclose([*map(float, values), float(norm)], [loss, error, wanted_norm], rtol=2e-6)
    for found, one in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(found.asnumpy(), one * factor, rtol=2e-5, atol=1e-8)
    assert (factor < 0.9, float(stop)) == (clip == 0.05, 0)


@pytest.mark.parametrize("frozen", [False, True])
def test_blocks_give_the_gradients_of_the_whole(frozen):
    """Of weights that come as inputs, twice, and of those that a block reads itself; one result is not used."""
    rng = np.random.default_rng(2)
    first, shared, own = (
        Parameter(Tensor(rng.normal(size=size), ms.float32), name=f"w{number}", requires_grad=number > 0 or not frozen)
        for number, size in enumerate(((4, 3), (3, 3), (3, 3)))
    )

    def hidden(known, x, weight):
        y = settled(ops.matmul(x, weight), known, 0)
        return ops.tanh(y), 2 * y, y

    def error(x, y):
        return ((ops.matmul(x, own) - y) ** 2).mean(), x.mean()

    def whole(x, y):
        for weight in (first, shared, shared):
            x = hidden((), x, weight)[0]
        return error(x, y)

    def in_blocks(tape, x, y):
        for weight in (first, shared, shared):
            x, _ = tape(repeated, x, weight)
        return tape(last, x, y)

    repeated, last = Repeated(hidden, 2, keeps=True), Repeated(error, 2, parameters=[own])
    weights = ms.ParameterTuple([weight for weight in (first, shared, own) if weight.requires_grad])
    control, batch = Tensor([8, 0], ms.float32), tuple(map(Tensor, next(Stream().prefetched(0, 1))))
    with runtime.graph_mode():
        wanted, found = (
            step(control, *batch) for step in (GradientStep(whole, weights), BlockStep(in_blocks, weights))
        )
    for one, other in zip((*found[0], *found[1], found[2]), (*wanted[0], *wanted[1], wanted[2]), strict=True):
        assert np.abs(one.asnumpy() - other.asnumpy()).max() <= 1e-6 * np.abs(other.asnumpy()).max()


def naive_adam(start, gradients, rates, betas, epsilon, decay):
    """Kingma and Ba's algorithm 1 with L2 in the gradient (torch.optim.Adam), in float64."""
    weight = start.astype(np.float64)
    first = second = np.zeros_like(weight)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        gradient = gradient + decay * weight
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        corrected = first / (1 - betas[0] ** t), second / (1 - betas[1] ** t)
        weight = weight - rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon)
    return weight


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("betas", "epsilon", "size"), [((0.9, 0.999), 1e-8, 1.0), ((0.5, 0.9), 1e-8, 1.0), ((0.9, 0.999), 1e-3, 1e-3)]
)
def test_adam(betas, epsilon, size, decay):
    """In the last case epsilon is as large as the gradients: where it stands in the formula matters."""
    rng, shapes = np.random.default_rng(5), ((4, 3), (), (2, 1, 2))
    starts = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    parameters = [Parameter(Tensor(start), name=f"w{place}") for place, start in enumerate(starts)]
    adam = Adam(parameters, betas, epsilon, decay)
    gradients = [[np.float32(rng.normal(size=shape) * size) for shape in shapes] for _ in range(30)]
    rates = [0.01 * 0.9**step for step in range(30)]
    with runtime.graph_mode():
        for row, rate in zip(gradients, rates, strict=True):
            adam.step(list(map(Tensor, row)), rate)
    for parameter, start, own in zip(parameters, starts, zip(*gradients, strict=True), strict=True):
        wanted = naive_adam(start, own, rates, betas, epsilon, decay)
        np.testing.assert_allclose(parameter.asnumpy(), wanted, rtol=0, atol=2e-6)
        assert np.abs(wanted - start).max() > 1e-3, "moved"


def test_adam_first_steps_to_seven_digits():
    """From zero, so that rounding of the weights hides nothing: 1 - 0.999**step in float32 would be off by 1e-5."""
    parameter = Parameter(Tensor(np.zeros(50, np.float32)), name="w")
    rng, adam, gradients = np.random.default_rng(1), Adam([parameter]), []
    for step in range(1, 8):
        gradients.append(rng.uniform(1, 2, 50).astype(np.float32))
        adam.step([Tensor(gradients[-1])], 0.01)
        wanted = naive_adam(np.zeros(50), gradients, [0.01] * step, (0.9, 0.999), 1e-8, 0.0)
        np.testing.assert_allclose(parameter.asnumpy(), wanted, rtol=1e-6)


def test_moving_average():
    rng, parameter = np.random.default_rng(5), Parameter(Tensor(np.ones(5, np.float32)), name="w")
    average, wanted = MovingAverage([parameter], 0.9), np.ones(5)
    for _ in range(10):
        ops.assign(parameter, Tensor(rng.normal(size=5).astype(np.float32)))
        wanted = 0.9 * wanted + 0.1 * parameter.asnumpy()
        average.update()
    trained = parameter.asnumpy().copy()
    with contextlib.suppress(KeyError), average.in_place():
        np.testing.assert_allclose(parameter.asnumpy(), wanted, atol=1e-6)
        raise KeyError
    np.testing.assert_array_equal(parameter.asnumpy(), trained, err_msg="the trained weights are back")


def test_best_checkpoint_holds_the_average_and_last_the_weights(tmp_path):
    """The average starts from the initial weights, not from what the optimizer makes of them."""
    seen = []

    def validate(network):
        seen.append({name: parameter.asnumpy().copy() for name, parameter in network.parameters_dict().items()})
        return {"score": 1.0}

    run = trainer(tmp_path / "run", steps=1, ema_decay=0.75, validate=validate)
    before = weights_of(run)
    run.fit()
    best, last = (checkpoint.read(tmp_path / "run" / "ckpt" / name) for name in ("best.ckpt", "last.ckpt"))
    assert_same(best.weights, seen[-1])
    assert_same(last.weights, weights_of(run))
    for name, after in last.weights.items():
        np.testing.assert_allclose(best.weights[name], 0.75 * before[name] + 0.25 * after, atol=1e-6)
        np.testing.assert_array_equal(best.weights[name], last.state[f"ema.{name}"])
        assert np.abs(after - before[name]).max() > 0.01


class Convolution(nn.Cell):
    def __init__(self):
        super().__init__()
        weight = Tensor(np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32))
        self.body = nn.SequentialCell(nn.Conv2d(3, 2, 3, pad_mode="pad", padding=1, weight_init=weight), nn.ReLU())

    def construct(self, x):
        return self.body(x) * 2


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_half_precision_computes_in_float16_and_trains_float32(level):
    """What GPU and Ascend do; the CPU can compute it, too, only slowly."""
    network, x = Convolution(), Tensor(np.random.default_rng(1).normal(size=(1, 3, 5, 5)).astype(np.float32))
    exact, parameters = network(x).asnumpy(), network.trainable_params()
    half = mixed_precision(network, TrainOptions(amp_level=level), Runtime("GPU"))
    output = half(x)
    assert output.dtype == ms.float32
    error = np.abs(output.asnumpy() - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 5e-3, "rounded to 11 bits"
    assert [parameter.name for parameter in network.trainable_params()] == [parameter.name for parameter in parameters]

    def loss(x):
        return (half(x).sum(),)

    step = GradientStep(loss, ms.ParameterTuple(parameters))
    with runtime.graph_mode():
        _, gradients, norm, _ = step(Tensor([1024.0, 0.0], ms.float32), x)
    assert {each.dtype for each in (*parameters, *gradients)} == {ms.float32}
    assert 1 < float(norm) < math.inf


@pytest.mark.parametrize(
    ("asked", "device", "gigabytes", "is_low"),
    [("auto", "CPU", 1, False), ("auto", "CPU", 3, True), ("auto", "GPU", 3, False), ("low", "CPU", 1, True)],
)
def test_large_graphs_are_trained_block_by_block(asked, device, gigabytes, is_low):
    work = memory.Work(columns=gigabytes * 1e9 / 4, tensors=10)
    options = TrainOptions(memory=asked)
    assert memory.is_low("SRFlow", lambda low: work, options, Runtime(device)) == is_low
