"""The inference form: what it computes, told by naive NumPy, and train2test.py as a user starts it."""

import contextlib
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.SRFlow import nets
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.runtime import graph_mode
from SRFlow import train2test
from SRFlow.src.model_utils import util
from SRFlow.src.model_utils.graphs import Decode, Encode, fold
from SRFlow.src.model_utils.options import EvalConfig
from SRFlow.src.model_utils.util import DEMO_WEIGHTS, describe

DEMO = DEMO_WEIGHTS / "srflow_small_x4.ckpt"
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
    return fold(nets.weights_of(network), network.hyper)


def run(*arguments):
    assert train2test.main([*map(str, arguments), "--device_target", "CPU"]) == 0


# ----------------------------------------------------------------------------------------------------------- both forms


@pytest.mark.parametrize("hyper", SHAPES.values(), ids=SHAPES)
def test_both_directions_equal_naive_numpy(hyper):
    network = nets.make(hyper, 0.05)
    arrays = folded(network)
    height, width = 3 * hyper.lr_multiple, 5 * hyper.lr_multiple
    hr, lr = nets.picture(height * hyper.scale, width * hyper.scale, 2), nets.picture(height, width, 2, seed=1)
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


def test_every_weight_that_is_read_counts():
    """A weight that the form forgot would not change what it gives; one that it keeps in vain is no part of it."""
    hyper = SHAPES["x4, two levels, odd sides"]
    network = nets.make(hyper, 0.05)
    weights, arrays = nets.weights_of(network), folded(network)
    assert all(array.dtype == np.float32 for array in arrays.values())
    for name, array in weights.items():
        changed = fold({**weights, name: array + np.float32(0.25)}, hyper)
        differing = [key for key in arrays if not np.array_equal(arrays[key], changed[key])]
        unread = name.startswith(("RRDB.HRconv", "RRDB.conv_last", "RRDB.upconv2", "flowUpsamplerNet.f."))
        assert bool(differing) != unread, name


def test_weights_that_cannot_be_folded(tmp_path):
    network = nets.make(nets.TINY[2], 0.05)
    weights = nets.weights_of(network)
    matrix = "flowUpsamplerNet.layers.1.invconv.weight"
    for name, value, sentence in (
        (
            "RRDB.trunk_conv.bias",
            np.full_like(weights["RRDB.trunk_conv.bias"], np.nan),
            "NaN or Inf in RRDB.trunk_conv.bias",
        ),
        (matrix, np.zeros_like(weights[matrix]), "has no inverse"),
    ):
        path = tmp_path / "bad.ckpt"
        checkpoint.save(path, Checkpoint({**weights, name: value}, describe(network.hyper, {})))
        with pytest.raises(UserError, match=sentence) as raised:
            util.load_trained(EvalConfig(ckpt_path=str(path)))
        assert str(path) in str(raised.value)


# -------------------------------------------------------------------------------------------------------- train2test.py


@pytest.fixture(scope="module")
def conversion(tmp_path_factory):
    """(what train2test.py makes of the demo weights, which are trained, the lines that it says)."""
    target = tmp_path_factory.mktemp("converted") / "x4.safetensors"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run("--train_path", DEMO, "--test_path", target)
    return target, said.getvalue().splitlines()


@pytest.fixture
def converted(conversion):
    """The file alone."""
    return conversion[0]


def test_both_kinds_of_checkpoint_are_the_same_network(converted):
    one, other = (util.load_trained(EvalConfig(ckpt_path=str(path))) for path in (DEMO, converted))
    assert (one.hyper, one.digest) == (other.hyper, other.digest)
    assert one.arrays.keys() == other.arrays.keys()
    assert all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())
    meta = checkpoint.read(converted).meta
    assert (meta["model"], meta["scale"], meta["form"]) == ("SRFlow", 4, "inference")
    with pytest.raises(UserError, match="has scale 4, not 8"):
        util.load_trained(EvalConfig(ckpt_path=str(converted), scale=8))


def test_it_says_what_was_found(conversion):
    target, lines = conversion
    number = r"([\d.]+)"
    begin = r"converted .*srflow_small_x4\.ckpt \(SRFlow x4, step 1700\)"
    difference = re.fullmatch(rf"{begin}: both directions differ by (\S+) at most", lines[0])
    assert 0 < float(difference[1]) < 1e-4
    assert re.fullmatch(r"values: [\d,]+ instead of [\d,]+", lines[1])
    loaded = re.fullmatch(rf"loaded in {number} s instead of {number} s", lines[2])
    assert float(loaded[1]) <= float(loaded[2])
    assert re.fullmatch(rf"0\.7-heat sample in MindSpore, {number} s instead of {number} s", lines[3])
    assert lines[4] == f"written to {target}"


def test_a_form_that_computes_something_else_is_not_written(tiny, tmp_path, monkeypatch):
    """The comparison sees both directions: an array of the one direction alone is changed in turn."""
    right = util.from_network
    for name in ("levels.0.inverse_shifts", "levels.1.logdet"):

        def wrong(*arguments, name=name):
            found = right(*arguments)
            return found._replace(arrays={**found.arrays, name: found.arrays[name] + np.float32(0.01)})

        monkeypatch.setattr(util, "from_network", wrong)
        with pytest.raises(UserError, match=r"is not converted: the two forms differ by \S+ of the largest value"):
            run("--train_path", tiny[2], "--test_path", tmp_path / "t.ckpt")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "from which file to which? type --train_path CHECKPOINT --test_path NEW.ckpt"),
        (["--train_path", "TINY"], "from which file to which?"),
        (["--train_path", "TINY", "--test_path", "new.pth"], "must end in .ckpt or .safetensors"),
        (["--train_path", "TINY", "--test_path", "TINY"], "would overwrite --train_path"),
        (["--train_path", "/nope.ckpt", "--test_path", "new.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["--train_path", "DONE", "--test_path", "new.ckpt"], "is in the inference form already"),
        (["--train_path", "OTHER", "--test_path", "new.ckpt"], "holds WDSR, not SRFlow"),
        (["--train_path", "TINY", "--test_path", "/proc/nope/new.ckpt"], "cannot write to /proc/nope"),
        (["--train_pth", "TINY", "--test_path", "new.ckpt"], "did you mean '--train_path'"),
    ],
)
def test_mistakes_get_one_sentence(tiny, converted, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(tmp_path / "other.ckpt", Checkpoint({"a": np.zeros(1, np.float32)}, {"model": "WDSR"}))
    places = {"TINY": tiny[2], "DONE": converted, "OTHER": tmp_path / "other.ckpt"}
    with pytest.raises(UserError) as raised:
        run(*(places.get(word, word) for word in words))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["other.ckpt"]
