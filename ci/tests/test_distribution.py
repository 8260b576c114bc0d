"""Real workers, started by the scripts that users start: killed, stopped and resumed, on one machine and on two.

Every training has STEPS steps and is compared with one process on the same global batch.
"""

import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ci.tests import faults, training
from ci.tests.clone import ROOT
from ci.tests.distribution import HALT, MODELS, STEPS, Trial, processes_left, signal_and_wait
from ci.tests.fixtures import CORES
from ci.tests.training import differences, logged, losses, read, read_csv

pytestmark = pytest.mark.usefixtures("all_cores")
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="the script starts no more workers than cores")
MINUTE, PATIENCE = 60.0, 600.0  # seconds: in which a job must end, and after which a training is given up
# The largest difference of a weight, and of a moment or an average, between two workers and one process: the gradients
# are added in another order. SRFlow is steep: the last digit of a bias (5e-7) is 1e-5 of its gradient.
TOLERANCES = {
    "IRN": (1e-6, 1e-6),
    "SRDiff": (1e-6, 1e-6),
    "SRFlow": (2e-6, 3e-5),
    "WDSR": (5e-7, 1e-6),
}
MOVED = 1e-3  # the weights from their average over the last steps, at least one of them


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = faults.make_data(tmp_path_factory.mktemp("data"), validation=False)
    faults.save_encoder(folder / "encoder.ckpt")
    return folder


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """Model -> the run of one process; each is made once."""
    made = {}

    def run(model):
        if model not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(
                    sys.modules, "matplotlib.figure", None
                )  # no curve: drawing it takes longer than the training
                made[model] = Trial(model, tmp_path_factory.mktemp(f"{model}-alone"), data).train_alone()
        return made[model]

    return run


@pytest.fixture
def trial(data, tmp_path) -> Callable[..., Trial]:
    """Start a model's trial in a folder; no process outlives the test."""
    yield lambda model, folder="here": Trial(model, tmp_path / folder, data)
    assert processes_left(tmp_path) == []


def norms(folder):
    """Of the gradients, before the clip: Adam alone would not show a sum that should be a mean."""
    return [float(norm) for (norm,) in read_csv(folder, "gradient_norm") if norm]


def assert_same_training(model, folder, whole):
    """Weights, state, losses and rates of a run are those of another, and the weights have moved."""
    one, other = read(folder), read(whole)
    assert one.meta["step"] == other.meta["step"] == STEPS
    found = [max(differences(*arrays).values()) for arrays in ((one.weights, other.weights), (one.state, other.state))]
    assert found[0] < TOLERANCES[model][0]
    assert found[1] < TOLERANCES[model][1]
    averages = {name.removeprefix("ema."): array for name, array in one.state.items() if name.startswith("ema.")}
    moved = max(np.abs(one.weights[name] - average).max() for name, average in averages.items())
    assert moved > MOVED, "what would differ if a worker's share were lost"
    assert [step for step, _ in logged(folder)] == list(range(1, STEPS + 1)), "one row each"
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-5)
    np.testing.assert_allclose(norms(folder), norms(whole), rtol=1e-4)
    assert read_csv(folder, "learning_rate") == read_csv(whole, "learning_rate")


@two_cores
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_workers_train_as_one_process(model, trial, alone):
    """WDSR's job is killed and stopped before, and resumed."""
    trial, resume = trial(model), None
    if model == "WDSR":
        resume = killed_and_stopped(trial)
    with trial.begin(resume=resume) as job:
        code, said = job.end(PATIENCE)
    assert code == 0, said
    assert "[INFO]" not in said, "MindSpore's threads have the last word"
    first, second = trial.told()
    assert (first["step"], second["step"], first["world"], second["world"]) == (STEPS, STEPS, 2, 2)
    assert first["patience"] == "7200", "seconds: validation and saving by the first may take longer than 30"
    assert [path for path in second["written"] if path.startswith(str(trial.here))] == [], "only the first writes"
    assert any(path.startswith(str(trial.folder)) for path in first["written"]), "the check above can fail"
    assert "█" not in (trial.here / "train.log").read_text()
    assert_same_training(model, trial.folder, alone(model))


def killed_and_stopped(trial: Trial) -> Path:
    """Kill the second worker after a checkpoint, while the first waits for it; end the resumed job by SIGTERM.

    Returns the run's folder.
    """
    with trial.begin(SPY_HALT=HALT) as job:
        seconds, code, said = signal_and_wait(job, trial.wait_for_halt(job), signal.SIGKILL)
    assert code == 128 + signal.SIGKILL, said
    assert "the distributed job ended with code 137" in said
    assert seconds < MINUTE
    assert processes_left(trial.here) == []
    assert read(trial.folder).meta["step"] == HALT
    # Started, not forked: the script finds the worker that saves by its environment.
    with trial.begin(resume=trial.folder, forks=False, SPY_SLOW=HALT + 1) as job:
        training.wait_for_step(trial.folder.parent, HALT + 1, job.process)
        job.process.terminate()
        code, said = job.end()
    assert code == 143, said
    stopped = re.search(rf"stopped at step (\d+); resume with: --resume {trial.folder}\n", said)
    step = read(trial.folder).meta["step"]
    assert HALT < step == int(stopped[1]) < STEPS
    assert [(told["step"], told["code"]) for told in trial.told()] == [(step, 143)] * 2
    return trial.folder


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def files(folder: Path):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_two_machines_train_as_one_process(trial, alone):
    """One worker in each of two folders; the second machine's dies, and both go on by the README's commands."""
    first, second = trials = [trial("WDSR", name) for name in ("first", "second")]

    def begin(**settings):
        cluster = {"MS_WORKER_NUM": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "SPY": first.here}
        return [one.begin(workers=1, NODE_RANK=rank, **cluster, **settings) for rank, one in enumerate(trials)]

    one, other = begin(SPY_HALT=HALT)
    with one, other:
        seconds, code, said = signal_and_wait(one, first.wait_for_halt(one), signal.SIGKILL)
        assert code == 1, said
        assert "error: a worker, perhaps of another machine, no longer answers: the job is ended" in said
        assert seconds < MINUTE
        assert other.end()[0] == 128 + signal.SIGKILL
    assert read(first.folder).meta["step"] == HALT
    assert not list(second.here.rglob("*.ckpt")), "the second machine writes none"
    run = first.folder.relative_to(first.here)
    shutil.copytree(first.folder, second.here / run)
    before = files(second.here / run)
    one, other = begin(resume=run)
    with one, other:
        assert [job.end(PATIENCE)[0] for job in (one, other)] == [0, 0]
    assert files(second.here / run) == before
    assert first.told()[1]["world"] == 2
    assert_same_training("WDSR", first.folder, alone("WDSR"))


@pytest.mark.slow
def test_job_of_one_worker_is_one_training(trial):
    """msrun starts a scheduler with the same program: it must join, not train a second network."""
    trial = trial("WDSR")
    settings = trial.images() | trial.settings | {"save_dir": trial.here / "alone"}
    # A process of its own: on fewer cores, as this one's may be, MindSpore adds in another order.
    alone = training.start(ROOT / "WDSR" / "train.py", training.words(settings), trial.here)
    said, _ = alone.communicate()
    assert alone.returncode == 0, said
    with trial.begin(workers=1) as job:
        code, said = job.end()
    assert code == 0, said
    assert "1 worker(s) on CPU" in said
    (folder,) = (trial.here / "alone").iterdir()
    training.assert_same(read(trial.folder).weights, read(folder).weights)
