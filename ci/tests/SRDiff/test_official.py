"""The authors' files: {"state_dict": {"model": {...}}} with the chain's constants; loaded by name and strictly.

A network of noise that was never loaded is what their users reported most, so a half of one is an error that says so.
"""

import functools
import re
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.common.test_pth import dict_of, number, write_legacy, write_zip
from ci.tests.SRDiff.nets import TINY, make, weights_of
from ci.tests.WDSR.test_official import write_pth
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.fitting import CheckpointError, load_into
from SRDiff.src.model.schedule import make_schedule
from SRDiff.src.model.srdiff import Hyper, SRDiffNet
from SRDiff.src.model_utils.official import CONSTANTS, encoder_weights, hyper_of, network_weights

SMALL = TINY[4]
WRITERS = [(write_zip, ""), (write_zip, "module."), (write_legacy, ""), (write_legacy, "module.")]


def constants(hyper: Hyper) -> dict[str, np.ndarray]:
    """As the authors keep them: twelve arrays in float32."""
    made = make_schedule(hyper.beta_schedule, hyper.timesteps, hyper.beta_s, hyper.beta_end)
    return {name: getattr(made, name).astype(np.float32) for name in CONSTANTS}


def authors(hyper: Hyper) -> dict[str, np.ndarray]:
    """What a file of theirs holds: random weights, and constants."""
    return constants(hyper) | random_weights(hyper)


@functools.cache
def random_weights(hyper: Hyper) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {name: np.float32(random.normal(0, 0.1, a.shape)) for name, a in weights_of(SRDiffNet(hyper)).items()}


def write_theirs(path, weights, write=write_zip, prefix=""):
    """model_ckpt_steps_N.ckpt as their trainer writes it: the weights two dictionaries deep, beside other things."""

    def wrapped(path, body, blocks):
        inside = {"epoch": number(3), "global_step": number(400_000), "optimizer_states": b"]"}
        return written(path, dict_of(**inside, state_dict=dict_of(model=body)), blocks)

    written = write
    return write_pth(path, weights, wrapped, prefix)


def load(path, asked=None) -> SRDiffNet:
    """A network as the programs put one together."""
    weights = checkpoint.read(path).weights
    network = SRDiffNet(hyper_of(weights, str(path), asked))
    load_into(network, network_weights(weights, network.hyper, str(path)), source=path)
    return network


def assert_holds(network, weights) -> None:
    """Every parameter is the array of its name, and no array but the constants is left."""
    found = weights_of(network)
    assert found.keys() == weights.keys() - set(CONSTANTS)
    for name, array in found.items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


# ------------------------------------------------------------------ whole networks


@pytest.mark.parametrize(("write", "prefix"), WRITERS)
def test_forms_of_the_file(tmp_path, write, prefix):
    """As PyTorch writes it now and wrote it before 1.6, with and without DataParallel's prefix."""
    weights = authors(SMALL)
    network = load(write_theirs(tmp_path / "model_ckpt_steps_400000.ckpt", weights, write, prefix))
    assert network.hyper == SMALL
    assert_holds(network, weights)


def test_their_weights_give_their_results(goldens_dir, tmp_path):
    """Weights that the authors' own code computed the golden with, by way of a file of theirs."""
    with np.load(goldens_dir / "srdiff_4x.npz") as file:
        golden = dict(file)
    weights = {key.removeprefix("state/"): array for key, array in golden.items() if key.startswith("state/")}
    network = load(write_theirs(tmp_path / "model_ckpt_steps_400000.ckpt", weights))
    assert network.hyper == Hyper(4, 8, (1, 2, 3, 4), 8, 2, 20)
    assert_holds(network, weights)
    made, t = network.hyper.schedule(), golden["in/t"][0]
    start = ((golden["in/img_hr"] - golden["in/img_lr_up"]) * 2).clip(-1, 1)
    x = np.stack([made.q_sample(start[n], t[n], golden["in/noise"][0][n]) for n in range(2)])
    eps = network(Tensor(x), Tensor(np.int32(t)), Tensor(golden["in/img_lr"])).asnumpy()
    assert np.abs(eps - golden["out/eps_theta"]).max() < 2e-6 * np.abs(golden["out/eps_theta"]).max()


