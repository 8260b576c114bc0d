"""Options of the five: the authors' files and words, the shipped files, named networks, rates; none is in vain."""

import ast
import dataclasses
import importlib
import math

import numpy as np
import pytest

from ci.tests.clone import ROOT
from ci.tests.specs import BY_NAME, SPECS
from common import UserError, config
from CSNLN.src.CSNLN import Hyper as CSNLNHyper
from IRN.src.network.Invnet import Hyper as IRNHyper
from SRDiff.src.model.srdiff import PRESETS as SRDIFF
from SRDiff.src.model.srdiff import Hyper as SRDiffHyper
from SRFlow.src.model.SRFlowNet import PRESETS as SRFLOW
from SRFlow.src.model.SRFlowNet import Hyper as SRFlowHyper
from WDSR.src.model import Hyper as WDSRHyper

PROGRAMS = ("train", "eval", "infer", "export")


def parsed(model, program, *words):
    """The options of train.py or eval.py; where a model reads them in its own way, by that."""
    module, cls = importlib.import_module(f"{model}.{program}"), BY_NAME[model].options(program)
    return module.parse(cls, list(words), "") if model == "CSNLN" else config.parse(cls, words, description="")


def given(options):
    """What differs from the defaults."""
    return {key: value for key, value in dataclasses.asdict(options).items() if value != getattr(type(options)(), key)}


# ------------------------------------------------------------------------------------------ the authors' and the seeds'

OF_TRAIN = {
    "IRN": {
        "name": "mine", "data_name": "a few", "dataset_GT_path": "../DIV2K/HR", "dataset_LQ_path": "../DIV2K/LR",
        "batch_size": 8, "patch_size": 128, "use_flip": False, "use_rot": False, "val_GT_path": "../DIV2K/valid",
        "val_LQ_path": "../DIV2K/small", "block_num": (6, 7), "init": "kaiming", "ckpt_path": "../IRN_x4.pth",
        "resume": "../experiments/x4", "lr": 3e-4, "beta1": 0.8, "beta2": 0.99, "niter": 400_000, "warmup_iter": 7,
        "lr_scheme": "CosineAnnealingLR_Restart", "lr_steps": (100, 200), "lr_gamma": 0.4, "T_period": (5, 6),
        "restarts": (5,), "restart_weights": (0.5,), "eta_min": 1e-6, "pixel_criterion_forw": "l1",
        "pixel_criterion_back": "l2", "seed": 11, "test_every": 500, "lambda_fit_forw": 16.0, "lambda_rec_back": 2.0,
        "lambda_ce_forw": 3.0, "weight_decay": 1e-6, "gclip": 9.0, "log_every": 50, "save_checkpoint_freq": 6000,
    },
    "SRFlow": {
        "name": "train", "scale": 4, "data_name": "CelebA_160_tr", "dataset_GT_path": "../DF2K-tr",
        "dataset_LQ_path": "../DF2K-tr_X4", "quant": 16.0, "batch_size": 10, "patch_size": 192, "use_flip": False,
        "val_GT_path": "../DF2K-va", "val_LQ_path": "../DF2K-va_X4", "test_pictures": 19, "num_features": 32,
        "num_blocks": 22, "train_RRDB_delay": 0.4, "flow_steps": 15, "flow_levels": 2, "stack": (1, 8, 15, 21),
        "rrdb_path": "../RRDB_DF2K_4X.pth", "resume": "auto", "seed": 11, "lr": 2.5e-4, "weight_decay": 1e-6,
        "beta1": 0.8, "lr_steps_rel": (0.5, 0.75), "lr_gamma": 0.4, "niter": 180_000, "test_every": 30_000,
        "val_heats": (0.0, 0.5), "val_samples": 2, "log_every": 50, "save_checkpoint_freq": 2000,
    },  # not beta2, which the authors' code overlooks: it is said
    "CSNLN": {
        "data_path": "/cache/data", "device_target": "GPU", "name": "CSNLN_x2", "data_test": "Set14",
        "data_train": "T91", "data_range": "1-700/801-810", "scale": 3, "patch_size": 72, "ckpt_save_max": 4,
        "ckpt_save_path": "./checkpoint/", "no_augment": True, "decay": "200-1000", "lr": 2e-4, "gamma": 0.25,
        "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-5, "n_feats": 64, "depth": 11, "epochs": 500, "batch_size": 8,
        "test_every": 100, "run_distribute": True, "save_dir": "./CSNLN_X2/",
    },
}  # fmt: skip
OF_EVAL = {
    "SRFlow": {
        "scale": 4, "num_features": 32, "num_blocks": 22, "flow_steps": 15, "flow_levels": 2, "stack": (1, 8, 15, 21),
        "dataset_GT_path": "../datasets/div2k-gt", "dataset_LQ_path": "../datasets/div2k-x4",
        "ckpt_path": "../pretrained_models/SRFlow_DF2K_4X.pth", "heats": (0.0, 0.7, 0.8, 0.9),
        "val_LQ_path": "../DF2K-va_X4",
    },
    "CSNLN": {
        "ckpt_file": "./ckpt/model.ckpt", "data_path": "/cache/data", "device_target": "GPU", "data_test": "Set14",
        "data_range": "1-700/801-810", "run_distribute": True,
    },
}  # fmt: skip
THEIRS = ROOT / "ci" / "tests" / "theirs"  # a file of each, as its authors or its seed have it, every value another


