"""An evaluation: its folder, and the workers that share its images."""

import itertools
import os
import re

import pytest

import WDSR.eval
from ci.tests.clone import run
from ci.tests.test_evaluation import rows_of
from common import UserError, runtime
from common.evaluation.run import EvaluationRun
from common.evaluation.table import Figure, Table
from WDSR.src.args import EvalConfig

pytestmark = pytest.mark.usefixtures("all_cores")


@pytest.mark.parametrize("measured", [False, True])
def test_folder_of_a_failure(tmp_path, monkeypatch, measured):
    """It goes when nothing was measured."""
    monkeypatch.chdir(tmp_path)
    table = Table("t", [Figure("PSNR", None, columns=("SR",))], {"a": {"PSNR": (1.0,)}}, {"a": 0.5})

    def fail():
        with EvaluationRun("M", "w", 2, ["Set5"], EvalConfig(), runtime.Runtime("CPU")) as evaluation:
            if measured:
                evaluation.add("Set5", table)
            raise UserError("no")

    with pytest.raises(UserError, match="no"):
        fail()
    assert [path.name for path in (tmp_path / "runs/M").rglob("*.csv")] == ["Set5.csv"] * measured
    assert len(list((tmp_path / "runs/M").iterdir())) == measured


def test_two_real_workers(root, tmp_path):
    """The script of WDSR, its demo weights, three images: what one process measures."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    data, weights = root / "ci/sample", root / "WDSR/weights/wdsr_b_small_x2.ckpt"
    words = ["--data_range", "1-8/9-11", "--limit", "3", "--output"]
    script = root / "WDSR/script/run_eval_gpu.sh", data, weights, "DIV2K", *words, "two"
    done = run("bash", *script, cwd=tmp_path, DEVICE_TARGET="CPU", EVAL_WORKERS="2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^Mean psnr of DIV2K x2 is", done.stdout, re.M)) == 1
    alone = ["--dir_data", data, "--ckpt_path", weights, "--data_test", "DIV2K", *words, tmp_path / "one"]
    assert WDSR.eval.main([*map(str, alone), "--device_target", "CPU"]) == 0
    (one,), (two,) = (folder.glob("*.csv") for folder in (tmp_path / "one", tmp_path / "two"))
    alone, shared = (
        {name: {key: row[key] for key in row if key != "seconds"} for name, row in rows_of(table).items()}
        for table in (one, two)
    )
    assert len(alone) == 3
    assert list(alone.items()) == list(shared.items()), "in the order of the set"
    images = [{path.name: path.read_bytes() for path in table.parent.rglob("*.png")} for table in (one, two)]
    assert images[0] == images[1]
    measured = [re.findall(r"(\w+): PSNR-Y", log.read_text()) for log in tmp_path.rglob("worker_?.log")]
    assert sorted(itertools.chain(*measured)) == sorted(alone), "each image was measured once"
    assert all(measured), "by both"
