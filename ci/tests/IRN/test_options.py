"""IRN's options: every key of the authors' yml files is an option, insisted on, or refused; and nothing is guessed."""

import dataclasses
import re
import typing
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import yaml

from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.config import options as config
from common.training import runs
from IRN.src.network.Invnet import Hyper
from IRN.src.options.options import EvalConfig, TrainConfig
from IRN.src.options.yml import KEYS, SECTIONS, Only, Refused, leaves, read

CLASSES = (TrainConfig, EvalConfig)
MEANT = {key: meaning for key, meaning in KEYS.items() if isinstance(meaning, str)}
INSISTED = {key: meaning for key, meaning in KEYS.items() if isinstance(meaning, Only)}
REFUSED = {key: meaning for key, meaning in KEYS.items() if isinstance(meaning, Refused)}
SHIPPED = ("train/train_IRN_x2", "train/train_IRN_x4", "test/test_IRN_x2", "test/test_IRN_x4")

# The authors' recipe for x4 as their files have it (spec: 16 HR patches of 144x144, 500k steps, the rate halved four
# times), key by key, with what each must be in the end.
RECIPE = {
    "scale": ("4", "scale", 4),
    "datasets.train.name": ("DIV2K", "data_name", "DIV2K"),
    "datasets.train.dataroot_GT": ("../DIV2K/HR", "dataset_GT_path", "../DIV2K/HR"),
    "datasets.train.dataroot_LQ": ("../DIV2K/LR", "dataset_LQ_path", "../DIV2K/LR"),
    "datasets.train.batch_size": ("16", "batch_size", 16),
    "datasets.train.GT_size": ("144", "patch_size", 144),
    "datasets.train.use_flip": ("true", "use_flip", True),
    "datasets.train.use_rot": ("true", "use_rot", True),
    "datasets.val.dataroot_GT": ("../DIV2K/valid", "val_GT_path", "../DIV2K/valid"),
    "datasets.val.dataroot_LQ": ("../DIV2K/small", "val_LQ_path", "../DIV2K/small"),
    "network_G.block_num": ("[8, 8]", "block_num", (8, 8)),
    "network_G.scale": ("4", "scale", 4),
    "network_G.init": ("xavier", "init", "xavier"),
    "path.resume_state": ("../experiments/x4", "resume", "../experiments/x4"),
    "path.pretrain_model_G": ("../IRN_x4.pth", "ckpt_path", "../IRN_x4.pth"),
    "train.lr_G": ("!!float 2e-4", "lr", 2e-4),
    "train.beta1": ("0.9", "beta1", 0.9),
    "train.beta2": ("0.999", "beta2", 0.999),
    "train.niter": ("500000", "niter", 500_000),
    "train.warmup_iter": ("-1  # no warm up", "warmup_iter", -1),
    "train.lr_scheme": ("MultiStepLR", "lr_scheme", "MultiStepLR"),
    "train.lr_steps": ("[100000, 200000, 300000, 400000]", "lr_steps", (100_000, 200_000, 300_000, 400_000)),
    "train.lr_gamma": ("0.5", "lr_gamma", 0.5),
    "train.pixel_criterion_forw": ("l2", "pixel_criterion_forw", "l2"),
    "train.pixel_criterion_back": ("l1", "pixel_criterion_back", "l1"),
    "train.manual_seed": ("10", "seed", 10),
    "train.val_freq": ("!!float 5e3", "test_every", 5000),
    "train.lambda_fit_forw": ("16.", "lambda_fit_forw", 16.0),
    "train.lambda_rec_back": ("1", "lambda_rec_back", 1.0),
    "train.lambda_ce_forw": ("1", "lambda_ce_forw", 1.0),
    "train.weight_decay_G": ("!!float 1e-5", "weight_decay", 1e-5),
    "train.gradient_clipping": ("10", "gclip", 10.0),
    "logger.print_freq": ("100", "log_every", 100),
    "logger.save_checkpoint_freq": ("!!float 5e3", "save_checkpoint_freq", 5000),
}
PATHS = ("dataset_GT_path", "dataset_LQ_path", "val_GT_path", "val_LQ_path", "data_name", "ckpt_path", "resume")


