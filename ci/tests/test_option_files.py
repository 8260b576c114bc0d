"""Option files of the five: the authors' and the seeds' with their words, and those that we ship."""

import dataclasses

import pytest

from ci.tests.clone import ROOT
from ci.tests.specs import BY_NAME, SPECS
from common import UserError, config
from CSNLN.src.CSNLN import Hyper as CSNLNHyper
from IRN.src.network.Invnet import Hyper as IRNHyper
from SRDiff.src.model.srdiff import PRESETS as SRDIFF
from SRFlow.src.model.SRFlowNet import PRESETS as SRFLOW
from SRFlow.src.model.SRFlowNet import Hyper as SRFlowHyper


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
    assert given(BY_NAME[model].parse("train", "--opt", path)) == OF_TRAIN[model]
    if model in OF_EVAL:
        assert given(BY_NAME[model].parse("eval", "--opt", path)) == OF_EVAL[model]
    if model == "SRFlow":
        assert "beta2 is 0.999 as in the authors' runs" in caplog.text
        assert BY_NAME[model].parse("train", "--opt", path, "--beta2", "0.99").beta2 == 0.99
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
        BY_NAME[model].parse("train", "--opt", file(f"{text}\n"))
    assert "\n" not in str(caught.value)


def test_a_key_without_a_value_stays_at_the_default(file):
    for model in ("IRN", "SRFlow"):
        path = file("test:\ntrain: {lr_G: ~, niter: ~}\ndatasets: {train: {dataroot_GT: }}\nnetwork_G:\n")
        assert (
            given(BY_NAME[model].parse("train", "--opt", path))
            == given(BY_NAME[model].parse("eval", "--opt", path))
            == {}
        )


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
    options = BY_NAME[model].parse("eval" if "/test/" in path else "train", "--config", str(ROOT / path))
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
    assert BY_NAME["SRFlow"].parse("train", "--opt", "SRFlow_DF2K_8X.yml").hyper() == SRFLOW["SRFlow_DF2K_8X"]
    (tmp_path / "SRFlow_DF2K_8X.yml").write_text("model: SRFlow\nscale: 4\nnetwork_G: {nb: 23}\n")
    assert BY_NAME["SRFlow"].parse("train", "--opt", "SRFlow_DF2K_8X.yml").hyper() == SRFlowHyper()
    path = file("datasets: {train: {dataroot: HR}, val: {dataroot: HR}}\n")
    monkeypatch.chdir("/")
    assert BY_NAME["SRFlow"].parse("train", "--opt", path).dataset_GT_path == "HR"
    (tmp_path / "HR").mkdir()
    assert BY_NAME["SRFlow"].parse("train", "--opt", path).val_GT_path == str(tmp_path / "HR")


def test_requirements_are_the_projects():
    wanted = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("dependencies = [")[2].partition("]")[0]
    wanted = {line.split("#")[0].strip(' ",') for line in wanted.splitlines()} - {""}
    for path in ROOT.glob("*/requirements.txt"):
        assert set(path.read_text(encoding="utf-8").split()) == wanted
