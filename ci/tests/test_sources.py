"""Where a value comes from: typed beats the file, that beats the named network, and this the default; in all five.

Of options that stand for one thing the one of the higher source counts; two of one source are refused. A trained
network is what its checkpoint says: what is typed must agree, what a file says gives way.
"""

import dataclasses
import importlib
import re
from typing import NamedTuple

import pytest

from ci.tests import wrong_input as table
from ci.tests.clone import ROOT
from ci.tests.specs import BY_NAME
from ci.tests.test_command_line import MODELS, options_of
from common import UserError
from common.config import options as config


class Network(NamedTuple):
    """A named network of a model, and one of its sizes."""

    name: str
    option: str
    hyper: str  # what the size is called in a checkpoint
    own: object  # of the named network
    authors: object  # of the authors'


SMALL = {
    "WDSR": Network("wdsr_b_small", "n_feats", "num_features", 32, 64),
    "IRN": Network("irn_small", "growth", "growth", 16, 32),
    "SRFlow": Network("srflow_small", "nf", "num_features", 24, 64),
    "SRDiff": Network("srdiff_small", "hidden_size", "hidden_size", 24, 64),
    "CSNLN": Network("csnln_small", "depth", "depth", 3, 12),
}


def parsed(cls, tmp_path, file, *words):
    """The options of a program from a file with these keys, and from words."""
    path = tmp_path / "some.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in file.items()))
    return config.parse(cls, [*(["--config", str(path)] if file else []), *map(str, words)], description="")


# ------------------------------------------------------------------------------------------- a named network, and sizes


@pytest.mark.parametrize("model", MODELS)
def test_sizes_and_the_named_network(model, tmp_path):
    cls, small = options_of(model, "train"), SMALL[model]
    name, size = f"--{'model'}={small.name}", f"--{small.option}={small.authors}"
    for file, words, wanted in (
        ({}, [name], small.own),
        ({}, [name, size], small.authors),
        ({small.option: small.authors}, [name], small.own),
        ({"model": small.name}, [size], small.authors),
        ({"model": small.name, small.option: small.authors}, [], small.authors),
        ({"model": small.name, small.option: 8}, [size], small.authors),
        ({small.option: 8}, [name, size], small.authors),
    ):
        options = parsed(cls, tmp_path, file, *words)
        assert getattr(options.hyper(), small.hyper) == wanted, (file, words)
        assert config.merge(cls(), config.to_dict(options), "a saved run").hyper() == options.hyper()


def test_the_authors_file_and_a_small_network(root):
    cls = options_of("SRFlow", "train")
    words = ["--opt", str(root / "SRFlow" / "SRFlow_DF2K_4X.yml"), "--model", "srflow_small"]
    assert config.parse(cls, words, description="").hyper() == cls(model="srflow_small").hyper()


@pytest.mark.parametrize("model", MODELS)
def test_the_runs_options_are_a_file_to_those_that_are_typed(model, tmp_path):
    cls, small = options_of(model, "train"), SMALL[model]
    saved = parsed(cls, tmp_path, {}, f"--{small.option}={small.authors}")
    base = config.merge(cls(), config.to_dict(saved), "last.ckpt")
    resumed = config.parse(cls, ["--model", small.name], description="", base=base)
    assert getattr(resumed.hyper(), small.hyper) == small.own


# --------------------------------------------------------------------------------------------------- two ways to say it

VALUES = {bool: "true", int: "7", float: "0.25", str: "some", tuple: "1,2"}


def pairs():
    """(program, one option, another that says the same in another way) of all programs."""
    for name in dict.fromkeys(program.module for program in table.PROGRAMS):
        for cls in vars(importlib.import_module(name)).values():
            if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__name__.endswith("Config"):
                fields = {field.name: field for field in dataclasses.fields(cls)}
                for field in fields.values():
                    for other in fields.keys() & set(field.metadata["instead_of"]):
                        yield pytest.param(cls, field, fields[other], id=f"{name}-{field.name}-{other}")


PAIRS = list(pairs())


def test_pairs_are_known():
    found = {frozenset((one.name, other.name)) for _, one, other in (pair.values for pair in PAIRS)}
    wanted = ["epochs niter", "epochs max_updates", "lr_steps lr_steps_rel", "train_RRDB train_RRDB_delay"]
    wanted += [
        "heats heat",
        "mask box",
        "val_GT_path dataset_GT_path",
        "random_weights ckpt_path",
        "random_weights ckpt_file",
    ]
    assert found == {frozenset(words.split()) for words in wanted}


