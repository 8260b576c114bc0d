"""infer.py as a user starts it, against the formulas in NumPy, with tiny networks saved as checkpoints."""

import logging
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest

from ci.tests.SRDiff import nets
from ci.tests.SRDiff.use import Chain, close, picture, promised_noise, saved, smooth, used  # noqa: F401
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.images import files as images
from common.images.resize import imresize
from SRDiff import infer
from SRDiff.src.model_utils.options import EvalConfig, InferConfig
from SRDiff.src.model_utils.pictures import Sampler, Way, default_tile, load_trained

FEW = ("--sampler", "ddim", "--steps", 2)
PAPER = ("--sampler", "ddpm")


def run(*arguments):
    assert infer.main([*map(str, arguments), "--device_target", "CPU"]) == 0


@pytest.fixture(scope="module")
def sampler(saved):  # noqa: F811
    """Of the tiny x4 network."""
    return Sampler(load_trained(InferConfig(ckpt_path=str(saved[4]))), "onnxruntime")


# ------------------------------------------------------------------------------------------------ what is made of files


@pytest.mark.parametrize(
    ("name", "pixels", "scale"),
    [
        ("odd.png", picture(7, 10), 4),
        ("gray.png", picture(5, 8, 1), 4),
        ("rgba.png", picture(6, 7, 4), 4),
        ("deep.png", picture(8, 9, 1, np.uint16), 4),
        ("dot.png", picture(1, 1), 4),
        ("dot8.png", picture(1, 1), 8),
        ("photo.jpg", picture(9, 12), 4),
        ("old.bmp", picture(7, 5), 8),
        ("图 片.png", picture(2, 3), 4),
    ],
)
def test_any_picture_is_enlarged(saved, tmp_path, name, pixels, scale):  # noqa: F811
    iio.imwrite(tmp_path / name, pixels)
    run(tmp_path / name, "--output", tmp_path / "out", "--ckpt_path", saved[scale], *FEW)
    stem, _, ending = name.rpartition(".")
    (made,) = (tmp_path / "out").iterdir()
    assert made.name == f"{stem}_x{scale}.{ending}"
    found = images.read_picture(made)
    height, width = pixels.shape[:2]
    assert found.rgb.shape == (scale * height, scale * width, 3)
    assert found.rgb.dtype == pixels.dtype
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        assert np.array_equal(found.alpha, imresize(pixels[..., 3], scale))
    else:
        assert found.alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_files_hold_what_the_formulas_give(saved, used, tmp_path, dtype):  # noqa: F811
    """The whole chain of the second of three samples, of a picture whose sides are no multiples of two."""
    lr = picture(5, 7, dtype=dtype)
    images.write_picture(tmp_path / "in" / "a.png", lr)
    words = ("--ckpt_path", saved[4], "--samples", 3, "--seed", 5, *PAPER)
    run(tmp_path / "in", *words, "--output", tmp_path / "out")
    samples = [images.read_picture(tmp_path / "out" / f"a_x4_{number}.png").rgb for number in (1, 2, 3)]
    chain = Chain(used[4], lr, (6, 8))
    close(samples[1], chain.picture(chain.sample(promised_noise("a.png", chain.size, 5, 1)), dtype))
    assert min(np.abs(samples[0].astype(float) - other).mean() for other in samples[1:]) > np.iinfo(dtype).max / 100
    sheet = images.read_rgb(tmp_path / "out" / "a_x4_samples.png")
    assert sheet.shape == (2 * 20 + 6, 2 * 28 + 6, 3)
    if dtype == np.uint8:
        assert np.array_equal(sheet[:20, :28], samples[0])
        assert np.array_equal(sheet[26:, :28], samples[2])


def test_the_engines_and_the_ways_agree(saved, sampler):  # noqa: F811
    """Each way by both engines; all steps of the implicit way are another picture than the chain's."""
    other = Sampler(sampler.trained, "mindspore")
    assert "MindSpore" in other.engine("predictor").name
    assert "ONNX Runtime" in sampler.engine("predictor").name
    lr = picture(4, 6)
    looks = [one.look_at(lr) for one in (sampler, other)]
    made = {}
    for way in (Way("ddpm", 10), Way("ddim", 4), Way("dpm", 5)):
        one, two = (look.picture(look.draw(look.noise(1, "a", 0), way)) for look in looks)
        close(one, two)
        made[way.sampler] = one.astype(int)
    assert np.abs(made["ddpm"] - made["ddim"]).mean() > 1