@pytest.fixture
def write(tmp_path):
    """write({dotted key: YAML text}) -> path of a file in which they are nested; an empty `test:` makes it theirs."""

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


def another_value(field: dataclasses.Field, hint: Any) -> Any:
    """A value that the field takes and that is not its default."""
    if choices := field.metadata.get("choices"):
        return next(choice for choice in choices if choice != field.default)
    if typing.get_origin(hint) is tuple:
        return (3, 5)
    if hint is bool:
        return not field.default
    return {str: "some/where", int: 7, float: 0.25}[hint]


# ------------------------------------------------------------------ the table


def test_every_key_has_a_meaning():
    assert len(KEYS) == len(MEANT) + len(INSISTED) + len(REFUSED)
    assert {key.split(".")[0] for key in KEYS if "." in key} == set(SECTIONS)
    for key, meaning in MEANT.items():
        assert any(meaning in fields_of(cls) for cls in CLASSES), key
    for key, (value, why) in INSISTED.items():
        assert value, key
        assert len(why.split()) > 2, key
    for key, (why,) in REFUSED.items():
        assert len(why.split()) > 4, key


@pytest.mark.parametrize("key", MEANT)
def test_key_that_is_an_option(write, key):
    """In each program that has the option; "test." is for eval, "train." for train."""
    name, seen = KEYS[key], 0
    for cls in CLASSES:
        if name in fields_of(cls):
            field = fields_of(cls)[name]
            value = another_value(field, typing.get_type_hints(cls)[name])
            text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
            path = write({key: list(text) if isinstance(text, tuple) else text})
            wanted = dataclasses.replace(cls(), **{name: value})
            assert wanted != cls()
            for flag in ("-opt", "--opt", "--config"):
                assert parse(cls, flag, path) == wanted
            assert config.load(cls, path) == wanted
            seen += 1
    wanted_in = {"train": TrainConfig, "logger": TrainConfig, "test": EvalConfig}.get(key.split(".")[0])
    assert seen >= 1
    assert wanted_in is None or name in fields_of(wanted_in)


@pytest.mark.parametrize("key", INSISTED)
def test_key_that_is_insisted_on(write, key):
    wanted, why = KEYS[key]
    both = {} if key != "network_G.which_model_G.use_ConvDownsampling" else {"scale": "3"}
    for written in {wanted, wanted.lower(), wanted.capitalize()}:
        assert parse(TrainConfig, "-opt", write({**both, key: written})) == parse(TrainConfig, "-opt", write(both))
    for other in ("other", "false", "[1, 2]", f"{wanted}x"):
        with pytest.raises(UserError, match=f"{re.escape(key)} must be {wanted}, not .*: {re.escape(why)}") as caught:
            read(write({**both, key: other}))
        assert "some.yml" in str(caught.value)


@pytest.mark.parametrize("key", REFUSED)
def test_key_that_is_refused(write, key):
    for value in ("true", "0", "[1]"):
        with pytest.raises(UserError, match=f"{re.escape(key)} is not used here .{re.escape(KEYS[key].why)}.: remove"):
            read(write({key: value}))


@pytest.mark.parametrize("key", KEYS)
def test_key_without_a_value_stays_at_the_default(write, key):
    for nothing in ("~", "null", ""):
        path = write({key: nothing})
        assert parse(TrainConfig, "-opt", path) == TrainConfig()
        assert parse(EvalConfig, "-opt", path) == EvalConfig()


