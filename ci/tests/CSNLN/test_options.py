"""default_config.yaml, files and flags: what each program takes of them; the rates and the plan."""

import dataclasses

import numpy as np
import pytest

from ci.tests.options import unused_options
from ci.tests.training import words as training_words
from common import UserError
from common.config import options as config
from CSNLN.src import recipe
from CSNLN.src.config import DEFAULT_CONFIG, PROGRAMS, SHAPE, EvalConfig, ExportConfig, InferConfig, TrainConfig, parse
from CSNLN.src.CSNLN import Hyper


def of(cls, *words):
    return parse(cls, list(words), "")


def test_the_file_says_what_the_programs_take_anyway():
    for program in PROGRAMS:
        assert of(program) == program()
    assert {"data_path", "data_train", "data_test"} <= set(config.read_yaml(DEFAULT_CONFIG))


def test_every_key_of_the_file_can_be_overridden():
    other = {
        "data_path": "d", "data_train": "T91", "data_test": "Set14", "data_range": "1-2/3-4", "scale": 3,
        "model": "csnln_small", "n_feats": 6, "depth": 3, "patch_size": 90, "batch_size": 2, "epochs": 7,
        "test_every": 8, "lr": 0.5, "decay": "cosine", "gamma": 0.25, "beta1": 0.5, "beta2": 0.75, "epsilon": 1e-3,
        "weight_decay": 0.125, "amp_level": "O3", "recompute": 1, "pre_trained": "x.pt", "save_dir": "s",
        "ckpt_file": "y.pt", "file_name": "f", "file_format": "ONNX", "device_target": "CPU",
    }  # fmt: skip
    assert set(other) == set(config.read_yaml(DEFAULT_CONFIG))
    for key, value in other.items():
        programs = [program for program in PROGRAMS if key in program.__dataclass_fields__]
        assert programs, key
        for program in programs:
            assert getattr(of(program, f"--{key}", str(value)), key) == value != getattr(program(), key)


def test_one_file_serves_all_programs(tmp_path):
    """And a trained network's shape is not taken from it: the checkpoint tells."""
    file = tmp_path / "x4.yaml"
    file.write_text("scale: 4\nn_feats: 8\nlr: 1e-3\nckpt_file: x.ckpt\ndata_test: Set14\nfile_name: y\nchop: no\n")
    for flag in ("--config", "--config_path"):
        train = of(TrainConfig, flag, str(file), "--lr", "2e-3")
        assert (train.scale, train.n_feats, train.lr, train.data_test) == (4, 8, 2e-3, "Set14")
    for program in (EvalConfig, InferConfig, ExportConfig):
        found = of(program, "--config", str(file))
        assert (found.ckpt_file, found.scale, found.n_feats) == ("x.ckpt", 0, 0)
        assert of(program, "--scale", "4").scale == 4
    assert of(EvalConfig, "--config", str(file)).data_test == "Set14"
    assert not of(EvalConfig, "--config", str(file)).chop
    assert of(ExportConfig, "--config", str(file)).file_name == "y"
    assert set(SHAPE) <= set(TrainConfig.__dataclass_fields__)


@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_keys_are_refused(tmp_path, program):
    (tmp_path / "bad.yaml").write_text("data_tset: Set5\n")
    with pytest.raises(UserError, match=r"bad\.yaml: unknown key 'data_tset'"):
        of(program, "--config", str(tmp_path / "bad.yaml"))


def test_spellings_of_the_seed():
    words = {"dir_data": "d", "lr_init": 0.5, "epoches": 3, "save": "s", "distribute": False, "keep_checkpoint_max": 2}
    found = of(TrainConfig, *training_words({**words, "checkpoint_path": "c", "ckpt_path": "p"}))
    assert (found.data_path, found.lr, found.epochs, found.save_dir) == ("d", 0.5, 3, "s")
    assert (found.run_distribute, found.ckpt_save_max, found.ckpt_save_path) == (False, 2, "c")
    assert found.pre_trained == "p"
    assert of(EvalConfig, "--ckpt_path", "x").ckpt_file == of(EvalConfig, "--checkpoint", "x").ckpt_file == "x"


def test_networks_by_name():
    assert TrainConfig().hyper() == Hyper(2, 128, 12)
    assert TrainConfig(scale=4, depth=6).hyper() == Hyper(4, 128, 6)
    assert TrainConfig(model="csnln_small", scale=3).hyper() == Hyper(3, 32, 3)
    assert EvalConfig().hyper() == Hyper(2, 128, 12)


@pytest.mark.parametrize(("scale", "patch", "side"), [(2, 0, 48), (3, 0, 48), (4, 0, 48), (2, 96, 48), (3, 36, 12)])
def test_lr_patch(scale, patch, side):
    assert TrainConfig(scale=scale, patch_size=patch).lr_patch() == side


@pytest.mark.parametrize(("scale", "patch", "multiple"), [(2, 50, 4), (3, 96, 9), (4, 100, 8)])
def test_patches_that_the_attention_cannot_divide(scale, patch, multiple):
    with pytest.raises(UserError, match=f"--patch_size {patch} .* must be a multiple of {multiple} at x{scale}"):
        TrainConfig(scale=scale, patch_size=patch).lr_patch()


def options(**changes):
    return dataclasses.replace(TrainConfig(test_every=10, epochs=40, lr=0.5), **changes)


