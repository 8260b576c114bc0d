"""The fit loop on a network of 15 weights: exact resume, damaged images, guards, checkpoints."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ci.tests.common.nets import Loss, Net, Stream
from ci.tests.training import assert_same, losses, read_csv
from common import UserError, runtime
from common.checkpoint import files as checkpoint
from common.runtime import Runtime
from common.training import loop as training
from common.training.loop import Plan, Trainer
from common.training.runs import RunFiles
from common.training.validation import Validation

HERE = Runtime("CPU")


@pytest.fixture(autouse=True, scope="module")
def device():
    runtime.start("CPU", seed=1)


@pytest.fixture(autouse=True)
def no_curve(monkeypatch):
    """Drawing it takes longer than the training."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def trainer(folder, network=None, stream=None, on="some images", validate=None, **changes):
    """A Trainer whose folder is made when it opens it; `validate` measures on the images `on`."""

    def make():
        folder.mkdir(exist_ok=True)
        return folder

    settings = {"steps": 12, "log_every": 1, "validate_every": 4, "save_every": 4, "keep_every": 0, "keep_at_most": 5}
    settings |= {"gradient_clip": 0.0, "ema_decay": 0.0, "loss_scale": 1.0}
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
