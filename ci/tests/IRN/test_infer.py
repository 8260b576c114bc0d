"""infer.py as a user starts it, its two commands apart, with tiny random networks saved as checkpoints."""

import logging

import imageio.v3 as iio
import mindspore as ms
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ci.tests.IRN import nets
from common import UserError
from common.checkpoint import ModelWeights
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.images import files as images
from common.images.resize import imresize
from IRN import infer
from IRN.src.network.Invnet import Hyper
from IRN.src.options.options import EvalConfig, UpscaleConfig
from IRN.src.pictures import Rescaler, make_rescaler
from IRN.src.utils import util


def picture(height, width, channels=3, dtype=np.uint8):
    """Noise: nothing about it is easy."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def run(command, *arguments):
    assert infer.main([command, *map(str, arguments), "--device_target", "CPU"]) == 0


def both_ways(source, weights, folder, *up_arguments):
    """(LR file, restored file)."""
    run("downscale", source, "--output", folder / "lr", "--ckpt_path", weights)
    (lr,) = (folder / "lr").rglob("*.png")
    run("upscale", lr, "--output", folder / "hr", "--ckpt_path", weights, *up_arguments)
    (hr,) = (folder / "hr").rglob("*.*")
    return lr, hr


def texts(path):
    with Image.open(path) as file:
        file.load()
        return {key: value for key, value in file.text.items() if key.startswith("irn_")}


def strip_texts(path):
    """What many programs do to a picture that they store again."""
    pixels = iio.imread(path)
    iio.imwrite(path, pixels)
    assert texts(path) == {}


# ------------------------------------------------------------------------------------------------ what is made of files


@pytest.mark.parametrize(
    ("name", "pixels", "scale"),
    [
        ("odd.png", picture(13, 18), 2),
        ("gray.png", picture(9, 8, 1), 4),
        ("rgba.png", picture(10, 13, 4), 4),
        ("deep.png", picture(8, 9, 1, np.uint16), 2),
        ("deep colour.png", picture(9, 11, 3, np.uint16), 3),
        ("smallest.png", picture(4, 5), 4),
        ("photo.jpg", picture(17, 24), 4),
        ("old.bmp", picture(7, 5), 3),
        ("图 片.png", picture(6, 6), 2),
    ],
)
def test_any_picture_goes_both_ways(tiny, tmp_path, name, pixels, scale):
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        images.write_picture(tmp_path / name, pixels)  # imageio cannot
    else:
        iio.imwrite(tmp_path / name, pixels)
    lr_path, hr_path = both_ways(tmp_path / name, tiny[scale], tmp_path)
    height, width = pixels.shape[:2]
    assert lr_path.name == f"{name.rpartition('.')[0]}_lr_x{scale}.png"
    assert hr_path.name == f"{name.rpartition('.')[0]}_lr_x{scale}_hr.png"
    lr, hr = images.read_picture(lr_path), images.read_picture(hr_path)
    assert lr.rgb.shape == (-(-height // scale), -(-width // scale), 3)
    assert hr.rgb.shape == (height, width, 3)
    assert lr.rgb.dtype == hr.rgb.dtype == np.uint8
    found = texts(lr_path)
    assert len(found.pop("irn_weights")) == 16
    assert found.pop("irn_gray", "no") == ("yes" if pixels.ndim == 2 else "no")
    assert found == {"irn_original_size": f"{width}x{height}", "irn_scale": str(scale)}
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        continued = np.pad(pixels[..., 3], [(0, -height % scale), (0, -width % scale)], mode="reflect")
        assert np.array_equal(lr.alpha, imresize(continued, 1 / scale))
        assert np.array_equal(hr.alpha, imresize(lr.alpha, scale)[:height, :width])


@pytest.mark.parametrize("scale", [2, 4])
def test_the_files_hold_what_the_network_computes(tiny, tmp_path, scale):
    """Against the training form, run eagerly on the whole picture that was continued by reflection."""
    network = nets.make(nets.TINY[scale])
    hr = picture(27, 38)
    images.write_picture(tmp_path / "a.png", hr)
    lr_path, hr_path = both_ways(tmp_path / "a.png", tiny[scale], tmp_path, "--gaussian_scale", 0.5, "--seed", 7)
    continued = np.pad(hr, [(0, -27 % scale), (0, -38 % scale), (0, 0)], mode="reflect")
    lr = nets.eight_bits(nets.down(network, continued / 255))
    found = images.read_rgb(lr_path)
    assert np.abs(found.astype(int) - lr).max() <= 1  # values that are halves but for the last bit
    assert np.mean(found != lr) < 1e-2
    z = 0.5 * nets.normal_z(7, lr_path.name, 0, network.hyper, *found.shape[:2])
    restored = nets.eight_bits(nets.up(network, found / 255, z))[:27, :38]
    difference = np.abs(images.read_rgb(hr_path).astype(int) - restored)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 1e-2
    assert restored.std() > 20


def test_16_bits_are_read_and_8_written(tiny, tmp_path, caplog):
    """A 16-bit picture of 8-bit values gives the LR picture of the 8-bit one."""
    shallow = picture(8, 10)
    for name, pixels in (("a", shallow), ("b", shallow.astype(np.uint16) * 257)):
        images.write_picture(tmp_path / f"{name}.png", pixels)
    with caplog.at_level(logging.INFO):
        run("downscale", tmp_path / "a.png", tmp_path / "b.png", "--output", tmp_path / "lr", "--ckpt_path", tiny[2])
    a, b = (images.read_picture(tmp_path / "lr" / f"{name}_lr_x2.png").rgb for name in "ab")
    assert np.array_equal(a, b)
    assert "(16 bits per channel; written with 8)" in caplog.text


# ---------------------------------------------------------------------------------------------------------------- tiles


def rescaler_of(path, engine, tile=0):
    network, saved, source = util.load_network(UpscaleConfig(ckpt_path=str(path)))
    return make_rescaler(network, saved, source, UpscaleConfig(engine=engine, tile=tile))


@pytest.mark.parametrize(("engine", "scale"), [("onnxruntime", 2), ("onnxruntime", 4), ("mindspore", 2)])
def test_tiles_equal_the_whole(tiny, engine, scale):
    """In ONNX Runtime bit for bit, also before rounding. MindSpore's convolutions (oneDNN) add up in an order that
    depends on the size: 1e-6, and so now and then a value that rounds to its neighbour.
    """
    rng = np.random.default_rng(1)
    hr = rng.integers(0, 256, (42 * scale, 51 * scale, 3), dtype=np.uint8)
    lr = rng.integers(0, 256, (42, 51, 3), dtype=np.uint8)
    whole = rescaler_of(tiny[scale], engine)
    z = rng.standard_normal((1, whole.hyper.z_channels, 42, 51), np.float32)

    def differences(rescaler, wanted=None):
        """Of down and up, in 8 bits and before rounding."""
        found = [rescaler.downscale(hr, out_dtype=dtype) for dtype in (np.uint8, np.float32)]
        found += [rescaler.upscale(lr, z, out_dtype=dtype) for dtype in (np.uint8, np.float32)]
        return found if wanted is None else [np.abs(a.astype(float) - b) for a, b in zip(found, wanted, strict=True)]

    expected, radius = differences(whole), whole.hyper.receptive_radius
    assert expected[1].shape == (42, 51, 3)
    assert expected[3].shape == (42 * scale, 51 * scale, 3)
    for tile in (2 * radius + 9, 2 * radius + 14):
        tiled = rescaler_of(tiny[scale], engine, tile)
        found = differences(tiled, expected)
        if engine == "onnxruntime":
            assert [difference.max() for difference in found] == [0, 0, 0, 0]
        else:
            assert max(found[1].max(), found[3].max()) < 1e-5
            assert all(difference.max() <= 1 and np.mean(difference) < 1e-3 for difference in found[::2])
    if engine == "onnxruntime":  # too small an overlap shows: up-scaling sees all of its reach, down-scaling half of it
        for overlap, changed in ((radius - 2, [3]), (radius // 4, [1, 3])):
            tiled.hyper, tiled.tile = Reaching(overlap, scale), 2 * overlap + 9
            found = differences(tiled, expected)
            assert all(found[place].max() > 0 for place in changed)


class Reaching:
    """A Hyper that believes in another reach."""

    def __init__(self, receptive_radius, scale):
        self.receptive_radius, self.scale = receptive_radius, scale


def test_tiles_of_the_program_change_nothing(tiny, tmp_path):
    images.write_picture(tmp_path / "a.png", picture(90, 77))
    for tile in (0, 25):
        arguments = ("--ckpt_path", tiny[2], "--tile", tile)
        run("downscale", tmp_path / "a.png", "--output", tmp_path / f"lr{tile}", *arguments)
        run("upscale", tmp_path / "lr0" / "a_lr_x2.png", "--output", tmp_path / f"hr{tile}", *arguments)
    for name in ("lr{}/a_lr_x2.png", "hr{}/a_lr_x2_hr.png"):
        assert (tmp_path / name.format(0)).read_bytes() == (tmp_path / name.format(25)).read_bytes()


def test_large_pictures_are_tiled_by_themselves(tiny):
    """2040x1356 at x4 by the authors' network is the largest that was measured: 2.0 GiB, as a whole."""
    engine = rescaler_of(tiny[2], "onnxruntime").engines["upscale"]
    full, tile_of = Hyper(4, (8, 8)), lambda hyper, size: Rescaler(hyper, {}).default_tile(size, engine)
    assert tile_of(full, (339, 510)) == 0
    tile = tile_of(full, (1000, 1000))
    assert 3 * full.receptive_radius <= tile < 600
    assert tile_of(full, (tile, tile)) == 0
    wide = Hyper(4, (8, 8), growth=64)
    assert tile / 2 < tile_of(wide, (1000, 1000)) < tile
    assert tile_of(full, (900, 900)) > 0
    assert tile_of(Hyper(2, (8,)), (900, 900)) == 0  # a quarter of the values for each LR pixel