def test_decay():
    """The rate at each epoch, and from which step on; `20` is one fall, not one every 20 epochs."""
    rates = {decay: recipe.learning_rate(options(decay=decay)) for decay in ("20", "20-25", "cosine")}
    assert [rates["20"](step) for step in (0, 199, 200, 399)] == [0.5, 0.5, 0.25, 0.25]
    assert [rates["20-25"](step) for step in (0, 199, 200, 249, 250, 399)] == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    np.testing.assert_allclose([rates["cosine"](step) for step in (0, 200, 400, 500)], [0.5, 0.25, 0, 0], atol=1e-12)
    tenth = recipe.learning_rate(options(decay="20-25", gamma=0.1))
    np.testing.assert_allclose([tenth(step) for step in (199, 200, 250)], [0.5, 0.05, 0.005])
    for wrong in ("", "0", "2-", "2.5", "-3", "20-x", "linear", "²", "9" * 5000):
        with pytest.raises(UserError, match=r"--decay must be epochs joined by - \(200-400-600-800\), or cosine"):
            recipe.learning_rate(options(decay=wrong))


def test_plan_takes_every_option():
    """Epochs are counted in --test_every steps; the loss scale counts in half precision only."""
    plan = recipe.plan(
        options(gclip=3.0, ema=0.9, log_every=7, save_every=8, ckpt_save_interval=2, ckpt_save_max=4, loss_scale=64.0)
    )
    assert (plan.steps, plan.gradient_clip, plan.ema_decay, plan.log_every) == (400, 3.0, 0.9, 7)
    assert (plan.save_every, plan.keep_every, plan.keep_at_most, plan.validate_every) == (8, 20, 4, 10)
    assert plan.loss_scale == 1
    assert recipe.plan(options(amp_level="O2", loss_scale=64.0)).loss_scale == 64


def test_every_option_of_training_is_used(root):
    assert unused_options(root / "CSNLN", [TrainConfig]) == set()


# Every key of the seed's default_config.yaml, with values as it has them (spec: CSNLN.md, interfaces).
SEED = """
data_path: "/cache/data"
output_path: "/cache/train"
load_path: "/cache/checkpoint_path"
device_target: GPU
rank: 0
dataset_name: "DIV2K"
name: "CSNLN_x2"
pre_trained: False
data_test: "Set5"
data_train: "DIV2K"
data_range: "1-800/801-810"
ext: "sep"
scale: [2]
patch_size: 48
rgb_range: 1
n_colors: 3
keep_checkpoint_max: 5
checkpoint_path: "./checkpoint/"
no_argument: False
decay: "200-1000"
lr_init: 0.0001
gamma: 0.5
momentum: 0.9
weight_decay: 0
beta1: 0.9
beta2: 0.999
epsilon: 0.00000001
n_feats: 128
shift_mean: True
depth: 12
model: "CSNLN"
epoches: 500
batch_size: 16
test_only: False
test_every: 1000
distribute: True
device_num: 4
ckpt_file: "./ckpt/model.ckpt"
file_name: "csnln"
file_format: "MINDIR"
save: "./CSNLN_X2/"
"""


def test_the_seeds_file_is_taken(tmp_path, caplog):
    """By every program; what has no use here is said, with its reason."""
    file = tmp_path / "default_config.yaml"
    file.write_text(SEED)
    with caplog.at_level("INFO"):
        train = of(TrainConfig, "--config_path", str(file))
    found = (train.scale, train.n_feats, train.depth, train.epochs, train.lr, train.decay, train.no_augment)
    assert found == (2, 128, 12, 500, 1e-4, "200-1000", False)
    assert (train.ckpt_save_max, train.ckpt_save_path, train.pre_trained) == (5, "./checkpoint/", "")
    assert (train.save_dir, train.run_distribute, train.data_path) == ("./CSNLN_X2/", True, "/cache/data")
    for key in ("momentum", "device_num", "load_path", "output_path"):
        assert f"{key} is not used (" in caplog.text
    for program in (EvalConfig, InferConfig, ExportConfig):
        assert of(program, "--config", str(file)).ckpt_file == "./ckpt/model.ckpt"
    for word, wanted in {"True": True, "False": False}.items():
        file.write_text(SEED.replace("no_argument: False", f"no_argument: {word}"))
        assert of(TrainConfig, "--config", str(file)).no_augment is wanted
    file.write_text(
        SEED.replace("pre_trained: False", "pre_trained: x.pt").replace("test_only: False", "test_only: True")
    )
    assert of(EvalConfig, "--config", str(file)).data_test == "Set5"
    file.write_text("pre_trained: x.pt\n")
    assert of(TrainConfig, "--config", str(file)).pre_trained == "x.pt"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rgb_range: 255", "rgb_range must be 1 or 1.0, not '255': the network takes values from 0 to 1"),
        ("n_colors: 1", "n_colors must be 3, not '1': pictures are RGB"),
        ("shift_mean: no", "shift_mean must be true or yes, not 'no'"),
        ("ext: bin", "ext must be sep or img, not 'bin'"),
        ("rank: 3", "rank must be 0, not '3': the launcher gives each worker its number"),
        ("dataset_name: T91", "dataset_name must be DIV2K, not 'T91'"),
        ("test_only: True", "test_only must be false, not 'True': eval.py tests a trained network"),
    ],
)
def test_what_the_seeds_file_cannot_have(tmp_path, line, message):
    (tmp_path / "some.yaml").write_text(f"{line}\n")
    with pytest.raises(UserError, match=rf"some\.yaml: {message}"):
        of(TrainConfig, "--config", str(tmp_path / "some.yaml"))