def test_the_authors_recipe(write):
    """Each key as their file has it, and what it must come to; also all at once."""
    for key, (text, name, value) in RECIPE.items():
        assert KEYS[key] == name, key
        assert getattr(parse(TrainConfig, "-opt", write({key: text})), name) == value, key
    options = parse(TrainConfig, "-opt", write({key: text for key, (text, _, _) in RECIPE.items()}))
    given = {name: value for _, name, value in RECIPE.values()}
    assert {name: getattr(options, name) for name in given} == given
    assert options == dataclasses.replace(TrainConfig(), **given)
    assert options.hyper() == Hyper(4, (8, 8), 32, 1.0, "xavier")


# ------------------------------------------------------------------ the shipped files


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files(root, name):
    path = root / "IRN" / "src" / "options" / f"{name}.yml"
    kind, scale = (TrainConfig, EvalConfig)[name.startswith("test")], int(name[-1])
    options, levels = config.load(kind, path), {2: (8,), 4: (8, 8)}[scale]
    assert options.hyper() == Hyper(scale, levels, 32, 1.0, "xavier")
    changed = {key: value for key, value in asdict(options).items() if value != getattr(kind(), key)}
    if kind is EvalConfig:
        assert changed == {"scale": scale, "data_name": "DIV2K", "block_num": levels}
        return
    changed.pop("scale", None)  # 4 is the default
    assert changed == {"data_name": "DIV2K", "block_num": levels, "lambda_fit_forw": {2: 4.0, 4: 16.0}[scale]}
    for written, option, value in RECIPE.values():  # so all else is the default; the recipe once more, apart from it
        if option not in (*PATHS, "scale", "block_num", "lambda_fit_forw"):
            assert getattr(options, option) == value, written


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_say_everything_themselves(root, name):
    """What the recipe is can be read in the file: no value is left to the defaults, and each line is used."""
    path = root / "IRN" / "src" / "options" / f"{name}.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    written = {key: value for key, value in leaves(content) if value is not None}
    assert set(dict(leaves(content))) <= set(KEYS)
    assert set(read(str(path))) == {KEYS[key] for key in written if key in MEANT}
    if name.startswith("train"):
        of_the_recipe = {key for key in RECIPE if key.split(".")[0] in ("train", "network_G", "scale")}
        of_the_recipe |= {f"datasets.train.{key}" for key in ("batch_size", "GT_size", "use_flip", "use_rot")}
        assert of_the_recipe <= set(written)


def test_every_file_in_the_folder_is_tested(root):
    folder = root / "IRN" / "src" / "options"
    assert {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yml")} == set(SHIPPED)


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.lr_H": "1e-4"}, r"unknown key 'train\.lr_H'; did you mean 'train\.lr_G'\?"),
        ({"train.lr_H": "~"}, r"unknown key 'train\.lr_H'; did you mean 'train\.lr_G'\?"),  # nothing slips through
        ({"train.weight_decay": "0"}, r"did you mean 'train\.weight_decay_G'\?"),
        ({"datasets.train.batchsize": "16"}, r"did you mean 'datasets\.train\.batch_size'\?"),
        ({"networkG.scale": "4"}, r"unknown key 'networkG\.scale'; did you mean 'network_G\.scale'\?"),
        ({"sclae": "4"}, r"unknown key 'sclae'; did you mean 'scale'\?"),
        ({"zzz": "4"}, r"unknown key 'zzz'$"),
        ({"train": "4"}, r"unknown key 'train'"),
        ({"scale.of": "4"}, r"unknown key 'scale\.of'"),
    ],
)
def test_unknown_keys(write, values, message):
    with pytest.raises(UserError, match=message):
        read(write(values))