@pytest.fixture
def file(tmp_path):
    """file(text) -> path of a YAML file."""

    def write(text):
        (tmp_path / "some.yml").write_text(text, encoding="utf-8")
        return str(tmp_path / "some.yml")

    return write


@pytest.mark.parametrize("model", OF_TRAIN)
def test_the_authors_file(model, caplog):
    """Each key is an option, a value insisted on, or said to change nothing; evaluation takes what is its own."""
    caplog.set_level("INFO")
    path = str(THEIRS / f"{model}.yml")
    assert given(parsed(model, "train", "--opt", path)) == OF_TRAIN[model]
    if model in OF_EVAL:
        assert given(parsed(model, "eval", "--opt", path)) == OF_EVAL[model]
    if model == "SRFlow":
        assert "beta2 is 0.999 as in the authors' runs" in caplog.text
        assert parsed(model, "train", "--opt", path, "--beta2", "0.99").beta2 == 0.99
    if model == "CSNLN":
        for key in ("momentum", "device_num", "load_path", "output_path"):
            assert f"{key} is not used (" in caplog.text


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("IRN", "train: {lr_H: 1e-4}", r"unknown key 'train\.lr_H'; did you mean 'train\.lr_G'\?"),
        ("IRN", "networkG: {scale: 4}\ntest: {}", r"did you mean 'network_G\.scale'\?"),
        ("IRN", "scale: 4\nnetwork_G: {scale: 2}", r"network_G\.scale is '2', but scale has been given as '4' above"),
        ("IRN", "model: SRN\ntest: {}", "model must be IRN, not 'SRN': IRN"),
        ("IRN", "gpu_ids: [0]\ntrain: {niter: 1}", r"gpu_ids is not used here \(DEVICE_ID=0 chooses .*\): remove it"),
        ("IRN", "train: {lr_H: 1}\nmodel: SRN\ngpu_ids: [0]", "unknown key.*; model must be IRN.*; gpu_ids is not"),
        ("IRN", "train: {niter: many}", "niter must be a whole number, not 'many'"),
        ("IRN", "network_G: {scale: 2, which_model_G: {use_ConvDownsampling: true}}", "is learned at x3, and only"),
        ("SRFlow", "train: {lr_H: 1e-4}", r"unknown key 'train\.lr_H'; did you mean 'train\.lr_G'\?"),
        ("SRFlow", "scale: 4\nnetwork_G: {upscale: 8}", "upscale is '8', but scale has been given as '4' above"),
        ("SRFlow", "network_G: {flow: {coupling: Affine}}", "coupling must be CondAffineSeparatedAndCond, not 'Aff"),
        ("SRFlow", "train: {lr_RRDB: 1e-4}", "lr_RRDB is not used here"),
        ("CSNLN", "rgb_range: 255", "rgb_range must be 1 or 1.0, not '255': the network takes values from 0 to 1"),
        ("CSNLN", "n_colors: 1", "n_colors must be 3, not '1'"),
        ("CSNLN", "test_only: True", "test_only must be false, not 'True': eval.py tests a trained network"),
        ("CSNLN", "data_tset: Set5", r"unknown key 'data_tset'; did you mean 'data_test'"),
    ],
)
def test_what_a_file_of_theirs_cannot_say(model, text, message, file):
    with pytest.raises(UserError, match=rf"some\.yml.*{message}") as caught:
        parsed(model, "train", "--opt", file(f"{text}\n"))
    assert "\n" not in str(caught.value)