def test_exports_of_both_directions_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = nets.save(tmp_path / "own.ckpt", nets.make(nets.TINY[2]))
    images.write_picture(tmp_path / "a.png", picture(8, 8))
    both_ways(tmp_path / "a.png", weights, tmp_path, "--engine", "onnxruntime")
    kept = sorted(tmp_path.rglob("own.ckpt.*.onnx"))
    assert len(kept) == 2
    before = [path.stat().st_ino for path in kept]
    run("downscale", tmp_path / "a.png", "--output", tmp_path / "again", "--ckpt_path", weights)
    run("upscale", tmp_path / "lr", "--output", tmp_path / "again", "--ckpt_path", weights)
    assert [path.stat().st_ino for path in sorted(tmp_path.rglob("own.ckpt.*.onnx"))] == before


# ----------------------------------------------------------------------------------------------------------- draws of z


def test_samples_seed_and_standard_deviation(tiny, tmp_path):
    images.write_picture(tmp_path / "in" / "a.png", picture(6, 8))
    images.write_picture(tmp_path / "in" / "b.png", picture(5, 5))

    def upscale(source, *arguments):
        folder = tmp_path / "out" / str(len(list((tmp_path / "out").glob("*"))))
        run("upscale", tmp_path / "in" / source, "--output", folder, "--ckpt_path", tiny[2], *arguments)
        return {path.name: images.read_rgb(path) for path in folder.iterdir()}

    alone, several = upscale("a.png"), upscale("a.png", "--samples", 3)
    assert set(alone) == {"a_hr.png"}
    assert set(several) == {"a_hr_1.png", "a_hr_2.png", "a_hr_3.png"}
    assert np.array_equal(alone["a_hr.png"], several["a_hr_1.png"])
    assert not np.array_equal(several["a_hr_1.png"], several["a_hr_2.png"])
    assert not np.array_equal(several["a_hr_2.png"], several["a_hr_3.png"])
    among = upscale("")
    assert set(among) == {"a_hr.png", "b_hr.png"}
    assert np.array_equal(among["a_hr.png"], alone["a_hr.png"])
    assert not np.array_equal(upscale("a.png", "--seed", 11)["a_hr.png"], alone["a_hr.png"])
    means = upscale("a.png", "--samples", 2, "--gaussian_scale", 0)
    assert np.array_equal(means["a_hr_1.png"], means["a_hr_2.png"])


