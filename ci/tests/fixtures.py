"""What the models' tests share: trainings, each run once or set up without a step; checkpoints."""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ci.tests import forks, training
from ci.tests.specs import BY_NAME, RESTORING, SPECS, Spec
from common import runtime
from common.images import read_rgb, write_image
from common.training import Trainer

CORES = os.sched_getaffinity(0)


@pytest.fixture(scope="module")
def all_cores() -> Iterator[None]:
    """Let what a module starts have every core, see conftest.py."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture(params=SPECS, ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> Spec:
    """Each of the five models."""
    return request.param


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `python` that needs no seconds to import MindSpore."""
    with forks.python(tmp_path_factory.mktemp("python")) as program:
        yield program


@pytest.fixture(scope="session")
def data(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with DIV2K: four images to train on and one for validation, of 64x72, without LR images."""
    root = tmp_path_factory.mktemp("data")
    for number in range(1, 6):
        image = read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / f"000{number}.png")[:64, :72]
        folder = "DIV2K_train_HR" if number < 5 else "DIV2K_valid_HR"
        write_image(root / "DIV2K" / folder / f"000{number}.png", image)
    return root


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """trained(model), trained(model, "rrdb") -> folder of a run of 40 steps, not to be changed; workers share it."""
    top = tmp_path_factory.getbasetemp()
    top = top.parent if "PYTEST_XDIST_WORKER" in os.environ else top

    def run(model: str, stage: str = "") -> Path:
        place = top / "trained" / f"{model}{stage}"
        place.mkdir(parents=True, exist_ok=True)
        with open(place / "lock", "w") as lock, pytest.MonkeyPatch.context() as patch:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (done := place / "done").exists():
                spec = BY_NAME[model]
                settings = {spec.data: data / spec.inside, **spec.train, "save_dir": place / "runs"}
                if stage:
                    settings["stage"] = stage
                elif model in RESTORING:
                    settings["rrdb_path"] = run(model, "rrdb") / "ckpt" / "last.ckpt"
                if model != "WDSR":  # no curve: drawing it takes longer than the training
                    patch.setitem(sys.modules, "matplotlib.figure", None)
                done.write_text(str(training.train(lambda words: spec.main("train", *words), settings)))
            return Path(done.read_text())

    return run


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """begun(model, option=value ...) -> the Trainer of a tiny training whose folder is made, before its first step.

    With workers=N it is that of the worker `rank` of N; a run that is resumed by its path has its own options.
    """
    found = []

    def fit(self: Trainer) -> int:
        self.folder = self.open_folder()
        found.append(self)
        return 0

    def begin(model: str, workers: int = 1, rank: int = 0, **changes: object) -> Trainer:
        spec = BY_NAME[model]
        settings = {spec.data: data / spec.inside, "save_dir": tmp_path / "runs", **spec.train}
        if model == "SRDiff" and not changes.keys() & {"rrdb_path", "ckpt_path", "checkpoint", "fix_rrdb"}:
            settings["random_rrdb"] = changes.get("stage", "") != "rrdb"
        if changes.get("resume", "auto") != "auto":
            settings = {}
        if "epochs" in changes:  # instead of a number of steps
            settings = {key: value for key, value in settings.items() if key not in ("niter", "max_updates")}
        settings |= changes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "fit", fit)
            if workers > 1:
                patch.setattr(runtime, "start", lambda *_, **__: runtime.Runtime("CPU", rank, workers))
            assert spec.main("train", *training.words(settings)) == 0
        return found[-1]

    return begin


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model -> checkpoint of its tiny network; exports of it are cached, so each is made once."""
    folder = tmp_path_factory.mktemp("saved")
    return {spec.name: spec.save(folder / f"{spec.name}.ckpt") for spec in SPECS}
