"""Exported files: what they hold, that they answer as the network does, and that a bad one never takes its name."""

import logging
import stat
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from common import UserError
from common.export.export import ExportError, Port, export, with_suffix

IMAGE = Port("lr_image", (1, 3, "height", "width"))
TWO_SIZES = ({"height": 8, "width": 6}, {"height": 5, "width": 9})


class Upscale(nn.Cell):
    """3x3 convolution, ReLU, DepthToSpace."""

    def __init__(self, scale=2):
        super().__init__()
        self.conv = nn.Conv2d(3, 3 * scale**2, 3, pad_mode="pad", padding=1, has_bias=True, bias_init="normal")
        self.shuffle = ops.DepthToSpace(scale)

    def construct(self, lr_image):
        return self.shuffle(ops.relu(self.conv(lr_image)))


class TwoWay(nn.Cell):
    """Two inputs of the same free size, a time of fixed size, and two outputs, one of half the size."""

    def __init__(self):
        super().__init__()
        self.half = nn.Conv2d(5, 4, 3, stride=2, pad_mode="pad", padding=1, has_bias=True)
        self.time = nn.Dense(1, 3)

    def construct(self, lr_image, z, t):
        return self.half(ops.concat((lr_image, z), 1)), lr_image + self.time(t).reshape(1, 3, 1, 1)


class Liar(Upscale):
    """Called with a tensor, it answers a little differently from what is written."""

    def __call__(self, x):
        return super().__call__(x) + (1e-3 if isinstance(x, Tensor) else 0)


class NotANumber(nn.Cell):
    def construct(self, x):
        return ops.log(x - 2)


class Interpolate(nn.Cell):
    def construct(self, x):
        return ops.interpolate(x, size=(16, 12), mode="bilinear")


class EagerOnly(nn.Cell):
    """MindSpore's graph compiler wants the first argument to be called `self`."""

    def construct(this, x):  # noqa: N805
        return x * 2


def upscale_in_numpy(network, x, scale=2):
    """What `Upscale` computes, written from the definitions."""
    weight, bias = network.conv.weight.asnumpy().astype(float), network.conv.bias.asnumpy().astype(float)
    height, width = x.shape[2:]
    padded = np.pad(x[0].astype(float), ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((3, height * scale, width * scale))
    for k in range(len(weight)):
        row, column, channel = k // 3 // scale, k // 3 % scale, k % 3  # DepthToSpace counts the block first
        plane = sum(
            weight[k, c, i, j] * padded[c, i : i + height, j : j + width]
            for c in range(3)
            for i in range(3)
            for j in range(3)
        )
        out[channel, row::scale, column::scale] = np.maximum(plane + bias[k], 0)
    return out[None]


def image(height, width, seed=1):
    return np.random.default_rng(seed).random((1, 3, height, width), dtype=np.float32)


def run_onnx(path, **inputs):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)


def run_mindir(path, *arrays):
    return nn.GraphCell(ms.load(str(path)))(*map(Tensor, arrays)).asnumpy()


def dims(value):
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def test_files_name_what_they_hold(tmp_path):
    onnx = pytest.importorskip("onnx")
    from mindspore.train.mind_ir_pb2 import ModelProto

    words = [IMAGE], ["sr_image"], tmp_path / "net"
    settings = {"sizes": TWO_SIZES, "metadata": {"model": "X", "scale": "3"}}
    model = onnx.load(str(export(Upscale(3), *words, "onnx", **settings)))
    assert [(v.name, dims(v)) for v in model.graph.input] == [("lr_image", [1, 3, "height", "width"])]
    assert [(v.name, dims(v)) for v in model.graph.output] == [("sr_image", [1, 3, "3*height", "3*width"])]
    stamp = {entry.key: entry.value for entry in model.metadata_props}
    assert (stamp["model"], stamp["scale"]) == ("X", "3")
    written = ModelProto()
    written.ParseFromString(export(Upscale(3), *words, "mindir", **settings).read_bytes())
    assert dict(written.user_info) == {"model": "X", "scale": "3"}


def test_several_inputs_and_outputs(tmp_path):
    onnx = pytest.importorskip("onnx")
    network, outputs = TwoWay(), ["latent", "picture"]
    inputs = [IMAGE, Port("z", (1, 2, "height", "width")), Port("t", (1, 1), high=100.0)]
    assert export(network, inputs, outputs, tmp_path / "net", "MINDIR", sizes=TWO_SIZES).is_file()
    path = export(network, inputs, outputs, tmp_path / "net", "ONNX", sizes=TWO_SIZES)
    graph = onnx.load(str(path)).graph
    assert [dims(v) for v in graph.output] == [[1, 4, "height/2", "width/2"], [1, 3, "height", "width"]]
    assert dims(graph.input[2]) == [1, 1]
    rng = np.random.default_rng(0)
    arrays = {"lr_image": image(11, 4), "z": rng.random((1, 2, 11, 4), np.float32), "t": np.full((1, 1), 7, np.float32)}
    for found, expected in zip(run_onnx(path, **arrays), network(*map(Tensor, arrays.values())), strict=True):
        np.testing.assert_allclose(found, expected.asnumpy(), atol=2e-6)


