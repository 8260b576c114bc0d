"""Training samples of IRN: where the crops are from, what the LR picture is, z, and how a data set may lie on disk."""

import itertools
import shutil

import cv2
import numpy as np
import pytest

from common import UserError
from common.images import files as images
from common.runtime import Runtime
from IRN.src.data.LQGT_dataset import training_stream
from IRN.src.options.options import TrainConfig

PATCH = 24


def stream(data, scale=2, here=None, **changes):
    settings = {"patch_size": PATCH, "batch_size": 4, "dataset_GT_path": str(data), "scale": scale, **changes}
    options = TrainConfig(**settings)
    return training_stream(options, options.hyper(), here or Runtime("CPU"))


def samples(stream, steps):
    """(hr, lr, z) of every sample, HWC."""
    for batch in stream.batches(0, steps):
        yield from zip(*(array.transpose(0, 2, 3, 1) for array in batch), strict=True)


@pytest.fixture(scope="module")
def two_pictures(sample_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for name in ("0002.png", "0012.png"):
        shutil.copy(sample_dir / "DIV2K" / "DIV2K_train_HR" / name, folder)
    return folder


def noise(number, height=40, width=56):
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------------- what a sample is


def keys_kernel(x):
    """The cubic kernel with a = -1/2."""
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def bicubic_matrix(length, scale):
    """(length / scale, length) float64: MATLAB's antialiased bicubic; beyond the border the picture is mirrored."""
    matrix = np.zeros((length // scale, length))
    for i in range(length // scale):
        centre = (i + 0.5) * scale - 0.5
        for j in range(int(centre - 2 * scale) - 2, int(centre + 2 * scale) + 3):
            inside = -1 - j if j < 0 else 2 * length - 1 - j if j >= length else j
            matrix[i, inside] += keys_kernel((j - centre) / scale)
    return matrix / matrix.sum(1, keepdims=True)


def bicubic(picture, scale):
    """uint8 HWC -> float64 in units of 1, not rounded, not clipped."""
    height, width = (side - side % scale for side in picture.shape[:2])
    rows, columns = bicubic_matrix(height, scale), bicubic_matrix(width, scale)
    planes = np.moveaxis(picture[:height, :width] / 255.0, 2, 0)
    return np.moveaxis(rows @ planes @ columns.T, 0, 2)


FLIPS = list(itertools.product((False, True), repeat=3))


def flip(picture, mirrored, upside_down, transposed):
    picture = picture[:, ::-1] if mirrored else picture
    picture = picture[::-1] if upside_down else picture
    return picture.transpose(1, 0, 2) if transposed else picture


def unflip(patch, mirrored, upside_down, transposed):
    patch = patch.transpose(1, 0, 2) if transposed else patch
    patch = patch[::-1] if upside_down else patch
    return patch[:, ::-1] if mirrored else patch


def places(part, row):
    """Where the pixels of `part` begin in those of `row`."""
    part, row, start = part.tobytes(), row.tobytes(), -1
    while (start := row.find(part, start + 1)) >= 0:
        if start % 3 == 0:
            yield start // 3


def find(hr, pictures):
    """(number of the picture, top, left, flip) of an HR patch in units of 1: all places, all eight flips."""
    patch = np.round(hr * 255).astype(np.uint8)
    np.testing.assert_array_equal(hr, patch.astype(np.float32) / 255)
    found = []
    for kind in FLIPS:
        crop = unflip(patch, *kind)
        busiest = int(crop.std((1, 2)).argmax())  # a plain row is in many places
        for number, picture in enumerate(pictures):
            for top in range(len(picture) - PATCH + 1):
                for left in places(crop[busiest], picture[top + busiest]):
                    if np.array_equal(picture[top : top + PATCH, left : left + PATCH], crop):
                        found.append((number, top, left, kind))
    (place,) = found
    return place


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_sample_is_the_same_crop_of_hr_and_of_the_whole_pictures_bicubic(two_pictures, scale):
    pictures = [images.read_rgb(path) for path in sorted(two_pictures.iterdir())]
    references = [bicubic(picture, scale) for picture in pictures]
    side, seen = PATCH // scale, set()
    for hr, lr, z in samples(stream(two_pictures, scale), 4):
        assert (hr.shape, lr.shape, z.shape) == ((PATCH, PATCH, 3), (side, side, 3), (side, side, 3 * scale**2 - 3))
        assert hr.dtype == lr.dtype == z.dtype == np.float32
        number, top, left, kind = find(hr, pictures)
        assert top % scale == left % scale == 0
        top, left = top // scale, left // scale
        wanted = flip(references[number][top : top + side, left : left + side], *kind)
        np.testing.assert_allclose(lr, wanted, rtol=0, atol=1e-6)  # measured: 4e-7, of float32 sums
        seen.add((number, top, left, kind))
    assert len(seen) == 16, "never the same crop"
    assert {number for number, *_ in seen} == {0, 1}


def test_reference_is_neither_rounded_nor_clipped(tmp_path):
    """A white square on black overshoots."""
    picture = np.zeros((PATCH, PATCH, 3), np.uint8)
    picture[6:18, 6:18] = 255
    images.write_picture(tmp_path / "square.png", picture)
    _, lr, _ = next(samples(stream(tmp_path, 2, batch_size=1), 1))
    assert lr.min() < -0.01
    assert lr.max() > 1.01
    assert np.abs(lr * 255 - np.round(lr * 255)).max() > 0.1


@pytest.mark.parametrize(("mirror", "turn"), [(True, True), (True, False), (False, True), (False, False)])
def test_flips_are_what_their_options_say(two_pictures, mirror, turn):
    pictures = [images.read_rgb(path) for path in sorted(two_pictures.iterdir())]
    made = [find(hr, pictures)[3] for hr, _, _ in samples(stream(two_pictures, use_flip=mirror, use_rot=turn), 15)]
    assert set(made) == {kind for kind in FLIPS if (mirror or not kind[0]) and (turn or not (kind[1] or kind[2]))}
    for kind, allowed in zip(np.array(made).T, (mirror, turn, turn), strict=True):
        assert not allowed or 15 <= kind.sum() <= 45, "about half of 60"


# ------------------------------------------------------------------------------------------------------------------- z


def latents(*arguments, steps=6, first=0, **settings):
    return [batch[2] for batch in stream(*arguments, **settings).batches(first, steps)]


def test_z_is_standard_normal(two_pictures):
    z = np.concatenate(latents(two_pictures, batch_size=16, steps=15)).astype(np.float64)
    assert z.shape == (240, 9, 12, 12)  # 311,040 values: their mean strays by 0.0018, their square's mean by 0.0025
    assert abs(z.mean()) < 0.008
    assert abs((z**2).mean() - 1) < 0.012
    assert abs((z**4).mean() - 3) < 0.1
    neighbours = [(z[1:] * z[:-1]).mean(), (z[:, 1:] * z[:, :-1]).mean(), (z[..., 1:] * z[..., :-1]).mean()]
    assert np.abs(neighbours).max() < 0.008, "samples, channels and pixels are independent"
    half = np.concatenate(latents(two_pictures, batch_size=16, steps=15, gaussian_scale=0.5))
    np.testing.assert_array_equal(half, z * 0.5)


def test_z_is_a_function_of_seed_and_sample_number(two_pictures, sample_dir):
    z = latents(two_pictures)
    others = {
        "other pictures": latents(sample_dir),
        "no flips": latents(two_pictures, use_flip=False, use_rot=False),
        "larger batches": np.concatenate(latents(two_pictures, batch_size=8, steps=3)).reshape(6, 4, 9, 12, 12),
    }
    for name, other in others.items():
        np.testing.assert_array_equal(np.stack(z), np.stack(other), err_msg=name)
    np.testing.assert_array_equal(np.stack(z[4:]), np.stack(latents(two_pictures, first=4)), "from step 4 on")
    assert not np.array_equal(z[0], latents(two_pictures, seed=11)[0])


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_one_order(two_pictures, workers):
    """HR, LR and z of a step are those of one worker with the whole batch."""
    alone = list(stream(two_pictures, batch_size=8).batches(0, 5))
    here = [Runtime("CPU", rank, workers) for rank in range(workers)]
    parts = [stream(two_pictures, here=place, batch_size=8 // workers).batches(0, 5) for place in here]
    for whole, *pieces in zip(alone, *parts, strict=True):
        for array, *slices in zip(whole, *pieces, strict=True):
            np.testing.assert_array_equal(np.concatenate(slices), array)


def test_small_cache_changes_nothing(two_pictures):
    for batch, other in zip(
        stream(two_pictures).batches(0, 3), stream(two_pictures, cache_gb=0.0).batches(0, 3), strict=True
    ):
        for array, same in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, same)


# ------------------------------------------------------------------------------------------------ data sets on the disk


@pytest.mark.parametrize("inside", ["", "DIV2K", "DIV2K_data"])
@pytest.mark.parametrize("named", ["root", "folder"])
def test_div2k_from_above_and_from_inside(tmp_path, inside, named):
    """The root holds validation pictures as well, which are not trained on."""
    hr = tmp_path / inside / "DIV2K_train_HR"
    for number in range(3):
        images.write_picture(hr / f"000{number}.png", noise(number))
    images.write_picture(hr.with_name("DIV2K_valid_HR") / "0801.png", noise(9))
    made = stream(tmp_path if named == "root" else hr)
    assert [pair.name for pair in made.pictures.pairs] == ["0000", "0001", "0002"]


def test_sub_folders_and_mixed_formats(tmp_path, caplog):
    """Any of PNG, JPEG and BMP, colour or gray, in sub-folders; what is smaller than the crop is named and left out."""
    for number, name in enumerate(("a/1.png", "a/b/2.jpg", "c/2.bmp", "d/4.JPEG")):
        images.write_picture((tmp_path / name), noise(number))
    cv2.imwrite(str(tmp_path / "gray.png"), noise(7)[..., 0])
    images.write_picture(tmp_path / "c" / "small.png", noise(8, PATCH - 1, 100))
    images.write_picture(tmp_path / "c" / "tiny.bmp", noise(8, 5, 5))
    (tmp_path / "c" / "notes.txt").touch()
    (tmp_path / ".hidden").mkdir()
    images.write_picture(tmp_path / ".hidden" / "9.png", noise(9))
    made = stream(tmp_path)
    assert [pair.name for pair in made.pictures.pairs] == ["1", "2", "2", "4", "gray"]
    assert "2 of 7 pictures are smaller than the patch of 24x24 and left out: small, tiny" in caplog.text
    pictures = [images.read_rgb(pair.hr) for pair in made.pictures.pairs]
    shown = [find(hr, pictures)[0] for hr, _, _ in samples(made, 5)]
    assert sorted(shown) == sorted([0, 1, 2, 3, 4] * 4), "each picture once in an epoch"


def test_picture_as_small_as_the_crop(tmp_path):
    images.write_picture(tmp_path / "exact.png", noise(1, PATCH, PATCH + 1))
    hr, _, _ = next(samples(stream(tmp_path, use_flip=False, use_rot=False), 1))
    np.testing.assert_array_equal(np.round(hr * 255), noise(1, PATCH, PATCH + 1)[:, :PATCH])


def test_lr_pictures_of_a_folder(tmp_path):
    """--dataset_LQ_path: what the files hold, not a bicubic; DIV2K's names or the same names."""
    for number in range(2):
        images.write_picture(tmp_path / "hr" / f"{number}.png", noise(number))
    images.write_picture(tmp_path / "lr" / "0x4.png", noise(10, 10, 14))
    images.write_picture(tmp_path / "lr" / "1.bmp", noise(11, 10, 14))
    made = stream(tmp_path / "hr", 4, dataset_LQ_path=str(tmp_path / "lr"))
    for hr, lr, _ in samples(made, 4):
        number, top, left, kind = find(hr, [noise(0), noise(1)])
        crop = noise(10 + number, 10, 14)[top // 4 : top // 4 + 6, left // 4 : left // 4 + 6]
        np.testing.assert_array_equal(lr, flip(crop, *kind) / np.float32(255))


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_pictures_that_are_all_too_small(tmp_path):
    images.write_picture(tmp_path / "a.png", noise(0, 23, 80))
    with pytest.raises(
        UserError, match="every training picture is smaller than the patch of 24x24: take a smaller one"
    ):
        stream(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nope"}, "--dataset_GT_path is not a folder: .*nope"),
        ({"data": "empty"}, r"expected pictures \(.png, .jpg, .* in .*empty, found none"),
        ({"dataset_LQ_path": "nope"}, "--dataset_LQ_path is not a folder: .*nope"),
        ({"dataset_LQ_path": "empty"}, "expected pictures .* in .*empty, found none"),
        ({"dataset_LQ_path": "one"}, r"1 of 2 images of .*hr have no x2 image in .*one: 1\.png"),
        ({"patch_size": 25}, r"--patch_size 25 \(HR pixels\) must be a multiple of the scale, 2"),
    ],
)
def test_mistakes_are_named_at_once(tmp_path, changes, message):
    for number in range(2):
        images.write_picture(tmp_path / "hr" / f"{number}.png", noise(number))
    images.write_picture(tmp_path / "one" / "0x2.png", noise(0, 20, 28))
    (tmp_path / "empty").mkdir()
    changes = {key: str(tmp_path / value) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(UserError, match=message):
        stream(changes.pop("data", tmp_path / "hr"), **changes)


def test_lr_picture_of_another_size(tmp_path):
    images.write_picture(tmp_path / "hr" / "0.png", noise(0))
    images.write_picture(tmp_path / "lr" / "0.png", noise(0, 10, 14))
    with pytest.raises(UserError, match=r"lr/0\.png is 14x10, but x2 of .*hr/0\.png needs 28x20"):
        next(stream(tmp_path / "hr", dataset_LQ_path=str(tmp_path / "lr")).prefetched(0, 1))


@pytest.mark.parametrize("kept", [0, 20, 0.5])
def test_truncated_picture_is_named(tmp_path, kept):
    """Its header may be whole: then it is found when it is read."""
    images.write_picture(tmp_path / "good.png", noise(0))
    images.write_picture(tmp_path / "cut.png", noise(1))
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
    with pytest.raises(UserError, match=rf"cut\.png is {'damaged or cut off' if kept else 'not a picture'}"):
        list(stream(tmp_path).prefetched(0, 1))