def test_all_mistakes_are_listed_at_once(write):
    values = {"train.lr_H": "1", "gpu_ids": "[0]", "model": "SRN", "scale": "4", "network_G.scale": "2"}
    with pytest.raises(UserError) as caught:
        read(write(values))
    for part in ("unknown key 'train.lr_H'", "gpu_ids is not used", "model must be IRN", "network_G.scale is '2'"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("scale", "network_G.scale"),
        ("datasets.train.dataroot_GT", "datasets.test.dataroot_GT"),
        ("datasets.train.name", "datasets.test.name"),
        ("train.gaussian_scale", "test.gaussian_scale"),
        ("crop_border", "test.crop_border"),
        ("suffix", "test.suffix"),
    ],
)
def test_keys_that_contradict_each_other(write, first, second):
    assert KEYS[first] == KEYS[second]
    with pytest.raises(UserError, match=r"is '[24]', but \w+ has been given as '[24]' above"):
        read(write({first: "4", second: "2"}))
    assert read(write({first: "4", second: "4"})) == {KEYS[first]: "4"}
    assert read(write({first: "4", second: "~"})) == {KEYS[first]: "4"}


@pytest.mark.parametrize("scale", ["2", "4"])
@pytest.mark.parametrize("key", ["scale", "network_G.scale"])
def test_learned_down_sampling_is_of_x3(write, key, scale):
    learned = {"network_G.which_model_G.use_ConvDownsampling": "true"}
    with pytest.raises(UserError, match="the down-sampling is learned at x3, and only there"):
        read(write({key: scale, **learned}))
    assert parse(TrainConfig, "-opt", write({key: "3", **learned})).hyper() == Hyper(3, (12,))
    with pytest.raises(UserError, match="must be true, not 'false': leave it out where the scale is not 3"):
        read(write({key: scale, "network_G.which_model_G.use_ConvDownsampling": "false"}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": "5"}, r"some\.yml: scale must be one of 2, 3, 4, 8, not '5'"),
        ({"train.niter": "many"}, "niter must be a whole number, not 'many'"),
        ({"train.niter": "!!float 0.5"}, "niter must be a whole number"),
        ({"train.beta1": "1"}, "beta1 must be below 1"),
        ({"train.lr_scheme": "Step"}, "lr_scheme must be one of MultiStepLR, CosineAnnealingLR_Restart, not 'Step'"),
        ({"network_G.init": "xavir"}, "init must be one of .*; did you mean 'xavier'"),
        ({"datasets.train.use_flip": "maybe"}, "use_flip must be true or false"),
    ],
)
def test_values_of_a_wrong_kind(write, values, message):
    with pytest.raises(UserError, match=message):
        parse(TrainConfig, "-opt", write(values))


def test_key_of_another_program_is_refused(write):
    with pytest.raises(UserError, match="unknown key 'lr'"):
        parse(EvalConfig, "-opt", write({"train.lr_G": "1e-4"}))
    with pytest.raises(UserError, match="unknown key 'crop'"):
        parse(TrainConfig, "-opt", write({"crop_border": "4"}))


def test_block_numbers_that_the_scale_does_not_have(write):
    options = parse(TrainConfig, "-opt", write({"scale": "4", "network_G.block_num": "[8]"}))
    with pytest.raises(UserError, match=r"IRN x4 takes 2 number\(s\) of blocks"):
        options.hyper()


# ------------------------------------------------------------------ our own files, the command line, a run that goes on


def test_file_with_our_own_names(tmp_path):
    """As a run's config.yaml has them; such a file needs no section."""
    options = dataclasses.replace(TrainConfig(), scale=2, block_num=(3,), lr=1e-3, restarts=(5,), run_distribute=False)
    config.save(options, tmp_path / "config.yaml")
    assert parse(TrainConfig, "--config", str(tmp_path / "config.yaml")) == options
    (tmp_path / "few.yaml").write_text("growth: 16\nmodel: irn_small\n")
    assert parse(TrainConfig, "-opt", str(tmp_path / "few.yaml")) == TrainConfig(growth=16, model="irn_small")
    (tmp_path / "typo.yaml").write_text("growht: 16\n")
    with pytest.raises(UserError, match="unknown key 'growht'; did you mean 'growth'"):
        parse(TrainConfig, "-opt", str(tmp_path / "typo.yaml"))