# ------------------------------------------------------------------------------------ sizes, and what the LR file says


def test_size_without_notes(tiny, tmp_path, caplog):
    images.write_picture(tmp_path / "a.png", picture(13, 18))
    with caplog.at_level(logging.INFO):
        run("downscale", tmp_path / "a.png", "--output", tmp_path, "--ckpt_path", tiny[4])
    assert "continued by reflection to 20x16, upscale cuts it off" in caplog.text
    lr = tmp_path / "a_lr_x4.png"
    run("upscale", lr, "--output", tmp_path / "noted", "--ckpt_path", tiny[4])
    assert images.read_rgb(tmp_path / "noted" / "a_lr_x4_hr.png").shape == (13, 18, 3)
    assert "poorly" not in caplog.text
    strip_texts(lr)
    run("upscale", lr, "--output", tmp_path / "bare", "--ckpt_path", tiny[4])
    whole = images.read_rgb(tmp_path / "bare" / "a_lr_x4_hr.png")
    assert whole.shape == (16, 20, 3)
    assert "does not say that IRN's downscale made it: rescaling is not super-resolution" in caplog.text
    assert "all of it, since the original size is not known: --size gives it" in caplog.text
    run("upscale", lr, "--output", tmp_path / "asked", "--ckpt_path", tiny[4], "--size", "17x16")
    asked = images.read_rgb(tmp_path / "asked" / "a_lr_x4_hr.png")
    assert np.array_equal(asked, whole[:16, :17])
    for size in ("16x16", "21x16", "17x12", "17"):
        with pytest.raises(UserError, match="size"):
            run("upscale", lr, "--output", tmp_path / "wrong", "--ckpt_path", tiny[4], "--size", size)


