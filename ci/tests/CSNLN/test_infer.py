"""infer.py as a user starts it: pictures of all kinds, engines, blocks, pieces, self-ensemble, the attention drawn."""

import imageio.v3 as iio
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.CSNLN.nets import batch, shaken
from ci.tests.CSNLN.use import batch_of, levels, picture, save, saved, used  # noqa: F401
from ci.tests.options import unused_options
from common import UserError
from common.checkpoint import load_into
from common.images import files as images
from common.images.resize import imresize
from CSNLN import infer
from CSNLN.src import graphs, pictures
from CSNLN.src.attention import CrossScaleAttention, NonLocalAttention
from CSNLN.src.config import EvalConfig, ExportConfig, InferConfig
from CSNLN.src.CSNLN import CSNLN, Hyper
from CSNLN.src.dataset.common import Upscaler
from CSNLN.src.graphs import Eager, set_rows
from CSNLN.src.official import official_name
from CSNLN.src.pictures import chopped, make_upscaler


def run(*arguments):
    assert infer.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def near(found, wanted):
    """Grey levels that were rounded, to those that were not."""
    assert found.dtype == np.uint8
    assert np.abs(found - wanted).max() < 0.51


@pytest.mark.parametrize(
    ("name", "pixels", "scale"),
    [
        ("odd.png", picture(7, 9), 2),
        ("gray.png", picture(9, 8, 1), 4),
        ("rgba.png", picture(10, 11, 4), 3),
        ("deep.png", picture(8, 9, 1, np.uint16), 2),
        ("small.png", picture(1, 2), 3),
        ("old.bmp", picture(7, 5), 4),
        ("图 片.png", picture(6, 6), 2),
    ],
)
def test_any_picture_is_enlarged(saved, tmp_path, name, pixels, scale):  # noqa: F811
    iio.imwrite(tmp_path / name, pixels)
    run("--input", tmp_path / name, "--output", tmp_path / "out", "--ckpt_file", saved[scale])
    (path,) = (tmp_path / "out").iterdir()
    result = images.read_picture(path)
    height, width = pixels.shape[:2]
    assert path.name == f"{name[:-4]}_x{scale}{name[-4:]}"
    assert result.rgb.shape == (scale * height, scale * width, 3)
    assert result.rgb.dtype == pixels.dtype
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        assert np.array_equal(result.alpha, imresize(pixels[..., 3], scale))