def test_a_sample_depends_on_its_seed_and_name_alone(saved, tmp_path):  # noqa: F811
    for place in ("a/one.png", "b/one.png", "one.png"):
        images.write_picture(tmp_path / "in" / place, picture(4, 4))
    words = ("--ckpt_path", saved[4], *FEW)
    run(tmp_path / "in", *words, "--output", tmp_path / "all")
    run(tmp_path / "in" / "a" / "one.png", *words, "--samples", 2, "--output", tmp_path / "alone")
    run(tmp_path / "in" / "a" / "one.png", *words, "--seed", 2, "--output", tmp_path / "seed")
    one, inside = (images.read_rgb(tmp_path / "all" / place) for place in ("one_x4.png", "a/one_x4.png"))
    assert np.array_equal(images.read_rgb(tmp_path / "alone" / "one_x4_1.png"), one)
    assert not np.array_equal(inside, one)
    assert not np.array_equal(images.read_rgb(tmp_path / "seed" / "one_x4.png"), one)


# ---------------------------------------------------------------------------------------------------------------- tiles


def test_tiles_make_the_picture_that_the_whole_makes(sampler):
    """The same noise, and a blend at each step. The networks see further than the overlap, but hardly."""
    lr, way = imresize(picture(9, 12), size=(37, 60)), Way("ddpm", 10)
    whole = sampler.look_at(lr)
    wanted = whole.draw(whole.noise(3, "a", 0), way)
    sampler.tile = 40
    try:
        look = sampler.look_at(lr)
    finally:
        sampler.tile = 0
    assert (len(whole.tiles), len(look.tiles)) == (1, 4)
    found = look.draw(look.noise(3, "a", 0), way)
    assert found.shape == wanted.shape == (1, 3, 4 * 38, 4 * 60)
    assert np.abs(found - wanted).max() < 2e-3
    assert np.abs(found - wanted).mean() < 1e-5
    look._kept.clear()  # as when there is no room for them: found anew at each step
    assert np.array_equal(look.draw(look.noise(3, "a", 0), way), found)


def test_no_seam_even_where_tiles_disagree(sampler):
    """Tiles that say 0 and 1: between them there is a slope, as wide as what they share. Where they agree, no trace."""
    sampler.tile = 40
    try:
        look = sampler.look_at(picture(40, 48))
    finally:
        sampler.tile = 0
    assert len(look.tiles) == 2
    answers = iter([0.0, 1.0])
    look.predictor = SimpleNamespace(run=lambda x, t, cond: np.full_like(x, next(answers)))
    eps = look.predict(np.zeros(look.shape, np.float32), 3)
    shared = (40 + 40 - 48) * 4
    line = eps[0, 0, 0]
    assert (line[: 8 * 4] == 0).all()
    np.testing.assert_array_equal(line[40 * 4 :], 1)
    assert 0 <= np.diff(line).min() <= np.diff(line).max() <= np.pi / 2 / shared
    assert line[8 * 4 + shared // 2 - 1] + line[8 * 4 + shared // 2] == pytest.approx(1, abs=1e-6)
    look.predictor = SimpleNamespace(run=lambda x, t, cond: x)
    x = np.random.default_rng(0).standard_normal(look.shape, np.float32)
    np.testing.assert_allclose(look.predict(x, 3), x, atol=1e-6)


def test_tiles_of_a_large_picture(sampler):
    """By default as large as the memory allows that the arrays of the picture leave, which the engine decides."""
    hyper = SimpleNamespace(hidden_size=64, scale=4)
    own = sampler.engine("predictor")
    assert default_tile(hyper, (200, 200), own) == 0
    assert default_tile(hyper, (1000, 300), own) == pytest.approx(143, abs=1)
    assert default_tile(hyper, (1000, 300), SimpleNamespace()) == 64


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ({}, Way("ddim", 10)),
        ({"sampler": "dpm"}, Way("dpm", 10)),
        ({"sampler": "ddpm"}, Way("ddpm", 100)),
        ({"steps": 0}, Way("ddim", 100)),
        ({"sampler": "ddpm", "steps": 20}, Way("ddpm", 20)),
    ],
)
def test_ten_steps_unless_the_paper_is_asked_for(given, way):
    """Of infer.py; eval.py measures the paper's chain."""
    assert InferConfig(**given).way(100) == way
    assert EvalConfig().ways(100) == [Way("ddpm", 100)]