def test_a_bmp_cannot_keep_the_size(tiny, tmp_path, caplog):
    images.write_picture(tmp_path / "a.png", picture(7, 8))
    with caplog.at_level(logging.INFO):
        run("downscale", tmp_path / "a.png", "--output", tmp_path, "--ckpt_path", tiny[2], "--format", "bmp")
    assert "upscale --size 8x7 cuts it off" in caplog.text
    assert images.read_rgb(tmp_path / "a_lr_x2.bmp").shape == (4, 4, 3)


def test_pictures_of_other_weights_scales_and_shapes_are_doubted(tiny, tmp_path, caplog):
    other = nets.save(tmp_path / "other.ckpt", nets.make(nets.TINY[2], seed=4))
    images.write_picture(tmp_path / "a.png", picture(12, 16))
    run("downscale", tmp_path / "a.png", "--output", tmp_path, "--ckpt_path", tiny[2])
    lr = tmp_path / "a_lr_x2.png"

    def said(weights):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run("upscale", lr, "--output", tmp_path / "hr", "--ckpt_path", weights)
        return [record.getMessage() for record in caplog.records if "a_lr_x2.png" in record.getMessage()]

    assert said(tiny[2]) == []
    assert said(other) == [f"{lr} was made by other weights: it comes back poorly"]
    assert said(tiny[4]) == [f"{lr} was made at x2, these weights are x4: it comes back poorly"]
    info = PngImagePlugin.PngInfo()
    for key, value in texts(lr).items():
        info.add_text(key, value)
    Image.fromarray(images.read_rgb(lr)[:4]).save(lr, pnginfo=info)  # cut by a program that keeps texts
    (sentence,) = said(tiny[2])
    assert "is not as it was made: 16x12, which it says it was" in sentence
    assert images.read_rgb(tmp_path / "hr" / "a_lr_x2_hr.png").shape == (8, 16, 3)


