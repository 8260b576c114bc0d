"""infer.py, eval.py and export.py as a user starts them, with a tiny random network saved as a checkpoint."""

import imageio.v3 as iio
import numpy as np
import onnxruntime
import pytest

from common import UserError
from common.checkpoint import files as checkpoint
from common.images import files as images
from common.images.resize import imresize
from WDSR import eval as evaluation
from WDSR import export, infer
from WDSR.src import pictures, utils
from WDSR.src.args import InferConfig
from WDSR.src.model import WDSR, Hyper

TINY = Hyper(scale=2, num_features=4, num_blocks=2)


def save_tiny(path, hyper=TINY):
    """A checkpoint whose network is not far from an enlargement: random filters, seeded."""
    network = WDSR(hyper, seed=3)
    weights = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    checkpoint.save(path, checkpoint.Checkpoint(weights, utils.describe(hyper, {})))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.ckpt")


def picture(height, width, channels=3, dtype=np.uint8):
    rng = np.random.default_rng(height * width)
    shape = (height, width, channels) if channels > 1 else (height, width)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def run_infer(*arguments):
    return infer.main([*map(str, arguments), "--device_target", "CPU"])


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("odd.png", picture(13, 17)),
        ("gray.png", picture(9, 8, 1)),
        ("rgba.png", picture(10, 12, 4)),
        ("deep.png", picture(8, 9, 1, np.uint16)),
        ("small.png", picture(1, 2)),
        ("photo.jpg", picture(16, 24)),
        ("old.bmp", picture(7, 5)),
        ("图 片.png", picture(6, 6)),
    ],
)
def test_any_picture_is_enlarged(tiny, tmp_path, name, pixels):
    iio.imwrite(tmp_path / name, pixels)
    assert run_infer("--input", tmp_path / name, "--output", tmp_path / "out", "--checkpoint", tiny) == 0
    result = images.read_picture(next((tmp_path / "out").iterdir()))
    height, width = pixels.shape[:2]
    assert result.rgb.shape == (2 * height, 2 * width, 3)
    assert result.rgb.dtype == pixels.dtype
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        assert np.array_equal(result.alpha, imresize(pixels[..., 3], 2))


