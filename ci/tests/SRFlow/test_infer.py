"""infer.py as a user starts it, with and without a command, with tiny networks saved as checkpoints."""

import logging
import math
import zlib
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.SRFlow import nets
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.images import files as images
from common.images.resize import imresize
from common.images.strip import grid
from common.runtime import graph_mode
from SRFlow import infer
from SRFlow.src.model_utils import pictures as sampling
from SRFlow.src.model_utils.options import EnlargeConfig
from SRFlow.src.model_utils.pictures import Sampler, default_tile, slerp
from SRFlow.src.model_utils.util import convert, describe, load_trained


def picture(height, width, channels=3, dtype=np.uint8):
    """Noise: nothing about it is easy."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def run(*arguments):
    assert infer.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def sampler_of(path, engine="auto", tile=0):
    return Sampler(load_trained(EnlargeConfig(ckpt_path=str(path))), engine, tile)


def promised_latents(hyper, name, heat, seed=1, number=0, size=None):
    """What infer.py's help promises for a picture of this name."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    return [np.float32(heat) * rng.standard_normal((1, *shape), np.float32) for shape in hyper.latent_shapes(*size)]


def by_training_form(network, lr, latents):
    """(H, W, 3) in [0, 1] -> (sH, sW, 3), eagerly, on the whole picture."""
    with graph_mode(False):
        image = Tensor(lr.transpose(2, 0, 1)[None].astype(np.float32))
        return network.sample([Tensor(part) for part in latents], image).asnumpy()[0].transpose(1, 2, 0)


def grey_levels(values, dtype=np.uint8):
    return np.rint(values.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


# ------------------------------------------------------------------------------------------------ what is made of files


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("odd.png", picture(7, 10)),
        ("gray.png", picture(5, 8, 1)),
        ("rgba.png", picture(6, 7, 4)),
        ("deep.png", picture(8, 9, 1, np.uint16)),
        ("dot.png", picture(1, 1)),
        ("photo.jpg", picture(9, 12)),
        ("old.bmp", picture(7, 5)),
        ("图 片.png", picture(6, 6)),
    ],
)
def test_any_picture_is_enlarged(tiny, tmp_path, name, pixels):
    iio.imwrite(tmp_path / name, pixels)
    run(tmp_path / name, "--output", tmp_path / "out", "--ckpt_path", tiny[4], "--heat", 0.3)
    stem, _, ending = name.rpartition(".")
    (made,) = (tmp_path / "out").iterdir()
    assert made.name == f"{stem}_x4.{ending}"
    found = images.read_picture(made)
    height, width = pixels.shape[:2]
    assert found.rgb.shape == (4 * height, 4 * width, 3)
    assert found.rgb.dtype == pixels.dtype
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        assert np.array_equal(found.alpha, imresize(pixels[..., 3], 4))
    else:
        assert found.alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_files_hold_what_the_network_computes(tiny, used, tmp_path, dtype):
    """Against the form of training on the picture that was continued by reflection, three samples."""
    lr, hyper = picture(7, 11, dtype=dtype), used[4].hyper
    images.write_picture(tmp_path / "in" / "a.png", lr)
    words = (tmp_path / "in", "--ckpt_path", tiny[4], "--heat", 0.7, "--samples", 3, "--seed", 5)
    run(*words, "--output", tmp_path / "out")
    continued = np.pad(lr, [(0, 1), (0, 1), (0, 0)], mode="reflect") / np.iinfo(dtype).max
    samples = [images.read_picture(tmp_path / "out" / f"a_x4_{number}.png").rgb for number in (1, 2, 3)]
    latents = promised_latents(hyper, "a.png", 0.7, 5, 1, continued.shape[:2])
    wanted = grey_levels(by_training_form(used[4], continued, latents)[:28, :44], dtype)
    assert samples[1].dtype == dtype
    assert np.abs(samples[1].astype(int) - wanted).max() <= np.iinfo(dtype).max // 10_000 + 1
    assert min(np.abs(samples[0].astype(float) - other).mean() for other in samples[1:]) > np.iinfo(dtype).max / 100
    sheet = images.read_rgb(tmp_path / "out" / "a_x4_samples.png")
    assert sheet.shape == (2 * 28 + 6, 2 * 44 + 6, 3)
    if dtype == np.uint8:
        assert np.array_equal(sheet[:28, :44], samples[0])
        assert np.array_equal(sheet[34:, :44], samples[2])
        assert (sheet[34:, 44:] == 255).all()


