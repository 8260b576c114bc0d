"""What SRDiff's infer.py alone has: samplers, tiles that are blended, between samples, a part of another image."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from ci.tests.specs import BY_NAME, noise, smooth, weights_of, write
from ci.tests.SRDiff.nets import Chain, promised_noise, upscale
from common import UserError, config
from common.images import imresize, read_image, read_rgb, write_image
from SRDiff import infer
from SRDiff.src.model_utils import inference
from SRDiff.src.model_utils.inference import Sampler, Way
from SRDiff.src.model_utils.options import EvalConfig, InferConfig
from SRDiff.src.model_utils.util import load_trained


@pytest.fixture
def run(saved, tmp_path):
    """run(folder, *words) -> {name: image} of what is written into `tmp_path`/folder."""

    def begin(to, *words):
        weights = [] if "--checkpoint" in words else ["--ckpt_path", saved["SRDiff"]]
        given = [*words, *weights, "--output", tmp_path / to, "--device_target", "CPU"]
        assert infer.main([str(word) for word in given]) == 0
        return {path.name: read_rgb(path) for path in (tmp_path / to).glob("*.png")}

    return begin


@pytest.fixture
def sampler(saved):
    options = config.merge(InferConfig(), {"ckpt_path": str(saved["SRDiff"])}, "the test")
    return Sampler(load_trained(options), "onnxruntime")


def assert_close(found, wanted):
    """8 bits against what was not rounded."""
    assert np.abs(found - wanted.clip(0, 1) * 255).max() < 1.01


def test_ways_to_sample(run, tmp_path):
    """Each by both engines; ten steps of DDIM unless the paper's chain is asked for."""
    path, made = write(tmp_path, {"a": noise(4, 6)}) / "a.png", {}
    for way in (["ddpm", "10"], ["ddim", "4"], ["dpm", "5"]):
        words = ["--sampler", way[0], "--steps", way[1]]
        one, other = (
            run(f"{way[0]}-{e}", path, *words, "--engine", e)["a_x4.png"] for e in ("mindspore", "onnxruntime")
        )
        assert np.abs(one.astype(int) - other).max() <= 1
        made[way[0]] = one.astype(int)
    assert np.abs(made["ddpm"] - made["ddim"]).mean() > 1
    assert not np.array_equal(made["dpm"], made["ddim"])
    for given, way in (
        ({}, Way("ddim", 10)),
        ({"sampler": "ddpm"}, Way("ddpm", 100)),
        ({"steps": 0}, Way("ddim", 100)),
        ({"sampler": "ddpm", "steps": 20}, Way("ddpm", 20)),
    ):
        assert InferConfig(**given).way(100) == way
    assert EvalConfig().ways(100) == [Way("ddpm", 100)], "what is measured is the paper's chain"


def test_the_second_sample(run, tmp_path):
    lr = noise(5, 7)
    made = run("o", write(tmp_path / "in", {"a": lr}), "--samples", 2, "--seed", 7, "--sampler", "ddpm")
    assert_close(made["a_x4_2.png"], upscale(BY_NAME["SRDiff"].network(), lr, "a.png", 1))


def test_no_seam_even_where_tiles_disagree(sampler):
    """Tiles that say 0 and 1: between them there is a slope, as wide as what they share. Where they agree, no trace."""
    sampler.tile = 40
    chain = inference.Chain(noise(40, 48), sampler)
    assert len(chain.tiles) == 2
    answers = iter([0.0, 1.0])
    chain.predictor = SimpleNamespace(run=lambda x, t, cond: np.full_like(x, next(answers)))
    line, shared = chain.predict(np.zeros(chain.shape, np.float32), 3)[0, 0, 0], (40 + 40 - 48) * 4
    assert (line[: 8 * 4] == 0).all()
    np.testing.assert_array_equal(line[40 * 4 :], 1)
    assert 0 <= np.diff(line).min() <= np.diff(line).max() <= np.pi / 2 / shared
    chain.predictor = SimpleNamespace(run=lambda x, t, cond: x)
    x = np.random.default_rng(0).standard_normal(chain.shape, np.float32)
    np.testing.assert_allclose(chain.predict(x, 3), x, atol=1e-6)


def test_a_sample_that_runs_to_nan(sampler):
    chain = inference.Chain(noise(4, 4), sampler)
    chain.predictor = SimpleNamespace(run=lambda x, t, cond: np.full_like(x, np.inf if t == 3 else 0))
    with pytest.raises(UserError, match="at step 3 of the chain"):
        chain.sample(chain.noise(1, "a", 0), Way("ddpm", 10))


