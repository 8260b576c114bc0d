"""The authors' files: {"state_dict": {"model": {...}}} with the chain's constants; loaded by name and strictly.

A network of noise that was never loaded is what their users reported most, so a half of one is an error that says so.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest

from ci.tests.specs import weights_of
from ci.tests.SRDiff.nets import TINY
from common.checkpoint.fitting import CheckpointError
from SRDiff.src.model.schedule import make_schedule
from SRDiff.src.model.srdiff import Hyper, SRDiffNet
from SRDiff.src.model_utils.official import CONSTANTS, hyper_of, network_weights

SMALL = TINY[4]


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


@pytest.mark.parametrize(
    "hyper",
    [
        TINY[8],
        replace(SMALL, dim_mults=(1, 2, 3, 4)),
        replace(SMALL, hidden_size=6, rrdb_num_feat=5, rrdb_num_block=3),
        replace(SMALL, timesteps=30, beta_schedule="linear"),
    ],
)
def test_hyper_parameters_are_read_off(hyper):
    weights = authors(hyper)
    assert hyper_of(weights, "x.ckpt") == hyper
    assert network_weights(weights, hyper, "x.ckpt").keys() == weights.keys() - set(CONSTANTS)


def test_what_the_file_cannot_tell_is_asked_for():
    """Of what the user names, only that: the rest is what the file says."""
    weights = {name: array for name, array in authors(SMALL).items() if name not in CONSTANTS}
    asked = {"scale": 8, "hidden_size": 64, "timesteps": 50, "beta_s": 0.1, "res_rescale": 1.5}
    assert hyper_of(weights, "x.ckpt", asked) == replace(SMALL, timesteps=50, beta_s=0.1, res_rescale=1.5)
    weights |= constants(replace(SMALL, beta_s=0.1))
    assert hyper_of(weights, "x.ckpt", asked) == replace(SMALL, beta_s=0.1, res_rescale=1.5)


@pytest.mark.parametrize("name", CONSTANTS[::4])
def test_constants_of_another_chain_are_refused(name):
    """Weights are of no use with other noise than they were trained with."""
    for change in ({"timesteps": 20}, {"beta_s": 0.01}):
        weights = authors(SMALL)
        weights[name] = constants(replace(SMALL, **change))[name]
        with pytest.raises(CheckpointError, match=rf"x\.ckpt was trained with another chain: its {name} are not those"):
            network_weights(weights, SMALL, "x.ckpt")


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