def test_a_key_without_a_value_stays_at_the_default(file):
    for model in ("IRN", "SRFlow"):
        path = file("test:\ntrain: {lr_G: ~, niter: ~}\ndatasets: {train: {dataroot_GT: }}\nnetwork_G:\n")
        assert given(parsed(model, "train", "--opt", path)) == given(parsed(model, "eval", "--opt", path)) == {}


SEEDS_WORDS = {
    "WDSR": "dir_data data_train data_test data_range ext scale patch_size rgb_range n_colors no_augment model "
    "n_resblocks n_feats res_scale test_every epochs batch_size test_only lr ckpt_save_path ckpt_save_interval "
    "ckpt_save_max ckpt_path task_id",
    "IRN": "opt scale dataset_GT_path dataset_LQ_path device_target device_num run_distribute resume_state",
    "SRFlow": "opt nf nb gc L K stack rrdb_path enable_modelarts data_url train_url",
    "SRDiff": "sr_scale hidden_size unet_dim_mults dim_mults rrdb_num_feat rrdb_num_block timesteps beta_schedule "
    "beta_s beta_end res_rescale max_updates decay_steps fix_rrdb rrdb_ckpt",
    "CSNLN": "dir_data lr_init epoches save distribute keep_checkpoint_max checkpoint_path ckpt_path",
}


def test_words_of_the_seeds_and_the_authors(spec):
    known = set(config.spellings(spec.options("train"))) | {"opt"}
    assert set(SEEDS_WORDS[spec.name].split()) <= known


# ------------------------------------------------------------------------------------------------------- shipped files

DF2K, CELEBA = SRDIFF["diffsr_df2k4x"], SRDIFF["diffsr_celeb"]
SHIPPED = {  # network, and options that are not the defaults
    "IRN/src/options/train/train_IRN_x2.yml": (IRNHyper(2, (8,)), {"lambda_fit_forw": 4.0, "data_name": "DIV2K"}),
    "IRN/src/options/train/train_IRN_x4.yml": (IRNHyper(), {"lambda_fit_forw": 16.0, "data_name": "DIV2K"}),
    "IRN/src/options/test/test_IRN_x2.yml": (IRNHyper(2, (8,)), {"data_name": "DIV2K"}),
    "IRN/src/options/test/test_IRN_x4.yml": (IRNHyper(), {"data_name": "DIV2K"}),
    "SRFlow/SRFlow_DF2K_4X.yml": (SRFLOW["SRFlow_DF2K_4X"], {"lr": 2.5e-4}),
    "SRFlow/SRFlow_DF2K_8X.yml": (SRFLOW["SRFlow_DF2K_8X"], {"lr": 5e-4, "batch_size": 16}),
    "SRFlow/SRFlow_CelebA_8X.yml": (SRFLOW["SRFlow_CelebA_8X"], {"lr": 5e-4, "batch_size": 16}),
    "SRDiff/configs/df2k_x4.yaml": (DF2K, {"max_updates": 400_000}),
    "SRDiff/configs/df2k_x4_rrdb.yaml": (DF2K, {"max_updates": 100_000, "stage": "rrdb"}),
    "SRDiff/configs/celeba_x8.yaml": (CELEBA, {"max_updates": 300_000, "batch_size": 32, "decay_steps": 100_000}),
    "SRDiff/configs/celeba_x8_rrdb.yaml": (CELEBA, {"max_updates": 100_000, "decay_steps": 100_000, "stage": "rrdb"}),
    "SRDiff/configs/div2k_x4.yaml": (DF2K, {"epochs": 60, "use_flip": True, "use_rot": True}),
    "SRDiff/configs/div2k_x4_rrdb.yaml": (
        DF2K, {"epochs": 220, "batch_size": 128, "use_flip": True, "use_rot": True, "stage": "rrdb"},
    ),
    "CSNLN/default_config.yaml": (CSNLNHyper(2, 128, 12), {}),
}  # fmt: skip
PLACES = {"dataset_GT_path", "dataset_LQ_path", "val_GT_path", "val_LQ_path", "data_name", "name", "ckpt_path", "heat"}


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_file(path):
    """It describes the authors' network and recipe, of which nothing is left to defaults but sizes and places."""
    model, (hyper, changed) = path.split("/")[0], SHIPPED[path]
    options = parsed(model, "eval" if "/test/" in path else "train", "--config", str(ROOT / path))
    assert options.hyper() == hyper
    network = {"scale", "model", *(field.name for field in dataclasses.fields(options) if field.metadata["hyper"])}
    assert {
        key: value for key, value in given(options).items() if key not in network | PLACES - changed.keys()
    } == changed


