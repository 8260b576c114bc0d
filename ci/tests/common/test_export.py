"""Exported files and the engines that run them: they answer as the network does, and a bad file never takes a name."""

import logging
import stat
import subprocess
import sys
import time

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from common import UserError
from common.export import engine
from common.export.engine import make_engine
from common.export.export import ExportError, Graph, Port, export
from common.layers import Convolution
from common.runtime import graph_mode

IMAGE = Port("lr_image", (1, 3, "height", "width"))
SIZES = ({"height": 8, "width": 6}, {"height": 5, "width": 9})
OTHER_SIZES = ((4, 7), (16, 5), (9, 9))


class Upscale(nn.Cell):
    """3x3 convolution, ReLU, DepthToSpace."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.conv = Convolution(0.2 * rng.standard_normal((12, 3, 3, 3)), rng.standard_normal(12))
        self.shuffle = ops.DepthToSpace(2)

    def construct(self, lr_image):
        return self.shuffle(ops.relu(self.conv(lr_image)))


class Liar(Upscale):
    """Called with a tensor, it answers a little differently from what is written."""

    def __call__(self, x):
        return super().__call__(x) + (1e-3 if isinstance(x, Tensor) else 0)


class NotANumber(nn.Cell):
    def construct(self, x):
        return ops.log(x - 2)


class Interpolate(nn.Cell):
    """Has no ONNX form in MindSpore."""

    def construct(self, x):
        return ops.interpolate(x, size=(16, 12), mode="bilinear")


class EagerOnly(nn.Cell):
    """MindSpore's graph compiler wants the first argument to be called `self`."""

    def construct(this, x):  # noqa: N805
        return x * 2


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    """A cache of the test's own; MindSpore's dumps of failed compilations stay out of the repository."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("MS_OM_PATH", str(tmp_path / "dumps"))


@pytest.fixture
def write(tmp_path):
    """Export a network of one input and output to `net`."""
    place = tmp_path / "out" / "net"
    return lambda network, form, port=IMAGE: export(Graph(network, [port], ["sr"], SIZES), place, form)


def image(height, width, seed=1):
    return np.random.default_rng(seed).random((1, 3, height, width), dtype=np.float32)


def run_onnx(path, **inputs):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)


def assert_upscales(runner, network, size=(4, 7)):
    np.testing.assert_allclose(runner.run(image(*size)), network(Tensor(image(*size))).asnumpy(), atol=2e-6)


# ---------------------------------------------------------------------------------------------------------------- files


def test_files_answer_at_another_size_and_name_what_they_hold(tmp_path):
    """In any folder, with the usual permissions; MindSpore's exporter refuses such a path and shuts the folder."""
    onnx = pytest.importorskip("onnx")
    from mindspore.train.mind_ir_pb2 import ModelProto

    folder = tmp_path / "my 模型"
    folder.mkdir(mode=0o755)
    network, x, paths = Upscale(), image(13, 7), []
    for form in ("ONNX", "mindir"):
        graph = Graph(network, [IMAGE], ["sr_image"], SIZES)
        paths.append(export(graph, folder / "new" / "net v1.5", form, {"model": "X", "scale": "2"}))
        assert paths[-1] == folder / "new" / f"net v1.5.{form.lower()}"
        rights = [stat.S_IMODE(each.stat().st_mode) for each in (paths[-1], folder, folder / "new")]
        assert rights == [0o644, 0o755, 0o755]
    for found in (run_onnx(paths[0], lr_image=x)[0], nn.GraphCell(ms.load(str(paths[1])))(Tensor(x)).asnumpy()):
        np.testing.assert_allclose(found, network(Tensor(x)).asnumpy(), atol=2e-6)
    model, written = onnx.load(str(paths[0])), ModelProto()
    ports = [(value.name, shape_of(value)) for value in (*model.graph.input, *model.graph.output)]
    assert ports == [("lr_image", [1, 3, "height", "width"]), ("sr_image", [1, 3, "2*height", "2*width"])]
    assert {"model": "X", "scale": "2"}.items() <= {entry.key: entry.value for entry in model.metadata_props}.items()
    written.ParseFromString(paths[1].read_bytes())
    said = written.user_info  # in MindSpore 2.7 a list of entries
    said = dict(said) if hasattr(said, "items") else {entry.key: entry.value for entry in said}
    assert said == {"model": "X", "scale": "2"}


