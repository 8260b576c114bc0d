"""Real workers, started by the scripts that users start: killed, hung, stopped and resumed, on one machine and on two.

Every training has STEPS steps and is compared with one process on the same global batch.
"""

import os
import re
import shutil
import signal
import socket
import sys

import numpy as np
import pytest

from ci.tests import distribution, training
from ci.tests.distribution import HALT, MODELS, STEPS, Trial, processes_left, signal_and_wait
from ci.tests.training import differences, logged, losses, read, read_csv

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the script starts no more workers than cores")
MINUTE, PATIENCE = 60.0, 600.0  # seconds: in which a job must end, and after which a training is given up
# The largest difference of a weight, and of a moment or an average, between two workers and one process: the gradients
# are added in another order. SRFlow is steep: the last digit of a bias (5e-7) is 1e-5 of its gradient.
TOLERANCES = {
    "CSNLN": (5e-7, 5e-7),
    "IRN": (1e-6, 1e-6),
    "SRDiff": (1e-6, 1e-6),
    "SRFlow": (2e-6, 3e-5),
    "WDSR": (5e-7, 1e-6),
}
MOVED = 1e-3  # by the steps after the resumption, at least one weight: what would differ if a worker's share were lost


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return distribution.make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """Model -> the run of one process; each is made once."""
    made = {}

    def run(model):
        if model not in made:
            folder = tmp_path_factory.mktemp(f"{model}-alone")
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(
                    sys.modules, "matplotlib.figure", None
                )  # no curve: drawing it takes longer than the training
                made[model] = Trial(model, folder, data).train_alone(folder / "runs")
        return made[model]

    return run


def norms(folder):
    """Of the gradients, before the clip: Adam alone would not show a sum that should be a mean."""
    return [float(norm) for (norm,) in read_csv(folder, "gradient_norm") if norm]


def assert_same_training(model, folder, whole, start, capsys):
    """Weights, state, losses and rates of a run are those of another, and the weights have moved since `start`."""
    weights, state = TOLERANCES[model]
    one, other = read(folder), read(whole)
    assert one.meta["step"] == other.meta["step"] == STEPS
    found = differences(one.weights, other.weights)
    worst, moments = max(found, key=found.get), max(differences(one.state, other.state).values())
    moved = max(differences(one.weights, start.weights).values())
    with capsys.disabled():
        said = f"{worst} differs by {found[worst]:.2g}, the state by {moments:.2g}, weights moved {moved:.2g}"
        sys.stdout.write(f"\n[{model}, 2 workers against 1: {said}] ")
    assert found[worst] < weights
    assert moments < state
    assert moved > MOVED
    assert [step for step, _ in logged(folder)] == list(range(1, STEPS + 1)), "one row each"
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)
    np.testing.assert_allclose(norms(folder), norms(whole), rtol=1e-4)
    assert read_csv(folder, "learning_rate") == read_csv(whole, "learning_rate")


@two_cores
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_killed_and_resumed_job_trains_as_one_process(model, data, alone, tmp_path, capsys):
    """Its second worker is killed after a checkpoint, while the first waits for it; then the same script goes on."""
    trial = Trial(model, tmp_path, data)
    with training.jobs(trial.script) as start:
        job = trial.begin(start, SPY_HALT=HALT)
        second = trial.wait_for_halt(job)
        seconds, code, said = signal_and_wait(job, second, signal.SIGKILL)
        assert code == 128 + signal.SIGKILL, said
        assert "the distributed job ended with code 137" in said
        assert "2 worker(s) on CPU" in said
        assert seconds < MINUTE
        assert processes_left(tmp_path) == []
        saved = read(trial.folder)
        assert saved.meta["step"] == HALT

        job = trial.begin(start, resume=trial.folder)
        code, said = job.end(PATIENCE)
    assert code == 0, said
    assert "[INFO]" not in said, "MindSpore's threads have the last word"
    assert f"it begins at step {HALT + 1} of {STEPS}" in said
    first, second = trial.told(0), trial.told(1)
    assert (first["step"], second["step"], first["world"], second["world"]) == (STEPS, STEPS, 2, 2)
    assert first["digest"] == second["digest"], "the workers hold the same weights and moments, bit for bit"
    assert first["patience"] == "7200", "seconds: validation and saving by the first may take longer than 30"
    assert [path for path in second["written"] if path.startswith(str(tmp_path))] == [], "only the first writes"
    assert any(path.startswith(str(trial.folder)) for path in first["written"]), "the check above can fail"
    assert "█" not in (tmp_path / "train.log").read_text()
    assert processes_left(tmp_path) == []
    assert_same_training(model, trial.folder, alone(model), saved, capsys)