def test_these_are_all_the_shipped_files():
    found = {path for spec in SPECS for ending in ("yml", "yaml") for path in (ROOT / spec.name).rglob(f"*.{ending}")}
    assert {path.relative_to(ROOT).as_posix() for path in found} == set(SHIPPED)


def test_bare_name_is_looked_for_here_then_in_the_model_folder(tmp_path, monkeypatch, file):
    """And paths in a file count from here, or from the file."""
    monkeypatch.chdir(tmp_path)
    assert parsed("SRFlow", "train", "--opt", "SRFlow_DF2K_8X.yml").hyper() == SRFLOW["SRFlow_DF2K_8X"]
    (tmp_path / "SRFlow_DF2K_8X.yml").write_text("model: SRFlow\nscale: 4\nnetwork_G: {nb: 23}\n")
    assert parsed("SRFlow", "train", "--opt", "SRFlow_DF2K_8X.yml").hyper() == SRFlowHyper()
    path = file("datasets: {train: {dataroot: HR}, val: {dataroot: HR}}\n")
    monkeypatch.chdir("/")
    assert parsed("SRFlow", "train", "--opt", path).dataset_GT_path == "HR"
    (tmp_path / "HR").mkdir()
    assert parsed("SRFlow", "train", "--opt", path).val_GT_path == str(tmp_path / "HR")


def test_requirements_are_the_projects():
    wanted = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("dependencies = [")[2].partition("]")[0]
    wanted = {line.split("#")[0].strip(' ",') for line in wanted.splitlines()} - {""}
    for path in ROOT.glob("*/requirements.txt"):
        assert set(path.read_text(encoding="utf-8").split()) == wanted


# ---------------------------------------------------------------------------------------------- networks and schedules


