"""Two real workers, started by the script that users start: the same training as one worker's on the whole batch."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from ci.tests import clone, training
from ci.tests.training import differences, logged, wait_for_step
from common import checkpoint
from WDSR import train

OPTIONS = ["--data_range", "1-8/9-9", "--n_resblocks", "1", "--n_feats", "4", "--patch_size", "16", "--lr", "0.003"]
OPTIONS += [
    "--gclip",
    "40",
    "--ema",
    "0.9",
    "--gamma",
    "1",
    "--log_every",
    "1",
    "--save_every",
    "2",
    "--test_every",
    "5",
]
OPTIONS += ["--ckpt_save_interval", "0", "--device_target", "CPU"]
# Measured: 4e-7 after 16 steps, of weights up to 0.8; the workers' gradients are added in another order.
TOLERANCE = 2e-6

# Imported by Python itself in every worker: tells at the end what the worker has computed and which files it wrote.
SPY = """
import json, os, sys
if os.environ.get("MS_ROLE") == "MS_WORKER":
    rank, written = os.environ["RANK_ID"], []

    def listen(event, arguments):
        changes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (changes or event in ("os.mkdir", "os.rename", "os.symlink")) and isinstance(arguments[0], str):
            written.append(os.path.abspath(arguments[0]))

    import common.training
    from common import checkpoint

    fit = common.training.Trainer.fit

    def told(self):
        code = fit(self)
        arrays = {p.name: p.asnumpy() for p in self.network.get_parameters()} | self.optimizer.state()
        said = {"code": code, "step": self.step, "world": self.here.world_size, "written": list(written)}
        said |= {"digest": checkpoint.digest(arrays), "patience": os.environ["MS_CPU_COMM_OP_TIMEOUT"]}
        with open(os.path.join(os.environ["SPY"], f"{rank}.json"), "w") as file:
            json.dump(said, file)
        return code

    common.training.Trainer.fit = told
    sys.addaudithook(listen)
"""


@pytest.fixture
def start_job(root):
    """Start jobs of two workers on the sample, with a spy in each; none outlives the test."""
    script = root / "WDSR" / "script" / "run_ascend_distribute.sh"
    with training.jobs(script) as start:

        def with_spy(here, *options):
            (here / "spy").mkdir(parents=True)
            (here / "spy" / "sitecustomize.py").write_text(SPY)
            spy = str(here / "spy")
            return start(here, "2", root / "ci" / "sample", *OPTIONS, *options, PYTHONPATH=spy, SPY=spy)

        yield with_spy


def told(job, rank):
    return json.loads((job.here / "spy" / f"{rank}.json").read_text())


@pytest.mark.slow
def test_two_workers_train_as_one(root, start_job, tmp_path, capsys):
    """One job whose second worker is killed, one that resumes it and is asked to stop, one process for comparison."""
    runs = tmp_path / "runs"
    common_options = ("--batch_size", "2", "--epochs", "1000", "--save_dir", runs)

    # A worker that dies ends the job, with a code that says so; what was saved before stays.
    job = start_job(tmp_path / "killed", *common_options)
    wait_for_step(runs, 6, job.process)
    os.kill(job.worker(1), signal.SIGKILL)
    code, said = job.end()
    assert code == 128 + signal.SIGKILL, said
    assert "the distributed job ended with code 137" in said
    (folder,) = runs.iterdir()
    last = folder / "ckpt" / "last.ckpt"
    reached = checkpoint.read(last).meta["step"]
    assert reached >= 4

    # Two workers go on; SIGTERM to the script ends both after the same step, which is saved.
    job = start_job(tmp_path / "resumed", "--resume", folder)
    wait_for_step(runs, reached + 8, job.process)
    job.process.send_signal(signal.SIGTERM)
    code, said = job.end()
    assert code == 143, said
    stopped = re.search(rf"stopped at step (\d+); go on with: --resume {folder}\n", said)
    assert stopped, said
    saved = checkpoint.read(last)
    step = saved.meta["step"]
    assert step == int(stopped[1]) > reached + 7
    first, second = told(job, 0), told(job, 1)
    assert (first["step"], second["step"], first["world"], second["world"]) == (step, step, 2, 2)
    assert first["code"] == second["code"] == 143
    assert first["digest"] == second["digest"], "the workers hold the same weights and moments, bit for bit"
    assert first["patience"] == "7200", "seconds: validation and saving by the first may take longer than 30"
    assert [path for path in second["written"] if path.startswith(str(tmp_path))] == [], "only the first writes"
    assert any(path.startswith(str(folder)) for path in first["written"]), "the check above can fail"
    assert len(list(runs.iterdir())) == 1
    assert [number for number, _ in logged(folder)] == list(range(1, step + 1)), "one row each"
    assert "█" not in (tmp_path / "resumed" / "train.log").read_text()

    # One process that takes the batches of both.
    alone = tmp_path / "alone"
    words = ["--dir_data", str(root / "ci" / "sample"), *OPTIONS, "--batch_size", "4", "--save_dir", str(alone)]
    assert train.main([*words, "--test_every", str(step), "--epochs", "1"]) == 0
    (whole,) = alone.iterdir()
    expected = checkpoint.read(whole / "ckpt" / "last.ckpt")
    found = differences(saved.weights, expected.weights) | differences(saved.state, expected.state)
    worst = max(found, key=found.get)
    moved = max(np.abs(expected.weights[name] - start).max() for name, start in first_weights().items())
    with capsys.disabled():
        sys.stdout.write(
            f"\n[2 workers against 1, {step} steps: {worst} differs by {found[worst]:.2g}, weights moved {moved:.2g}] "
        )
    assert found[worst] < TOLERANCE
    assert moved > 0.02
    np.testing.assert_allclose(logged(folder), logged(whole), rtol=1e-5)


def first_weights():
    """Where the run's network started."""
    from WDSR.src.args import TrainConfig
    from WDSR.src.model import WDSR

    network = WDSR(TrainConfig(n_resblocks=1, n_feats=4).hyper(), TrainConfig().seed)
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


@pytest.mark.slow
def test_job_of_one_worker_is_one_training(root, tmp_path):
    """msrun starts a scheduler with the same program: it must join, not train a second network."""
    environment = clone.environment(
        PATH=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", PYTHONPATH=str(root)
    )
    command = [
        *("msrun", "--worker_num=1", "--local_worker_num=1", f"--master_port={free_port()}", "--join=True"),
        f"--log_dir={tmp_path / 'log'}",
        *(str(root / "WDSR" / "train.py"), "--dir_data", str(root / "ci" / "sample"), *OPTIONS, "--batch_size", "2"),
        *("--epochs", "1", "--save_dir", str(tmp_path / "runs"), "--run_distribute", "True"),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(logged(folder)) == 5
    assert "1 worker(s) on CPU" in (folder / "train.log").read_text()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
