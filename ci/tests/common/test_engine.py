"""Engines: same pictures from each, one compilation for all sizes, a kept export that is used only while it is good."""

import logging
import sys
import time

import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from common import UserError
from common.export import engine
from common.export.engine import MindSporeEngine, make_engine
from common.export.export import ExportError, Port
from common.runtime import graph_mode

IMAGE = Port("lr_image", (1, 3, "height", "width"))
SIZES = ({"height": 8, "width": 6}, {"height": 5, "width": 9})
DIGEST = "0123456789abcdef"
OTHER_SIZES = ((4, 7), (16, 5), (9, 9))


class Upscale(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, pad_mode="pad", padding=1, has_bias=True, bias_init="normal")
        self.shuffle = ops.DepthToSpace(2)

    def construct(self, lr_image):
        return self.shuffle(ops.relu(self.conv(lr_image)))


class TwoWay(nn.Cell):
    def construct(self, lr_image, z):
        return lr_image + z, ops.concat((lr_image, z), 1)


class EagerOnly(nn.Cell):
    """MindSpore's graph compiler wants the first argument to be called `self`."""

    def construct(this, x):  # noqa: N805
        return x * 2


class Interpolate(nn.Cell):
    """Has no ONNX form in MindSpore."""

    def construct(self, x):
        return ops.interpolate(x, size=(16, 12), mode="bilinear")


@pytest.fixture(autouse=True)
def tidy(tmp_path, monkeypatch):
    """No test writes to the user's cache, and MindSpore's dumps of failed compilations stay out of the repository."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("MS_OM_PATH", str(tmp_path / "dumps"))


@pytest.fixture
def no_export(monkeypatch):
    """Exporting fails the test; what is returned undoes that."""

    def fail(*_):
        pytest.fail("exported again")

    monkeypatch.setattr(engine, "draft", fail)


def image(height, width, seed=1):
    return np.random.default_rng(seed).random((1, 3, height, width), dtype=np.float32)


def make(kind, network, **options):
    return make_engine(kind, network, [IMAGE], ["sr_image"], sizes=SIZES, **options)


@pytest.mark.parametrize("kind", ["mindspore", "onnxruntime"])
def test_engines_agree_with_the_network(kind):
    network = Upscale()
    runner = make(kind, network)
    for size in OTHER_SIZES:
        expected = network(Tensor(image(*size))).asnumpy()
        np.testing.assert_allclose(runner.run(image(*size)), expected, atol=2e-6)


@pytest.mark.parametrize("graph", [False, True])
def test_one_compilation_serves_every_size(graph):
    """And follows the weights: by new data, as loading a checkpoint does, and in place, as an optimizer does."""
    with graph_mode(graph):
        network = Upscale()
        runner = make("mindspore", network)
        for size in OTHER_SIZES:
            expected = network(Tensor(image(*size))).asnumpy()
            np.testing.assert_allclose(runner.run(image(*size)), expected, atol=2e-6)
        assert len(runner._forms[0][1].__self__.compile_cache) == 1
        assert runner.name.endswith("(CPU, graph)")
        network.conv.bias.set_data(Tensor(np.full(12, 100, np.float32)))
        before = runner.run(image(4, 4))
        network.conv.bias.set_data(network.conv.bias + 1)
        np.testing.assert_allclose(runner.run(image(4, 4)) - before, 1, atol=1e-4)
        ops.assign(network.conv.bias, network.conv.bias + 1)
        np.testing.assert_allclose(runner.run(image(4, 4)) - before, 2, atol=1e-4)


@pytest.mark.parametrize("kind", ["mindspore", "onnxruntime"])
def test_several_inputs_and_outputs(kind):
    ports = [IMAGE, Port("z", (1, 3, "height", "width"))]
    runner = make_engine(kind, TwoWay(), ports, ["sum", "both"], sizes=SIZES)
    for size in OTHER_SIZES:
        x, z = image(*size), image(*size, seed=2)
        total, both = runner.run(x, z)
        np.testing.assert_allclose(total, x + z, atol=1e-6)
        np.testing.assert_array_equal(both, np.concatenate([x, z], axis=1))
    with pytest.raises(ValueError, match=r"the network takes lr_image \(1, 3, 'height', 'width'\), z "):
        runner.run(image(4, 4), image(4, 5))


def test_a_network_that_does_not_compile_runs_eagerly(caplog):
    runner = make("mindspore", EagerOnly())
    np.testing.assert_array_equal(runner.run(image(4, 4)), image(4, 4) * 2)
    assert runner.name.endswith("(CPU, eager)")
    assert "cannot run this as graph, trying graph per size" in caplog.text
    caplog.clear()
    runner.run(image(5, 4))
    assert not caplog.text  # said once


def test_a_network_without_dynamic_shapes_is_compiled_per_size(caplog):
    def no_dynamic_shape(*_):
        raise RuntimeError("Dynamic shape is not supported.\n- C++ call stack")

    runner = MindSporeEngine(Upscale(), [IMAGE])
    runner._forms[0] = ("graph", no_dynamic_shape)
    for size in OTHER_SIZES:
        assert runner.run(image(*size)).shape[2:] == (2 * size[0], 2 * size[1])
    assert runner.name.endswith("graph per size)")
    assert "Dynamic shape is not supported." in caplog.text
    assert "C++" not in caplog.text


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert make("auto", Upscale()).name.startswith("MindSpore ")
    with pytest.raises(UserError, match=rf"--engine onnxruntime needs the package {package}, .* pip install -e"):
        make("onnxruntime", Upscale())


def test_a_network_that_onnx_lacks(caplog):
    runner = make("auto", Interpolate())
    assert runner.name.startswith("MindSpore ")
    assert "MindSpore runs this network, since ONNX Runtime cannot" in caplog.text
    assert runner.run(image(4, 4)).shape == (1, 3, 16, 12)
    with pytest.raises(ExportError):
        make("onnxruntime", Interpolate())


@pytest.fixture
def kept(tmp_path, caplog):
    """A network, its checkpoint's path, and the export that is cached."""
    caplog.set_level(logging.INFO)
    network, checkpoint = Upscale(), tmp_path / "run" / "best.ckpt"
    checkpoint.parent.mkdir()
    make("onnxruntime", network, cache=checkpoint, digest=DIGEST)
    (file,) = (tmp_path / "xdg" / "mindspore-sr-zoo").iterdir()
    assert file.name == "best.ckpt.0123456789ab.onnx"
    assert "exported once for ONNX Runtime, loaded again and compared at 8x6" in caplog.text
    caplog.clear()
    return network, checkpoint, file