def test_engines_and_tiles_agree(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lr = picture(61, 83)
    images.write_picture(tmp_path / "a.png", lr)
    results = {}
    for engine in ("mindspore", "onnxruntime"):
        for tile in (0, 40):
            out = tmp_path / f"{engine}{tile}"
            run_infer(
                "--input", tmp_path / "a.png", "--output", out, "--checkpoint", tiny, "--engine", engine, "--tile", tile
            )
            results[engine, tile] = images.read_rgb(out / "a_x2.png").astype(int)
    reference = results["mindspore", 0]
    assert reference.std() > 1
    for key, result in results.items():
        assert np.abs(result - reference).max() <= 1, key
    kept = list((tmp_path / "cache").rglob("tiny.ckpt.*.onnx"))
    assert len(kept) == 1


def test_folders_keep_their_structure(tiny, tmp_path):
    for name in ("a.png", "deeper/b.png"):
        images.write_picture(tmp_path / "in" / name, picture(5, 6))
    run_infer("--input", tmp_path / "in", "--output", tmp_path / "out", "--checkpoint", tiny, "--compare")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert found == {"a_x2.png", "a_x2_compare.png", "deeper/b_x2.png", "deeper/b_x2_compare.png"}


def test_a_damaged_picture_is_named_and_the_others_are_done(tiny, tmp_path, capsys):
    images.write_picture(tmp_path / "in" / "a.png", picture(5, 6))
    whole = (tmp_path / "in" / "a.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="1 of 2"):
        run_infer("--input", tmp_path / "in", "--output", tmp_path / "out", "--checkpoint", tiny)
    assert "cut.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "a_x2.png").exists()


def test_the_input_is_never_overwritten(tiny, tmp_path):
    images.write_picture(tmp_path / "a.png", picture(5, 6))
    with pytest.raises(UserError):
        run_infer("--input", tmp_path / "a.png", "--output", tmp_path, "--suffix", "", "--checkpoint", tiny)
    assert images.read_rgb(tmp_path / "a.png").shape == (5, 6, 3)


def test_self_ensemble_is_the_mean_of_eight(tiny):
    network, saved, source = utils.load_network(InferConfig(ckpt_path=str(tiny)))
    options = InferConfig(engine="mindspore")
    plain = pictures.make_upscaler(network, saved, source, options)
    averaged = pictures.make_upscaler(network, saved, source, InferConfig(engine="mindspore", self_ensemble=True))
    lr = images.to_float(picture(6, 9))
    expected = 0
    for transpose in (False, True):
        for down in (1, -1):
            for right in (1, -1):
                seen = lr[::down, ::right]
                seen = seen.transpose(1, 0, 2) if transpose else seen
                result = plain(np.ascontiguousarray(seen))
                result = result.transpose(1, 0, 2) if transpose else result
                expected = expected + result[::down, ::right]
    assert np.abs(averaged(lr) - expected / 8).max() < 1e-5
    assert np.abs(averaged(lr) - plain(lr)).max() > 1e-4


def test_luma_network_leaves_colour_to_bicubic(tmp_path):
    path = save_tiny(tmp_path / "y.ckpt", Hyper(scale=3, num_features=4, num_blocks=1, num_colors=1))
    network, saved, source = utils.load_network(InferConfig(ckpt_path=str(path)))
    enlarge = pictures.make_upscaler(network, saved, source, InferConfig(engine="mindspore"))
    lr = picture(7, 8)
    sr = enlarge(images.to_float(lr))
    expected = images.rgb_to_ycbcr(imresize(images.to_float(lr), 3) * 255)
    assert np.abs(images.rgb_to_ycbcr(sr * 255)[..., 1:] - expected[..., 1:]).max() < 1e-3


def test_export_runs_elsewhere(tiny, tmp_path):
    assert export.main(["--checkpoint", str(tiny), "--file_name", str(tmp_path / "net"), "--file_format", "ONNX"]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    lr = picture(11, 7)
    batch = lr.transpose(2, 0, 1)[None].astype(np.float32)
    output = session.run(None, {"lr_image": batch})[0]
    network, _, _ = utils.load_network(InferConfig(ckpt_path=str(tiny)))
    from mindspore import Tensor

    assert np.abs(output - network(Tensor(batch)).asnumpy()).max() < 1e-2  # of 255
    assert export.main(["--ckpt_file", str(tiny), "--file_name", str(tmp_path / "net"), "--file_format", "MINDIR"]) == 0
    assert (tmp_path / "net.mindir").stat().st_size > 1000
    with pytest.raises(UserError, match="Ascend"):
        export.main(["--ckpt_file", str(tiny), "--file_name", str(tmp_path / "net"), "--file_format", "AIR"])


def test_eval_writes_tables_and_the_seeds_lines(tiny, tmp_path, sample_dir, capsys):
    arguments = ["--dir_data", str(sample_dir), "--data_range", "1-8/9-12", "--limit", "1", "--ckpt_path", str(tiny)]
    assert evaluation.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "Mean psnr of DIV2K x2 is" in said
    assert "LPIPS: not computed (give --lpips_weights)" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"DIV2K", "DIV2K.csv", "DIV2K.md"}


@pytest.mark.parametrize(
    ("program", "arguments", "sentence"),
    [
        (infer, [], "which pictures"),
        (infer, ["--input", "/nope"], "no /nope"),
        (infer, ["--input", "EMPTY"], "found none"),
        (infer, ["--input", "PICTURE", "--checkpoint", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (infer, ["--input", "PICTURE", "--checkpoint", "PICTURE"], "is no checkpoint"),
        (infer, ["--input", "PICTURE", "--checkpoint", "TINY", "--scale", "4"], "has scale 2, not 4"),
        (infer, ["--input", "PICTURE", "--checkpoint", "TINY", "--n_feats", "8"], "has num_features 4, not 8"),
        (infer, ["--input", "PICTURE", "--engin", "mindspore"], "did you mean '--engine'"),
        (infer, ["--input", "PICTURE", "--checkpoint", "TINY", "--tile", "3"], "tile"),
        (infer, ["--input", "PICTURE", "--scale", "3"], "no demo weights for x3"),
        (infer, ["--input", "PICTURE", "--checkpoint", "TINY", "--format", "xyz"], "xyz"),
        (evaluation, ["--dir_data", "/nope", "--ckpt_path", "TINY"], "not a folder: /nope"),
        (evaluation, ["--dir_data", "EMPTY", "--ckpt_path", "TINY"], "no DIV2K in"),
        (evaluation, ["--dir_data", "SAMPLE", "--data_test", "Set99", "--ckpt_path", "TINY"], "no data set 'Set99'"),
        (evaluation, ["--dir_data", "SAMPLE", "--data_range", "1-8", "--ckpt_path", "TINY"], "1-800/801-900"),
        (evaluation, ["--dir_data", "SAMPLE", "--ckpt_path", "TINY"], "none of the images 801-900"),
        (export, ["--ckpt_file", "TINY", "--file_format", "ONX"], "did you mean 'ONNX'"),
        (export, ["--ckpt_file", "TINY", "--file_name", "/proc/nope/x"], "cannot write"),
    ],
)
def test_mistakes_get_one_sentence(tiny, tmp_path, sample_dir, program, arguments, sentence):
    images.write_picture(tmp_path / "p" / "a.png", picture(5, 6))
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "PICTURE": tmp_path / "p" / "a.png", "TINY": tiny, "SAMPLE": sample_dir}
    with pytest.raises(UserError) as raised:
        program.main([str(places.get(word, word)) for word in arguments])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
