"""Weights in the five models alike: other programs' files, damaged values, a start from another scale, demo weights."""

import logging
import re
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from ci.tests.specs import BY_NAME, SPECS, weights_of
from ci.tests.training import assert_same
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint import trained
from common.checkpoint.files import Checkpoint

# What no file of another program tells of the tiny networks.
TYPED = {"SRFlow": {"stack": "0,1"}, "SRDiff": {"timesteps": "10"}}


@pytest.fixture(scope="module")
def networks():
    """Model -> (its tiny network, what a checkpoint says of it)."""
    made = ((spec, spec.network()) for spec in SPECS)
    return {
        spec.name: (network, {"model": spec.name, "scale": spec.scale, "hyper": vars(network.hyper)})
        for spec, network in made
    }


@pytest.fixture
def model(spec):
    return spec.name


def load(model, path, **typed):
    return weights_of(BY_NAME[model].load(path, **typed))


def behind(prefix, arrays):
    return {prefix + name: array for name, array in arrays.items()}


def training(prefix, arrays):
    """What MindSpore saves of a network that is being trained."""
    moments = {name: np.full_like(array, 7) for name, array in arrays.items()}
    return {
        **behind(prefix, arrays),
        **behind(f"moment1.{prefix}", moments),
        **behind("optimizer.moment2.", moments),
        **behind("adam_m.", moments),
        "learning_rate": np.ones(5, np.float32),
        "beta1_power": np.float32(0.9),
        "global_step": np.array([7], np.int32),
        "epoch_num": np.array(3, np.int32),
    }


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
@pytest.mark.parametrize(
    "saved",
    [
        lambda arrays: behind("module.", arrays),
        lambda arrays: behind("_orig_mod.module.", arrays),
        lambda arrays: behind("params_ema.", arrays) | behind("params.", {key: -a for key, a in arrays.items()}),
        lambda arrays: training("", arrays),
        lambda arrays: training("network._backbone.", arrays),
    ],
    ids=["DataParallel", "compiled", "averages", "training", "wrapped training"],
)
def test_files_of_other_programs_are_read(tmp_path, networks, model, saved, suffix):
    wanted, path = weights_of(networks[model][0]), tmp_path / f"theirs.{suffix}"
    arrays = {name: np.asarray(array) for name, array in saved(wanted).items()}
    if suffix == "ckpt":
        ms.save_checkpoint([{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()], str(path))
    else:
        save_file(arrays, path)
    assert_same(load(model, path, **TYPED.get(model, {})), wanted)


def test_an_array_of_nobody_is_still_refused(tmp_path, networks, model):
    arrays = weights_of(networks[model][0])
    save_file(behind("module.", arrays | {"somebody.weight": np.ones(3)}), tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"1 of its \d+ arrays have no place in the network \(somebody\.weight\)"):
        load(model, tmp_path / "x.safetensors", **TYPED.get(model, {}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_the_weights_is_named(tmp_path, networks, model, value):
    network, described = networks[model]
    arrays = weights_of(network)
    name = [name for name, array in arrays.items() if array.size > 8][-1]
    arrays[name] = np.where(np.arange(arrays[name].size).reshape(arrays[name].shape), arrays[name], np.float32(value))
    checkpoint.save(tmp_path / "x.ckpt", Checkpoint(arrays, described))
    with pytest.raises(UserError, match=rf"x\.ckpt has NaN or Inf in {re.escape(name)}: "):
        load(model, tmp_path / "x.ckpt")


@pytest.mark.parametrize(("model", "scale"), [("WDSR", 3), ("CSNLN", 3), ("IRN", 4), ("SRDiff", 8)])
def test_a_training_starts_from_another_scale(tmp_path, networks, model, scale, caplog):
    network, described = networks[model]
    saved = {name: array + np.float32(1) for name, array in weights_of(network).items()}
    if model == "IRN":  # whose Haar filters are no weights
        saved |= {name: array - 1 for name, array in saved.items() if name.endswith("haar_weights")}
    checkpoint.save(tmp_path / "start.ckpt", Checkpoint(saved, described))
    levels = {"block_num": (1, 1)} if model == "IRN" else {}
    new = type(network)(replace(network.hyper, scale=scale, **levels), seed=5)
    before = weights_of(new)
    with caplog.at_level(logging.INFO):
        BY_NAME[model].utilities.load_weights(new, str(tmp_path / "start.ckpt"))
    fits = {name for name, array in before.items() if name in saved and saved[name].shape == array.shape}
    assert 0 < len(fits) < len(before)
    assert_same(weights_of(new), {name: saved[name] if name in fits else before[name] for name in before})
    (line,) = [record.getMessage() for record in caplog.records if "start.ckpt" in record.getMessage()]
    assert f"is of x{network.hyper.scale}: {len(fits)} of the {len(before)} parameters are taken" in line
    assert all(".".join(name.split(".")[:2]) in line for name in before.keys() - fits)


def test_a_training_from_the_same_scale_stays_strict(tmp_path, networks, model):
    network, described = networks[model]
    arrays = weights_of(network)
    removed = next(name for name in arrays if name.endswith(("bias", "conv5.weight")))
    del arrays[removed]
    checkpoint.save(tmp_path / "start.ckpt", Checkpoint(arrays, described))
    with pytest.raises(UserError, match=rf"missing in it \({re.escape(removed)}\)"):
        BY_NAME[model].utilities.load_weights(network, str(tmp_path / "start.ckpt"))


def test_models_that_have_demo_weights_are_named(tmp_path):
    for name in ("A/weights/a_x2.ckpt", "B/weights/b_small_x4.ckpt", "C/weights/c_x4.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    said = {4: r"^A has no demo weights for x4 \(x4: B, C\): .*A/train\.py --scale 4.*--ckpt_path", 3: "x3: none here"}
    for scale, sentence in said.items():
        with pytest.raises(UserError, match=sentence):
            trained.demo_weights(tmp_path / "A" / "weights", scale)
