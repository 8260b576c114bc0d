"""DIV2K and benchmark layouts as the README draws them, and what is said when something is missing."""

import numpy as np
import pytest

from common import UserError
from common.images import files as images
from common.images.pairs import read_pair
from common.images.resize import imresize
from CSNLN.src.config import TrainConfig
from CSNLN.src.dataset import dataset, srdata
from CSNLN.src.dataset.common import PatchMaker, collate
from CSNLN.src.dataset.div2k import parse_ranges
from CSNLN.src.dataset.srdata import find_set

RANGE = "1-3/4-5"


def evaluation_sets(folder, names, scale, data_range):
    return srdata.evaluation_sets(TrainConfig(data_path=folder, data_test=names, data_range=data_range), scale)


def training_set(folder, names, scale, data_range, cache_gb):
    small = {"scale": scale, "patch_size": {2: 4, 3: 9}[scale], "cache_gb": cache_gb, "data_range": data_range}
    return dataset.training_set(TrainConfig(data_path=folder, data_train=names, **small), scale)


def picture(number, height=24, width=36):
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(params=["DIV2K", "DIV2k"])
def data(request, tmp_path):
    """1 to 4 in the train folder, 5 in the valid folder as published; LR at x2, in both spellings of the README."""
    root = tmp_path / "DIV2K"
    for number in range(1, 6):
        split = "train" if number < 5 else "valid"
        images.write_picture(root / f"DIV2K_{split}_HR" / f"{number:04d}.png", picture(number))
        lr = root / f"{request.param}_{split}_LR_bicubic" / "X2" / f"{number:04d}x2.png"
        images.write_picture(lr, picture(number)[::2, ::2])
    return tmp_path


@pytest.mark.parametrize("inside", [False, True])
def test_div2k_is_found_from_above_and_from_inside(data, inside):
    folder = str(data / "DIV2K" if inside else data)
    pairs = evaluation_sets(folder, "DIV2K", 2, RANGE)["DIV2K"]
    assert [pair.name for pair in pairs] == ["0004", "0005"]
    train = training_set(folder, "DIV2K", 2, RANGE, 1)
    assert [name for *_, name in train.read(range(3))] == ["0001", "0002", "0003"]
    np.testing.assert_array_equal(read_pair(pairs[1], 2)[1], picture(5)[::2, ::2])


def test_lr_is_made_where_there_is_none(data):
    hr, lr, _ = next(training_set(str(data), "DIV2K", 3, RANGE, 1).read([1]))
    np.testing.assert_array_equal(hr, picture(2))
    np.testing.assert_array_equal(lr, imresize(picture(2), 1 / 3))


def test_missing_lr_pictures_are_named(data):
    next((data / "DIV2K").glob("*_train_LR_bicubic/X2/0002x2.png")).unlink()
    with pytest.raises(UserError, match=r"1 of 3 images of .* have no x2 image in .*: 0002\.png"):
        find_set(data, "DIV2K", range(1, 4), 2)


def test_a_partial_set_is_said(data, caplog):
    assert len(find_set(data, "DIV2K", range(1, 801), 2)) == 5
    assert "5 of the 800 images 1-800" in caplog.text
    with pytest.raises(UserError, match="none of the images 900-910"):
        find_set(data, "DIV2K", range(900, 911), 2)


def test_benchmark_layouts(tmp_path):
    images.write_picture(tmp_path / "benchmark" / "Set5" / "HR" / "baby.png", picture(7))
    images.write_picture(tmp_path / "benchmark" / "Set5" / "LR_bicubic" / "X2" / "babyx2.png", picture(8, 12, 18))
    images.write_picture(tmp_path / "benchmark" / "B100" / "HR" / "a.png", picture(6))
    images.write_picture(tmp_path / "mine" / "deeper" / "b.png", picture(9))
    sets = evaluation_sets(str(tmp_path), "Set5+mine+BSD100", 2, RANGE)
    names = {name: [pair.name for pair in pairs] for name, pairs in sets.items()}
    assert names == {"Set5": ["baby"], "mine": ["b"], "BSD100": ["a"]}
    np.testing.assert_array_equal(read_pair(sets["Set5"][0], 2)[1], picture(8, 12, 18))
    assert len(training_set(str(tmp_path), f"Set5+{tmp_path / 'mine'}", 2, RANGE, 1)) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DIV2K", r"no DIV2K in .*: expected .*DIV2K_train_HR with 0001\.png"),
        ("Set99", "no data set 'Set99': looked for"),
    ],
)
def test_missing_sets_are_named(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        evaluation_sets(str(tmp_path), name, 2, RANGE)
    with pytest.raises(UserError, match=r"data_path is not a folder: /nope \(set it in default_config\.yaml, or type"):
        evaluation_sets("/nope", name, 2, RANGE)


@pytest.mark.parametrize("text", ["1-8", "1-8/9", "a-b/1-2", "8-1/1-2", "1-2/3-4/5-6", ""])
def test_bad_ranges(text):
    with pytest.raises(UserError, match="--data_range"):
        parse_ranges(text)


def test_patches_lie_above_each_other():
    """LR pixel (i, j) is HR pixel (2i, 2j); after crop, flips and turns it is still one of those four."""
    hr = np.arange(40 * 60 * 3).reshape(40, 60, 3) % 251
    make = PatchMaker(2, 8, augment=True)
    samples = [make(hr.astype(np.uint8), hr[::2, ::2].astype(np.uint8), np.random.default_rng(n)) for n in range(16)]
    lr_image, hr_image = collate(samples)
    assert (lr_image.shape, hr_image.shape) == ((16, 3, 8, 8), (16, 3, 16, 16))
    assert lr_image.dtype == hr_image.dtype == np.float32
    corners = np.stack([hr_image[:, :, i::2, j::2] == lr_image for i in (0, 1) for j in (0, 1)])
    assert corners.all((2, 3, 4)).any(0).all()
    assert lr_image.max() <= 1 < 255 * lr_image.max()
    assert len({sample[0].tobytes() for sample in samples}) == 16