# ------------------------------------------------------------------------------------------------------ many pictures


def test_folders_keep_their_structure_and_results_are_not_inputs(tiny, tmp_path):
    for name in ("a.png", "deeper/b.png"):
        images.write_picture(tmp_path / "in" / name, picture(6, 4))
    for _ in range(2):
        run("downscale", tmp_path / "in", "--output", tmp_path / "in" / "small", "--ckpt_path", tiny[2])
    found = {str(path.relative_to(tmp_path / "in" / "small")) for path in (tmp_path / "in" / "small").rglob("*.png")}
    assert found == {"a_lr_x2.png", "deeper/b_lr_x2.png"}
    images.write_picture(tmp_path / "only" / "results" / "a.png", picture(6, 4))
    with pytest.raises(UserError, match="holds nothing but results"):
        run("upscale", tmp_path / "only", "--output", tmp_path / "only" / "results")


def test_one_bad_picture_is_named_and_the_others_are_done(tiny, tmp_path, capsys):
    images.write_picture(tmp_path / "in" / "a.png", picture(5, 6))
    images.write_picture(tmp_path / "in" / "z.png", picture(5, 7))
    whole = (tmp_path / "in" / "a.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    images.write_picture(tmp_path / "in" / "dot.png", picture(1, 1))
    with pytest.raises(UserError, match="2 of 4 pictures could not be downscaled; the others are in"):
        run("downscale", tmp_path / "in", "--output", tmp_path / "out", "--ckpt_path", tiny[2])
    said = capsys.readouterr().err
    assert "cut.png is damaged or cut off" in said
    assert "dot.png is 1x1: x2 takes pictures of 2x2 or more" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_lr_x2.png", "z_lr_x2.png"}


def test_no_input_and_no_other_result_is_overwritten(tiny, tmp_path, capsys):
    folder = tmp_path / "in"
    for name in ("a.png", "a.jpg", "b.png", "b.bmp"):
        images.write_picture(folder / name, picture(8, 6))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="4 of 4"):  # also a.jpg -> a.png, which is another input
        run("downscale", folder, "--output", folder, "--suffix", "", "--ckpt_path", tiny[2])
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(UserError, match="2 of 4"):
        run("downscale", folder, "--output", tmp_path / "out", "--ckpt_path", tiny[2])
    assert "would both become" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_lr_x2.png", "b_lr_x2.png"}


def test_pictures_may_be_typed_in_both_ways(tiny, tmp_path):
    for name in "abc":
        images.write_picture(tmp_path / f"{name}.png", picture(4, 4))
    arguments = ("--output", tmp_path / "out", "--ckpt_path", tiny[2])
    run("downscale", tmp_path / "a.png", tmp_path / "b.png", "--input", tmp_path / "c.png", *arguments)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}_lr_x2.png" for name in "abc"}


# -------------------------------------------------------------------------------------------------------------- weights


