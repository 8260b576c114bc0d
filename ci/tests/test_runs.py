"""Before a run of the five begins: what is refused leaves nothing, and changes nothing of a run that is there."""

import importlib

import pytest

from ci.tests import training
from ci.tests.faults import COMMON, DATA_OPTION, TINY
from common import UserError, runtime
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.config import options as config
from common.config import shared, spellings
from common.training import memory, runs

REFUSED = {"WDSR": "n_feats", "CSNLN": "n_feats", "IRN": "growth", "SRFlow": "nf", "SRDiff": "hidden_size"}
STAGES = {"SRFlow": "flow", "SRDiff": "diffusion"}


@pytest.fixture(params=TINY)
def program(request, tmp_path, sample_dir):
    """(name of a model, its train.py, settings of a tiny run below `tmp_path`)."""
    name = request.param
    settings = {DATA_OPTION.get(name, "dataset_GT_path"): sample_dir, **COMMON, **TINY[name]}
    return name, importlib.import_module(f"{name}.train"), settings | {"save_dir": tmp_path / "runs"}


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_refused_resume_changes_nothing(program, tmp_path):
    """Weights of another network: the option is named once the network is built, and the images found."""
    name, train, settings = program
    options = config.merge(train.TrainConfig(), settings, "a test")
    folder = runtime.make_run_folder(tmp_path / "runs", "run")
    config.save(options, folder / "config.yaml")
    own = spellings(train.TrainConfig)
    key = next(key for key, option in shared.hyper_options(options).items() if option == own[REFUSED[name]])
    about = {
        "model": name,
        "hyper": {key: 4},
        "config": config.to_dict(options),
        "counters": {},
        "step": 1,
        "best": None,
    }
    (folder / "ckpt").mkdir()
    checkpoint.save(folder / "ckpt" / "last.ckpt", Checkpoint({}, about | {"stage": STAGES.get(name)}))
    before = contents(folder)
    with pytest.raises(UserError, match=f"has {key} 4, not 8: leave the option out to resume"):
        train.main(["--resume", str(folder), f"--{REFUSED[name]}", "8"])
    assert contents(folder) == before
    assert list((tmp_path / "runs").iterdir()) == [folder]


def test_step_that_does_not_fit_into_memory(program, tmp_path, monkeypatch):
    """Said before it is tried, with a batch that fits."""
    _, train, settings = program
    monkeypatch.setattr(memory, "free", lambda: 2e9)
    words = training.words(settings | {"batch_size": 1_000_000})
    said = r"a step of 1000000 patches needs about [\d.]+ GB .* 2\.0 GB are free: type --batch_size \d+ .*--model \w+_s"
    with pytest.raises(UserError, match=said):
        train.main(words)
    assert not (tmp_path / "runs").exists()


def test_checkpoints_of_another_run_are_refused_before_a_run_is_made(program, tmp_path):
    _, train, settings = program
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "last.ckpt").touch()
    with pytest.raises(UserError, match=r"used holds checkpoints of another run \(last\.ckpt\)"):
        train.main(training.words(settings | {"ckpt_save_path": tmp_path / "used"}))
    assert not (tmp_path / "runs").exists()


def test_resume_auto_takes_the_run_of_exactly_this_name(tmp_path):
    names = {"exp": "exp-20260101-000000", "exp-2": "exp-2-20260101-000001", "x[1]": "x[1]-20260101-000002-3"}
    for name in (*names.values(), "exp-1", "exp-20260101-000000-20260101-000003"):
        (tmp_path / name / "ckpt").mkdir(parents=True)
        (tmp_path / name / "ckpt" / "last.ckpt").touch()
    assert {name: runs.latest(str(tmp_path), name) for name in names} == {
        name: str(tmp_path / folder) for name, folder in names.items()
    }
    assert runs.latest(str(tmp_path), "x1") == ""
