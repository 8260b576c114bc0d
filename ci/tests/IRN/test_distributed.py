"""Two real workers, started by the script that users start: one worker's training on the whole batch."""

import os
import re
import signal
import sys

import numpy as np
import pytest

from ci.tests import training
from ci.tests.training import differences, logged, losses, read, read_csv, wait_for_step
from IRN import train
from IRN.src.network.Invnet import InvRescaleNet
from IRN.src.options.options import TrainConfig

NETWORK = {"block_num": 1, "growth": 4}
SETTINGS = NETWORK | {"patch_size": 32, "lr": 0.003, "ema": 0.9, "log_every": 1, "save_every": 2, "test_pictures": 1}
# Measured: 1.2e-7 after 14 steps that moved the weights by up to 0.035; the gradients are added in another order.
TOLERANCE = 1e-6


@pytest.fixture
def start_job(root, tmp_path):
    """Starts `run_distribute_train.sh 2 2 DATA` with more options; no job outlives the test."""
    data = root / "ci" / "sample"
    with training.jobs(root / "IRN" / "scripts" / "run_distribute_train.sh") as start:

        def with_data(name, **settings):
            words = training.words({"save_dir": tmp_path / "runs", **settings})
            return start(tmp_path / name, "2", "2", data, *words)

        yield with_data


def rates(folder):
    return [float(rate) for (rate,) in read_csv(folder, "learning_rate") if rate]


@pytest.mark.slow
def test_two_workers_train_as_one(root, start_job, tmp_path, capsys):
    """With the recipe's steps kept: a job whose worker is killed, one that resumes it, one process for comparison."""
    plan = {"schedule_batch": 4, "niter": 14, "lr_steps": 9}
    runs = tmp_path / "runs"
    job = start_job("killed", **SETTINGS, **plan, batch_size=2)
    wait_for_step(runs, 6, job.process)
    os.kill(job.worker(1), signal.SIGKILL)
    code, said = job.end()
    assert code == 128 + signal.SIGKILL, said
    assert "the distributed job ended with code 137" in said
    (folder,) = runs.iterdir()
    reached = read(folder).meta["step"]
    assert 4 <= reached < 14
    assert not re.search("times 0.5", said)

    job = start_job("resumed", resume=folder)
    code, said = job.end()
    assert code == 0, said
    assert len(list(runs.iterdir())) == 1, "in the same folder"
    assert [step for step, _ in logged(folder)] == list(range(1, 15)), "one row each"

    data = {"dataset_GT_path": root / "ci" / "sample", "save_dir": tmp_path / "alone", "device_target": "CPU"}
    whole = training.train(train.main, data | {"scale": 2} | SETTINGS | plan | {"batch_size": 4})
    np.testing.assert_allclose(rates(folder), [0.003] * 9 + [0.0015] * 5)
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)
    one, other = read(folder), read(whole)
    assert one.meta["step"] == other.meta["step"] == 14
    found = differences(one.weights, other.weights) | differences(one.state, other.state)
    worst = max(found, key=found.get)
    hyper = TrainConfig(scale=2, block_num=(1,), growth=4).hyper()
    start = {p.name: p.asnumpy() for p in InvRescaleNet(hyper, TrainConfig().seed).get_parameters()}
    moved = max(differences(one.weights, start).values())
    with capsys.disabled():
        sys.stdout.write(f"\n[2 workers against 1: {worst} differs by {found[worst]:.2g}, weights moved {moved:.2g}] ")
    assert found[worst] < TOLERANCE
    assert moved > 0.02
