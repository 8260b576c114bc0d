"""The authors' .pth files in the five: loaded by name and strictly both ways, to start from and to use."""

import re

import numpy as np
import pytest

from ci.tests.common.test_pth import dict_of, storage, tensor, write_legacy, write_zip
from ci.tests.specs import SPECS, noise, weights_of, write
from ci.tests.training import assert_same, read
from common import UserError
from common.images import read_rgb

# What no file tells of the tiny networks, and a parameter of each.
TYPED = {"SRFlow": ("--stack", "0,1"), "SRDiff": ("--timesteps", "10")}
PLACES = {
    "WDSR": "body.1.body.2.bias",
    "IRN": "operations.1.G.conv5.weight",
    "SRFlow": "flowUpsamplerNet.layers.3.invconv.weight",
    "SRDiff": "denoise_fn.ups.0.0.mlp.1.bias",
    "CSNLN": "SEM.post_conv.0.bias",
}


def write_pth(path, weights, writer=write_zip, prefix="", wrapped=lambda body: body):
    """Write a file as torch.save does, one storage for each array; returns its path."""
    bodies, blocks, view = {}, {}, [b"N"] if writer is write_legacy else []
    for number, (name, array) in enumerate(weights.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        bodies[prefix + name] = tensor(storage(array.size, *view, key=str(number)), array.shape, strides)
        blocks[str(number)] = array.ravel()
    return writer(path, wrapped(dict_of(**bodies)), blocks)


@pytest.fixture
def upscaled(tmp_path):
    """upscaled(spec, weights file, words of the network) -> what infer.py makes of an image."""
    write(tmp_path, {"a": noise(4, 6)})

    def run(spec, path, *words):
        given = [*spec.infer, tmp_path / "a.png", "--checkpoint", path, "--output", tmp_path / path.stem, *words]
        assert spec.main("infer", *given, "--engine", "mindspore", "--device_target", "CPU") == 0
        (made,) = (tmp_path / path.stem).iterdir()
        return read_rgb(made)

    return run


def test_their_files_are_the_network(spec, saved, upscaled, tmp_path):
    """As PyTorch writes them now, under DataParallel and a trainer's wrapping, and as it wrote them before 1.6."""
    weights, wanted = weights_of(spec.network()), upscaled(spec, saved[spec.name])
    wrapped = lambda body: dict_of(state_dict=dict_of(model=body) if spec.name == "SRDiff" else body)  # noqa: E731
    now = write_pth(tmp_path / "now.pth", weights, prefix="module.", wrapped=wrapped)
    old = write_pth(tmp_path / "old.pth", weights, write_legacy)
    for path in (now, old):
        np.testing.assert_array_equal(upscaled(spec, path, *TYPED.get(spec.name, ())), wanted)


def test_training_starts_from_them(spec, trained, begun, tmp_path):
    weights = read(trained(spec.name)).weights
    network = begun(spec.name, checkpoint=write_pth(tmp_path / "start.pth", weights)).network
    assert_same(weights_of(network), weights)


def test_files_that_do_not_fit_are_refused(spec, upscaled, tmp_path):
    """A key that is missing, one too many, another shape, another scale, another network: each is named."""
    weights, place, typed = weights_of(spec.network()), PLACES[spec.name], TYPED.get(spec.name, ())
    bent = np.zeros((*weights[place].shape, 2), np.float32)
    other = next(other for other in SPECS if other.name == ("IRN" if spec.name == "WDSR" else "WDSR"))
    cases = {
        "cut": ({name: array for name, array in weights.items() if name != place}, rf"missing in it \({place}\)"),
        "more": (weights | {"somebody.weight": bent}, r"no place in the network \(somebody\.weight\)"),
        "bent": (weights | {place: bent}, rf"{re.escape(place)}: {re.escape(str(bent.shape))}"),
        "else": (weights_of(other.network()), rf"no {spec.name}"),
    }
    for name, (arrays, message) in cases.items():
        with pytest.raises(UserError, match=rf"{name}\.pth.*{message}"):
            upscaled(spec, write_pth(tmp_path / f"{name}.pth", arrays), *typed)
    whole, scale = write_pth(tmp_path / "whole.pth", weights), 6 - spec.scale
    with pytest.raises(UserError, match=rf"whole\.pth has scale {spec.scale}, not {scale}"):
        upscaled(spec, whole, *typed, "--scale", scale)
