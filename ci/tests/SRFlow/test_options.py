"""SRFlow's options: the authors' and the seed's yml files, the shipped ones, named networks, what a checkpoint says."""

import dataclasses
import json
import typing
from typing import Any

import numpy as np
import pytest

from ci.tests.options import unused_options
from common import UserError
from common.checkpoint import trained
from common.checkpoint.files import Checkpoint
from common.checkpoint.fitting import CheckpointError
from common.config import asked
from common.config import options as config
from SRFlow.src.model.SRFlowNet import PRESETS, Hyper
from SRFlow.src.model_utils import config as yml
from SRFlow.src.model_utils import official, util
from SRFlow.src.model_utils.config import KEYS, MODEL_FOLDER, By, Only, Refused, read
from SRFlow.src.model_utils.options import NAMED, EvalConfig, NetworkOptions, TrainConfig

SHIPPED = {f"{name}.yml": hyper for name, hyper in PRESETS.items()}


# The authors' file for DF2K x4, key by key -> what it comes to in training; None: nothing that training is told.
AUTHORS = {
    "name": ("train", ("name", "train")),
    "model": ("SRFlow", None),
    "distortion": ("sr", None),
    "scale": ("4", ("scale", 4)),
    "datasets.train.name": ("CelebA_160_tr", ("data_name", "CelebA_160_tr")),
    "datasets.train.mode": ("LRHR_PKL", None),
    "datasets.train.dataroot_GT": ("../datasets/DF2K-tr", ("dataset_GT_path", "../datasets/DF2K-tr")),
    "datasets.train.dataroot_LQ": ("../datasets/DF2K-tr_X4", ("dataset_LQ_path", "../datasets/DF2K-tr_X4")),
    "datasets.train.quant": ("32", ("quant", 32.0)),
    "datasets.train.use_shuffle": ("true", None),
    "datasets.train.batch_size": ("12", ("batch_size", 12)),
    "datasets.train.GT_size": ("160", ("patch_size", 160)),
    "datasets.train.use_flip": ("true", ("use_flip", True)),
    "datasets.train.color": ("RGB", None),
    "datasets.val.dataroot_GT": ("../datasets/DF2K-va", ("val_GT_path", "../datasets/DF2K-va")),
    "datasets.val.dataroot_LQ": ("../datasets/DF2K-va_X4", ("val_LQ_path", "../datasets/DF2K-va_X4")),
    "datasets.val.quant": ("32", ("quant", 32.0)),
    "datasets.val.n_max": ("20", ("test_pictures", 20)),
    "dataroot_GT": ("../datasets/div2k-gt", None),
    "dataroot_LR": ("../datasets/div2k-x4", None),
    "model_path": ("../pretrained_models/SRFlow_DF2K_4X.pth", None),
    "heat": ("0.9 # This is the standard deviation of the latent vectors", None),
    "network_G.which_model_G": ("SRFlowNet", None),
    "network_G.in_nc": ("3", None),
    "network_G.out_nc": ("3", None),
    "network_G.nf": ("64", ("num_features", 64)),
    "network_G.nb": ("23", ("num_blocks", 23)),
    "network_G.upscale": ("4", ("scale", 4)),
    "network_G.train_RRDB": ("false", ("train_RRDB", False)),
    "network_G.train_RRDB_delay": ("0.5", ("train_RRDB_delay", 0.5)),
    "network_G.flow.K": ("16", ("flow_steps", 16)),
    "network_G.flow.L": ("3", ("flow_levels", 3)),
    "network_G.flow.noInitialInj": ("true", None),
    "network_G.flow.coupling": ("CondAffineSeparatedAndCond", None),
    "network_G.flow.additionalFlowNoAffine": ("2", None),
    "network_G.flow.split.enable": ("true", None),
    "network_G.flow.fea_up0": ("true", None),
    "network_G.flow.stackRRDB.blocks": ("[1, 8, 15, 22]", ("stack", (1, 8, 15, 22))),
    "network_G.flow.stackRRDB.concat": ("true", None),
    "path.pretrain_model_G": ("../RRDB_DF2K_4X.pth", ("rrdb_path", "../RRDB_DF2K_4X.pth")),
    "path.strict_load": ("true", None),
    "path.resume_state": ("auto", ("resume", "auto")),
    "train.manual_seed": ("10", ("seed", 10)),
    "train.lr_G": ("!!float 2.5e-4", ("lr", 2.5e-4)),
    "train.weight_decay_G": ("0", ("weight_decay", 0.0)),
    "train.beta1": ("0.9", ("beta1", 0.9)),
    "train.beta2": ("0.99", ("beta2", 0.999)),
    "train.lr_scheme": ("MultiStepLR", None),
    "train.warmup_iter": ("-1 # no warm up", None),
    "train.lr_steps_rel": ("[0.5, 0.75, 0.9, 0.95]", ("lr_steps_rel", (0.5, 0.75, 0.9, 0.95))),
    "train.lr_gamma": ("0.5", ("lr_gamma", 0.5)),
    "train.weight_l1": ("0", None),
    "train.weight_fl": ("1", None),
    "train.niter": ("200000", ("niter", 200_000)),
    "train.val_freq": ("40000", ("test_every", 40_000)),
    "val.heats": ("[0.0, 0.5, 0.75, 1.0]", ("val_heats", (0.0, 0.5, 0.75, 1.0))),
    "val.n_sample": ("3", ("val_samples", 3)),
    "test.heats": ("[0.0, 0.7, 0.8, 0.9]", None),
    "logger.print_freq": ("100", ("log_every", 100)),
    "logger.save_checkpoint_freq": ("!!float 1e3", ("save_checkpoint_freq", 1000)),
}  # fmt: skip
OURS = ("name", "dataset_GT_path", "dataset_LQ_path", "val_GT_path", "val_LQ_path", "data_name", "rrdb_path", "resume")


