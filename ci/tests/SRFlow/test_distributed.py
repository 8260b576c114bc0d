"""Two real workers, started by the script that users start: one worker's training on the whole batch."""

import sys

import numpy as np
import pytest

from ci.tests import training
from ci.tests.training import differences, losses, read, read_csv
from common import checkpoint
from common.checkpoint import Checkpoint
from SRFlow import train
from SRFlow.src.model.SRFlowNet import Hyper, SRFlowNet
from SRFlow.src.model_utils import util

HYPER = Hyper(2, 4, 1, 2, (0,), 1, 1, 4)
CONFIG = """
model: SRFlow
scale: 2
datasets: {train: {dataroot: DATA, HR_size: 16, quant: 32}}
network_G: {nf: 4, nb: 1, gc: 2, train_RRDB_delay: 0.5, flow: {K: 1, L: 1, stackRRDB: {blocks: [0]},
    CondAffineSeparatedAndCond: {hidden_channels: 4}}}
path: {train_pretrain_model_G: RRDB.ckpt}
train: {niter: 8, lr_G: 1e-3}
logger: {print_freq: 1, save_checkpoint_freq: 1}
"""
# The gradients are added in another order; see the printed line for what comes of it. The ActNorms' biases begin where
# their gradient is zero but for rounding (1e-8), and an epsilon of 1e-8 would make whole steps of that.
SAME = {"epsilon": 1e-4, "ckpt_save_max": 8}
TOLERANCE = 2e-6


@pytest.mark.slow
def test_two_workers_train_as_one(root, sample_dir, tmp_path, capsys):
    """The ActNorms that they begin with, the steps before and behind the release of the encoder."""
    (tmp_path / "cfg.yml").write_text(CONFIG.replace("DATA", str(sample_dir / "DIV2K" / "DIV2K_train_HR")))
    weights = {p.name: p.asnumpy() for p in SRFlowNet(HYPER, seed=4).get_parameters()}
    checkpoint.save(tmp_path / "RRDB.ckpt", Checkpoint(weights, util.describe(HYPER, {})))
    with training.jobs(root / "SRFlow" / "scripts" / "run_distribute_train_gpu.sh") as begin:
        words = training.words({"save_dir": tmp_path / "runs", "batch_size": 2, "schedule_batch": 4, **SAME})
        job = begin(tmp_path / "job", "2", tmp_path / "cfg.yml", *words)
        code, said = job.end(timeout=600)
    assert code == 0, said
    assert "2 worker(s) on CPU, device 0, 2 patches each" in said
    assert "the encoder is trained as well from step 5 on" in said
    (folder,) = (tmp_path / "runs").iterdir()

    alone = {"opt": tmp_path / "cfg.yml", "save_dir": tmp_path / "alone", "batch_size": 4, "device_target": "CPU"}
    alone |= SAME
    whole = training.train(train.main, alone)
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)
    assert read_csv(folder, "learning_rate") == read_csv(whole, "learning_rate")
    one, other = read(folder), read(whole)
    found = differences(one.weights, other.weights)
    worst = max(found, key=found.get)
    moved = max(differences(one.weights, read(whole, "step_0000001.ckpt").weights).values())
    with capsys.disabled():
        sys.stdout.write(f"\n[2 workers against 1: {worst} differs by {found[worst]:.2g}, weights moved {moved:.2g}] ")
    assert found[worst] < TOLERANCE
    assert moved > 1e-3
    # The flow is steep: the last digit of a bias (5e-7) is 1e-5 of its gradient.
    assert max(differences(one.state, other.state).values()) < 3e-5
