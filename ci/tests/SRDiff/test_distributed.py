"""Two real workers, started by the script that users start: one worker's training on the whole batch."""

import sys

import numpy as np
import pytest

from ci.tests import training
from ci.tests.training import differences, losses, read, read_csv
from SRDiff import train

CONFIG = """
scale: 2
hidden_size: 8
unet_dim_mults: [1]
rrdb_num_feat: 4
rrdb_num_block: 2
patch_size: 16
random_rrdb: true
max_updates: 8
lr: 1e-3
decay_steps: 4
log_every: 1
save_checkpoint_freq: 0
"""
TOLERANCE = 1e-6  # the gradients are added in another order; see the printed line for what comes of it


@pytest.mark.slow
def test_two_workers_train_as_one(root, sample_dir, tmp_path, capsys):
    """Each takes its share of every batch: of the pictures, the steps of the chain and the noise."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    data = sample_dir / "DIV2K" / "DIV2K_train_HR"
    with training.jobs(root / "SRDiff" / "scripts" / "run_distribute_train_gpu.sh") as begin:
        words = training.words({"save_dir": tmp_path / "runs", "batch_size": 2, "schedule_batch": 4})
        job = begin(tmp_path / "job", "2", tmp_path / "tiny.yaml", data, *words)
        code, said = job.end(timeout=600)
    assert code == 0, said
    assert "2 worker(s) on CPU, 2 patches each" in said
    (folder,) = (tmp_path / "runs").iterdir()

    alone = {"config": tmp_path / "tiny.yaml", "dataset_GT_path": data, "save_dir": tmp_path / "alone"}
    whole = training.train(train.main, alone | {"batch_size": 4, "device_target": "CPU"})
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)
    assert read_csv(folder, "learning_rate") == read_csv(whole, "learning_rate")
    one, other = read(folder), read(whole)
    found = differences(one.weights, other.weights)
    worst = max(found, key=found.get)
    with capsys.disabled():
        sys.stdout.write(f"\n[2 workers against 1: {worst} differs by {found[worst]:.2g}] ")
    assert found[worst] < TOLERANCE
    assert np.ptp(losses(whole)) > 1e-3
    assert max(differences(one.state, other.state).values()) < TOLERANCE