@pytest.mark.parametrize("model", MODELS)
def test_taken_port_is_said(model, data, tmp_path):
    """Before anything is started or written."""
    trial = Trial(model, tmp_path, data)
    with socket.create_server(("", 0)) as server, training.jobs(trial.script) as start:
        port = server.getsockname()[1]
        code, said = trial.begin(start, MASTER_PORT=port).end()
    assert (code, said) == (1, f"error: cannot listen on port {port}: set MASTER_PORT to a free one\n")
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "train.log").exists()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def files(folder):
    """Path -> content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_two_machines_train_as_one_process(data, alone, tmp_path, capsys):
    """One worker in each of two folders; the second machine's dies, and both go on by the README's commands."""
    first, second = trials = [Trial("WDSR", tmp_path / name, data) for name in ("first", "second")]

    def begin(start, **settings):
        cluster = {"MS_WORKER_NUM": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "SPY": first.here}
        settings = {"workers": 1, **cluster, **settings}
        return [trial.begin(start, NODE_RANK=rank, **settings) for rank, trial in enumerate(trials)]

    with training.jobs(first.script) as start:
        jobs = begin(start, SPY_HALT=HALT)
        pid = first.wait_for_halt(jobs[0])
        seconds, code, said = signal_and_wait(jobs[0], pid, signal.SIGKILL)
        assert code == 1, said
        assert "error: a worker, perhaps of another machine, no longer answers: the job is ended" in said
        assert seconds < MINUTE
        with capsys.disabled():
            sys.stdout.write(f"\n[the first machine ended {seconds:.0f} s after a worker of the second was killed] ")
        code, said = jobs[1].end()
        assert code == 128 + signal.SIGKILL, said
        assert processes_left(first.here) == processes_left(second.here) == []
        saved = read(first.folder)
        assert saved.meta["step"] == HALT
        assert not list(second.here.rglob("*.ckpt")), "the second machine writes none"

        run = first.folder.relative_to(first.here)
        shutil.copytree(first.folder, second.here / run)
        before = files(second.here / run)
        for job in begin(start, resume=run):
            code, said = job.end(PATIENCE)
            assert code == 0, said
    assert files(second.here / run) == before
    assert first.told(0)["digest"] == first.told(1)["digest"]
    assert first.told(1)["world"] == 2
    assert_same_training("WDSR", first.folder, alone("WDSR"), saved, capsys)


@two_cores
@pytest.mark.slow
def test_hanging_worker_and_request_to_stop(data, tmp_path):
    """The watchdog ends a job whose second worker hangs; SIGTERM ends both workers of the resumed one after a step."""
    trial = Trial("WDSR", tmp_path, data)
    with training.jobs(trial.script) as start:
        job = trial.begin(start, SPY_HALT=HALT, WATCHDOG_SECONDS=5)
        second = trial.wait_for_halt(job)
        seconds, code, said = signal_and_wait(job, second, signal.SIGSTOP)
        assert code == 1, said
        assert "error: rank 0 wrote nothing for 5 seconds (WATCHDOG_SECONDS): the job is ended" in said
        assert 3 < seconds < MINUTE
        assert processes_left(tmp_path) == []
        assert read(trial.folder).meta["step"] == HALT

        # Started, not forked: the script finds the worker that saves by its environment.
        job = trial.begin(start, resume=trial.folder, forks=False, SPY_SLOW=HALT + 1)
        training.wait_for_step(trial.folder.parent, HALT + 1, job.process)
        job.process.terminate()
        code, said = job.end()
    assert code == 143, said
    stopped = re.search(rf"stopped at step (\d+); go on with: --resume {trial.folder}\n", said)
    assert stopped, said
    step = read(trial.folder).meta["step"]
    assert HALT < step == int(stopped[1]) < STEPS
    first, second = trial.told(0), trial.told(1)
    assert (first["step"], second["step"], first["code"], second["code"]) == (step, step, 143, 143)
    assert first["digest"] == second["digest"]
    assert processes_left(tmp_path) == []


@pytest.mark.slow
def test_job_of_one_worker_is_one_training(data, alone, tmp_path):
    """msrun starts a scheduler with the same program: it must join, not train a second network."""
    trial = Trial("WDSR", tmp_path, data)
    trial.settings["batch_size"] *= 2
    with training.jobs(trial.script) as start:
        code, said = trial.begin(start, workers=1).end()
    assert code == 0, said
    assert "1 worker(s) on CPU" in said
    training.assert_same(read(trial.folder).weights, read(alone("WDSR")).weights)
