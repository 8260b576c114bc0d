"""An evaluation's folder and report, and the workers that share its pictures: alone, dealt out, and really two."""

import itertools
import os
import re

import pytest

from ci.tests.clone import run
from ci.tests.workers import rows_of
from common import UserError, runtime
from common.evaluation.run import EvaluationRun, in_turn
from common.evaluation.table import Figure, Table
from WDSR.src.args import EvalConfig


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_each_item_is_one_workers(count, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "gather", lambda value, here: [value])
    items, parts = list("abcdefg"[:count]), []
    for rank in range(workers):
        here = runtime.Runtime("CPU", rank, workers)
        parts.append(EvaluationRun("M", "w", 2, [], EvalConfig(output=str(tmp_path)), here).share(items))
    assert sorted(itertools.chain(*parts)) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert in_turn(parts) == items


def fail_in(run_folders, table=None):
    """An evaluation that fails, before or after a table is written."""
    here = runtime.Runtime("CPU")
    with EvaluationRun("M", "w", 2, ["Set5"], EvalConfig(), here) as evaluation:
        assert evaluation.folder.resolve() in run_folders.iterdir()
        if table:
            evaluation.add("Set5", table)
        raise UserError("no")


def test_folder_of_a_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = tmp_path / "runs/M"
    with pytest.raises(UserError, match="no"):
        fail_in(folders)
    assert list(folders.iterdir()) == [], "nothing was in it"
    with pytest.raises(UserError, match="no"):
        fail_in(folders, Table("t", [Figure("PSNR", None, columns=("SR",))], {"a": {"PSNR": (1.0,)}}, {"a": 0.5}))
    assert len(list(folders.glob("*/Set5.csv"))) == 1, "what was measured stays"


def test_two_real_workers(root, tmp_path):
    """The script of WDSR, its demo weights, three pictures: what one process measures."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    script, weights = root / "WDSR/script/run_eval_gpu.sh", next((root / "WDSR/weights").glob("*.ckpt"))
    words = [root / "ci/sample", weights, "DIV2K", "--data_range", "1-8/9-11", "--limit", "3"]
    for workers in ("1", "2"):
        (tmp_path / workers).mkdir()
        done = run("bash", script, *words, "--output", f"of {workers}", cwd=tmp_path / workers, DEVICE_TARGET="CPU",
                   EVAL_WORKERS=workers)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(re.findall(r"^Mean psnr of DIV2K x2 is", done.stdout, re.M)) == 1
    (one,), (two,) = ((tmp_path / n / f"of {n}").glob("*.csv") for n in ("1", "2"))
    assert len(rows_of(one)) == 3
    assert list(rows_of(one).items()) == list(rows_of(two).items())
    logs = sorted((tmp_path / "2").rglob("worker_?.log"))
    measured = [re.findall(r"(\w+): PSNR-Y", log.read_text()) for log in logs]
    assert sorted(itertools.chain(*measured)) == sorted(rows_of(one)), "each picture was measured once"
    assert all(measured), "by both"