def test_heat_0_leaves_nothing_to_chance(tiny, tmp_path):
    images.write_picture(tmp_path / "a.png", picture(4, 6))
    for seed in (1, 2):
        run(tmp_path / "a.png", "--ckpt_path", tiny[4], "--heat", 0, "--seed", seed, "--output", tmp_path / f"o{seed}")
    one, other = ((tmp_path / f"o{seed}" / "a_x4.png").read_bytes() for seed in (1, 2))
    assert one == other


def test_the_heat_is_what_the_checkpoint_recommends(tiny, tmp_path):
    """Also in the form that train2test.py writes; without a recommendation it is the authors'."""
    images.write_picture(tmp_path / "a.png", picture(4, 6))
    saved = checkpoint.read(tiny[4])
    saved.meta["heat"] = 0.25
    checkpoint.save(tmp_path / "calm.ckpt", saved)
    list(convert(str(tmp_path / "calm.ckpt"), str(tmp_path / "form.ckpt")))
    files = {"calm": tmp_path / "calm.ckpt", "form": tmp_path / "form.ckpt", "none": tiny[4]}
    for name, path in files.items():
        run(tmp_path / "a.png", "--ckpt_path", path, "--output", tmp_path / name)
    for heat in (0.25, 0.9):
        run(tmp_path / "a.png", "--ckpt_path", tiny[4], "--heat", heat, "--output", tmp_path / f"{heat}")
    made = {path.parent.name: path.read_bytes() for path in tmp_path.glob("*/a_x4.png")}
    assert made["calm"] == made["form"] == made["0.25"]
    assert made["none"] == made["0.9"] != made["0.25"]


def test_the_demo_weights_recommend_a_heat():
    assert load_trained(EnlargeConfig()).heat == 0.5


def test_a_grid_is_at_most_as_wide_as_a_screen():
    sheet = grid([np.full((30, 1500, 3), value, np.uint16) for value in (0, 257 * 100)], columns=2)
    assert sheet.shape == (20, 2000, 3)
    assert sheet.dtype == np.uint8
    assert (sheet[0, 0], sheet[0, -1]) == (pytest.approx(0), pytest.approx(100))
    assert (sheet[:, 997:1003] == 255).all()


# ---------------------------------------------------------------------------------------------------------------- tiles


def test_tiles_meet(tiny):
    """The network sees more than the overlap, but hardly; what it sees most of must be in it."""
    whole = sampler_of(tiny[4], "onnxruntime")
    lr = imresize(picture(9, 16), size=(56, 130))
    latents = whole.draw(lr, 0.5, 3, "a", 0)
    expected = whole.decode(lr, latents, out_dtype=np.float32)
    hr = grey_levels(expected)
    wanted = whole.encode(hr, lr)
    whole.tile = 64

    def differences():
        found = whole.encode(hr, lr)
        of_latents = max(np.abs(a - b).max() for a, b in zip(found.latents, wanted.latents, strict=True))
        return np.abs(whole.decode(lr, latents, out_dtype=np.float32) - expected).max(), of_latents, found.nll

    picture_error, latent_error, nll = differences()
    assert picture_error < 1e-4
    assert latent_error < 1e-4
    assert nll == pytest.approx(wanted.nll, abs=1e-6)
    whole.overlap = 1  # cells
    picture_error, latent_error, nll = differences()
    assert min(picture_error, latent_error) > 1e-3
    assert nll != wanted.nll


