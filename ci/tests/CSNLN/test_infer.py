"""What CSNLN's infer.py alone has: pieces as the authors cut them, blocks of rows, and the attention drawn."""

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.CSNLN.nets import cross_scale_weights, shaken, upscale
from ci.tests.specs import noise, write
from common import UserError
from common.checkpoint import load_into
from common.images import read_image, read_rgb
from CSNLN import infer
from CSNLN.src import graphs, inference
from CSNLN.src.CSNLN import CSNLN, Hyper
from CSNLN.src.dataset.common import Upscaler
from CSNLN.src.inference import chopped
from CSNLN.src.official import official_name


@pytest.fixture
def run(saved, tmp_path):
    """run(image, *words) -> the files that are written."""

    def begin(to, *words):
        given = [write(tmp_path, {"a": words[0]}) / "a.png", "--ckpt_file", saved["CSNLN"], "--output", tmp_path / to]
        assert infer.main([str(word) for word in (*given, *words[1:], "--device_target", "CPU")]) == 0
        return sorted((tmp_path / to).iterdir())

    return begin


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pieces_and_turns_are_the_authors(goldens_dir, scale):
    """Whole images through ONNX Runtime, one row of queries at a time."""
    golden = np.load(goldens_dir / f"csnln_x{scale}.npz")
    weights = {name.removeprefix("state/"): golden[name] for name in golden.files if name.startswith("state/")}
    hyper = Hyper(scale, n_feats=8, depth=weights["tail.0.weight"].shape[1] // 8)
    network = CSNLN(hyper)
    load_into(network, weights, source="golden", names=official_name)
    engine = graphs.OnnxEngine(graphs.onnx_bytes(network, 1))
    lr, wanted = golden["in/chop_lr"][0].transpose(1, 2, 0), golden["out/chop_shave2_minsize3600"][0]
    found = chopped(Upscaler(engine.run, hyper), scale, 2, 3600)(lr)
    np.testing.assert_allclose(found, wanted.transpose(1, 2, 0), atol=1e-5 * np.abs(wanted).max())


def test_chop_is_the_authors_with_their_numbers(run):
    """A piece reads 10 pixels beyond its half of the side, and is then lengthened to the next even number.

    In 16 bits, because what lies outside of a piece changes little here.
    """
    lr, network = noise(24, 26, dtype=np.uint16), shaken()
    whole = upscale(network, lr, "")  # the pieces' 12 + 10 rows become 24, which are all
    left, right = (upscale(network, np.ascontiguousarray(part), "") for part in (lr[:, :24], lr[:, 2:]))
    pieces = np.concatenate([left[:, :26], right[:, -26:]], 1)
    assert np.abs(pieces - whole).max() > 4e-4
    for words, wanted in (((), pieces), (("--chop", "no"), whole)):
        (path,) = run("o" + "".join(words), lr, *words)
        assert np.abs(read_image(path).rgb / 65535 - wanted.clip(0, 1)).max() < 2e-5


@pytest.mark.parametrize("time", [1, 0])
def test_answers_of_a_pixel(time):
    network, lr = shaken(), noise(8, 9)
    found = inference.answers(network, lr, (3, 7), time)
    padded = np.pad(lr, ((0, 0), (0, 1), (0, 0)), mode="reflect").transpose(2, 0, 1)[None] / 255
    x = network.head(network.sub_mean(Tensor(padded.astype(np.float32))))
    if time == 0:
        x, _ = network.SEM(x)
    layer = network.SEM.multi_source_projection.up_attention
    wanted = cross_scale_weights(x.asnumpy()[0].astype(np.float64), layer, 2, 3, 7)
    assert found.weights.shape == (4, 5)
    np.testing.assert_allclose(found.weights, wanted, rtol=1e-4)
    assert wanted.max() > 1.5 * wanted.min()


def test_attention_is_drawn(run, caplog):
    """The query's frame lies around its 3x3 pixels, in both images; what is not framed stays as it is."""
    lr = np.full((24, 30, 3), 200, np.uint8)
    (path,) = run("o", lr, "--attention", "20,26", "--attention_time", 2)
    assert path.name == "a_attention_20_26.png"
    drawn, zoom, gap = read_rgb(path).astype(int), 720 // 30, 12
    orange = np.abs(drawn - (255, 72, 24)).sum(2) < 10
    for left in (gap, 2 * gap + 720):
        rows, columns = np.nonzero(orange[: gap + 24 * zoom, left : left + 720])
        assert abs(rows.min() - gap - 19 * zoom) <= 1
        assert abs(rows.max() - gap - 22 * zoom) <= 2
        assert abs(columns.min() - 25 * zoom) <= 1
        assert abs(columns.max() - 28 * zoom) <= 2
    blue = np.abs(drawn[: gap + 24 * zoom, gap : gap + 720] - (0, 174, 239)).sum(2) < 10
    assert blue.any()
    assert not (drawn[gap + 24 * zoom : 2 * gap + 24 * zoom] - 255).any()
    assert "pixel 20,26: " in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--attention 3", "must be ROW,COLUMN of a pixel of the LR image, not '3'"),
        ("--attention 2,6", "2,6 is outside the image, which has 5 rows and 6 columns"),
        ("--attention 2,5 --attention_time 3", "is applied 2 times"),
    ],
)
def test_attention_that_there_is_not(run, words, message):
    with pytest.raises(UserError, match=message):
        run("o", noise(5, 6), *words.split())
