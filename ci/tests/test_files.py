"""What the five do with the files that they read and write: by the programs, with tiny networks."""

import logging

import pytest
from PIL import Image, ImageCms

from ci.tests.specs import BY_NAME, noise, write
from common import UserError

FAST = {"SRDiff": ["--steps", "1", "--sampler", "ddim"]}
# What is written beside the results, and the options that ask for it.
BESIDE = {name: ("_compare", ["--compare"]) for name in ("WDSR", "CSNLN")}
BESIDE |= {name: ("_samples", ["--samples", "2"]) for name in ("SRFlow", "SRDiff")}


@pytest.fixture
def infer(saved, tmp_path, monkeypatch):
    """Run a model's infer.py in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(spec, *words):
        words = [*spec.infer, *words, "--ckpt_path", saved[spec.name]]
        return spec.main("infer", *words, *FAST.get(spec.name, []))

    return run


def test_any_file_and_the_others_are_done(spec, infer, tmp_path, caplog):
    """Profiles are kept; TIFF, WebP and links are read; what cannot be written is said before it is computed."""
    (tmp_path / "elsewhere").mkdir()
    long, wide = "n" * 250, noise(2, 65_600 // spec.scale)
    write(tmp_path / "in", {"wide": wide, long: noise(16, 24)})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("in/a.png", "in/b.tif", "elsewhere/c.webp"):
        Image.fromarray(noise(16, 24)).save(tmp_path / name, icc_profile=profile)
    (tmp_path / "in" / "link").symlink_to("../elsewhere")
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match="2 of 5 images could not be"):
        infer(spec, "in", "--output", "out", "--format", "jpg", "--suffix", "_up")
    for name in ("a", "b", "link/c"):
        with Image.open(tmp_path / "out" / f"{name}_up.jpg") as made:
            assert (made.size, made.info["icc_profile"]) == ((24 * spec.scale, 16 * spec.scale), profile)
    said = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert f"{long}_up.jpg has more than 255 bytes" in said
    assert "JPEG at most 65500 a side: type --format png" in said


def test_no_result_replaces_an_input(spec, infer, tmp_path):
    """Nor do the strips and sheets beside the results."""
    ending, options = BESIDE.get(spec.name, ("", []))
    write(tmp_path / "in", {"a": noise(16, 24), f"a_up{ending}": noise(8, 8)})
    before = (tmp_path / "in" / f"a_up{ending}.png").read_bytes()
    with pytest.raises(UserError, match="1 of 2 images could not be"):
        infer(spec, "in", "--output", "in", "--suffix", "_up", *options)
    assert (tmp_path / "in" / f"a_up{ending}.png").read_bytes() == before


def test_no_result_replaces_what_is_fused_in(infer, tmp_path):
    """SRDiff reads it anew for each image."""
    write(tmp_path, {"face": noise(32, 32), "out/face_fused": noise(32, 32)})
    words = ["face.png", "--fuse", "out/face_fused.png", "--box", "0,0,16,16", "--t", "2", "--output", "out"]
    with pytest.raises(UserError, match=r"out/face_fused\.png would be overwritten"):
        infer(BY_NAME["SRDiff"], *words)


def test_no_result_of_an_evaluation_replaces_an_image(spec, saved, tmp_path, monkeypatch):
    """A set whose images are where the evaluation would write its own."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pics" / "SR", {"a": noise(32, 32)})
    words = [f"--{spec.data}", ".", "--data_test", "pics", "--ckpt_path", saved[spec.name], "--engine", "mindspore"]
    with pytest.raises(UserError, match="has pics already: type a new folder"):
        spec.main("eval", *words, "--output", ".")
    assert [path.name for path in tmp_path.rglob("*.*")] == ["a.png"]
