"""The inference form: what it computes, told by naive NumPy, and train2test.py as a user starts it."""

import contextlib
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.clone import ROOT
from ci.tests.naive import random_image
from ci.tests.specs import noise, weights_of, write
from ci.tests.SRFlow import nets
from common import UserError, checkpoint
from common.runtime import graph_mode
from SRFlow import export, infer, train2test
from SRFlow.src.model_utils import util
from SRFlow.src.model_utils.graphs import Decode, Encode, fold

DEMO = ROOT / "SRFlow" / "weights" / "srflow_small_x4.ckpt"
SHAPES = {  # every way in which a level may read the features
    "x2": nets.TINY[2],
    "x4": nets.TINY[4],
    "x8": nets.TINY[8],
    "x4, two levels, odd sides": replace(nets.TINY[4], levels=2),
    "x4, one level, five steps": replace(nets.TINY[4], levels=1, steps=5),  # more than are read together
    "x2, one level, odd sides": replace(nets.TINY[2], levels=1),
    "x2, one stacked block": replace(nets.TINY[2], stack=(0,)),
}


def folded(network):
    return fold(weights_of(network), network.hyper)


def run(*arguments):
    assert train2test.main([*map(str, arguments), "--device_target", "CPU"]) == 0


# ----------------------------------------------------------------------------------------------------------- both forms


@pytest.mark.parametrize("hyper", SHAPES.values(), ids=SHAPES)
def test_both_directions_equal_naive_numpy(hyper):
    network = nets.make(hyper, 0.05)
    arrays = folded(network)
    height, width = 3 * hyper.lr_multiple, 5 * hyper.lr_multiple
    hr, lr = random_image(height * hyper.scale, width * hyper.scale, 2), random_image(height, width, 2, seed=1)
    wanted = nets.latents(network, hr, nets.encode(network, lr)[0])
    with graph_mode(False):
        *parts, last = [part.asnumpy() for part in Encode(arrays, hyper)(Tensor(hr), Tensor(lr))]
        latents, maps = parts[: len(wanted)], [*parts[len(wanted) :], last]
        again = Decode(arrays, hyper)(Tensor(lr), *(Tensor(part.astype(np.float32)) for part in wanted)).asnumpy()
        logdet = network.forward(Tensor(hr), Tensor(lr))[1].asnumpy()
    assert [part.shape[1:] for part in latents] == list(hyper.latent_shapes(height, width))
    for found, expected in zip(latents, wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(again, hr, atol=1e-4)
    sizes = [(2, 1, height * hyper.scale >> n, width * hyper.scale >> n) for n in range(1, hyper.levels + 1)]
    assert [part.shape for part in maps] == sizes
    total = sum(part.sum((1, 2, 3), dtype=np.float64) for part in maps)
    np.testing.assert_allclose(total, logdet, rtol=1e-6)
    assert np.abs(total).min() > 1


# -------------------------------------------------------------------------------------------------------- train2test.py


@pytest.fixture(scope="module")
def conversion(tmp_path_factory):
    """(what train2test.py makes of the demo weights, which are trained, the lines that it says)."""
    target = tmp_path_factory.mktemp("converted") / "x4.safetensors"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run("--train_path", DEMO, "--test_path", target)
    return target, said.getvalue().splitlines()


def test_both_kinds_of_checkpoint_are_the_same_network(conversion, tmp_path):
    """They sample the same image; the file says what it is, and what was found when it was written."""
    target, lines = conversion
    image, made = write(tmp_path, {"a": noise(6, 8)}) / "a.png", []
    for path in (DEMO, target):
        words = [image, "--ckpt_path", path, "--output", tmp_path / path.stem, "--device_target", "CPU"]
        assert infer.main([str(word) for word in words]) == 0
        made.append((tmp_path / path.stem / "a_x4.png").read_bytes())
    assert made[0] == made[1]
    with pytest.raises(UserError, match="is in the inference form: take the checkpoint that it was converted from"):
        export.main(["--ckpt_path", str(target), "--file_format", "SAFETENSORS", "--device_target", "CPU"])
    meta = checkpoint.read(target).meta
    assert (meta["model"], meta["scale"], meta["form"]) == ("SRFlow", 4, "inference")
    begin = rf"converted .*srflow_small_x4\.ckpt \(SRFlow x4, step {checkpoint.read(DEMO).meta['step']}\)"
    difference = re.fullmatch(rf"{begin}: both directions differ by (\S+) at most", lines[0])
    assert 0 < float(difference[1]) < 1e-4
    loaded = re.fullmatch(r"loaded in ([\d.]+) s instead of ([\d.]+) s", lines[2])
    assert float(loaded[1]) <= float(loaded[2])
    assert lines[4] == f"written to {target}"


def test_a_form_that_computes_something_else_is_not_written(saved, tmp_path, monkeypatch):
    """The comparison sees both directions: an array of the one direction alone is changed in turn."""
    right = util.from_network
    for name in ("levels.0.inverse_shifts", "levels.1.logdet"):

        def wrong(*arguments, name=name):
            found = right(*arguments)
            return found._replace(arrays={**found.arrays, name: found.arrays[name] + np.float32(0.01)})

        monkeypatch.setattr(util, "from_network", wrong)
        with pytest.raises(UserError, match=r"is not converted: the two forms differ by \S+ of the largest value"):
            run("--train_path", saved["SRFlow"], "--test_path", tmp_path / "t.ckpt")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train_path", "TINY", "--test_path", "new.pth"], r"must end in \.ckpt or \.safetensors"),
        (["--train_path", "TINY", "--test_path", "TINY"], "would overwrite --train_path"),
        (["--train_path", "DONE", "--test_path", "new.ckpt"], "is in the inference form already"),
        (["--train_path", "NAN", "--test_path", "new.ckpt"], r"NaN or Inf in RRDB\.trunk_conv\.bias"),
        (["--train_path", "FLAT", "--test_path", "new.ckpt"], "has no inverse"),
    ],
)
def test_files_that_are_not_converted(saved, conversion, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    places = {"TINY": saved["SRFlow"], "DONE": conversion[0]}
    for name, source, array, change in (
        ("NAN", saved["SRFlow"], "RRDB.trunk_conv.bias", lambda x: x * np.float32(np.nan)),
        ("FLAT", saved["SRFlow"], "flowUpsamplerNet.layers.1.invconv.weight", np.zeros_like),
    ):
        content = checkpoint.read(source)
        content.weights[array] = change(content.weights[array])
        places[name] = tmp_path / f"{name}.ckpt"
        checkpoint.save(places[name], content)
    with pytest.raises(UserError, match=message):
        run(*(places.get(word, word) for word in words))
    assert not list(tmp_path.glob("new*"))