@pytest.mark.parametrize(
    ("model", "words", "hyper"),
    [
        ("WDSR", "", WDSRHyper()),
        ("WDSR", "--scale 2+3+4 --task_id 2", WDSRHyper(scale=4)),
        ("WDSR", "--model WDSR-A --n_resblocks 16", WDSRHyper("A", num_blocks=16, expand=4.0)),
        ("IRN", "", IRNHyper(4, (8, 8), 32, 1.0, "xavier")),
        ("IRN", "--scale 3", IRNHyper(3, (12,))),
        ("IRN", "--scale 8 --gc 16 --clamp 0.5 --init kaiming", IRNHyper(8, (8, 8, 8), 16, 0.5, "kaiming")),
        ("IRN", "--model irn_small --growth 7", IRNHyper(4, (5, 5), 7, 1.6)),
        ("SRFlow", "", SRFLOW["SRFlow_DF2K_4X"]),
        ("SRFlow", "--scale 8", SRFLOW["SRFlow_DF2K_8X"]),
        ("SRFlow", "--scale 2", dataclasses.replace(SRFlowHyper(), scale=2, levels=2)),
        ("SRFlow", "--model srflow_small --scale 8", SRFlowHyper(8, 24, 2, 12, (1,), 3, 8, 16, bound=16)),
        ("SRFlow", "--nf 8 --nb 2 --gc 4 --stack 0,1 --L 2 --K 3 --hidden_channels 5 --eps 0.01 --scale 2",
         SRFlowHyper(2, 8, 2, 4, (0, 1), 2, 3, 5, 0.01)),
        ("SRDiff", "", DF2K),
        ("SRDiff", "--scale 8", CELEBA),
        ("SRDiff", "--model srdiff_small --scale 8", dataclasses.replace(SRDIFF["srdiff_small"], scale=8)),
        ("SRDiff", "--sr_scale 2 --hidden_size 16 --unet_dim_mults 1,2,4 --rrdb_num_feat 8 --rrdb_num_block 5 "
         "--timesteps 50 --beta_schedule linear --beta_s 0.01 --beta_end 0.05 --res_rescale 1.5",
         SRDiffHyper(2, 16, (1, 2, 4), 8, 5, 50, "linear", 0.01, 0.05, 1.5)),
        ("CSNLN", "", CSNLNHyper(2, 128, 12)),
        ("CSNLN", "--model csnln_small --scale 3", CSNLNHyper(3, 32, 3)),
    ],
)  # fmt: skip
def test_networks_by_name_and_by_number(model, words, hyper):
    assert parsed(model, "train", *words.split()).hyper() == hyper


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        ("WDSR", "--scale 7", r"--scale must be 2, 3, 4 or several as .*, not .7."),
        ("WDSR", "--scale 2+4 --task_id 2", r"--task_id 2 is beyond the 2 scale\(s\) of --scale 2\+4"),
        ("IRN", "--block_num 8", r"IRN x4 takes 2 number\(s\) of blocks"),
        ("SRFlow", "--model SRFlow_DF2K_4X --scale 8", "SRFlow_DF2K_4X upscales x4, not x8"),
        ("SRFlow", "--nb 2", "stack numbers blocks from 0 to 1"),
        ("SRDiff", "--model diffsr_celeb --scale 4", "diffsr_celeb upscales x8, not x4"),
    ],
)
def test_networks_that_cannot_be_asked_for(model, words, message):
    with pytest.raises(UserError, match=message):
        parsed(model, "train", *words.split()).hyper()


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (IRNHyper, {"scale": 5}, "scales 2, 3, 4 and 8, not 5"),
        (IRNHyper, {"scale": 1}, "scales"),
        (IRNHyper, {"block_num": (8,)}, r"x4 takes 2 number\(s\) of blocks .* not \[8\] and 32"),
        (IRNHyper, {"block_num": (8, 0)}, "1 or more"),
        (IRNHyper, {"growth": 0}, "1 or more"),
        (IRNHyper, {"clamp": 0.0}, "above 0, not 0"),
        (IRNHyper, {"clamp": math.inf}, "not inf"),
        (IRNHyper, {"clamp": math.nan}, "not nan"),
        (IRNHyper, {"init": "orthogonal"}, "xavier or kaiming, not 'orthogonal'"),
        (SRFlowHyper, {"scale": 3}, "scales 2, 4 and 8, not 3"),
        (SRFlowHyper, {"scale": 1}, "scales 2, 4 and 8, not 1"),
        (SRFlowHyper, {"num_blocks": 0, "stack": ()}, "no SRFlow has 64 features, 0 blocks"),
        (SRFlowHyper, {"growth": 0}, "growth 0"),
        (SRFlowHyper, {"steps": 0}, "0 steps"),
        (SRFlowHyper, {"hidden_channels": 0}, "0 hidden channels"),
        (SRFlowHyper, {"num_features": -1}, "-1 features"),
        (SRFlowHyper, {"levels": 0}, "at x4 the flow has 1 to 3 levels, .* not 0"),
        (SRFlowHyper, {"levels": 4}, "at x4 the flow has 1 to 3 levels, .* not 4"),
        (SRFlowHyper, {"scale": 8, "levels": 5}, "at x8 the flow has 1 to 4 levels"),
        (SRFlowHyper, {"stack": (0, 23)}, r"blocks from 0 to 22, not \[0, 23\]"),
        (SRFlowHyper, {"stack": (-1,)}, r"blocks from 0 to 22, not \[-1\]"),
        (SRFlowHyper, {"stack": ()}, r"blocks from 0 to 22, not \[\]"),
        (SRFlowHyper, {"eps": 0.0}, r"lies in \(0, 1\), not 0"),
        (SRFlowHyper, {"eps": 1.0}, "not 1.0"),
        (SRFlowHyper, {"eps": math.nan}, "not nan"),
        (SRFlowHyper, {"bound": 0.5}, r"lies in 1 \.\.\. 1e\+06, not 0.5"),
        (SRFlowHyper, {"bound": math.inf}, "not inf"),
        (SRDiffHyper, {"scale": 3}, "scales 2, 4 and 8, not 3"),
        (SRDiffHyper, {"hidden_size": 5}, r"no U-Net has 5 channels and the multiples \[1, 2, 3, 4\]"),
        (SRDiffHyper, {"hidden_size": 2}, "no U-Net has 2 channels"),
        (SRDiffHyper, {"dim_mults": ()}, r"64 channels and the multiples \[\]"),
        (SRDiffHyper, {"dim_mults": (1, 0)}, r"the multiples \[1, 0\]"),
        (SRDiffHyper, {"rrdb_num_block": 1}, "2 blocks or more are needed, not 1"),
        (SRDiffHyper, {"rrdb_num_feat": 1}, "two channels or more, not 1"),
        (SRDiffHyper, {"timesteps": 0}, "no chain has 0 steps"),
        (SRDiffHyper, {"res_rescale": 0.0}, "res_rescale 0.0"),
        (WDSRHyper, {"variant": "C"}, "variants A and B"),
        (WDSRHyper, {"scale": 5}, "scales 1, 2, 3 and 4, not 5"),
        (WDSRHyper, {"scale": 0}, "scales"),
        (WDSRHyper, {"normalization": "imagenet"}, "ntire2018 or ychfan"),
        (WDSRHyper, {"num_blocks": 0}, "0 blocks"),
        (WDSRHyper, {"num_features": 0}, "0 features"),
        (WDSRHyper, {"num_features": 1}, "1 features"),  # int(0.8) is no channel at all
        (CSNLNHyper, {"scale": 5}, "CSNLN"),
        (CSNLNHyper, {"n_feats": 7}, "CSNLN"),
        (CSNLNHyper, {"n_feats": 0}, "CSNLN"),
        (CSNLNHyper, {"depth": 0}, "CSNLN"),
    ],
)
def test_networks_that_cannot_be(cls, settings, message):
    with pytest.raises(UserError, match=message):
        cls(**settings)