@pytest.mark.parametrize("engine", ["onnxruntime", "mindspore"])
def test_the_files_hold_what_the_network_computes(saved, used, tmp_path, engine):  # noqa: F811
    """Of sides that the attention cannot divide: of the picture continued by reflection, cut."""
    lr = picture(7, 10)
    images.write_picture(tmp_path / "in" / "deeper" / "a.png", lr)
    words = ("--input", tmp_path / "in", "--output", tmp_path / "out", "--ckpt_path", saved[3])
    run(*words, "--engine", engine, "--compare", "--suffix", "_big", "--format", "bmp")
    padded = np.pad(lr, ((0, 2), (0, 2), (0, 0)), mode="reflect")
    wanted = levels(used[3](Tensor(batch_of(padded))).asnumpy())[:21, :30]
    near(images.read_rgb(tmp_path / "out" / "deeper" / "a_big.bmp"), wanted)
    found = {path.name for path in (tmp_path / "out" / "deeper").iterdir()}
    assert found == {"a_big.bmp", "a_big_compare.png"}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pieces_and_turns_are_the_authors(goldens_dir, scale):
    """Whole pictures through ONNX Runtime, one row of queries at a time."""
    golden = np.load(goldens_dir / f"csnln_x{scale}.npz")
    weights = {name.removeprefix("state/"): golden[name] for name in golden.files if name.startswith("state/")}
    hyper = Hyper(scale, n_feats=8, depth=weights["tail.0.weight"].shape[1] // 8)
    network = CSNLN(hyper)
    load_into(network, weights, source="golden", names=official_name)
    engine = graphs.OnnxEngine(graphs.onnx_bytes(network, 1), graphs.ports(), graphs.OUTPUTS)
    lr, wanted = golden["in/chop_lr"][0].transpose(1, 2, 0), golden["out/chop_shave2_minsize3600"][0]
    found = chopped(Upscaler(engine.run, hyper), scale, 2, 3600)(lr)
    np.testing.assert_allclose(found, wanted.transpose(1, 2, 0), atol=1e-5 * np.abs(wanted).max())


def test_chop_is_the_authors_with_their_numbers(saved, used, tmp_path):  # noqa: F811
    """A piece reads 10 pixels beyond its half of the side, and is then lengthened to the next even number.

    In 16 bits, because what lies outside of a piece changes little here.
    """
    lr = picture(24, 26, dtype=np.uint16)
    images.write_picture(tmp_path / "a.png", lr)
    words = ("--input", tmp_path / "a.png", "--ckpt_file", saved[2])
    run(*words, "--output", tmp_path / "chop")
    run(*words, "--output", tmp_path / "whole", "--chop", "no")

    def enlarged(columns):
        part = (lr[:, columns] / np.float32(65535)).transpose(2, 0, 1)[None]
        return levels(used[2](Tensor(np.ascontiguousarray(part))).asnumpy())

    whole = enlarged(slice(None))  # the pieces' 12 + 10 rows become 24, which are all
    pieces = np.concatenate([enlarged(slice(0, 24))[:, :26], enlarged(slice(2, 26))[:, -26:]], 1)
    assert np.abs(pieces - whole).max() > 0.1
    for name, wanted in (("chop", pieces), ("whole", whole)):
        assert np.abs(images.read_picture(tmp_path / name / "a_x2.png").rgb / 257 - wanted).max() < 0.005


def test_self_ensemble_is_the_mean_of_eight(saved, used, tmp_path):  # noqa: F811
    lr, total = picture(6, 8), 0
    images.write_picture(tmp_path / "a.png", lr)
    run("--input", tmp_path / "a.png", "--output", tmp_path / "o", "--ckpt_file", saved[2], "--self_ensemble")
    for transposed in (False, True):
        for down in (1, -1):
            for right in (1, -1):
                seen = lr[::down, ::right]
                seen = seen.transpose(1, 0, 2) if transposed else seen
                result = used[2](Tensor(batch_of(np.ascontiguousarray(seen)))).asnumpy()[0].transpose(1, 2, 0)
                result = result.transpose(1, 0, 2) if transposed else result
                total = total + result[::down, ::right]
    near(images.read_rgb(tmp_path / "o" / "a_x2.png"), (total / 8).clip(0, 1) * 255.0)


def test_blocks_of_mindspore_change_nothing():
    """From one row at a time to all; and how many rows a memory is for: 10 tables and two rows more, or 3 tables."""
    network = shaken(Hyper(4, n_feats=4, depth=1)).set_train(False)
    lr = batch(1, 4, 6)
    wanted = network(Tensor(lr)).asnumpy()
    np.testing.assert_allclose(Eager(network, 1).run(lr), wanted, atol=1e-5 * np.abs(wanted).max())
    assert {cell.rows for _, cell in network.cells_and_names() if isinstance(cell, CrossScaleAttention)} == {1}
    set_rows(network, 4, 6, 4 * 10 * 6 * 6 * 5)  # 6 queries in a row, 6 patches
    first, second = network.SEM.multi_source_projection, network.SEM.multi_source_projection_2
    assert [part.up_attention.rows for part in (first, second)] == [3, 1]
    set_rows(network, 4, 6, 4 * 3 * 12 * 96 * 7)  # the second step: 12 queries in a row, 96 pixels
    assert second.down_attention.rows == 7
    assert first.down_attention.rows > 4
    assert all(cell.rows for _, cell in network.cells_and_names() if isinstance(cell, NonLocalAttention))


@pytest.mark.parametrize("options", [{}, {"self_ensemble": True}, {"chop": False}])
def test_the_bar_counts_the_runs(used, monkeypatch, options):  # noqa: F811
    done, runs, totals = [], [], []

    class Bar:
        update = staticmethod(done.append)
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *error: None  # noqa: E731

    class Counting(Eager):
        def _run(self, arrays):
            runs.append(1)
            return [np.zeros((1, 3, *(2 * side for side in arrays[0].shape[2:])), np.float32)]

    monkeypatch.setattr(graphs, "make_engine", lambda kind, *arguments: Counting(*arguments))
    enlarge = make_upscaler(used[2], InferConfig(**options))
    enlarge(picture(150, 30), lambda total: totals.append(total) or Bar())
    assert sum(done) == len(runs) == totals[0]
    assert len(runs) == {"{}": 4}.get(str(options), 1 if "chop" in options else 32)


def naive_answers(network, x, row, column):
    """What equation 4 to 6 weigh for one pixel at x2: (h, w), in float64."""
    cell = network.SEM.multi_source_projection.up_attention

    def layer(parts, y):
        weights, bias, slope = parts[0].weight.asnumpy()[:, :, 0, 0], parts[0].bias.asnumpy(), parts[1].weight.asnumpy()
        y = np.einsum("oc,chw->ohw", weights.astype(np.float64), y) + bias[:, None, None]
        return np.where(y > 0, y, slope * y)

    small = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    queries, keys = (
        np.pad(y, ((0, 0), (1, 1), (1, 1))) for y in (layer(cell.conv_match_1, x), layer(cell.conv_match_2, small))
    )
    query, scores = queries[:, row : row + 3, column : column + 3], np.empty(small.shape[1:])
    for i, j in np.ndindex(scores.shape):
        patch = keys[:, i : i + 3, j : j + 3]
        scores[i, j] = 10 * (query * patch).sum() / max(np.linalg.norm(patch), 1e-4)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


@pytest.mark.parametrize("time", [1, 0])
def test_answers_of_a_pixel(used, time):  # noqa: F811
    network, lr = used[2], picture(8, 9)
    found = pictures.answers(network, lr, (3, 7), time)
    x = network.head(network.sub_mean(Tensor(batch_of(np.pad(lr, ((0, 0), (0, 1), (0, 0)), mode="reflect")))))
    if time == 0:
        x, _ = network.SEM(x)
    wanted = naive_answers(network, x.asnumpy()[0].astype(np.float64), 3, 7)
    assert found.weights.shape == (4, 5)
    np.testing.assert_allclose(found.weights, wanted, rtol=1e-4)
    assert wanted.max() > 1.5 * wanted.min()


def test_frames_of_the_strongest_patches():
    """3s x 3s pixels around the s x s of the patch; one that overlaps a stronger one is left out."""
    weights = np.zeros((8, 9))
    weights[4, 6], weights[5, 7], weights[1, 1] = 0.5, 0.3, 0.2
    found = pictures.Answers(weights, 3, (2, 5)).strongest()
    assert found == [(0.5, (9, 15, 18, 24)), (0.2, (0, 0, 9, 9))]


def test_attention_is_drawn(saved, tmp_path, caplog):  # noqa: F811
    """The query's frame lies around its 3x3 pixels, in both pictures; what is not framed stays as it is."""
    lr = np.full((24, 30, 3), 200, np.uint8)
    images.write_picture(tmp_path / "a.png", lr)
    words = ("--input", tmp_path / "a.png", "--output", tmp_path / "o", "--ckpt_file", saved[2])
    run(*words, "--attention", "20,26", "--attention_time", 2)
    (path,) = (tmp_path / "o").iterdir()
    assert path.name == "a_attention_20_26.png"
    drawn, zoom, gap = images.read_rgb(path).astype(int), 720 // 30, 12
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


def test_every_option_is_used(root):
    assert not unused_options(root / "CSNLN", [EvalConfig, InferConfig, ExportConfig])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which pictures"),
        (["--input", "/nope"], "no /nope"),
        (["--input", "PICTURE", "--ckpt_file", "PICTURE"], "is no checkpoint"),
        (["--input", "PICTURE", "--scale", "4"], "has scale 2, not 4"),
        (["--input", "PICTURE", "--n_feats", "8"], "has n_feats 4, not 8"),
        (["--input", "PICTURE", "--engin", "mindspore"], "did you mean '--engine'"),
        (["--input", "PICTURE", "--attention", "3"], "must be ROW,COLUMN of a pixel of the LR picture, not '3'"),
        (["--input", "PICTURE", "--attention=-1,2"], "must be ROW,COLUMN"),
        (["--input", "PICTURE", "--depth", "3"], "has depth 2, not 3"),
        (["--input", "PICTURE", "--attention", "2,6"], "2,6 is outside the picture, which has 5 rows and 6 columns"),
        (["--input", "PICTURE", "--attention", "2,5", "--attention_time", "3"], "is applied 2 times"),
        (["--input", "PICTURE", "--format", "xyz"], "xyz"),
        (["--input", "PICTURE", "--suffix", "", "--output", "HERE"], "would be overwritten"),
    ],
)
def test_mistakes_get_one_sentence(saved, tmp_path, monkeypatch, words, sentence):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    images.write_picture(tmp_path / "p" / "a.png", picture(5, 6))
    places = {"PICTURE": str(tmp_path / "p" / "a.png"), "HERE": str(tmp_path / "p")}
    with pytest.raises(UserError) as raised:
        infer.main(["--ckpt_file", str(saved[2]), *(places.get(word, word) for word in words)])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