def shape_of(value):
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("form", ["MINDIR", "ONNX"])
def test_a_file_that_differs_never_takes_its_name(tmp_path, write, form):
    """The liar's 1e-3 is much where values reach 1, nothing where they reach 255."""
    old, network = tmp_path / "out" / f"net.{form.lower()}", Liar()
    old.parent.mkdir()
    old.write_text("the file of yesterday")
    network.conv.weight.set_data(Tensor(np.full((12, 3, 3, 3), 0.04, np.float32)))
    with pytest.raises(ExportError, match=r"sr at height 8, width 6: .* differs .* up to 0\.00"):
        write(network, form)
    assert ([path.name for path in old.parent.iterdir()], old.read_text()) == ([old.name], "the file of yesterday")
    write(network, form, IMAGE._replace(high=255.0))
    with pytest.raises(ExportError, match="differs from the network by up to nan"):
        write(NotANumber(), form)


@pytest.mark.parametrize(
    ("network", "form", "reason"),
    [
        (Interpolate, "ONNX", "Interpolate cannot be written as ONNX: For 'interpolate'"),
        (EagerOnly, "MINDIR", "MindSpore cannot write this network as MINDIR: .*parameters number"),
    ],
)
def test_a_network_that_a_format_lacks_is_one_line(tmp_path, write, network, form, reason):
    """And the failure leaves MindSpore's settings as they were, which its own exporter does not."""
    level, call = ms.get_context("jit_syntax_level"), nn.Cell.__call__
    with pytest.raises(ExportError, match=reason) as caught:
        write(network(), form)
    assert "\n" not in str(caught.value)
    assert (ms.get_context("jit_syntax_level"), nn.Cell.__call__) == (level, call)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra(package, monkeypatch, caplog, write):
    monkeypatch.setitem(sys.modules, package, None)
    assert make("auto", Upscale()).name.startswith("MindSpore ")
    with pytest.raises(UserError, match=rf"--engine onnxruntime needs the package {package}, .* pip install -e"):
        make("onnxruntime", Upscale())
    if package == "onnx":
        with pytest.raises(UserError, match=r"package onnx, which is not installed: pip install -e '\.\[onnx\]'"):
            write(Upscale(), "ONNX")
    else:
        path = write(Upscale(), "ONNX")
        assert "so the ONNX file was not run" in caplog.text
        assert path.is_file()