@pytest.fixture
def write(tmp_path):
    """write({dotted key: YAML text}) -> path of a file in which they are nested; its `test:` makes it the authors'."""

    def make(values: dict[str, str], name: str = "some.yml") -> str:
        tree: dict[str, Any] = {"test": {}}
        for dotted, value in values.items():
            *parents, last = dotted.split(".")
            place = tree
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        (tmp_path / name).write_text(nested(tree), encoding="utf-8")
        return str(tmp_path / name)

    return make


def nested(tree: dict[str, Any], indent: str = "") -> str:
    lines = []
    for key, value in tree.items():
        below = nested(value, indent + "  ") if isinstance(value, dict) else None
        lines.append(f"{indent}{key}: {value}\n" if below is None else f"{indent}{key}:\n{below}")
    return "".join(lines)


def parse(cls: type, *words: str):
    return config.parse(cls, words, description="")


def fields_of(cls: type) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(cls)}


# ------------------------------------------------------------------------------------------------------------ the table


def meanings(cls: type) -> dict[str, str]:
    """Key -> option, of the keys that this program honours."""
    plain = {key: KEYS[key] for key in KEYS if isinstance(KEYS[key], str)}
    own = {key: getattr(KEYS[key], cls.CONFIG_PART) for key in KEYS if isinstance(KEYS[key], By)}
    return {key: name for key, name in (plain | own).items() if name in fields_of(cls)}


@pytest.mark.parametrize("cls", [TrainConfig, EvalConfig])
def test_keys_that_are_options(write, cls):
    """Each alone changes that option and nothing else; and every option that the table names is there."""
    hints, part = typing.get_type_hints(cls), cls.CONFIG_PART
    for key, name in meanings(cls).items():
        value = other_value(fields_of(cls)[name], hints[name])
        text = str(value).lower() if isinstance(value, bool) else list(value) if isinstance(value, tuple) else value
        found = parse(cls, "--opt", write({key: text}))
        assert found == dataclasses.replace(cls(), **{name: value}) != cls(), key
    named = {getattr(meaning, part) for meaning in KEYS.values() if isinstance(meaning, By)} - {""}
    assert named <= set(fields_of(cls)), "every key that is for this program"
    assert {meaning for meaning in KEYS.values() if isinstance(meaning, str)} <= set(fields_of(TrainConfig))