@pytest.mark.parametrize(
    "hyper",
    [
        *(TINY[scale] for scale in (2, 8)),
        replace(SMALL, dim_mults=(1, 2, 3, 4)),
        replace(SMALL, hidden_size=6, rrdb_num_feat=5, rrdb_num_block=3),
        replace(SMALL, timesteps=30, beta_schedule="linear"),
    ],
)
def test_hyper_parameters_are_read_off(hyper):
    weights = authors(hyper)
    assert hyper_of(weights, "x.ckpt") == hyper
    assert network_weights(weights, hyper, "x.ckpt").keys() == weights.keys() - set(CONSTANTS)


@pytest.mark.parametrize("kept", [(), CONSTANTS[:1], CONSTANTS[1:], CONSTANTS])
def test_constants_are_tolerated_by_name(kept):
    """They may be there, or not: ours are computed."""
    weights = {name: array for name, array in authors(SMALL).items() if name not in CONSTANTS or name in kept}
    assert not network_weights(weights, SMALL, "x.ckpt").keys() & set(CONSTANTS)


def test_what_the_file_cannot_tell_is_asked_for():
    """Of what the user names, only that: the rest is what the file says."""
    weights = {name: array for name, array in authors(SMALL).items() if name not in CONSTANTS}
    asked = {"scale": 8, "hidden_size": 64, "timesteps": 50, "beta_s": 0.1, "res_rescale": 1.5}
    assert hyper_of(weights, "x.ckpt", asked) == replace(SMALL, timesteps=50, beta_s=0.1, res_rescale=1.5)
    weights |= constants(replace(SMALL, beta_s=0.1))
    assert hyper_of(weights, "x.ckpt", asked) == replace(SMALL, beta_s=0.1, res_rescale=1.5)


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_of_another_chain_are_refused(name):
    """Weights are of no use with other noise than they were trained with."""
    for change in ({"timesteps": 20}, {"beta_s": 0.01}, {"beta_schedule": "linear"}):
        weights = authors(SMALL)
        weights[name] = constants(replace(SMALL, **change))[name]
        with pytest.raises(CheckpointError, match=rf"x\.ckpt was trained with another chain: its {name} are not those"):
            network_weights(weights, SMALL, "x.ckpt")


def test_chain_that_must_be_named():
    """An offset that is not the authors' cannot be read off; the message says what to type."""
    other = replace(SMALL, beta_s=0.02)
    weights = authors(other)
    with pytest.raises(CheckpointError, match=r"beta_s 0\.008, .* type the --timesteps, --beta_schedule, --beta_s and"):
        network_weights(weights, hyper_of(weights, "x.ckpt"), "x.ckpt")
    assert hyper_of(weights, "x.ckpt", {"beta_s": 0.02}) == other


# ------------------------------------------------------------------ the encoder alone


@pytest.mark.parametrize(("write", "prefix"), WRITERS)
def test_encoder_alone(tmp_path, write, prefix):
    """Its pre-training leaves the encoder without a prefix; the noise predictor stays as it begins."""
    weights = authors(SMALL)
    alone = {name.removeprefix("rrdb."): array for name, array in weights.items() if name.startswith("rrdb.")}
    path = write_theirs(tmp_path / "model_ckpt_steps_100000.ckpt", alone, write, prefix)
    network = make(SMALL)
    before = weights_of(network)
    load_into(network.rrdb, encoder_weights(checkpoint.read(path).weights, str(path)), source=path)
    wanted = before | {name: array for name, array in weights.items() if name.startswith("rrdb.")}
    assert_holds(network, wanted)
    assert not np.array_equal(before["rrdb.conv_first.weight"], wanted["rrdb.conv_first.weight"])


def test_encoder_of_a_whole_network():
    weights = authors(SMALL)
    found = encoder_weights(weights, "x.ckpt")
    assert found.keys() == {name for name in weights if name.startswith("rrdb.")}
    assert all(found[name] is weights[name] for name in found)


