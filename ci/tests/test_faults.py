"""Trainings that are killed at random moments end as if nobody had touched them: two kills of one model.

`python -m ci.tests.faults --kills 20` does it for all; a kill of each model is in test_distribution.py, too.
"""

import re
import subprocess
import sys

import numpy as np
import pytest

from ci.tests import clone, faults
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint


@pytest.mark.slow
def test_killed_run_equals_the_uninterrupted_one(root, tmp_path):
    """Killed some time after a step and in the middle of a checkpoint's write: every loss, and every bit at the end."""
    words = [sys.executable, "-m", "ci.tests.faults", "--kills", "2", "--models", "WDSR", "--folder", tmp_path]
    done = subprocess.run(words, cwd=root, env=clone.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WDSR: bit-equal after 2 kills, 1 of them in a write" in done.stdout
    assert re.search(r"in the write of .* of step \d+: \d+ of \d+ bytes; resumed from step", done.stdout)


def test_differences_are_found(tmp_path):
    """A loss, a missing row, a bit of a weight or of the state, a count: none is overlooked; the time of day is."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    for folder in (whole, run):
        (folder / "ckpt").mkdir(parents=True)
        (folder / "metrics.csv").write_text("step,loss,seconds_per_step\n1,0.5,0.1\n2,0.25,0.1\n")
        content = Checkpoint({"w": np.ones(2, "f4")}, {"step": 2, "folder": str(folder)}, {"m": np.zeros(3, "f4")})
        for name in ("last.ckpt", "best.ckpt"):
            checkpoint.save(folder / "ckpt" / name, content)
    log, last = run / "metrics.csv", run / "ckpt" / "last.ckpt"
    text, content = log.read_text(), last.read_bytes()
    for changed, found in (("0.1\n", []), ("0.25", ["metrics.csv"]), ("2,0.25,0.1\n", ["metrics.csv"])):
        log.write_text(text.replace(changed, "7.0\n" if changed[0] == "0" and "\n" in changed else ""))
        assert faults.differences(run, whole) == found
    log.write_text(text)
    changes = [("weights", "w", np.float32([1, 1 + 2**-23])), ("weights", "new", np.ones(1)), ("meta", "step", 3)]
    for part, name, value in [*changes, ("state", "m", np.full(3, -0.0, "f4"))]:
        saved = checkpoint.read(last)
        getattr(saved, part)[name] = value
        checkpoint.save(last, saved)
        prefix = "" if part == "weights" else f"{part} "
        assert faults.differences(run, whole) == [f"last.ckpt: {prefix}{name}"]
        last.write_bytes(content)
    faults.check(run, whole)
    (run / "ckpt" / ".last.x.tmp.ckpt").touch()
    with pytest.raises(faults.Failed, match="still holds what kills have left"):
        faults.check(run, whole)
