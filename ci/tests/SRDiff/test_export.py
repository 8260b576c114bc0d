"""export.py as a user starts it: two graphs, run by other programs at sizes that were never compared."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import Tensor, load, nn

from ci.tests.SRDiff import nets
from ci.tests.SRDiff.use import saved, used  # noqa: F401
from common import UserError
from SRDiff import export


def run(*arguments):
    assert export.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def inputs(hyper, height, width, count=1):
    """LR picture, x_t and t."""
    x = nets.normal(count, 3, height * hyper.scale, width * hyper.scale)
    return nets.picture(height, width, count), x, np.arange(3, 3 + count, dtype=np.float32)


def expected(network, lr, x, t):
    """What the U-Net is told of the encoder's features, and eps; in float64."""
    weights, hyper = nets.exact(network), network.hyper
    features = nets.read(nets.encode(weights, hyper, lr)[0])
    told = nets.transposed(features, weights, "denoise_fn.cond_proj", hyper.scale)
    return told, nets.predict(weights, hyper, x, t, features)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_onnx(saved, used, tmp_path):  # noqa: F811
    run("--ckpt_path", saved[4], "--file_name", tmp_path / "net", "--file_format", "ONNX")
    assert {path.name for path in tmp_path.iterdir()} == {"net_encoder.onnx", "net_predictor.onnx"}
    encoder, predictor = (
        onnxruntime.InferenceSession(tmp_path / f"net_{one}.onnx") for one in ("encoder", "predictor")
    )
    assert [port.name for port in encoder.get_inputs()] == ["lr_image"]
    assert [port.name for port in predictor.get_inputs()] == ["x", "t", "cond"]
    lr, x, t = inputs(used[4].hyper, 4, 14)
    told, eps = expected(used[4], lr, x, t)
    (cond,) = encoder.run(["cond"], {"lr_image": lr})
    close(cond, told)
    close(predictor.run(["eps"], {"x": x, "t": t, "cond": cond})[0], eps)
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "net_predictor.onnx").metadata_props}
    assert (said["model"], said["graph"], said["scale"]) == ("SRDiff", "predictor", "4")
    assert json.loads(said["hyper"])["timesteps"] == 10
    assert said["source"] == str(saved[4])
    assert len(said["digest"]) == 64


def test_mindir(saved, used, tmp_path):  # noqa: F811
    """`--file_name` may have the ending already; the batch size is the graph's; one graph at a time."""
    words = ("--checkpoint_path", saved[8], "--batch_size", 2, "--file_name", tmp_path / "net.mindir")
    for graph in ("encoder", "predictor"):
        run(*words, "--graph", graph)
    assert {path.name for path in tmp_path.iterdir()} == {"net_encoder.mindir", "net_predictor.mindir"}
    encoder, predictor = (nn.GraphCell(load(str(tmp_path / f"net_{one}.mindir"))) for one in ("encoder", "predictor"))
    lr, x, t = inputs(used[8].hyper, 2, 3, count=2)
    told, eps = expected(used[8], lr, x, t)
    cond = encoder(Tensor(lr))
    close(cond.asnumpy(), told)
    close(predictor(Tensor(x), Tensor(t), cond).asnumpy(), eps)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--file_format", "ONX"], "did you mean 'ONNX'"),
        (["--graph", "decoder"], "did you mean 'encoder'"),
        (["--file_format", "AIR"], "Ascend"),
        (["--ckpt_path", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["--scale", "4"], "has scale 8, not 4"),
        (["--batch_size", "0"], "batch_size must be 1 or more"),
    ],
)
def test_mistakes_get_one_sentence(saved, tmp_path, monkeypatch, words, sentence):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        export.main(["--ckpt_path", str(saved[8]), "--device_target", "CPU", *words])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
