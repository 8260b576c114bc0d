"""What SRFlow's infer.py alone has: heats, latents of images and back, the way between two of them."""

import logging
import math

import numpy as np
import pytest

from ci.tests.specs import BY_NAME, noise, weights_of, write
from ci.tests.SRFlow import nets
from common import UserError, checkpoint
from common.images import imresize, read_rgb
from SRFlow import infer, train2test


@pytest.fixture
def run(saved, tmp_path):
    """run(folder, *words) -> {name: image} of what is written into `tmp_path`/folder."""

    def begin(to, *words, weights=saved["SRFlow"]):
        given = [*words, "--ckpt_path", weights, "--output", tmp_path / to, "--device_target", "CPU"]
        assert infer.main([str(word) for word in given]) == 0
        return {path.name: read_rgb(path) for path in (tmp_path / to).glob("*.png")}

    return begin


def test_the_second_sample_and_its_latents(run, tmp_path):
    """Of three, by the form of training; heat 0 leaves nothing to chance."""
    lr = noise(7, 11)
    path = write(tmp_path / "in", {"a": lr}) / "a.png"
    made = run("o", tmp_path / "in", "--heat", 0.7, "--samples", 3, "--seed", 7, "--save_latents")
    wanted = nets.upscale(BY_NAME["SRFlow"].network(), lr, "a.png", 1).clip(0, 1) * 255
    assert np.abs(made["a_x4_2.png"] - wanted).max() < 0.55
    again = run("again", "decode", tmp_path / "o" / "a_x4_2.npz")
    assert np.array_equal(again["a_x4_2_x4.png"][:28, :44], made["a_x4_2.png"])
    one, other = (run(f"calm{seed}", path, "--heat", 0, "--seed", seed)["a_x4.png"] for seed in (1, 2))
    assert np.array_equal(one, other)


def test_the_heat_is_what_the_checkpoint_recommends(run, saved, tmp_path):
    """Also in the form that train2test.py writes; without a recommendation it is the authors'."""
    path, calm, form = write(tmp_path, {"a": noise(4, 6)}) / "a.png", tmp_path / "calm.ckpt", tmp_path / "form.ckpt"
    content = checkpoint.read(saved["SRFlow"])
    content.meta["heat"] = 0.25
    checkpoint.save(calm, content)
    assert train2test.main(["--train_path", str(calm), "--test_path", str(form)]) == 0
    made = {file.stem: run(file.stem, path, weights=file)["a_x4.png"] for file in (calm, form)}
    made |= {heat: run(f"heat{heat}", path, "--heat", heat)["a_x4.png"] for heat in (0.25, 0.9)}
    np.testing.assert_array_equal(made["calm"], made[0.25])
    assert np.abs(made["form"].astype(int) - made[0.25]).max() <= 1
    np.testing.assert_array_equal(run("none", path)["a_x4.png"], made[0.9])
    assert not np.array_equal(made[0.9], made[0.25])


def test_tiles_of_latents_meet(run, tmp_path):
    """An image encoded and decoded by tiles comes back as it was."""
    hr = imresize(noise(36, 64), size=(224, 400))
    write(tmp_path, {"a": hr})
    run("latents", "encode", tmp_path / "a.png", "--tile", 64)
    found = run("out", "decode", tmp_path / "latents" / "a.npz", "--tile", 64)["a_x4.png"]
    assert np.abs(found.astype(int) - hr).max() <= 1