ENCODER = {"SRFlow": {"stage": "rrdb"}}  # which has the same schedule, and is made faster


@pytest.mark.parametrize(
    ("model", "changes", "steps", "falls"),
    [  # the numbers of the steps, from 0, before which the rate falls
        ("WDSR", {"decay": 2, "epochs": 6, "test_every": 10}, 60, {20: 0.5, 40: 0.25}),
        ("WDSR", {"decay": "1-3", "gamma": 0.1, "epochs": 4, "test_every": 10}, 40, {10: 0.1, 30: 0.01}),
        ("CSNLN", {"decay": 2, "epochs": 6, "test_every": 10}, 60, {20: 0.5}),
        ("CSNLN", {"decay": "1-3", "epochs": 4, "test_every": 10}, 40, {10: 0.5, 30: 0.25}),
        ("IRN", {"niter": 80, "lr_steps": "20,40"}, 80, {20: 0.5, 40: 0.25}),
        ("IRN", {"niter": 80, "lr_steps": "20,40", "schedule_batch": 8}, 160, {40: 0.5, 80: 0.25}),
        ("IRN", {"epochs": 5, "lr_steps": "2"}, 5, {2: 0.5}),
        ("SRFlow", {"niter": 80, "lr_steps_rel": "0.5,0.75"}, 80, {39: 0.5, 59: 0.25}),
        ("SRFlow", {"niter": 80, "lr_steps": "10,20"}, 80, {9: 0.5, 19: 0.25}),
        ("SRFlow", {"niter": 80, "lr_steps_rel": "0.5", "lr_steps_inverse_rel": "0.75"}, 80, {39: 0.5, 59: 1}),
        ("SRFlow", {"epochs": 3, "lr_steps": "100"}, 6, {}),
        ("SRDiff", {"max_updates": 80}, 80, {30: 0.5, 60: 0.25}),
        ("SRDiff", {"epochs": 7, "decay_steps": 0}, 7, {}),
    ],
)  # fmt: skip
def test_steps_and_rates(model, changes, steps, falls, begun):
    """Of one worker; several, where a recipe counts steps of a batch, share its images."""
    changes = changes | ENCODER.get(model, {})
    plan = begun(model, **changes).plan
    assert plan.steps == steps
    wanted = 1.0
    for step in range(steps):
        wanted = falls.get(step, wanted)
        assert plan.learning_rate(step) == pytest.approx(wanted * BY_NAME[model].train["lr"]), step
    if BY_NAME[model].inside and "epochs" not in changes:
        four = begun(model, workers=4, **changes).plan
        assert (four.steps, four.validate_every) == (steps // 4, max(1, plan.validate_every // 4))
        assert four.learning_rate(0) == plan.learning_rate(0)
        assert four.learning_rate(steps // 4 - 1) == pytest.approx(plan.learning_rate(steps - 1))


@pytest.mark.parametrize("model", ["WDSR", "CSNLN"])
def test_decay_by_a_cosine(model, begun):
    rate = begun(model, decay="cosine", lr=0.5).plan.learning_rate
    np.testing.assert_allclose([rate(step) for step in (0, 20, 40)], [0.5, 0.25, 0], atol=1e-12)
    for wrong in ("0", "2-", "2.5", "linear"):
        with pytest.raises(UserError, match="--decay must be "):
            begun(model, decay=wrong)


def test_settings_that_reach_the_trainer(spec, begun):
    settings = {"gclip": 0.5, "ema": 0.9, "log_every": 7, "save_every": 8, "ckpt_save_max": 6}
    trainer = begun(spec.name, beta1=0.5, beta2=0.8, **settings, **ENCODER.get(spec.name, {}))
    plan = trainer.plan
    found = plan.gradient_clip, plan.ema_decay, plan.log_every, plan.save_every, plan.keep_at_most
    assert (*found, trainer.optimizer.betas) == (*settings.values(), (0.5, 0.8))


# ------------------------------------------------------------------------------------------------------ none is in vain


def attributes(path, holders):
    """Names that are read of what is called one of `holders`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = getattr(node.value, "id", getattr(node.value, "attr", None))  # options.x, self.options.x
            yield from [node.attr] if holder in holders else []


def test_every_option_is_used(spec):
    """Something reads it as an attribute of `options` or `config`, or of `self` where the class stands.

    Those that give a hyper-parameter are read all together: a name that the network does not have would be refused.
    """
    found = (vars(importlib.import_module(f"{spec.name}.{program}")) for program in PROGRAMS)
    classes = {cls for names in found for key, cls in names.items() if key.endswith("Config")}
    modules = {cls.__module__ for cls in classes} | {"common.config.shared"}
    assert len(classes) >= 4
    used = set()
    for path in [*(ROOT / spec.name).rglob("*.py"), *(ROOT / "common").rglob("*.py")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        used |= set(attributes(path, {"options", "config", *(["self"] if module in modules else [])}))
    fields = {field.name for cls in classes for field in dataclasses.fields(cls) if not field.metadata.get("hyper")}
    assert fields - used == set()