def other_value(field: dataclasses.Field, hint: Any) -> Any:
    if choices := field.metadata.get("choices"):
        return next(choice for choice in choices if choice != field.default)
    if typing.get_origin(hint) is tuple:
        return (3, 5)
    if hint is bool:
        return not field.default
    return {str: "some/where", int: 7, float: 0.25}[hint]


def test_keys_that_are_insisted_on_or_refused(write):
    for key, meaning in KEYS.items():
        if isinstance(meaning, Only):
            assert parse(TrainConfig, "--opt", write({key: meaning.value})) == TrainConfig()
            with pytest.raises(UserError) as caught:
                read(write({key: "other"}), TrainConfig)
            assert f"some.yml: {key} must be {meaning.value}, not 'other': {meaning.otherwise}" in str(caught.value)
        elif isinstance(meaning, Refused):
            with pytest.raises(UserError) as caught:
                read(write({key: "1"}), TrainConfig)
            assert f"some.yml: {key} is not used here ({meaning.why}): remove it" in str(caught.value)
            assert len(meaning.why.split()) > 4


def test_key_without_a_value_stays_at_the_default(write):
    for nothing in ("~", ""):
        path = write(dict.fromkeys(KEYS, nothing))
        assert parse(TrainConfig, "--opt", path) == TrainConfig()
        assert parse(EvalConfig, "--opt", path) == EvalConfig()


def test_the_authors_file(write, caplog):
    path = write({key: text for key, (text, _) in AUTHORS.items()})
    options = parse(TrainConfig, "--opt", path)
    given = dict(meaning for _, meaning in AUTHORS.values() if meaning)
    assert options == dataclasses.replace(TrainConfig(), **given)
    assert options.hyper() == Hyper()
    assert "beta2 is 0.999 as in the authors' runs: their code overlooks the 0.99 of their files" in caplog.text
    assert parse(TrainConfig, "--opt", path, "--beta2", "0.99").beta2 == 0.99

    found = parse(EvalConfig, "--opt", path)
    assert (found.ckpt_path, found.heat) == ("../pretrained_models/SRFlow_DF2K_4X.pth", 0.9)
    assert found.heats == (0.0, 0.7, 0.8, 0.9)
    assert (found.dataset_GT_path, found.dataset_LQ_path) == ("../datasets/div2k-gt", "../datasets/div2k-x4")
    assert (found.val_GT_path, found.limit, found.hyper()) == ("", 0, Hyper())  # whole pictures are measured
    assert parse(EvalConfig, "--opt", path).all_heats() == (0.0, 0.7, 0.8, 0.9)
    typed = parse(EvalConfig, "--opt", path, "--val_GT_path", "patches", "--heat", "0")
    assert (typed.dataset_GT_path, typed.val_GT_path, typed.all_heats()) == ("", "patches", (0.0,))


def test_defaults_of_training_are_the_authors():
    options = TrainConfig()
    written = dict(meaning for _, meaning in AUTHORS.values() if meaning)
    network = ("scale", "num_features", "num_blocks", "stack", "flow_levels", "flow_steps", "lr")
    for name, value in written.items():
        if name not in (*OURS, *network):
            assert getattr(options, name) == value, name
    assert (options.hyper(), options.learning_rate(4)) == (Hyper(), 2.5e-4)
    assert options.learning_rate(8) == 5e-4
    assert dataclasses.replace(options, stage="rrdb").learning_rate(4) == 2e-4
    assert (options.epsilon, options.ema, options.gclip, options.stage) == (1e-8, 0, 0, "flow")