def test_between_two_samples(run, tmp_path):
    lr, chosen = noise(4, 6), ("--interpolate", "--t", 6, "--sampler", "ddpm", "--seed", 2)
    path = write(tmp_path, {"a": lr}) / "a.png"
    made = run("out", path, *chosen, "--weight", "0,0.25,1")
    chain = Chain(BY_NAME["SRDiff"].network(), lr, (4, 6))
    ends = [chain.sample(promised_noise("a.png", chain.size, 2, number)) for number in (0, 1)]
    draw = promised_noise("a.png", chain.size, 2, 2)
    mixed = sum(weight * chain.diffused(end, 6, draw()) for end, weight in zip(ends, (0.75, 0.25), strict=True))
    assert_close(made["a_x4_between_2.png"], chain.image(chain.run(mixed, draw, 6)))
    row = made["a_x4_between_row.png"]
    assert row.shape == (16, 3 * 24 + 2 * 6, 3)
    assert np.array_equal(row[:, -24:], made["a_x4_between_3.png"])
    assert "a_x4.png" not in made
    assert np.array_equal(run("one", path, *chosen, "--weight", 0.25)["a_x4_between.png"], made["a_x4_between_2.png"])


def test_a_part_of_another_image(run, tmp_path):
    """By a box and by the same box as a mask; of a size that is no multiple of 8, and transparent."""
    face, other, alpha = smooth(21, 29, 1), smooth(21, 29, 2), noise(21, 29, 1)
    mask = np.zeros((21, 29, 3), np.uint8)
    mask[4:14, 8:20] = 255
    write(tmp_path, {"other": other, "mask": mask})
    write_image(tmp_path / "face.png", face, alpha)
    words = (tmp_path / "face.png", "--fuse", tmp_path / "other.png", "--t", 4, "--seed", 1, "--sampler", "ddpm")
    found = run("box", *words, "--box", "4,8,10,12")["face_fused.png"]
    assert np.array_equal(run("mask", *words, "--mask", tmp_path / "mask.png")["face_fused.png"], found)
    assert np.array_equal(read_image(tmp_path / "box" / "face_fused.png").alpha, alpha)
    rest = [(0, 24 - 21), (0, 32 - 29), (0, 0)]
    mixed = np.pad(np.where(mask, other, face), rest, mode="reflect") / 127.5 - 1
    chain = Chain(BY_NAME["SRDiff"].network(), imresize(np.pad(face, rest, mode="reflect"), 1 / 4), (6, 8))
    start = (2 * (mixed - chain.up())).clip(-1, 1).transpose(2, 0, 1)[None]
    draw = promised_noise("face.png", chain.size, 1)
    assert_close(found, chain.image(chain.run(chain.diffused(start, 4, draw()), draw, 4))[:21, :29])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--interpolate --t 10", "--t counts the chain's steps from 0 to 9, there is no 10"),
        ("--interpolate --weight 0,2", "--weight holds shares from 0 to 1"),
        ("--interpolate --fuse A", "two different things"),
        ("--fuse A", "needs --box top,left,height,width or --mask"),
        ("--fuse A --box 0,0,2", "--box is top,left,height,width in pixels"),
        ("--fuse A --box 0,5,2,2", "leaves the image of 6x4"),
        ("--fuse LARGER --box 0,0,2,2", r"of one size: a\.png is 6x4, .*larger\.png 8x6"),
        ("--fuse A --mask LARGER", "the mask must have the images' size, 6x4"),
        ("--checkpoint NO_ENCODER", r"but no encoder \(rrdb\.\*\) in it"),
        ("--checkpoint NO_PREDICTOR", "holds the encoder alone"),
    ],
)
def test_what_cannot_be_sampled(run, tmp_path, capsys, words, message):
    write(tmp_path, {"a": noise(4, 6), "larger": noise(6, 8)})
    places, weights = (
        {"A": tmp_path / "a.png", "LARGER": tmp_path / "larger.png"},
        weights_of(BY_NAME["SRDiff"].network()),
    )
    for name, prefix in (("NO_ENCODER", "denoise_fn."), ("NO_PREDICTOR", "rrdb.")):
        kept = {key: array for key, array in weights.items() if key.startswith(prefix)}
        places[name] = BY_NAME["SRDiff"].save(tmp_path / f"{name}.ckpt", kept, hyper={})
    with pytest.raises(UserError) as raised:
        run("out", tmp_path / "a.png", *(places.get(word, word) for word in words.split()))
    assert re.search(message, f"{raised.value} {capsys.readouterr().err}")
