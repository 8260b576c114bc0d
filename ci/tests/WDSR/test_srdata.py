"""DIV2K and benchmark layouts as the README draws them, ranges, tracks, and what is said when something is missing."""

import numpy as np
import pytest

from common import UserError
from common.data.div2k import parse_ranges
from common.images import files as images
from common.images.pairs import PairedPictures
from common.images.resize import imresize
from WDSR.src.args import TrainConfig
from WDSR.src.data import decoded, srdata
from WDSR.src.data.decoded import DecodedFiles
from WDSR.src.data.srdata import find_set

WHERE = {"data_range": "1-3/4-5", "track": "bicubic"}
TRAINING = WHERE | {"ext": "img", "cache_gb": 1}


def evaluation_sets(folder, names, scale, **more):
    return srdata.evaluation_sets(TrainConfig(dir_data=folder, data_test=names, **more), scale)


def training_set(folder, names, scale, lr_patch=1, **more):
    more |= {"patch_size": lr_patch * scale, "scale": str(scale)}
    return srdata.training_set(TrainConfig(dir_data=folder, data_train=names, **more), scale)


def picture(number, height=24, width=36):
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def div2k(tmp_path):
    """1 to 4 in the train folder, 5 in the valid folder as published; LR of both tracks at x2."""
    root = tmp_path / "DIV2K"
    for number in range(1, 6):
        split = "train" if number < 5 else "valid"
        hr = picture(number)
        images.write_picture(root / f"DIV2K_{split}_HR" / f"{number:04d}.png", hr)
        for track, lr in (("bicubic", imresize(hr, 0.5)), ("unknown", hr[::2, ::2])):
            images.write_picture(root / f"DIV2K_{split}_LR_{track}" / "X2" / f"{number:04d}x2.png", lr)
    return tmp_path


@pytest.mark.parametrize("inside", [False, True])
def test_div2k_is_found_from_above_and_from_inside(div2k, inside):
    folder = div2k / "DIV2K" if inside else div2k
    pairs = evaluation_sets(str(folder), "DIV2K", 2, **WHERE)["DIV2K"]
    assert [pair.name for pair in pairs] == ["0004", "0005"]
    train = training_set(str(folder), "DIV2K", 2, **TRAINING)
    assert [name for *_, name in train.read(range(3))] == ["0001", "0002", "0003"]


def test_tracks_differ(div2k):
    def first(track):
        pairs = find_set(div2k, "DIV2K", range(1, 2), 2, track)
        return next(PairedPictures(pairs, 2).read([0]))

    hr, bicubic, _ = first("bicubic")
    _, unknown, _ = first("unknown")
    assert np.array_equal(bicubic, imresize(hr, 0.5))
    assert np.array_equal(unknown, hr[::2, ::2])


def test_lr_is_made_where_there_is_none(div2k):
    hr, lr, _ = next(training_set(str(div2k), "DIV2K", 3, **TRAINING).read([1]))
    assert np.array_equal(hr, picture(2))
    assert np.array_equal(lr, imresize(hr, 1 / 3))


def test_missing_lr_pictures_are_named(div2k):
    (div2k / "DIV2K" / "DIV2K_train_LR_bicubic" / "X2" / "0002x2.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 images of .* have no x2 image in .*: 0002\.png; .*looked for 0002x2"):
        training_set(str(div2k), "DIV2K", 2, **TRAINING)
    with pytest.raises(UserError, match=r"no x4 images of the track unknown: expected .*X4"):
        find_set(div2k, "DIV2K", range(1, 2), 4, "unknown")


def test_a_partial_set_is_said(div2k, caplog):
    pairs = find_set(div2k, "DIV2K", range(1, 801), 2, "bicubic")
    assert len(pairs) == 5
    assert "5 of the 800 images 1-800" in caplog.text
    with pytest.raises(UserError, match="none of the images 900-910"):
        find_set(div2k, "DIV2K", range(900, 911), 2, "bicubic")


def test_benchmark_layouts(tmp_path):
    images.write_picture(tmp_path / "benchmark" / "Set5" / "HR" / "baby.png", picture(7))
    images.write_picture(tmp_path / "benchmark" / "Set5" / "LR_bicubic" / "X2" / "babyx2.png", picture(8, 12, 18))
    images.write_picture(tmp_path / "mine" / "deeper" / "b.png", picture(9))
    sets = evaluation_sets(str(tmp_path), "Set5+mine", 2, **WHERE)
    assert {name: [pair.name for pair in pairs] for name, pairs in sets.items()} == {"Set5": ["baby"], "mine": ["b"]}
    _, lr, _ = next(PairedPictures(sets["Set5"], 2).read([0]))
    assert np.array_equal(lr, picture(8, 12, 18))
    both = training_set(str(tmp_path), "Set5+mine", 2, **TRAINING)
    assert len(both) == 2


@pytest.mark.parametrize("text", ["1-8", "1-8/9", "a-b/1-2", "8-1/1-2", "1-2/3-4/5-6", ""])
def test_bad_ranges(text):
    with pytest.raises(UserError, match="--data_range"):
        parse_ranges(text)


def test_decoded_files_follow_their_pictures(div2k, caplog):
    pair = find_set(div2k, "DIV2K", range(1, 2), 2, "bicubic")[0]
    for _ in range(2):  # the second reads what the first wrote
        hr, lr = DecodedFiles()(pair, 2)
        assert np.array_equal(hr, picture(1))
        assert np.array_equal(lr, imresize(picture(1), 0.5))
    assert isinstance(hr, np.memmap)
    images.write_picture(pair.hr, picture(77))
    assert np.array_equal(DecodedFiles()(pair, 2)[0], picture(77))  # a changed picture is decoded again
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("kind", ["-hr.npy", "-lr.npy", ".sha256"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "emptied", "gone", "a folder"])
def test_damaged_decoded_files_are_made_again(div2k, caplog, kind, harm):
    """Never trained on: neither a bit of a pixel nor a whole file that is missing."""
    pair = find_set(div2k, "DIV2K", range(1, 2), 2, "bicubic")[0]
    DecodedFiles()(pair, 2)
    (path,) = (div2k / "DIV2K" / "DIV2K_train_HR_decoded").glob(f"*{kind}")
    content = path.read_bytes()
    if harm == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif harm in ("cut", "emptied"):
        path.write_bytes(content[: len(content) // 2 * (harm == "cut")])
    else:
        path.unlink()
    if harm == "a folder":
        path.mkdir()
        with pytest.raises(UserError, match=rf"--ext sep cannot write .*{kind} \(Is a directory\)"):
            DecodedFiles()(pair, 2)
        return
    hr, lr = DecodedFiles()(pair, 2)
    assert np.array_equal(hr, picture(1))
    assert np.array_equal(lr, imresize(picture(1), 0.5))
    assert path.read_bytes() == content
    assert ("is not as it was written: its pictures are decoded again" in caplog.text) == (harm != "gone")


def test_decoded_files_are_compared_once(div2k, monkeypatch):
    """A digest of 10 MB for every patch would cost more than the mapping saves."""
    pair, asked = find_set(div2k, "DIV2K", range(1, 2), 2, "bicubic")[0], []
    DecodedFiles()(pair, 2)
    read = decoded.sha256
    monkeypatch.setattr(decoded, "sha256", lambda path: asked.append(path.name) or read(path))
    files = DecodedFiles()
    for _ in range(3):
        files(pair, 2)
    assert [name[-7:] for name in asked] == ["-hr.npy", "-lr.npy"]