def test_encoder_of_another_size():
    """The authors' configuration for pre-training on DF2K has 64 channels and 17 blocks, which their SRDiff has not."""
    other = replace(SMALL, rrdb_num_feat=6, rrdb_num_block=3)
    network = make(SMALL)
    found = encoder_weights(authors(other), "x.ckpt")
    with pytest.raises(CheckpointError, match=r"30 of its 102 arrays have no place .* shapes or types differ \(rrdb\."):
        load_into(network.rrdb, found, source="x.ckpt")


# ------------------------------------------------------------------ what is said when they do not load


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"checkpoint not found: .*steps_1\.ckpt"):
        load(tmp_path / "model_ckpt_steps_1.ckpt")


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (("denoise_fn.", *CONSTANTS), r"has a noise predictor, but no encoder \(rrdb\.\*\) in it: .* draw noise"),
        (("rrdb.",), r"holds the encoder alone, .* train one with --rrdb_path x\.ckpt"),
        (CONSTANTS, r"is no SRDiff: it has alphas_cumprod, "),
    ],
)
def test_half_a_network(kept, message):
    weights = {name: array for name, array in authors(SMALL).items() if name.startswith(kept)}
    for attempt in (lambda: hyper_of(weights, "x.ckpt"), lambda: network_weights(weights, SMALL, "x.ckpt")):
        with pytest.raises(CheckpointError, match=rf"x\.ckpt {message}"):
            attempt()


def test_encoder_alone_without_prefix_is_no_network():
    weights = {name.removeprefix("rrdb."): array for name, array in encoder_weights(authors(SMALL), "").items()}
    with pytest.raises(CheckpointError, match="holds the encoder alone"):
        hyper_of(weights, "x.ckpt")


def test_no_encoder_in_it():
    weights = {name: array for name, array in authors(SMALL).items() if not name.startswith("rrdb.")}
    with pytest.raises(CheckpointError, match=r"x\.ckpt has no encoder in it .*: it has alphas_cumprod, "):
        encoder_weights(weights, "x.ckpt")


PLACES = [
    "rrdb.conv_last.bias",
    "rrdb.RRDB_trunk.1.RDB3.conv5.weight",
    "denoise_fn.downs.0.2.conv.1.weight",
    "denoise_fn.ups.0.0.mlp.1.bias",
]


@pytest.mark.parametrize("place", PLACES)
def test_missing_key_is_named(place):
    weights = authors(SMALL)
    del weights[place]
    network = make(SMALL)
    before = weights_of(network)
    with pytest.raises(CheckpointError, match=rf"cut\.ckpt.* 1 of the network's {len(before)} .*in it \({place}\)"):
        load_into(network, network_weights(weights, SMALL, "cut.ckpt"), source="cut.ckpt")
    assert_holds(network, before)  # nothing was touched


@pytest.mark.parametrize("extra", ["denoise_fn.downs.2.0.block1.block.1.bias", "rrdb.upconv3.bias", "alphas"])
def test_extra_key_is_named(extra):
    weights = authors(SMALL) | {extra: np.zeros(3, np.float32)}
    with pytest.raises(
        CheckpointError, match=rf"1 of its \d+ arrays have no place in the network \({re.escape(extra)}\)"
    ):
        load_into(make(SMALL), network_weights(weights, SMALL, "more.ckpt"), source="more.ckpt")


@pytest.mark.parametrize("name", ["denoise_fn.cond_proj.weight", "denoise_fn.mlp.0.weight", "rrdb.conv_first.weight"])
@pytest.mark.parametrize("shape", [None, (), (0,)])
def test_shapes_that_tell_nothing(name, shape):
    """What the sizes are read off is missing or bent."""
    weights = authors(SMALL)
    if shape is None:
        del weights[name]
    else:
        weights[name] = np.zeros(shape, np.float32)
    with pytest.raises(UserError):
        hyper_of(weights, "x.ckpt")


@pytest.mark.parametrize("name", ["denoise_fn.downs.1.0.block1.block.1.weight", "betas"])
def test_arrays_without_axes(name):
    weights = authors(SMALL) | {name: np.zeros((), np.float32)}
    with pytest.raises(UserError):
        network_weights(weights, hyper_of(weights, "x.ckpt"), "x.ckpt")