# ------------------------------------------------------------------------------------------ between and within pictures


def test_between_two_samples(saved, used, tmp_path):  # noqa: F811
    lr = picture(4, 6)
    images.write_picture(tmp_path / "a.png", lr)
    words = ("--ckpt_path", saved[4], "--output", tmp_path / "out", "--seed", 2, *PAPER)
    run(tmp_path / "a.png", "--interpolate", "--weight", "0,0.25,1", "--t", 6, *words)
    chain = Chain(used[4], lr, (4, 6))
    ends = [chain.sample(promised_noise("a.png", chain.size, 2, number)) for number in (0, 1)]
    draw = promised_noise("a.png", chain.size, 2, 2)
    mixed = sum(weight * chain.diffused(end, 6, draw()) for end, weight in zip(ends, (0.75, 0.25), strict=True))
    found = [images.read_rgb(tmp_path / "out" / f"a_x4_between_{number}.png") for number in (1, 2, 3)]
    close(found[1], chain.picture(chain.run(mixed, draw, 6)))
    row = images.read_rgb(tmp_path / "out" / "a_x4_between_row.png")
    assert row.shape == (16, 3 * 24 + 2 * 6, 3)
    assert np.array_equal(row[:, -24:], found[2])
    assert not (tmp_path / "out" / "a_x4.png").exists()
    run(tmp_path / "a.png", "--interpolate", "--weight", "0.25", "--t", 6, *words)
    assert np.array_equal(images.read_rgb(tmp_path / "out" / "a_x4_between.png"), found[1])