def test_mindspore_is_quiet(tmp_path, root):
    code = f"""
import common
from common.export import Graph, Port, export
from common.layers import Convolution
from numpy import ones
for name in ("MINDIR", "ONNX"):
    sizes = ({{"h": 8, "w": 6}}, {{"h": 5, "w": 9}})
    graph = Graph(Convolution(ones((3, 3, 3, 3))), [Port("x", (1, 3, "h", "w"))], ["y"], sizes)
    export(graph, {str(tmp_path / "net")!r}, name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -------------------------------------------------------------------------------------------------------------- engines


def make(kind, network, **options):
    return make_engine(kind, Graph(network, [IMAGE], ["sr_image"], SIZES), **options)


@pytest.mark.parametrize("graph", [False, True])
def test_one_compilation_serves_every_size(graph):
    """And follows the weights: by new data, as loading a checkpoint does, and in place, as an optimizer does."""
    with graph_mode(graph):
        network = Upscale()
        runner = make("mindspore", network)
        for size in OTHER_SIZES:
            assert_upscales(runner, network, size)
        assert len(runner._forms[0][1].__self__.compile_cache) == 1
        network.conv.bias.set_data(network.conv.bias + 1)
        assert_upscales(runner, network)
        ops.assign(network.conv.bias, network.conv.bias + 1)
        assert_upscales(runner, network)


def test_a_network_that_does_not_compile_runs_eagerly(caplog):
    runner = make("mindspore", EagerOnly())
    for size in OTHER_SIZES:
        np.testing.assert_array_equal(runner.run(image(*size)), image(*size) * 2)
    assert caplog.text.count("cannot run this as graph, trying graph per size") == 1


def test_a_provider_that_onnx_runtime_lacks():
    with pytest.raises(UserError, match=r"--provider Abacus: this ONNX Runtime has .*CPU.*; install the package"):
        make("onnxruntime:Abacus", Upscale())


def test_a_network_that_onnx_lacks(caplog):
    runner = make("auto", Interpolate())
    assert "MindSpore runs this network, since ONNX Runtime cannot" in caplog.text
    assert runner.run(image(4, 4)).shape == (1, 3, 16, 12)
    with pytest.raises(ExportError):
        make("onnxruntime", Interpolate())


DIGEST = "0123456789abcdef"


@pytest.fixture
def kept(tmp_path, caplog):
    """A network, where its checkpoint would be, and the export that is cached."""
    caplog.set_level(logging.INFO)
    network, checkpoint = Upscale(), tmp_path / "best.ckpt"
    make("onnxruntime", network, cache=checkpoint, digest=DIGEST)
    (file,) = (tmp_path / "xdg" / "mindspore-sr-zoo").iterdir()
    assert file.name == "best.ckpt.0123456789ab.onnx"
    caplog.clear()
    return network, checkpoint, file


def test_an_export_is_made_once_for_each_version_and_port(kept, monkeypatch):
    network, checkpoint, _ = kept
    cached = {"cache": checkpoint, "digest": DIGEST}
    monkeypatch.setattr(engine, "draft", lambda *_: pytest.fail("exported again"))
    runner = make("onnxruntime", network, **cached)
    for size in OTHER_SIZES:
        assert_upscales(runner, network, size)
    graph = Graph(network, [Port("lr_image", (1, 3, 8, 6))], ["sr_image"], [{}])
    with pytest.raises(pytest.fail.Exception, match="exported again"):
        make_engine("onnxruntime", graph, **cached)
    monkeypatch.setattr(engine, "__version__", "0.0.0")
    with pytest.raises(pytest.fail.Exception, match="exported again"):
        make("onnxruntime", network, **cached)


@pytest.mark.parametrize("damage", ["a weight", "cut", "text"])
def test_a_damaged_export_is_made_again(kept, damage, caplog):
    """Also where it still loads, and gives other images."""
    network, checkpoint, file = kept
    good = file.read_bytes()
    place = good.index(b"conv.weight", good.index(b"conv.weight") + 1) - 200
    flipped = good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :]
    file.write_bytes({"a weight": flipped, "cut": good[:-300], "text": b"not a model"}[damage])
    assert_upscales(make("onnxruntime", network, cache=checkpoint, digest=DIGEST), network)
    assert "is damaged or of another version: exporting again" in caplog.text
    assert ([len(each.read_bytes()) for each in file.parent.iterdir()]) == [len(good)]


def test_an_export_of_other_weights_is_not_taken(kept):
    """Even when the short digest in the file's name is the same."""
    network, checkpoint, _ = kept
    network.conv.bias.set_data(network.conv.bias + 1)
    assert_upscales(make("onnxruntime", network, cache=checkpoint, digest="0123456789abXXXX"), network)


def test_the_last_used_exports_are_cached(tmp_path, kept, monkeypatch):
    """An export that is used again outlives one that is not; no place for a cache is no error."""
    network, checkpoint, first = kept
    monkeypatch.setattr(engine, "CACHED", 3)
    for number in range(4):
        time.sleep(0.01)  # time stamps of files are no finer everywhere
        make("onnxruntime", network, cache=checkpoint, digest=DIGEST)
        make("onnxruntime", Upscale(), cache=checkpoint, digest=f"{number}" * 16)
    names = {first.name, "best.ckpt.222222222222.onnx", "best.ckpt.333333333333.onnx"}
    assert {path.name for path in first.parent.iterdir()} == names
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_upscales(make("onnxruntime", network, cache=checkpoint, digest=DIGEST), network)
