"""Which images the five evaluate, validate on and write, as a user names them: through their programs."""

import logging

import numpy as np
import pytest

from ci.tests.specs import BY_NAME, noise
from ci.tests.test_evaluation import rows_of
from common import UserError
from common.images import imresize, write_image

SCALES = {"WDSR": 2, "CSNLN": 2, "IRN": 2, "SRFlow": 4, "SRDiff": 4}
TINY = {
    "WDSR": "--n_resblocks 1 --n_feats 4",
    "CSNLN": "--n_feats 8 --depth 1",
    "IRN": "--block_num 1 --growth 2",
    "SRFlow": "--num_features 4 --num_blocks 2 --growth 2 --stack 0,1 --flow_steps 1 --hidden_channels 4",
    "SRDiff": "--hidden_size 8 --unet_dim_mults 1,2 --rrdb_num_feat 4 --rrdb_num_block 2",
}
FEW = {"SRFlow": "--heat 0 --nll no", "SRDiff": "--sampler ddim --steps 1", "IRN": "--draws 1"}
# What each validates on when nothing is typed, and what is typed for it.
VALIDATION = {"WDSR": ("--data_test", "DIV2K"), "CSNLN": ("--data_test", "Set5")}
SIDE = 48
all_models = pytest.mark.parametrize("model", SCALES)


def image(seed, channels=3):
    return noise(SIDE, SIDE, channels, seed=seed)


def call(model, program, *words):
    return BY_NAME[model].main(program, *words)


def evaluate(model, *words):
    options = f"--random_weights true --scale {SCALES[model]} {TINY[model]} {FEW.get(model, '')} --engine mindspore"
    return call(model, "eval", *options.split(), *words)


def column(row, start):
    return float(next(value for key, value in row.items() if key.startswith(start)))


@all_models
def test_sets_named_by_paths(model, tmp_path, monkeypatch, caplog):
    """Results of each stay in the output; LR in small letters is read, and said; a gray file is measured as it is."""
    scale, data, out = SCALES[model], tmp_path / "data", tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    write_image(data / "one" / "pics" / "hr" / "a.png", image(1))
    small = np.full((SIDE // scale, SIDE // scale, 3), 99, np.uint8)
    write_image(data / "one" / "pics" / "lr_bicubic" / f"x{scale}" / f"ax{scale}.png", small)
    write_image(data / "two" / "pics" / "b.png", image(2, 1))
    write_image(data / "two" / "pics" / "copy.png", np.dstack([image(2, 1)] * 3))
    write_image(data / "two" / "pics" / "black.png", np.zeros((SIDE, SIDE), np.uint8))
    write_image(data / "with+plus" / "c.png", image(3))
    before = sorted(data.rglob("*"))
    names = f"{data / 'one' / 'pics'}+data/two/pics/../pics+{data / 'with+plus'}"
    words = ("--dataset_GT_path", tmp_path, "--data_test", names, "--output", out)
    assert evaluate(model, *words) == 0
    assert sorted(data.rglob("*")) == before, "nothing is written to the user's images"
    assert "random weights" in caplog.text
    assert {path.stem for path in out.glob("*.csv")} == {"pics", "pics-2", "with+plus"}
    assert list((out / "pics-2").rglob("b*.png"))
    assert f"LR read from {data / 'one' / 'pics' / 'lr_bicubic' / f'x{scale}'}" in caplog.text
    assert "3 images of data/two/pics/../pics, LR made by bicubic" in caplog.text.replace(f"{tmp_path}/", "")
    gray = image(2, 1).astype(float)
    bicubic = imresize(imresize(image(2, 1), 1 / scale), scale).astype(float)
    crop = 0 if model == "SRDiff" else scale
    inner = slice(crop, SIDE - crop), slice(crop, SIDE - crop)
    expected = 10 * np.log10(255**2 / np.mean((gray - bicubic)[inner] ** 2))
    found = {name: column(row, "PSNR-Y") for name, row in rows_of(out / "pics-2.csv").items()}
    assert found["b"] == pytest.approx(expected, abs=0.05)  # IRN rounds the LR image once, others twice
    assert found["copy"] == pytest.approx(found["b"] + 20 * np.log10(255 / 219), abs=1e-3)
    assert "inf: reproduced exactly (black)" in (out / "pics-2.md").read_text()
    with pytest.raises(UserError, match=r"--output .*out has .* already: type a new folder"):
        evaluate(model, *words)
    with pytest.raises(UserError, match=r"'data/two/pics\+' has a set without a name"):
        evaluate(model, "--dataset_GT_path", tmp_path, "--data_test", "data/two/pics+")


@pytest.mark.parametrize("model", ["IRN", "SRFlow", "SRDiff"])
def test_names_lead_out_of_no_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "data" / "a.png", image(1))
    out = tmp_path / "deep" / "out"
    assert evaluate(model, "--dataset_GT_path", "data", "--data_name", "../../name", "--output", out) == 0
    assert {path.name for path in out.iterdir()} == {"name", "name.csv", "name.md"} | (
        {"name_summary.md"} if model == "SRDiff" else set()
    )
    with pytest.raises(UserError, match=r"--name must be a part of a file name, not a path: '\.\./\.\./x'"):
        evaluate(model, "--dataset_GT_path", "data", "--name", "../../x")
    if model == "IRN":
        with pytest.raises(UserError, match="--suffix must be a part of a file name, not a path"):
            evaluate(model, "--dataset_GT_path", "data", "--suffix", "/../../x")
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "deep", "runs"}