def test_a_part_of_another_picture(saved, used, tmp_path):  # noqa: F811
    """By a box and by the same box as a mask; of a size that is no multiple of 8, and transparent."""
    face, other = smooth(21, 29, 1), smooth(21, 29, 2)
    alpha = picture(21, 29)[..., 0]
    images.write_picture(tmp_path / "face.png", face, alpha)
    images.write_picture(tmp_path / "other.png", other)
    mask = np.zeros((21, 29, 3), np.uint8)
    mask[4:14, 8:20] = 255
    images.write_picture(tmp_path / "mask.png", mask)
    words = (tmp_path / "face.png", "--fuse", tmp_path / "other.png", "--ckpt_path", saved[4], "--t", 4, "--seed", 1)
    words += PAPER
    run(*words, "--box", "4,8,10,12", "--output", tmp_path / "box")
    run(*words, "--mask", tmp_path / "mask.png", "--output", tmp_path / "mask")
    found = images.read_picture(tmp_path / "box" / "face_fused.png")
    assert np.array_equal(images.read_rgb(tmp_path / "mask" / "face_fused.png"), found.rgb)
    assert np.array_equal(found.alpha, alpha)

    rest = [(0, 24 - 21), (0, 32 - 29), (0, 0)]
    continued = np.pad(face, rest, mode="reflect")
    mixed = np.pad(np.where(mask, other, face), rest, mode="reflect") / 127.5 - 1
    lr = imresize(continued, 1 / 4)
    chain = Chain(used[4], lr, (6, 8))
    start = (2 * (mixed - chain.up())).clip(-1, 1).transpose(2, 0, 1)[None]
    draw = promised_noise("face.png", chain.size)
    close(found.rgb, chain.picture(chain.run(chain.diffused(start, 4, draw()), draw, 4))[:21, :29])


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_a_bad_picture_is_named_and_the_others_are_done(saved, tmp_path, capsys):  # noqa: F811
    for name in ("a", "z"):
        images.write_picture(tmp_path / "in" / f"{name}.png", picture(4, 6))
    whole = (tmp_path / "in" / "a.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="1 of 3 pictures could not be enlarged; the others are in"):
        run(tmp_path / "in", "--output", tmp_path / "out", "--ckpt_path", saved[4], *FEW)
    assert "cut.png is damaged or cut off" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_x4.png", "z_x4.png"}


def test_values_that_are_no_numbers(sampler):
    look = sampler.look_at(picture(4, 4))
    look.predictor = SimpleNamespace(run=lambda x, t, cond: np.full_like(x, np.inf if t == 3 else 0))
    with pytest.raises(UserError, match="values that are no numbers, at step 3 of the chain"):
        look.draw(look.noise(1, "a", 0), Way("ddpm", 10))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which pictures? type infer.py FILE"),
        (["/nope"], "there is no /nope"),
        (["EMPTY"], "found none"),
        (["PICTURE", "--samples", "0"], "samples must be 1 or more"),
        (["PICTURE", "--steps", "11"], "the chain has 10 steps, not 11"),
        (["PICTURE", "--sampler", "ddmp"], "did you mean 'ddpm'"),
        (["PICTURE", "--interpolate", "--t", "10"], "--t counts the chain's steps from 0 to 9, there is no 10"),
        (["PICTURE", "--interpolate", "--weight", "0,2"], "--weight holds shares from 0 to 1"),
        (["PICTURE", "--interpolate", "--fuse", "PICTURE"], "two different things"),
        (["PICTURE", "--fuse", "PICTURE"], "needs --box top,left,height,width or --mask"),
        (["PICTURE", "--box", "0,0,2,2"], "needs --box top,left,height,width or --mask"),
        (["PICTURE", "--fuse", "PICTURE", "--box", "0,0,2"], "--box is top,left,height,width in pixels"),
        (["PICTURE", "--fuse", "PICTURE", "--box", "0,5,2,2"], "leaves the picture of 6x4"),
        (["PICTURE", "--fuse", "LARGER", "--box", "0,0,2,2"], "of one size: picture.png is 6x4, LARGER 8x6"),
        (["PICTURE", "--fuse", "PICTURE", "--mask", "LARGER"], "the mask must have the pictures' size, 6x4"),
        (["PICTURE", "--fuse", "/nope.png", "--box", "0,0,2,2"], "/nope.png is no file"),
        (["PICTURE", "--tile", "33"], "--tile 33 is hardly more than the overlap of tiles: take 34 or more"),
        (["PICTURE", "--format", "tiff"], "format must be one of"),
        (["PICTURE", "--scale", "8"], "has scale 4, not 8"),
        (["PICTURE", "--checkpoint", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["PICTURE", "--checkpoint", "OTHER"], "holds WDSR, not SRDiff"),
        (["PICTURE", "--checkpoint", "NO_ENCODER"], "but no encoder (rrdb.*) in it"),
        (["PICTURE", "--checkpoint", "NO_PREDICTOR"], "holds the encoder alone"),
        (["PICTURE", "--output", "/proc/nope"], "cannot write to /proc/nope"),
        (["PICTURE", "PICTURE2"], "would both become"),
    ],
)
def test_mistakes_get_one_sentence(saved, mistakes, words, sentence, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    words = [str(mistakes.get(word, word)) for word in words]
    given = [] if "--checkpoint" in words else ["--ckpt_path", str(saved[4])]
    with pytest.raises(UserError) as raised:
        run(*words, *given)
    sentence = sentence.replace("LARGER", str(mistakes["LARGER"]))
    assert sentence in f"{raised.value} {capsys.readouterr().err}"
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def mistakes(used, tmp_path_factory):  # noqa: F811
    """What the mistakes are made with, by name."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "empty").mkdir()
    places = {"EMPTY": folder / "empty", "PICTURE": folder / "picture.png", "PICTURE2": folder / "two" / "picture.png"}
    for place in (places["PICTURE"], places["PICTURE2"]):
        images.write_picture(place, picture(4, 6))
    places["LARGER"] = folder / "larger.png"
    images.write_picture(places["LARGER"], picture(6, 8))
    weights = nets.weights_of(used[4])
    for name, prefix in (("NO_ENCODER", "denoise_fn."), ("NO_PREDICTOR", "rrdb.")):
        places[name] = folder / f"{name.lower()}.ckpt"
        checkpoint.save(places[name], Checkpoint({k: v for k, v in weights.items() if k.startswith(prefix)}, {}))
    places["OTHER"] = folder / "other.ckpt"
    checkpoint.save(places["OTHER"], Checkpoint({"a": np.zeros(1, np.float32)}, {"model": "WDSR"}))
    return places


def test_random_weights_are_asked_for_and_told(caplog):
    small = {"hidden_size": 4, "unet_dim_mults": (1, 2), "rrdb_num_feat": 4, "rrdb_num_block": 2}
    with caplog.at_level(logging.WARNING):
        found = load_trained(InferConfig(random_weights=True, scale=2, **small))
    assert "random weights" in caplog.text
    assert (found.source, found.cache, found.hyper.scale) == ("random weights", None, 2)
