"""Trainings that are killed at random moments end as if nobody had touched them: two kills of two models.

`python -m ci.tests.faults --kills 20` does it for all; a kill of each model is in test_distribution.py, too.
"""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from ci.tests import clone, faults
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint

SEED = 1
MODELS = ("WDSR", "SRDiff")


@pytest.fixture(scope="module")
def said(root, tmp_path_factory):
    """What the harness says of them; the kills come from this seed, WDSR is stopped by Ctrl-C besides."""
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, "-m", "ci.tests.faults", "--kills", "2", "--freeze", "--seed", str(SEED)]
    parts = {"WDSR": ["--stops", "1", "--models", "WDSR"]}
    parts["others"] = ["--stops", "0", "--models", *(name for name in MODELS if name != "WDSR")]
    lines = []
    for name, options in parts.items():
        words = [*command, *options, "--folder", str(folder / name)]
        done = subprocess.run(words, cwd=root, env=clone.environment(), capture_output=True, text=True, check=False)
        lines += [done.stdout, done.stderr, f"{name} ended with exit code {done.returncode}\n"]
    return "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_killed_run_equals_the_uninterrupted_one(said, model):
    """Killed some time after a step and in the middle of a checkpoint's write: every loss, and every bit at the end."""
    lines = [line for line in said.splitlines() if line.startswith((f"{model},", f"{model}:"))]
    assert f"{model}: bit-equal after 2 kills, 1 of them in a write: {faults.STEPS} losses" in lines[-1], said
    assert sum(", kill " in line for line in lines) == 2
    assert sum("in the write of" in line and " bytes" in line for line in lines) == 1, "in the middle of it"
    assert sum("resumed from step" in line for line in lines) >= 1
    assert sum(", stopped by Ctrl-C: " in line for line in lines) == (model == "WDSR")


def make_run(folder, step=2):
    (folder / "ckpt").mkdir(parents=True)
    (folder / "metrics.csv").write_text("step,loss,seconds_per_step\n1,0.5,0.1\n2,0.25,0.1\n")
    content = Checkpoint({"w": np.ones(2, "f4")}, {"step": step, "folder": str(folder)}, {"m": np.zeros(3, "f4")})
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint.save(folder / "ckpt" / name, content)
    return folder


def test_differences_are_found(tmp_path):
    """A loss, a missing row, a bit of a weight or of the state, a count: none is overlooked; the time of day is."""
    whole, run = make_run(tmp_path / "whole"), make_run(tmp_path / "run")
    log, last = run / "metrics.csv", run / "ckpt" / "last.ckpt"
    text, content = log.read_text(), last.read_bytes()
    log.write_text(text.replace("0.1\n", "7.0\n"))
    assert faults.differences(run, whole) == []
    log.write_text(text.replace("0.25", "0.250001"))
    assert faults.differences(run, whole) == ["metrics.csv has 2 and 2 rows, different at steps ['2']"]
    log.write_text(text.replace("2,0.25,0.1\n", ""))
    assert faults.differences(run, whole) == ["metrics.csv has 1 and 2 rows, different at steps []"]
    log.write_text(text)
    changes = [("weights", "w", np.float32([1, 1 + 2**-23])), ("weights", "new", np.ones(1)), ("meta", "step", 3)]
    for part, name, value in [*changes, ("state", "m", np.full(3, -0.0, "f4"))]:
        saved = checkpoint.read(last)
        getattr(saved, part)[name] = value
        checkpoint.save(last, saved)
        assert faults.differences(run, whole) == [f"last.ckpt: {name}{' of meta' if part == 'meta' else ''}"]
        last.write_bytes(content)
    assert faults.differences(run, whole) == []
    shutil.copy(last, run / "ckpt" / ".last.x.tmp.ckpt")
    assert [path.name for path in faults.unfinished(run)] == [".last.x.tmp.ckpt"]
    assert faults.saved_step(run) == 2
