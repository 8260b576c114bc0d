"""infer.py of the five: images of every kind, what the network computes, tiles, samples, the mean of eight."""

import imageio.v3 as iio
import numpy as np
import pytest

from ci.tests.specs import BY_NAME, noise, smooth, write
from common import UserError
from common.images import imresize, read_image

KINDS = {
    "odd.png": noise(7, 9),
    "deeper/alpha.png": noise(10, 12, 4),
    "gray.png": noise(9, 8, 1),
    "deep.png": noise(8, 9, 1, np.uint16),
    "dot.png": noise(1, 1),
    "photo.jpg": noise(16, 24),
    "old.bmp": noise(7, 5),
    "图 片.png": noise(6, 6),
}


@pytest.fixture
def infer(saved, tmp_path):
    """infer(spec, source, *words, to=folder) -> {path below the folder of the results: result}."""

    def run(spec, source, *words, to="out"):
        given = [*spec.infer, source, "--ckpt_path", saved[spec.name], "--output", tmp_path / to, *words]
        assert spec.main("infer", *given, "--device_target", "CPU") == 0
        return results(tmp_path / to)

    return run


def results(folder):
    return {path.relative_to(folder).as_posix(): read_image(path) for path in sorted(folder.rglob("*.*"))}


def test_any_image(spec, infer, tmp_path, capsys):
    """Of a folder, whose structure is kept; a damaged one is named, and the others are done."""
    for name, pixels in KINDS.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(tmp_path / "in" / name, pixels)
    whole = (tmp_path / "in" / "gray.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    extra = ["--compare"] if spec.name in ("WDSR", "CSNLN") else []
    with pytest.raises(UserError, match="1 of 9 images could not be"):
        infer(spec, tmp_path / "in", *extra)
    assert "cut.png is damaged or cut off" in capsys.readouterr().err
    found = {name.rpartition(".")[0]: result for name, result in results(tmp_path / "out").items()}
    for name, pixels in KINDS.items():
        result = found.pop(spec.result.format(stem=name.rpartition(".")[0], scale=spec.scale))
        height, width = pixels.shape[:2]
        assert result.rgb.shape == (spec.scale * height, spec.scale * width, 3), name
        assert result.rgb.dtype == pixels.dtype, name
        if "alpha" in name:
            np.testing.assert_array_equal(result.alpha, imresize(pixels[..., 3], spec.scale))
        else:
            assert result.alpha is None, name
    assert len(found) == (len(KINDS) if extra else 0), "strips"
    assert all(name.endswith("_compare") for name in found)


@pytest.mark.parametrize("engine", ["onnxruntime", "mindspore"])
def test_the_files_hold_what_the_network_computes(spec, engine, infer, tmp_path):
    """To the rounding of 8 bits; in 16 bits to a ten-thousandth."""
    images = {"a": noise(7, 10), "b": noise(5, 8, dtype=np.uint16)}
    if spec.name == "IRN":  # whose LR images have 8 bits
        images["b"] = noise(5, 8)
    found = infer(spec, write(tmp_path / "in", images), "--engine", engine)
    for name, lr in images.items():
        result = found[f"{spec.result.format(stem=name, scale=spec.scale)}.png"].rgb
        white = np.iinfo(result.dtype).max
        wanted = spec.upscale(spec.network(), lr, f"{name}.png").clip(0, 1) * white
        assert np.abs(result - wanted).max() <= 0.51 + white // 10_000
        assert result.std() > white / 20


@pytest.mark.parametrize(
    ("model", "size", "tile", "exact"),
    [
        ("WDSR", (61, 83), 40, True),
        ("IRN", (50, 47), 25, True),
        ("SRFlow", (56, 100), 64, False),
        ("SRDiff", (37, 60), 40, False),
    ],
)
def test_tiles_equal_the_whole(model, size, tile, exact, infer, tmp_path):
    """Where the network sees further than the overlap, but hardly, up to one grey level."""
    lr = smooth(*size)
    write(tmp_path, {"a": lr})
    (whole,) = infer(BY_NAME[model], tmp_path / "a.png", "--tile", 0, to="whole").values()
    (tiled,) = infer(BY_NAME[model], tmp_path / "a.png", "--tile", tile, to="tiled").values()
    if exact:
        np.testing.assert_array_equal(tiled.rgb, whole.rgb)
    difference = np.abs(tiled.rgb.astype(int) - whole.rgb)
    assert difference.max() <= 1
    assert difference.mean() < 1e-3
    with pytest.raises(UserError, match=r"--tile 5 is (smaller than the receptive field|hardly more than the over)"):
        infer(BY_NAME[model], tmp_path / "a.png", "--tile", 5, to="wrong")


@pytest.mark.parametrize("engine", ["onnxruntime", "mindspore"])
@pytest.mark.parametrize(
    ("model", "size", "tile"),
    [("WDSR", (61, 60), 40), ("IRN", (30, 47), 25), ("SRFlow", (56, 150), 64), ("SRDiff", (37, 80), 40)],
)
def test_tiles_at_once_equal_one_by_one(model, size, tile, engine, infer, tmp_path):
    """To 2e-5 of white; the noise is the same."""
    write(tmp_path, {"a": smooth(*size).astype(np.uint16) * 257})
    options = "--engine", engine, "--tile", tile, "--tile_batch"
    one, other = (
        next(iter(infer(BY_NAME[model], tmp_path / "a.png", *options, batch, to=f"by {batch}").values())).rgb.astype(
            int
        )
        for batch in (1, 2)
    )
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("model", ["IRN", "SRFlow", "SRDiff"])
def test_a_sample_depends_on_its_seed_and_name_alone(model, infer, tmp_path):
    spec = BY_NAME[model]
    folder = write(tmp_path / "in", {"a": noise(6, 8), "b": noise(6, 8), "deeper/a": noise(6, 8)})
    first = spec.result.format(stem="a", scale=spec.scale)
    together = infer(spec, folder, to="together")
    several = infer(spec, folder / "a.png", "--samples", 3, to="several")
    other = infer(spec, folder / "a.png", "--seed", 11, to="other")
    samples = [several.pop(f"{first}_{number}.png").rgb for number in (1, 2, 3)]
    np.testing.assert_array_equal(samples[0], together[f"{first}.png"].rgb)
    everything = [*samples, together[f"deeper/{first}.png"].rgb, other[f"{first}.png"].rgb]
    everything += [together[f"{spec.result.format(stem='b', scale=spec.scale)}.png"].rgb]
    assert len({image.tobytes() for image in everything}) == 6, "each its own noise"
    if model != "IRN":
        (sheet,) = several.values()
        assert sheet.rgb.shape == (2 * 24 + 6, 2 * 32 + 6, 3)
        np.testing.assert_array_equal(sheet.rgb[30:, :32], samples[2])


@pytest.mark.parametrize("model", ["WDSR", "CSNLN"])
def test_self_ensemble_is_the_mean_of_eight(model, infer, tmp_path):
    spec, lr, total = BY_NAME[model], noise(6, 8), 0.0
    (found,) = infer(spec, write(tmp_path / "in", {"a": lr}), "--self_ensemble").values()
    for transposed in (False, True):
        for down in (1, -1):
            for right in (1, -1):
                seen = lr[::down, ::right]
                seen = seen.transpose(1, 0, 2) if transposed else seen
                made = spec.upscale(spec.network(), np.ascontiguousarray(seen), "")
                total = total + (made.transpose(1, 0, 2) if transposed else made)[::down, ::right]
    mean = (total / 8).clip(0, 1) * 255
    assert np.abs(found.rgb - mean).max() < 0.51
    assert np.abs(spec.upscale(spec.network(), lr, "").clip(0, 1) * 255 - mean).max() > 2