# ---------------------------------------------------------------------------------------------------- the shipped files


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files(name):
    """They describe the authors' networks by themselves, word for word, and both programs read them."""
    path = MODEL_FOLDER / name
    options, scale = parse(TrainConfig, "--opt", str(path)), SHIPPED[name].scale
    assert options.hyper() == SHIPPED[name]
    assert set(asked(options)) == set(dataclasses.asdict(Hyper())) - {"growth", "bound"}, (
        "no number is left to defaults"
    )
    assert parse(EvalConfig, "--opt", str(path)).hyper() == SHIPPED[name]
    assert (options.batch_size, options.lr) == ((12, 2.5e-4) if scale == 4 else (16, 5e-4))
    plain = dataclasses.replace(TrainConfig(), **{key: getattr(options, key) for key in OURS}, **network_of(options))
    assert dataclasses.replace(options, batch_size=12, lr=0.0) == plain
    assert (options.rrdb_path, options.resume) == ("", "")
    assert parse(EvalConfig, "--opt", str(path)).ckpt_path == name.removeprefix("SRFlow_")[:-4] + "_test.ckpt"


def network_of(options: NetworkOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in fields_of(NetworkOptions)}


def test_these_are_all_the_shipped_files(root):
    assert {path.name for path in (root / "SRFlow").glob("*.yml")} == set(SHIPPED)
    seeds = "src/dataset/DF2K-4X/train/DIV2K_X4_train.mindrecord"
    assert seeds in (root / "SRFlow" / "SRFlow_DF2K_4X.yml").read_text(encoding="utf-8")


def test_requirements_are_the_projects(root):
    wanted = (root / "pyproject.toml").read_text(encoding="utf-8").partition("dependencies = [")[2].partition("]")[0]
    wanted = {line.split("#")[0].strip(' ",') for line in wanted.splitlines()} - {""}
    assert set((root / "SRFlow" / "requirements.txt").read_text(encoding="utf-8").split()) == wanted


def test_bare_name_is_looked_for_here_then_in_the_model_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse(TrainConfig, "--opt", "SRFlow_DF2K_8X.yml").hyper() == PRESETS["SRFlow_DF2K_8X"]
    (tmp_path / "SRFlow_DF2K_8X.yml").write_text("model: SRFlow\nscale: 4\nnetwork_G: {nb: 23}\n")
    assert parse(TrainConfig, "--opt", "SRFlow_DF2K_8X.yml").hyper() == Hyper()
    with pytest.raises(UserError, match=r"cannot read the configuration 'nope\.yml'"):
        parse(TrainConfig, "--opt", "nope.yml")


def test_paths_count_from_here_or_from_the_file(write, tmp_path, monkeypatch):
    """And where there is nothing at all they stay as they are, to be named in a message."""
    path = write({"datasets.train.dataroot": "HR", "datasets.val.dataroot": "HR"})
    monkeypatch.chdir("/")
    assert parse(TrainConfig, "--opt", path).dataset_GT_path == "HR"
    (tmp_path / "HR").mkdir()
    found = parse(TrainConfig, "--opt", path)
    assert (found.dataset_GT_path, found.val_GT_path) == (str(tmp_path / "HR"),) * 2
    (tmp_path / "here" / "HR").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert parse(TrainConfig, "--opt", path).dataset_GT_path == "HR"


def test_file_with_our_own_names(tmp_path):
    options = dataclasses.replace(TrainConfig(), scale=2, stack=(3,), lr=1e-3, run_distribute=False)
    config.save(options, tmp_path / "config.yaml")
    assert parse(TrainConfig, "--config", str(tmp_path / "config.yaml")) == options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.lr_H": "1e-4"}, r"unknown key 'train\.lr_H'; did you mean 'train\.lr_G'\?"),
        ({"train.lr_H": "~"}, r"unknown key 'train\.lr_H'"),
        (
            {"network_G.flow.fea_up": "true"},
            r"unknown key 'network_G\.flow\.fea_up'; did you mean 'network_G\.flow\.fea_up0'\?",
        ),
        ({"sclae": "4"}, r"unknown key 'sclae'; did you mean 'scale'\?"),
        ({"scale": "4", "network_G.upscale": "8"}, "upscale is '8', but scale has been given as '4' above"),
        ({"datasets.train.quant": "32", "datasets.val.quant": "0"}, "but quant has been given as '32' above"),
        ({"scale": "5"}, r"some\.yml: scale must be one of 2, 4, 8, not '5'"),
        ({"train.niter": "many"}, "niter must be a whole number, not 'many'"),
        ({"train.lr_H": "1", "gpu_ids": "[0]", "model": "SRN"}, r"unknown key.*; gpu_ids is not used.*; model must be"),
    ],
)
def test_mistakes_in_a_file(write, values, message):
    with pytest.raises(UserError, match=message) as caught:
        parse(TrainConfig, "--opt", write(values))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------- what it describes