def test_demo_weights_are_the_default(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(ModelWeights, "folder", tmp_path)
    with pytest.raises(UserError, match=r"no demo weights for x2 .*, or give --ckpt_path FILE"):
        util.load_network(EvalConfig())
    path = nets.save(tmp_path / "some_x2.ckpt", nets.make(nets.TINY[2]))
    with caplog.at_level(logging.INFO):
        network, _, source = util.load_network(EvalConfig())
    assert (network.hyper, source) == (nets.TINY[2], str(path))
    assert f"taking the demo weights {path}" in caplog.text
    with pytest.raises(UserError, match="no demo weights for x4"):
        util.load_network(EvalConfig(scale=4))


@pytest.mark.parametrize("kind", ["ckpt", "safetensors", "foreign.ckpt"])
@pytest.mark.parametrize("scale", nets.TINY)
def test_checkpoints_of_every_kind_load(tmp_path, kind, scale):
    """A file without metadata is read off its shapes; what they do not tell is the options'. (.pth: test_official.)"""
    network = nets.make(nets.TINY[scale])
    weights, path = nets.weights_of(network), tmp_path / f"net.{kind}"
    if kind == "foreign.ckpt":
        ms.save_checkpoint(network, str(path))
    else:
        nets.save(path, network)
    loaded, saved, source = util.load_network(EvalConfig(ckpt_path=str(path), scale=scale))
    assert loaded.hyper == nets.TINY[scale]
    assert source == str(path)
    assert nets.weights_of(loaded).keys() == weights.keys() == saved.weights.keys()
    assert all(np.array_equal(array, weights[name]) for name, array in nets.weights_of(loaded).items())
    other = nets.make(nets.TINY[scale], seed=9)
    util.load_weights(other, str(path))
    assert all(np.array_equal(array, weights[name]) for name, array in nets.weights_of(other).items())
    if kind == "foreign.ckpt":
        assert util.load_network(EvalConfig(ckpt_path=str(path), clamp=0.7))[0].hyper.clamp == 0.7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"operations.0.haar_weights": lambda a: -a}, "operations.0.haar_weights is not the Haar transform"),
        ({"operations.1.F.conv1.bias": None}, r"operations\.1\.F\.conv1\.bias"),
        ({"operations.1.G.conv2.weight": lambda a: a[:, :-1]}, r"operations\.1\.G\.conv2\.weight"),
        ({"operations.9.extra": lambda a: np.zeros(3, np.float32)}, r"operations\.9\.extra"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, change, sentence):
    network = nets.make(nets.TINY[2])
    weights = nets.weights_of(network)
    for name, function in change.items():
        weights[name] = function(weights.get(name)) if function else None
    weights = {name: np.ascontiguousarray(array) for name, array in weights.items() if array is not None}
    checkpoint.save(tmp_path / "x.ckpt", Checkpoint(weights, util.describe(network.hyper, {})))
    with pytest.raises(UserError, match=sentence):
        util.load_network(EvalConfig(ckpt_path=str(tmp_path / "x.ckpt")))
    with pytest.raises(UserError, match=sentence):
        util.load_weights(network, str(tmp_path / "x.ckpt"))


def test_flags_that_contradict_the_checkpoint(tmp_path):
    path = str(nets.save(tmp_path / "x.ckpt", nets.make(Hyper(4, (1, 2), 4, clamp=1.5))))
    agreeing = ({}, {"scale": 4}, {"block_num": (1, 2)}, {"growth": 4}, {"clamp": 1.5}, {"init": "kaiming"})
    for options in agreeing:
        assert util.load_network(EvalConfig(ckpt_path=path, **options))[0].hyper.block_num == (1, 2)
    for options, sentence in (
        ({"scale": 2}, "has scale 4, not 2"),
        ({"block_num": (2, 1)}, r"has block_num \(1, 2\), not \(2, 1\)"),
        ({"growth": 8}, "has growth 4, not 8"),
        ({"clamp": 2.0}, "has clamp 1.5, not 2.0"),
        ({"model": "irn_small"}, r"has block_num \(1, 2\), not \(5, 5\)"),
    ):
        with pytest.raises(UserError, match=sentence):
            util.load_network(EvalConfig(ckpt_path=path, **options))