def test_an_export_is_made_once(kept, no_export):
    network, checkpoint, _ = kept
    runner = make("onnxruntime", network, cache=checkpoint, digest=DIGEST)
    np.testing.assert_allclose(runner.run(image(4, 7)), network(Tensor(image(4, 7))).asnumpy(), atol=2e-6)


@pytest.mark.parametrize("damage", ["a weight", "cut", "text"])
def test_a_damaged_export_is_made_again(kept, damage, caplog):
    """Also where it still loads, and gives other images."""
    network, checkpoint, file = kept
    good = file.read_bytes()
    place = good.index(b"conv.weight", good.index(b"conv.weight") + 1) - 200
    flipped = good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :]
    file.write_bytes({"a weight": flipped, "cut": good[:-300], "text": b"not a model"}[damage])
    runner = make("onnxruntime", network, cache=checkpoint, digest=DIGEST)
    np.testing.assert_allclose(runner.run(image(4, 7)), network(Tensor(image(4, 7))).asnumpy(), atol=2e-6)
    assert "is damaged or of another version: exporting again" in caplog.text
    assert len(file.read_bytes()) == len(good)
    assert list(file.parent.iterdir()) == [file]


def test_an_export_of_other_weights_is_not_taken(kept):
    """Even when the short digest in the file's name is the same."""
    network, checkpoint, _ = kept
    network.conv.bias.set_data(network.conv.bias + 1)
    runner = make("onnxruntime", network, cache=checkpoint, digest="0123456789abXXXX")
    np.testing.assert_allclose(runner.run(image(4, 7)), network(Tensor(image(4, 7))).asnumpy(), atol=2e-6)


def test_an_export_of_another_version_or_port_is_not_taken(kept, no_export, monkeypatch):
    network, checkpoint, _ = kept
    cached = {"cache": checkpoint, "digest": DIGEST}
    with pytest.raises(pytest.fail.Exception, match="exported again"):
        make_engine("onnxruntime", network, [Port("lr_image", (1, 3, 8, 6))], ["sr_image"], sizes=[{}], **cached)
    monkeypatch.setattr(engine, "__version__", "0.0.0")
    with pytest.raises(pytest.fail.Exception, match="exported again"):
        make("onnxruntime", network, **cached)


def test_the_last_used_exports_are_cached(tmp_path, kept, monkeypatch):
    """The folder of the weights stays as it is; an export that is used again outlives one that is not."""
    network, checkpoint, first = kept
    monkeypatch.setattr(engine, "CACHED", 3)
    for number in range(4):
        time.sleep(0.01)  # time stamps of files are no finer everywhere
        make("onnxruntime", network, cache=checkpoint, digest=DIGEST)
        make("onnxruntime", Upscale(), cache=checkpoint, digest=f"{number}" * 16)
    assert {path.name for path in first.parent.iterdir()} == {
        first.name, "best.ckpt.222222222222.onnx", "best.ckpt.333333333333.onnx",
    }  # fmt: skip
    assert list(checkpoint.parent.iterdir()) == []


def test_no_place_for_a_cache_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "readonly").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "readonly"))
    runner = make("onnxruntime", Upscale(), cache=tmp_path / "readonly" / "best.ckpt", digest=DIGEST)
    assert runner.run(image(4, 7)).shape == (1, 3, 8, 14)
