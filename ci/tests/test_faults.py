"""Trainings that are killed at random moments end as if nobody had touched them: two kills of one model.

`python -m ci.tests.faults --kills 20` does it for all; a kill of each model is in test_distribution.py, too.
"""

import re
import subprocess

import numpy as np
import pytest

from ci.tests import clone, faults
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint


@pytest.mark.slow
def test_killed_run_equals_the_uninterrupted_one(root, python, tmp_path):
    """Killed some time after a step and in the middle of a checkpoint's write: every loss, and every bit at the end."""
    words = [str(python), "-m", "ci.tests.faults", "--kills", "2", "--models", "WDSR", "--folder", tmp_path]
    done = subprocess.run(words, cwd=root, env=clone.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WDSR: bit-equal after 2 kills, 1 of them in a write" in done.stdout
    assert re.search(r"in the write of .* of step \d+: \d+ of \d+ bytes; resumed from step", done.stdout)


def test_differences_are_found(tmp_path):
    """A loss, a bit of a weight or of the state, a count: none is overlooked; the time of day is."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    for folder, seconds in ((whole, 0.1), (run, 7)):
        (folder / "ckpt").mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,loss,seconds_per_step\n1,0.5,{seconds}\n")
        content = Checkpoint({"w": np.ones(2, "f4")}, {"step": 2, "folder": str(folder)}, {"m": np.zeros(3, "f4")})
        for name in ("last.ckpt", "best.ckpt"):
            checkpoint.save(folder / "ckpt" / name, content)
    faults.check(run, whole)
    content.weights["w"][1], content.state["m"][1], content.meta["step"] = 1 + 2**-23, -0.0, 3
    checkpoint.save(run / "ckpt" / "best.ckpt", content)
    (run / "metrics.csv").write_text("step,loss,seconds_per_step\n1,0.25,7\n")
    found = ["metrics.csv", "best.ckpt: meta step", "best.ckpt: state m", "best.ckpt: w"]
    assert faults.differences(run, whole) == found