def test_networks_by_name_and_by_number():
    def hyper(*words: str) -> Hyper:
        return parse(TrainConfig, *words).hyper()

    assert hyper() == hyper("--scale", "4") == Hyper()
    assert hyper("--scale", "8") == PRESETS["SRFlow_DF2K_8X"]
    assert hyper("--scale", "2") == dataclasses.replace(Hyper(), scale=2, levels=2)
    for name, wanted in NAMED.items():
        assert hyper("--model", name) == wanted
    small = NAMED["srflow_small"]
    at_x8 = dataclasses.replace(small, scale=8, levels=small.levels + 1)
    assert hyper("--model", "srflow_small", "--scale", "8") == at_x8
    words = "--nf 8 --nb 2 --gc 4 --stack 0,1 --L 2 --K 3 --hidden_channels 5 --eps 0.01 --scale 2"
    assert hyper(*words.split()) == Hyper(2, 8, 2, 4, (0, 1), 2, 3, 5, 0.01)
    with pytest.raises(UserError, match="SRFlow_DF2K_4X enlarges x4, not x8"):
        hyper("--model", "SRFlow_DF2K_4X", "--scale", "8")
    with pytest.raises(UserError, match="stack numbers blocks from 0 to 1"):
        hyper("--nb", "2")


@pytest.mark.parametrize(
    ("words", "patch", "wanted"), [("", 160, 40), ("--scale 8", 160, 20), ("--scale 2 --L 1", 6, 3)]
)
def test_side_of_the_lr_patch(words, patch, wanted):
    options = parse(TrainConfig, *words.split(), "--patch_size", str(patch))
    assert options.lr_patch(options.hyper()) == wanted


