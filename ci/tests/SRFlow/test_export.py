"""export.py as a user starts it: two graphs, run by other programs at sizes that were never compared."""

import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import Tensor, load, nn

from ci.tests.SRFlow import nets
from common import UserError
from common.runtime import graph_mode
from SRFlow import export


def run(*arguments):
    assert export.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def inputs(hyper, height, width, count=1):
    """HR, LR and latents."""
    shapes = hyper.latent_shapes(height, width)
    latents = [0.8 * nets.normal(count, *shape, seed=number) for number, shape in enumerate(shapes)]
    hr = nets.picture(height * hyper.scale, width * hyper.scale, count)
    return hr, nets.picture(height, width, count, seed=1), [latent.astype(np.float32) for latent in latents]


def expected(network, hr, lr, latents):
    """By the form of training: (HR, latents, log-determinant)."""
    with graph_mode(False):
        decoded = network.inverse([Tensor(latent) for latent in latents], Tensor(lr))[0].asnumpy()
        encoded, logdet = network.forward(Tensor(hr), Tensor(lr))
        return decoded, [latent.asnumpy() for latent in encoded], logdet.asnumpy()


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


def test_onnx(tiny, used, tmp_path):
    run("--ckpt_path", tiny[4], "--file_name", tmp_path / "net", "--file_format", "ONNX")
    assert {path.name for path in tmp_path.iterdir()} == {"net_decode.onnx", "net_encode.onnx"}
    decode, encode = (onnxruntime.InferenceSession(tmp_path / f"net_{way}.onnx") for way in ("decode", "encode"))
    names = ["latent_0", "latent_1"]
    assert [port.name for port in decode.get_inputs()] == ["lr_image", *names]
    assert [port.name for port in encode.get_inputs()] == ["hr_image", "lr_image"]
    assert [port.name for port in encode.get_outputs()] == [*names, "logdet_0", "logdet_1", "logdet_2"]
    hr, lr, latents = inputs(used[4].hyper, 12, 6)
    picture, parts, logdet = expected(used[4], hr, lr, latents)
    close(decode.run(["hr_image"], {"lr_image": lr, **dict(zip(names, latents, strict=True))})[0], picture)
    found = encode.run(None, {"hr_image": hr, "lr_image": lr})
    for part, wanted in zip(found, parts, strict=False):
        close(part, wanted)
    np.testing.assert_allclose(sum(part.sum(dtype=np.float64) for part in found[2:]), logdet[0], rtol=1e-5)
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "net_encode.onnx").metadata_props}
    assert (said["model"], said["graph"], said["scale"]) == ("SRFlow", "encode", "4")
    assert said["source"] == str(tiny[4])
    assert len(said["digest"]) == 64


def test_mindir_of_one_direction(tiny, used, tmp_path):
    """`--file_name` may have the ending already; the batch size is the graph's."""
    words = ["--checkpoint_path", tiny[2], "--graph", "encode", "--batch_size", 2]
    run(*words, "--file_name", tmp_path / "net.mindir")
    assert {path.name for path in tmp_path.iterdir()} == {"net_encode.mindir"}
    hr, lr, latents = inputs(used[2].hyper, 6, 10, count=2)
    _, parts, _ = expected(used[2], hr, lr, latents)
    found = nn.GraphCell(load(str(tmp_path / "net_encode.mindir")))(Tensor(hr), Tensor(lr))
    assert len(found) == 1 + used[2].hyper.levels
    close(found[0].asnumpy(), parts[0])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--file_format", "ONX"], "did you mean 'ONNX'"),
        (["--graph", "decod"], "did you mean 'decode'"),
        (["--file_format", "AIR"], "Ascend"),
        (["--ckpt_path", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["--scale", "4"], "has scale 2, not 4"),
        (["--batch_size", "0"], "batch_size must be 1 or more"),
    ],
)
def test_mistakes_get_one_sentence(tiny, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        export.main(["--ckpt_path", str(tiny[2]), "--device_target", "CPU", *words])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