@pytest.mark.parametrize(("cls", "one", "other"), PAIRS)
def test_two_options_of_one_meaning(cls, one, other, tmp_path):
    said = {field.name: VALUES[type(field.default)] for field in (one, other)}
    for typed, filed in ((one, other), (other, one)):
        options = parsed(cls, tmp_path, {filed.name: said[filed.name]}, f"--{typed.name}", said[typed.name])
        assert getattr(options, typed.name) != typed.default
        assert getattr(options, filed.name) == filed.default
        config.save(options, tmp_path / "run.yaml")
        assert config.load(cls, tmp_path / "run.yaml") == options
        plain = parsed(cls, tmp_path, {filed.name: said[filed.name]})
        assert getattr(plain, filed.name) != filed.default
    same = f"({one.name} and {other.name}|{other.name} and {one.name}) say the same in two ways: give one of them"
    with pytest.raises(UserError, match=f"command line: {same}"):
        parsed(cls, tmp_path, {}, *(word for key, value in said.items() for word in (f"--{key}", value)))
    with pytest.raises(UserError, match=rf"some\.yaml: {same}"):
        parsed(cls, tmp_path, said)


# -------------------------------------------------------------------------------------------------------- a checkpoint


@pytest.mark.parametrize("model", MODELS)
def test_what_is_typed_is_held_against_the_checkpoint(model, tmp_path, caplog):
    """Also where it equals a default: the demo weights are small networks."""
    cls, small = options_of(model, "export"), SMALL[model]
    load = BY_NAME[model].utilities.load_network
    known = f"has {small.hyper} {small.own}"
    with pytest.raises(UserError, match=f"{known}, not {small.authors}: leave the flag out"):
        load(parsed(cls, tmp_path, {}, f"--{small.option}", small.authors))
    for words in ([], ["--model", small.name], [f"--{small.option}", small.own]):
        assert getattr(load(parsed(cls, tmp_path, {}, *words))[0].hyper, small.hyper) == small.own
    with caplog.at_level("INFO"):
        network = load(parsed(cls, tmp_path, {small.option: small.authors}))[0]
    assert getattr(network.hyper, small.hyper) == small.own
    if model != "CSNLN":  # whose files are for training: their sizes are not read
        assert f"{known}; the file {tmp_path}/some.yaml says {small.option}: {small.authors}" in caplog.text


def test_a_named_network_is_held_against_the_checkpoint(tmp_path):
    for model, name in {
        "WDSR": "wdsr_b",
        "SRFlow": "SRFlow_DF2K_4X",
        "SRDiff": "diffsr_df2k4x",
        "CSNLN": "CSNLN",
    }.items():
        load = BY_NAME[model].utilities.load_network
        with pytest.raises(UserError, match=rf"has \w+ .*, not .* of --model {name}: leave the flag out"):
            load(parsed(options_of(model, "export"), tmp_path, {}, "--model", name))


@pytest.mark.parametrize("model", MODELS)
def test_weights_to_start_from_that_do_not_fit(model, tmp_path, sample_dir):
    """It is said which of the options, and where it stands, asks for another network."""
    small, main = SMALL[model], importlib.import_module(f"{model}.train").main
    weights = min((ROOT / model / "weights").glob("*.ckpt"))
    (tmp_path / "some.yaml").write_text(f"{small.option}: 8\nmodel: {small.name}\n")
    words = ["--config", str(tmp_path / "some.yaml"), "--ckpt_path", str(weights), "--dataroot", str(sample_dir)]
    words += ["--save_dir", str(tmp_path), "--scale", weights.stem[-1], "--patch_size", "32", "--batch_size", "1"]
    words += ["--data_range", "1-8/9-10", "--data_test", "DIV2K"] if model in ("WDSR", "CSNLN") else []
    said = f"has {small.hyper} {small.own}; the file {tmp_path}/some.yaml says {small.option}: 8: change one of the two"
    with pytest.raises(UserError, match=re.escape(said)):
        main(words)
    with pytest.raises(UserError, match=f"has {small.hyper} {small.own}, not 6: leave the flag out"):
        main([*words, f"--{small.option}", "6"])
