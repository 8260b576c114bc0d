"""export.py as a user starts it: two graphs, run by other programs at sizes that were never compared."""

import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import Tensor, load, nn

from ci.tests.IRN import nets
from common import UserError
from IRN import export


def run(*arguments):
    assert export.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def random_inputs(scale, height=7, width=5, count=1):
    rng = np.random.default_rng(0)
    hr = rng.random((count, 3, height * scale, width * scale), np.float32)
    lr = rng.random((count, 3, height, width), np.float32)
    return hr, lr, rng.standard_normal((count, 3 * scale**2 - 3, height, width), np.float32)


def expected(scale, hr, lr, z):
    """By the training form: (LR, HR)."""
    network = nets.make(nets.TINY[scale])
    small = network(Tensor(hr)).asnumpy()[:, :3]
    return small, network.inverse(Tensor(np.concatenate([lr, z], 1)))[0].asnumpy()


def test_onnx(tiny, tmp_path):
    scale = 2
    run("--ckpt_path", tiny[scale], "--file_name", tmp_path / "net", "--file_format", "ONNX")
    assert {path.name for path in tmp_path.iterdir()} == {"net_downscale.onnx", "net_upscale.onnx"}
    sessions = [onnxruntime.InferenceSession(tmp_path / f"net_{way}.onnx") for way in ("downscale", "upscale")]
    assert [[port.name for port in session.get_inputs()] for session in sessions] == [["hr_image"], ["lr_image", "z"]]
    for height, width in ((7, 5), (1, 3), (20, 11)):
        hr, lr, z = random_inputs(scale, height, width)
        small, large = expected(scale, hr, lr, z)
        (found,) = sessions[0].run(["lr_image"], {"hr_image": hr})
        np.testing.assert_allclose(found, small, atol=1e-5 * np.abs(small).max())
        (found,) = sessions[1].run(["hr_image"], {"lr_image": lr, "z": z})
        np.testing.assert_allclose(found, large, atol=1e-5 * np.abs(large).max())
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "net_upscale.onnx").metadata_props}
    assert (said["model"], said["graph"], said["scale"]) == ("IRN", "upscale", str(scale))
    assert said["source"] == str(tiny[scale])
    assert len(said["digest"]) == 64


def test_mindir_of_one_direction(tiny, tmp_path):
    """`--file_name` may have the ending already; the batch size is the graph's."""
    words = ["--checkpoint_path", tiny[2], "--graph", "upscale", "--batch_size", 2]
    run(*words, "--file_name", tmp_path / "net.mindir")
    assert {path.name for path in tmp_path.iterdir()} == {"net_upscale.mindir"}
    hr, lr, z = random_inputs(2, count=2)
    _, large = expected(2, hr, lr, z)
    found = nn.GraphCell(load(str(tmp_path / "net_upscale.mindir")))(Tensor(lr), Tensor(z)).asnumpy()
    np.testing.assert_allclose(found, large, atol=1e-5 * np.abs(large).max())


def test_mindir_of_the_other_direction(tiny, tmp_path):
    run("--ckpt_path", tiny[3], "--graph", "downscale", "--file_name", tmp_path / "net")
    hr, lr, z = random_inputs(3)
    small, _ = expected(3, hr, lr, z)
    found = nn.GraphCell(load(str(tmp_path / "net_downscale.mindir")))(Tensor(hr)).asnumpy()
    np.testing.assert_allclose(found, small, atol=1e-5 * np.abs(small).max())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--file_format", "ONX"], "did you mean 'ONNX'"),
        (["--graph", "downscal"], "did you mean 'downscale'"),
        (["--file_format", "AIR"], "Ascend"),
        (["--file_name", "/proc/nope/x"], "cannot write"),
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