@pytest.mark.parametrize(("words", "multiple"), [("", 8), ("--scale 8", 16), ("--scale 2", 4)])
def test_patch_that_the_flow_cannot_halve(words, multiple):
    options = parse(TrainConfig, *words.split(), "--patch_size", str(multiple * 3 + multiple // 2))
    with pytest.raises(UserError, match=rf"--patch_size \d+ .* must be a multiple of {multiple}"):
        options.lr_patch(options.hyper())


def test_every_option_is_used_and_has_a_word_of_help(root):
    assert unused_options(root / "SRFlow", {TrainConfig}) == set()
    for name, field in fields_of(TrainConfig).items():
        assert len(field.metadata["help"]) > 8, name


# ------------------------------------------------------------------------------------------- what a checkpoint decides


@pytest.mark.parametrize("name", PRESETS)
def test_authors_files_tell_their_network(goldens_dir, name):
    content = json.loads((goldens_dir / "full_size_keys" / f"srflow_{name}.json").read_text())
    weights = {key: np.broadcast_to(np.float32(0), shape) for key, shape in content["state_dict"].items()}
    assert official.hyper_of(weights, "x.pth") == PRESETS[name]
    assert official.hyper_of(weights, "x.pth", (0, 2, 4, 6), 0.01).stack == (0, 2, 4, 6)
    with pytest.raises(CheckpointError, match=r"x\.pth is no SRFlow: it has "):
        official.hyper_of({key: weights[key] for key in weights if key.startswith("RRDB.")}, "x.pth")
    fewer = {key: array for key, array in weights.items() if ".RRDB_trunk.7." not in key}
    with pytest.raises(CheckpointError, match=r"does not tell which 4 block\(s\) its flow reads: type --stack"):
        official.hyper_of(fewer, "x.pth")


def test_other_sizes_are_read_off_as_well():
    from SRFlow.src.model.SRFlowNet import SRFlowNet

    for hyper in (Hyper(2, 4, 2, 3, (1,), 2, 2, 5), Hyper(4, 4, 1, 2, (0,), 3, 1, 4), Hyper(4, 4, 1, 2, (0,), 1, 2, 4)):
        weights = {p.name: p.asnumpy() for p in SRFlowNet(hyper).get_parameters()}
        assert official.hyper_of(weights, "x", hyper.stack) == hyper


FOUND = Hyper(4, 32, 4, 16, (1, 3), 3, 6, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--scale 2", "x has scale 4, not 2: leave the flag out, or give another checkpoint"),
        ("--K 5", "x has steps 6, not 5"),
        ("--stack 1,2", r"x has stack \(1, 3\), not \(1, 2\)"),
        ("--model SRFlow_DF2K_4X", "x has num_features 32, not 64"),
        ("--model SRFlow_DF2K_8X", "x has scale 4, not 8"),
    ],
)
def test_flag_that_contradicts_the_checkpoint(words, message):
    with pytest.raises(UserError, match=message):
        trained.refuse_contradiction(parse(EvalConfig, *words.split()), FOUND, "x")


@pytest.mark.parametrize("words", ["", "--scale 4", "--K 6 --nf 32 --stack 1,3"])
def test_flag_that_agrees_with_the_checkpoint(words):
    trained.refuse_contradiction(parse(EvalConfig, *words.split()), FOUND, "x")


def test_named_network_that_a_checkpoint_has_at_another_scale():
    small = parse(EvalConfig, "--model", "srflow_small", "--scale", "8").hyper()
    trained.refuse_contradiction(parse(EvalConfig, "--model", "srflow_small"), small, "x")
    with pytest.raises(UserError, match="x has scale 8, not 4"):
        trained.refuse_contradiction(parse(EvalConfig, "--model", "srflow_small", "--scale", "4"), small, "x")


def test_network_from_a_checkpoint(tmp_path):
    """Ours with its own words, a file without any, the encoder alone, another model, none at all."""
    from common.checkpoint import files as checkpoint
    from SRFlow.src.model.SRFlowNet import SRFlowNet

    hyper = Hyper(4, 4, 1, 2, (0,), 1, 1, 4)
    weights = {p.name: p.asnumpy() + np.float32(0.01) for p in SRFlowNet(hyper).get_parameters()}
    ours, bare, encoder, other = (tmp_path / f"{name}.ckpt" for name in ("ours", "bare", "encoder", "other"))
    checkpoint.save(ours, Checkpoint(weights, util.describe(hyper, {})))
    checkpoint.save(bare, Checkpoint(weights, {}))
    checkpoint.save(encoder, Checkpoint(weights, util.describe(hyper, {}, "rrdb")))
    checkpoint.save(other, Checkpoint(weights, {"model": "WDSR"}))
    for path, words in ((ours, ""), (bare, "--stack 0")):
        network, saved, source = util.load_network(parse(EvalConfig, "--ckpt_path", str(path), *words.split()))
        assert (network.hyper, source) == (hyper, str(path))
        assert sorted(saved.weights) == sorted(weights)
        for parameter in network.get_parameters():
            np.testing.assert_array_equal(parameter.asnumpy(), weights[parameter.name])
    with pytest.raises(UserError, match=r"holds the encoder alone .--stage rrdb.: train the flow with --rrdb_path"):
        util.load_network(parse(EvalConfig, "--ckpt_path", str(encoder)))
    with pytest.raises(UserError, match=r"other\.ckpt holds WDSR, not SRFlow"):
        util.load_network(parse(EvalConfig, "--ckpt_path", str(other)))
    with pytest.raises(UserError, match=r"no demo weights for x2 .*, or give --ckpt_path FILE"):
        util.load_network(parse(EvalConfig, "--scale", "2"))
    words = "--random_weights --nf 4 --nb 1 --gc 2 --stack 0 --L 1 --K 1 --hidden_channels 4"
    network, saved, source = util.load_network(parse(EvalConfig, *words.split()))
    assert (network.hyper, saved.meta["scale"], source) == (hyper, 4, "random weights")


def test_paths_are_options():
    assert set(yml.PATHS) <= set(fields_of(TrainConfig))