@all_models
def test_names_of_runs_and_results_are_no_paths(model, tmp_path, monkeypatch, train_without_steps):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--name must be a part of a file name, not a path"):
        train_without_steps(model, tmp_path, "--name", "../x")
    write_image(tmp_path / "a.png", image(1)[:8, :8])
    command = {"IRN": ["upscale"]}.get(model, [])
    with pytest.raises(UserError, match="must be a part of a file name, not a path"):
        call(model, "infer", *command, "a.png", "--suffix", "/../../x", "--engine", "mindspore", "--output", "o")
    assert not list(tmp_path.glob("x*"))


@pytest.fixture
def train_without_steps(monkeypatch):
    """Call a training on DATA with DIV2K's training images alone; the trainer is returned instead of run."""
    found = []

    def fit(self):
        self.open_folder()
        found.append(self)
        return 0

    monkeypatch.setattr("common.training.loop.Trainer.fit", fit)

    def train(model, folder, *words):
        write_image(folder / "DATA" / "DIV2K" / "DIV2K_train_HR" / "0001.png", np.tile(image(1), (5, 5, 1)))
        data = folder / "DATA" / ("" if model in VALIDATION else "DIV2K")
        scale = SCALES[model]
        stage = "--stage rrdb" if model in ("SRFlow", "SRDiff") else ""
        small = f"--scale {scale} --patch_size {12 * scale} --batch_size 1 {TINY[model]} {stage}".split()
        assert call(model, "train", "--dataset_GT_path", data, "--save_dir", folder / "runs", *small, *words) == 0
        return found[-1]

    return train


@all_models
def test_training_without_validation_images(model, tmp_path, monkeypatch, caplog, train_without_steps):
    """The default that is not there is done without, and said; what was typed is an error."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    assert train_without_steps(model, tmp_path).validate is None
    assert "the run is not validated, last.ckpt is its result" in caplog.text
    assert "1 images of" in caplog.text
    assert "LR made by bicubic" in caplog.text
    with pytest.raises(UserError, match=r"no DIV2K|has none of|no data set|val_GT_path is not there"):
        train_without_steps(model, tmp_path, *VALIDATION.get(model, ("--val_GT_path", "nowhere")))
    if model not in VALIDATION:
        (tmp_path / "my.yaml").write_text("val_GT_path: nowhere\n")
        assert train_without_steps(model, tmp_path, "--config", "my.yaml").validate is None
        assert "val_GT_path is not there: nowhere" in caplog.text


@all_models
def test_exact_images_do_not_decide_the_best_checkpoint(model, tmp_path, monkeypatch, train_without_steps):
    """A mean that is infinite could never be exceeded."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "DATA" / "flat" / "black.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    monkeypatch.setattr("common.metrics.Convention.psnr", lambda *_, **__: float("inf"))
    flag = "--data_test" if model in VALIDATION else "--val_GT_path"
    trainer = train_without_steps(model, tmp_path, flag, tmp_path / "DATA" / "flat")
    assert np.isfinite(list(trainer.validate(trainer.network).values())).all()