def test_large_pictures_are_cut_and_small_ones_are_not():
    hyper = nets.TINY[4]
    side = default_tile(hyper, (10**4, 10**4), SimpleNamespace())
    assert side >= 4 * sampling.OVERLAP
    assert default_tile(hyper, (side - 1, side - 1), SimpleNamespace()) == 0


# -------------------------------------------------------------------------------------------------------------- latents


@pytest.mark.parametrize("size", [(32, 40), (29, 43)])
def test_a_picture_goes_into_latents_and_back(tiny, tmp_path, caplog, size):
    hr = picture(*size)
    images.write_picture(tmp_path / "a.png", hr)
    with caplog.at_level(logging.INFO):
        run("encode", tmp_path / "a.png", "--ckpt_path", tiny[4], "--output", tmp_path / "latents")
    assert "LR picture made by bicubic; NLL" in caplog.text
    with np.load(tmp_path / "latents" / "a.npz") as file:
        cells = [-(-side // 8) for side in size]
        assert file["latent_1"].shape == (1, 96, *cells)
        assert file["lr_image"].shape == (2 * cells[0], 2 * cells[1], 3)
    run("decode", tmp_path / "latents" / "a.npz", "--ckpt_path", tiny[4], "--output", tmp_path / "out")
    assert np.array_equal(images.read_rgb(tmp_path / "out" / "a_x4.png"), hr)
    assert "other weights" not in caplog.text


def test_latents_of_a_given_lr_picture(tiny, used, tmp_path, caplog):
    """Of the same name in a folder; HR is larger than LR times 4 by a rest, which is cut."""
    hr, lr = picture(26, 24), picture(6, 6)
    images.write_picture(tmp_path / "hr" / "a.png", hr)
    images.write_picture(tmp_path / "lr" / "ax4.png", lr)
    with caplog.at_level(logging.INFO):
        run("encode", tmp_path / "hr", "--lr", tmp_path / "lr", "--ckpt_path", tiny[4], "--output", tmp_path / "l")
    assert "cut to the LR picture" in caplog.text
    wanted = nets.latents(
        used[4],
        hr[None, :24].transpose(0, 3, 1, 2) / 255,
        nets.encode(used[4], lr[None].transpose(0, 3, 1, 2) / 255)[0],
    )
    with np.load(tmp_path / "l" / "a.npz") as file:
        for number, part in enumerate(wanted):
            np.testing.assert_allclose(file[f"latent_{number}"], part, atol=1e-5 * np.abs(part).max())
        assert np.array_equal(file["lr_image"], lr)
    run("decode", tmp_path / "l", "--ckpt_path", tiny[4], "--output", tmp_path / "out")  # all of a folder
    assert np.array_equal(images.read_rgb(tmp_path / "out" / "a_x4.png"), hr[:24])
    with pytest.raises(UserError, match=r"out has no \.npz: infer\.py encode makes them"):
        run("decode", tmp_path / "out", "--ckpt_path", tiny[4], "--output", tmp_path / "o")


def test_from_one_sample_to_another(tiny, tmp_path):
    images.write_picture(tmp_path / "a.png", picture(5, 6))
    words = ("--ckpt_path", tiny[4], "--output", tmp_path / "out")
    run(tmp_path / "a.png", "--samples", 2, "--save_latents", *words)
    out = tmp_path / "out"
    run("interpolate", out / "a_x4_1.npz", out / "a_x4_2.npz", "--steps", 3, *words)
    steps = [images.read_rgb(out / f"a_x4_1_to_a_x4_2_x4_{number}.png") for number in (1, 2, 3)]
    ends = [images.read_rgb(out / f"a_x4_{number}.png") for number in (1, 2)]
    assert np.array_equal(steps[0], ends[0])
    assert np.array_equal(steps[2], ends[1])
    assert min(np.abs(steps[1].astype(int) - end).max() for end in ends) > 2
    assert images.read_rgb(out / "a_x4_1_to_a_x4_2_row.png").shape == (20, 3 * 24 + 2 * 6, 3)


def test_slerp_keeps_the_length():
    """In the plane, an arc of 90 degrees; on it the length stays, and the angle grows evenly."""
    one, other = [np.array([2.0, 0], np.float32)], [np.array([0, 2.0], np.float32)]
    for share in (0, 0.25, 0.5, 1):
        (point,) = slerp(one, other, share)
        angle = share * math.pi / 2
        np.testing.assert_allclose(point, [2 * math.cos(angle), 2 * math.sin(angle)], atol=1e-6)
    np.testing.assert_allclose(slerp(one, one, 0.3)[0], one[0])
    np.testing.assert_allclose(slerp([0 * one[0]], other, 0.25)[0], 0.25 * other[0])
    a, b = [nets.normal(1, 6, 20, 20, seed=1), nets.normal(1, 9, 5, 5, seed=2)], [np.zeros((1, 6, 20, 20)), None]
    b = [nets.normal(1, 6, 20, 20, seed=3), nets.normal(1, 9, 5, 5, seed=4)]
    middle = np.concatenate([part.ravel() for part in slerp(a, b, 0.5)])
    assert middle.std() == pytest.approx(1, abs=0.05)  # the straight way has 0.71


def test_latents_of_other_weights_are_told(tiny, used, tmp_path, caplog):
    images.write_picture(tmp_path / "a.png", picture(4, 4))
    run(tmp_path / "a.png", "--save_latents", "--ckpt_path", tiny[4], "--output", tmp_path / "o")
    other = load_trained(EnlargeConfig(ckpt_path=str(tiny[4])))._replace(digest="f" * 64)

    sampling.latents_of(tmp_path / "o" / "a_x4.npz", SimpleNamespace(hyper=other.hyper, trained=other))
    assert "was made by other weights" in caplog.text


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_a_bad_picture_is_named_and_the_others_are_done(tiny, tmp_path, capsys):
    for name in ("a", "z"):
        images.write_picture(tmp_path / "in" / f"{name}.png", picture(4, 6))
    whole = (tmp_path / "in" / "a.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="1 of 3 pictures could not be enlarged; the others are in"):
        run(tmp_path / "in", "--output", tmp_path / "out", "--ckpt_path", tiny[4])
    assert "cut.png is damaged or cut off" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_x4.png", "z_x4.png"}


@pytest.mark.filterwarnings("ignore:overflow")
def test_values_that_are_no_numbers(tiny, tmp_path):
    """A heat beyond all measure; nothing is written."""
    images.write_picture(tmp_path / "a.png", picture(4, 4))
    with pytest.raises(UserError, match=r"no numbers, or too large for one: .* smaller --heat"):
        run(tmp_path / "a.png", "--heat", 3e38, "--output", tmp_path / "o", "--ckpt_path", tiny[4])
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "on what? type infer.py PICTURES, infer.py encode HR"),
        (["encode"], "on what? type infer.py PICTURES"),
        (["decod", "LATENTS"], "; did you mean 'decode'?"),
        (["/nope"], "there is no /nope"),
        (["EMPTY"], "found none"),
        (["decode", "/nope.npz"], "expected latents (.npz), but there is no /nope.npz"),
        (["decode", "PICTURE"], "is damaged, or no file that infer.py encode wrote"),
        (["decode", "FOREIGN"], "is damaged, or no file that infer.py encode wrote"),
        (["decode", "OF_X2"], "this network takes"),
        (["decode", "NAN"], "holds values that are no numbers"),
        (["interpolate", "LATENTS"], "takes two files of latents, not 1"),
        (["interpolate", "LATENTS", "ELSE"], "are not of the same LR picture"),
        (["interpolate", "LATENTS", "LATENTS", "--steps", "1"], "steps must be 2 or more"),
        (["encode", "PICTURE", "--lr", "PICTURE"], "x4 of it is 24x16, but"),
        (["encode", "PICTURE", "--lr", "/nope"], "there is no /nope"),
        (["encode", "PICTURE", "--lr", "FOLDER"], "holds 0 pictures named picture or picturex4"),
        (["PICTURE", "--samples", "0"], "samples must be 1 or more"),
        (["PICTURE", "--heat", "-1"], "heat must be 0 or more"),
        (["PICTURE", "--heat", "nan"], "heat must be a number"),
        (["PICTURE", "--heet", "1"], "did you mean '--heat'"),
        (["PICTURE", "--format", "tiff"], "format must be one of"),
        (["PICTURE", "--scale", "3"], "scale must be one of"),
        (["PICTURE", "--scale", "8"], "has scale 4, not 8"),
        (["PICTURE", "--tile", "48"], "--tile 48 is hardly more than the overlap of tiles: take 50 or more"),
        (["PICTURE", "--checkpoint", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["PICTURE", "--checkpoint", "PICTURE"], "is no checkpoint"),
        (["PICTURE", "--checkpoint", "OTHER"], "holds WDSR, not SRFlow"),
        (["PICTURE", "--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["PICTURE", "PICTURE2"], "would both become"),
    ],
)
def test_mistakes_get_one_sentence(tiny, mistakes, words, sentence, monkeypatch):
    monkeypatch.chdir(mistakes["FOLDER"].parent)
    words = [str(mistakes.get(word, word)) for word in words]
    given = [] if "--checkpoint" in words else ["--ckpt_path", str(tiny[4])]
    with pytest.raises(UserError) as raised:
        run(*words, *given)
    assert sentence in str(raised.value) or "1 of 2 pictures" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def mistakes(tiny, tmp_path_factory):
    """What the mistakes are made with, by name."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("empty", "folder"):
        (folder / name).mkdir()
    places = {"EMPTY": folder / "empty", "FOLDER": folder / "folder", "OTHER": folder / "other.ckpt"}
    places |= {"PICTURE": folder / "picture.png", "PICTURE2": folder / "two" / "picture.png"}
    for place in (places["PICTURE"], places["PICTURE2"]):
        images.write_picture(place, picture(4, 6))
    images.write_picture(folder / "folder" / "another.png", picture(4, 6))
    checkpoint.save(places["OTHER"], Checkpoint({"a": np.zeros(1, np.float32)}, {"model": "WDSR"}))
    for name, seed in (("latents", 1), ("else", 2)):
        images.write_picture(folder / f"{name}.png", np.full((4, 4, 3), seed, np.uint8))
        run(folder / f"{name}.png", "--save_latents", "--ckpt_path", tiny[4], "--output", folder)
        places[name.upper()] = folder / f"{name}_x4.npz"
    with np.load(places["LATENTS"]) as file:
        arrays = dict(file.items())
    for name, changes in (
        ("foreign", {"about": np.array("{}")}),
        ("of_x2", {"latent_1": arrays["latent_1"][:, :24]}),
        ("nan", {"latent_1": arrays["latent_1"] * np.float32(np.nan)}),
    ):
        places[name.upper()] = folder / f"{name}.npz"
        np.savez(places[name.upper()], **(arrays | changes))
    return places


def test_help_names_the_commands(capsys):
    for words in (["--help"], ["encode", "--help"]):
        with pytest.raises(SystemExit) as left:
            infer.main(words)
        assert left.value.code == 0
    said = capsys.readouterr().out
    assert "infer.py interpolate" in said
    assert "--lr" in said


def test_checkpoints_that_say_nothing_of_themselves_load(used, tmp_path):
    """As MindSpore's own `save_checkpoint` writes them."""
    checkpoint.save(tmp_path / "x.ckpt", Checkpoint(nets.weights_of(used[4]), {}))
    found = load_trained(EnlargeConfig(ckpt_path=str(tmp_path / "x.ckpt"), stack=(0, 1)))
    assert found.hyper == used[4].hyper
    assert describe(found.hyper, {})["scale"] == 4
