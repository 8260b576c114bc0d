"""Two real workers, started by the script that users start: the same training as one worker's on the whole batch."""

import sys

import numpy as np
import pytest

from ci.tests import training
from ci.tests.training import differences, losses, read
from common import images
from CSNLN import train
from CSNLN.src.config import TrainConfig
from CSNLN.src.CSNLN import CSNLN

OPTIONS = {
    "data_range": "1-8/9-9", "n_feats": 4, "depth": 1, "patch_size": 16, "lr": 1e-3, "gclip": 0.5,
    "log_every": 1, "test_every": 6, "epochs": 1, "epsilon": 1e-5,
}  # fmt: skip
# The workers' gradients are added in another order: see the printed line for what comes of it.
TOLERANCE = 2e-6


@pytest.mark.slow
def test_two_workers_train_as_one(root, sample_dir, tmp_path, capsys):
    picture = images.read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / "0009.png")
    images.write_picture(tmp_path / "test" / "0009.png", picture[:48, :48])
    with training.jobs(root / "CSNLN" / "scripts" / "run_train_gpu.sh") as begin:
        settings = {"data_path": sample_dir, "data_test": tmp_path / "test", "save_dir": tmp_path / "runs", **OPTIONS}
        job = begin(tmp_path / "job", "2", "0,1", *training.words({**settings, "batch_size": 2}))
        code, said = job.end(timeout=600)
    assert code == 0, said
    assert "2 worker(s) on CPU, 2 patches each" in said
    (folder,) = (tmp_path / "runs").iterdir()

    alone = {**settings, "save_dir": tmp_path / "alone", "batch_size": 4, "device_target": "CPU"}
    whole = training.train(train.main, alone)
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)
    one, other = read(folder), read(whole)
    found = differences(one.weights, other.weights)
    worst = max(found, key=found.get)
    start = CSNLN(TrainConfig(n_feats=4, depth=1).hyper(), TrainConfig().seed).get_parameters()
    moved = max(differences(one.weights, {p.name: p.asnumpy() for p in start}).values())
    with capsys.disabled():
        sys.stdout.write(f"\n[2 workers against 1: {worst} differs by {found[worst]:.2g}, weights moved {moved:.2g}] ")
    assert found[worst] < TOLERANCE
    assert moved > 3e-3