def test_random_weights_are_asked_for_and_said(tmp_path, caplog):
    images.write_picture(tmp_path / "a.png", picture(8, 8))
    arguments = ("--random_weights", "--block_num", 1, "--growth", 2, "--scale", 2, "--output", tmp_path / "out")
    run("downscale", tmp_path / "a.png", *arguments)
    assert "random weights" in caplog.text
    means = picture(8, 8).reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.array_equal(images.read_rgb(tmp_path / "out" / "a_lr_x2.png"), np.rint(means).astype(np.uint8))


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "type infer.py downscale PICTURES or infer.py upscale PICTURES"),
        (["upscle", "PICTURE"], "not 'upscle'; did you mean 'upscale'?"),
        (["downscale"], "which pictures? type infer.py downscale FILE"),
        (["upscale", "--output", "x"], "which pictures? type infer.py upscale FILE"),
        (["downscale", "/nope"], "no /nope"),
        (["downscale", "EMPTY"], "found none"),
        (["downscale", "PICTURE", "--checkpoint", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["downscale", "PICTURE", "--checkpoint", "PICTURE"], "is no checkpoint"),
        (["downscale", "PICTURE", "--checkpoint", "CUT"], "is damaged"),
        (["upscale", "PICTURE", "--checkpoint", "OTHER"], "holds WDSR, not IRN"),
        (["upscale", "PICTURE", "--checkpoint", "TINY", "--scale", "4"], "has scale 2, not 4"),
        (["upscale", "PICTURE", "--scale", "5"], "scale must be one of 2, 3, 4, 8"),
        (["upscale", "PICTURE", "--engin", "mindspore"], "did you mean '--engine'"),
        (
            ["upscale", "PICTURE", "--checkpoint", "TINY", "--tile", "20"],
            "--tile 20 is smaller than what this network sees: take 21",
        ),
        (["upscale", "PICTURE", "--samples", "0"], "samples must be 1 or more"),
        (["upscale", "PICTURE", "--gaussian_scale", "-1"], "gaussian_scale must be 0 or more"),
        (["upscale", "PICTURE", "--size", "large"], "a size is written as WIDTHxHEIGHT"),
        (["upscale", "PICTURE", "--format", "tiff"], "format must be one of png, jpg, bmp"),
        (["downscale", "PICTURE", "--format", "jpg"], "is not written as JPEG, which changes the values"),
        (["downscale", "PICTURE", "--format", "tiff"], "must be png or bmp, not 'tiff'"),
        (["downscale", "PICTURE", "--checkpoint", "TINY", "--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["downscale", "DOT", "--checkpoint", "TINY"], "is 1x1: x2 takes pictures of 2x2 or more"),
        (["downscale", "PICTURE", "--samples", "2"], "unrecognized arguments: --samples 2"),
    ],
)
def test_mistakes_get_one_sentence(tiny, tmp_path, words, sentence, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {name: tmp_path / name.lower() for name in ("EMPTY", "PICTURE", "DOT", "CUT", "OTHER")} | {"TINY": tiny[2]}
    places |= {name: places[name].with_suffix(suffix) for name, suffix in (("PICTURE", ".png"), ("DOT", ".png"))}
    places |= {name: places[name].with_suffix(".ckpt") for name in ("CUT", "OTHER")}
    images.write_picture(places["PICTURE"], picture(5, 6))
    images.write_picture(places["DOT"], picture(1, 1))
    places["EMPTY"].mkdir()
    places["CUT"].write_bytes(tiny[2].read_bytes()[:2000])
    checkpoint.save(places["OTHER"], Checkpoint({"a": np.zeros(1, np.float32)}, {"model": "WDSR"}))
    with pytest.raises(UserError) as raised:
        infer.main([str(places.get(word, word)) for word in words])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_help_names_both_commands(capsys):
    for words in (["--help"], ["upscale", "--help"]):
        with pytest.raises(SystemExit) as left:
            infer.main(words)
        assert left.value.code == 0
    said = capsys.readouterr().out
    assert "infer.py downscale" in said
    assert "--gaussian_scale" in said