@pytest.mark.parametrize("file_format", ["ONNX", "mindir"])
def test_an_export_answers_at_a_size_it_was_never_checked_at(tmp_path, file_format):
    """In any folder, with the usual permissions; MindSpore's exporter refuses such a path and shuts the folder."""
    folder = tmp_path / "my 模型"
    folder.mkdir(mode=0o755)
    network, x = Upscale(), image(13, 7)
    path = export(network, [IMAGE], ["sr_image"], folder / "new" / "net v1.5", file_format, sizes=TWO_SIZES)
    found = run_onnx(path, lr_image=x)[0] if file_format == "ONNX" else run_mindir(path, x)
    np.testing.assert_allclose(found, upscale_in_numpy(network, x), atol=2e-6)
    assert path == folder / "new" / f"net v1.5.{file_format.lower()}"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, folder, path.parent)] == [0o644, 0o755, 0o755]


@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_a_file_that_differs_never_takes_its_name(tmp_path, file_format):
    old = with_suffix(tmp_path / "net", file_format)
    old.write_text("the file of yesterday")
    with pytest.raises(ExportError, match=r"sr_image at height 8, width 6: .* differs .* up to 0\.001 .* nothing was"):
        export(Liar(), [IMAGE], ["sr_image"], tmp_path / "net", file_format, sizes=TWO_SIZES)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_text() == "the file of yesterday"


def test_the_tolerance_is_relative_to_the_largest_value(tmp_path):
    """The liar's 1e-3 is much where values reach 1, nothing where they reach 255."""
    bright = [IMAGE._replace(high=255.0)]
    network = Liar()
    network.conv.weight.set_data(Tensor(np.full((12, 3, 3, 3), 0.04, np.float32)))
    export(network, bright, ["sr_image"], tmp_path / "net", "MINDIR", sizes=TWO_SIZES)
    with pytest.raises(ExportError):
        export(network, [IMAGE], ["sr_image"], tmp_path / "net", "MINDIR", sizes=TWO_SIZES)


def test_not_a_number_never_agrees(tmp_path):
    with pytest.raises(ExportError, match="differs from the network by up to nan"):
        export(NotANumber(), [IMAGE], ["sr_image"], tmp_path / "net", "ONNX", sizes=TWO_SIZES)


@pytest.mark.parametrize(
    ("network", "file_format", "reason"),
    [
        (Interpolate, "ONNX", "Interpolate cannot be written as ONNX: For 'interpolate'"),
        (EagerOnly, "MINDIR", "MindSpore cannot write this network as MINDIR: .*parameters number"),
    ],
)
def test_a_network_that_a_format_lacks_is_one_line(tmp_path, monkeypatch, network, file_format, reason):
    """And the failure leaves MindSpore's settings as they were, which its own exporter does not."""
    monkeypatch.setenv("MS_OM_PATH", str(tmp_path / "dumps"))  # else it leaves a dump in the working directory
    level, call = ms.get_context("jit_syntax_level"), nn.Cell.__call__
    with pytest.raises(ExportError, match=reason) as caught:
        export(network(), [IMAGE], ["sr_image"], tmp_path / "out" / "net", file_format, sizes=TWO_SIZES)
    assert "\n" not in str(caught.value)
    assert (ms.get_context("jit_syntax_level"), nn.Cell.__call__) == (level, call)
    assert not (tmp_path / "out").exists()


def test_the_network_can_be_exported_again_and_trained_on(tmp_path):
    """MindSpore's own exporter fails the second time, and forgets the training mode when it fails."""
    network = Upscale().set_train(True)
    for name in "ab":
        for file_format in ("ONNX", "MINDIR"):
            export(network, [IMAGE], ["sr_image"], tmp_path / name, file_format, sizes=TWO_SIZES)
    assert network.training
    assert network.conv.training
    assert [parameter.name for parameter in network.get_parameters()] == ["conv.weight", "conv.bias"]


def test_without_onnx_the_message_says_how_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"package onnx, which is not installed: pip install -e '\.\[onnx\]'"):
        export(Upscale(), [IMAGE], ["sr_image"], tmp_path / "net", "ONNX", sizes=TWO_SIZES)


def test_without_onnxruntime_the_file_is_said_to_be_unproven(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    caplog.set_level(logging.INFO)
    path = export(Upscale(), [IMAGE], ["sr_image"], tmp_path / "net", "ONNX", sizes=TWO_SIZES)
    assert "onnxruntime is not installed, so the ONNX file was not run" in caplog.text
    assert f"{path}: ONNX, not run and not compared" in caplog.text
    monkeypatch.undo()
    assert run_onnx(path, lr_image=image(4, 5))[0].shape == (1, 3, 8, 10)


def test_mindspore_is_quiet(tmp_path, root):
    code = f"""
import common
from common.export import export, Port
from mindspore import nn
for name in ("MINDIR", "ONNX"):
    export(nn.Conv2d(3, 3, 3, pad_mode="valid"), [Port("x", (1, 3, "h", "w"))], ["y"], {str(tmp_path / "net")!r}, name,
           sizes=({{"h": 8, "w": 6}}, {{"h": 5, "w": 9}}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir()} == {"net.mindir", "net.onnx"}