def test_command_line_is_above_the_file(write):
    path = write({"scale": "4", "train.lr_G": "1e-3", "train.beta1": "0.5"})
    options = parse(TrainConfig, "--scale", "2", "-opt", path, "--lr_G", "1e-5")
    assert (options.scale, options.lr, options.beta1) == (2, 1e-5, 0.5)


@pytest.fixture
def stopped(tmp_path) -> str:
    """What a run at x2 with its own rate and batch left when it was stopped."""
    options = dataclasses.replace(TrainConfig(), scale=2, lr=1e-3, batch_size=3, niter=77)
    meta = {"model": "IRN", "config": config.to_dict(options), "counters": {}, "step": 5}
    checkpoint.save(tmp_path / "last.ckpt", Checkpoint({"w": np.zeros(2, np.float32)}, meta))
    return str(tmp_path)


def test_file_and_command_line_are_above_a_resumed_run(write, stopped):
    path = write({"train.lr_G": "5e-4", "datasets.train.batch_size": "6"})
    orders = (["--resume", stopped, "-opt", path], ["-opt", path, "--resume_state", stopped])
    for words in orders:
        options, saved, folder = runs.resumed(TrainConfig, [*words, "--batch_size", "9"], stopped, "", "IRN")
        assert (options.scale, options.niter) == (2, 77)  # the run's
        assert options.lr == 5e-4  # the file's
        assert options.batch_size == 9  # the command line's
        assert (options.resume, saved.meta["step"], folder) == ("", 5, None)


def test_run_to_resume_may_be_named_in_the_file(write, stopped):
    path = write({"path.resume_state": stopped, "train.niter": "88"})
    assert parse(TrainConfig, "-opt", path).resume == stopped
    options = runs.resumed(TrainConfig, ["-opt", path], stopped, "", "IRN")[0]
    assert (options.scale, options.lr, options.niter, options.resume) == (2, 1e-3, 88, "")


# ------------------------------------------------------------------ defaults


def test_defaults_of_training_are_the_authors():
    options = TrainConfig()
    wanted = {name: value for _, name, value in RECIPE.values() if name not in (*PATHS, "block_num", "lambda_fit_forw")}
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert options.hyper() == Hyper(4, (8, 8), 32, 1.0, "xavier")
    assert options.lambda_fit_forw == 0  # scale^2: test_train has it
    assert (options.epsilon, options.gaussian_scale, options.ema, options.amp_level) == (1e-8, 1.0, 0.0, "O0")
    assert (options.device_target, options.run_distribute, options.schedule_batch, options.epochs) == (
        "auto",
        None,
        0,
        0,
    )
    assert [getattr(options, name) for name in PATHS] == [""] * len(PATHS)


@pytest.mark.parametrize(("scale", "patch", "lr"), [(2, 144, 72), (3, 144, 48), (4, 144, 36), (8, 144, 18), (4, 4, 1)])
def test_side_of_the_lr_patch(scale, patch, lr):
    assert dataclasses.replace(TrainConfig(), patch_size=patch).lr_patch(scale) == lr


def test_patch_that_is_no_multiple_of_the_scale():
    with pytest.raises(UserError, match=r"--patch_size 146 .* must be a multiple of the scale, 4"):
        dataclasses.replace(TrainConfig(), patch_size=146).lr_patch(4)


def test_defaults_of_evaluation():
    options = EvalConfig()
    found = (options.scale, options.draws, options.gaussian_scale, options.seed, options.crop, options.tile)
    assert found == (0, 5, 1.0, 10, -1, 0)  # 0: the checkpoint's; the paper's mean over 5 z; -1: the scale
    assert (options.ckpt_path, options.random_weights, options.save_lr, options.save_results) == (
        "",
        False,
        False,
        True,
    )
    assert (options.engine, options.device_target, options.limit) == ("auto", "auto", 0)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_option_has_a_word_of_help(cls):
    for name, field in fields_of(cls).items():
        assert len(field.metadata["help"]) > 8, name