@pytest.mark.parametrize("size", [(32, 40), (29, 43)])
def test_an_image_goes_into_latents_and_back(run, tmp_path, caplog, size):
    hr = noise(*size)
    write(tmp_path, {"a": hr})
    with caplog.at_level(logging.INFO):
        run("latents", "encode", tmp_path / "a.png")
    assert "LR image made by bicubic; NLL" in caplog.text
    with np.load(tmp_path / "latents" / "a.npz") as file:
        cells = [-(-side // 8) for side in size]
        assert file["latent_1"].shape == (1, 96, *cells)
        assert file["lr_image"].shape == (2 * cells[0], 2 * cells[1], 3)
    assert np.array_equal(run("out", "decode", tmp_path / "latents" / "a.npz")["a_x4.png"], hr)
    assert "other weights" not in caplog.text
    other = nets.make(size=0.02, seed=4)
    other = BY_NAME["SRFlow"].save(tmp_path / "other.ckpt", weights_of(other))
    run("other", "decode", tmp_path / "latents" / "a.npz", weights=other)
    assert "was made by other weights" in caplog.text


def test_latents_of_a_given_lr_image(run, tmp_path, caplog):
    """Of the same name in a folder; HR is larger than LR times 4 by a rest, which is cut."""
    hr, lr, network = noise(26, 24), noise(6, 6), BY_NAME["SRFlow"].network()
    write(tmp_path, {"hr/a": hr, "lr/ax4": lr})
    with caplog.at_level(logging.INFO):
        run("l", "encode", tmp_path / "hr", "--lr", tmp_path / "lr")
    assert "cut to the LR image" in caplog.text
    conditions = nets.encode(network, lr[None].transpose(0, 3, 1, 2) / 255)[0]
    wanted = nets.latents(network, hr[None, :24].transpose(0, 3, 1, 2) / 255, conditions)
    with np.load(tmp_path / "l" / "a.npz") as file:
        for number, part in enumerate(wanted):
            np.testing.assert_allclose(file[f"latent_{number}"], part, atol=1e-5 * np.abs(part).max())
        assert np.array_equal(file["lr_image"], lr)
    assert np.array_equal(run("out", "decode", tmp_path / "l")["a_x4.png"], hr[:24])


def test_from_one_sample_to_another(run, tmp_path):
    """The ends are the samples; on the way latents keep their length, and so their deviation."""
    write(tmp_path, {"a": noise(5, 6)})
    ends = run("o", tmp_path / "a.png", "--samples", 2, "--save_latents", "--heat", 0.7)
    files = tmp_path / "o" / "a_x4_1.npz", tmp_path / "o" / "a_x4_2.npz"
    made = run("between", "interpolate", *files, "--steps", 3)
    steps = [made[f"a_x4_1_to_a_x4_2_x4_{number}.png"] for number in (1, 2, 3)]
    assert np.array_equal(steps[0], ends["a_x4_1.png"])
    assert np.array_equal(steps[2], ends["a_x4_2.png"])
    assert made["a_x4_1_to_a_x4_2_row.png"].shape == (20, 3 * 24 + 2 * 6, 3)
    one, other = (np.load(file) for file in files)
    names = ("latent_0", "latent_1")
    a, b = (np.concatenate([file[name].ravel() for name in names]).astype(float) for file in (one, other))
    angle = math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    middle, placed = (a + b) / (2 * math.cos(angle / 2)), dict(one.items())
    for name in names:
        placed[name], middle = (
            middle[: one[name].size].reshape(one[name].shape).astype(np.float32),
            middle[one[name].size :],
        )
    np.savez(tmp_path / "middle.npz", **placed)
    wanted = run("middle", "decode", tmp_path / "middle.npz")["middle_x4.png"]
    assert np.abs(wanted.astype(int) - steps[1]).max() <= 1


@pytest.mark.filterwarnings("ignore:overflow")
def test_what_cannot_be_decoded(run, tmp_path):
    """Latents of another shape, with NaN, of other LR images; a heat beyond all measure. Nothing is written."""
    write(tmp_path, {"a": noise(4, 4), "b": noise(4, 4, seed=1)})
    run("l", tmp_path / "a.png", tmp_path / "b.png", "--save_latents")
    with np.load(tmp_path / "l" / "a_x4.npz") as file:
        arrays = dict(file.items())
    cases = {
        "foreign": ({"about": np.array("{}")}, "is damaged, or no file that infer.py encode wrote"),
        "of_x2": ({"latent_1": arrays["latent_1"][:, :24]}, "this network takes"),
        "nan": ({"latent_1": arrays["latent_1"] * np.float32(np.nan)}, "holds NaN or Inf|holds NaN"),
    }
    for name, (changes, message) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **(arrays | changes))
        with pytest.raises(UserError, match=message):
            run("o", "decode", tmp_path / f"{name}.npz")
    both = tmp_path / "l" / "a_x4.npz", tmp_path / "l" / "b_x4.npz"
    for words, message in (
        (["interpolate", *both], "are not of the same LR image"),
        (["interpolate", both[0]], "takes two files of latents, not 1"),
        (["decode", tmp_path / "o"], r"there is no|has no \.npz"),
        (["encode", tmp_path / "a.png", "--lr", tmp_path / "b.png"], "x4 of it is 16x16, but"),
        ([tmp_path / "a.png", "--heat", 3e38], "smaller --heat"),
    ):
        with pytest.raises(UserError, match=message):
            run("o", *words)
    assert not (tmp_path / "o").exists()
