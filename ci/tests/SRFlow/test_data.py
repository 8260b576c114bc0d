"""SRFlow's training samples, the pictures they are cut from, patches to look at, and the program that packs patches."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from common import UserError
from common.data.sets import training_pictures
from common.images import files as images
from common.images.resize import imresize
from common.mindrecord import PackOptions, PatchRecords, pack
from common.runtime import Runtime
from SRFlow.src.dataloader.init import (
    PatchMaker,
    beside,
    find_hr_folders,
    find_pictures,
    first_batch,
    patches_to_look_at,
    training_stream,
)
from SRFlow.src.dataset import prepare
from SRFlow.src.model_utils.options import TrainConfig

SMALL = {"scale": 4, "patch_size": 16, "batch_size": 2, "stack": (0,), "num_blocks": 1}


@pytest.fixture(scope="module")
def df2k(sample_dir, tmp_path_factory):
    """DF2K in little: three pictures of DIV2K, two of Flickr2K, two for validation, of 64 to 72 pixels."""
    root = tmp_path_factory.mktemp("df2k")
    source = [images.read_rgb(sample_dir / "DIV2K" / "DIV2K_train_HR" / f"000{number}.png") for number in range(1, 8)]
    places = ["DIV2K_train_HR/0001", "DIV2K_train_HR/0002", "DIV2K_train_HR/0003"]
    places += ["Flickr2K/Flickr2K_HR/000001", "Flickr2K/Flickr2K_HR/000002"]
    places += ["DIV2K_valid_HR/0801", "DIV2K_valid_HR/0802"]
    for picture, place in zip(source, places, strict=True):
        images.write_picture(root / f"{place}.png", picture[:64, :72])
    return root


def options(path, **changes) -> TrainConfig:
    return TrainConfig(**{**SMALL, "dataset_GT_path": str(path), **changes})


def stream_of(chosen: TrainConfig, here: Runtime | None = None):
    return training_stream(chosen, chosen.hyper(), here or Runtime("CPU"))


# ------------------------------------------------------------------------------------------------------------- samples


def test_sample_is_the_same_place_of_both_pictures():
    """Found again in the pictures by comparing every place and both ways round; noise of its own, in [0, 1)."""
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (7, 9, 3), np.uint8)
    hr = np.repeat(np.repeat(lr, 4, 0), 4, 1) ^ rng.integers(0, 2, (28, 36, 3), np.uint8)  # its place is told by LR
    seen, mirrored = set(), set()
    for number in range(60):
        hr_patch, lr_patch, noise = PatchMaker(4, 3)(hr, lr, np.random.default_rng(number))
        assert hr_patch.shape == noise.shape == (12, 12, 3)
        assert (hr_patch.dtype, lr_patch.dtype, noise.dtype) == (np.float32,) * 3
        found = [
            (y, x, flip)
            for y in range(5)
            for x in range(7)
            for flip in (1, -1)
            if np.array_equal(lr[y : y + 3, x : x + 3][:, ::flip].astype(np.float32) / np.float32(255), lr_patch)
        ]
        ((y, x, flip),) = found
        wanted = hr[4 * y : 4 * y + 12, 4 * x : 4 * x + 12][:, ::flip] / np.float32(255)
        np.testing.assert_array_equal(hr_patch, wanted)
        seen.add((y, x))
        mirrored.add(flip)
        assert 0 <= noise.min() < 0.05 < 0.95 < noise.max() < 1
    assert len(seen) > 20
    assert mirrored == {1, -1}
    unturned = [PatchMaker(4, 7, mirror=False, noise=False)(hr[:, :28], lr[:, :7], rng) for _ in range(9)]
    assert all(np.array_equal(patch[0], hr[:, :28] / np.float32(255)) and len(patch) == 2 for patch in unturned)


def test_noise_is_of_the_flow_alone(df2k):
    assert len(next(stream_of(options(df2k)).batches(0, 1))) == 3
    assert len(next(stream_of(options(df2k, quant=0)).batches(0, 1))) == 2
    assert len(next(stream_of(options(df2k, stage="rrdb")).batches(0, 1))) == 2


def test_batches_depend_on_seed_and_step_alone(df2k):
    """So that a resumed run sees what it would have seen; and workers see together what one would have seen alone."""
    alone = stream_of(options(df2k, batch_size=4))
    batches = list(alone.batches(0, 3))
    hr, lr, noise = batches[1]
    assert (hr.shape, lr.shape, noise.shape) == ((4, 3, 16, 16), (4, 3, 4, 4), (4, 3, 16, 16))
    for one, other in zip(batches[2], next(stream_of(options(df2k, batch_size=4)).batches(2, 3)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(noise, batches[2][2])
    assert not np.array_equal(noise, next(stream_of(options(df2k, batch_size=4, seed=11)).batches(1, 2))[2])
    workers = [stream_of(options(df2k), Runtime("CPU", rank, 2)) for rank in (0, 1)]
    for number, array in enumerate(batches[1]):
        parts = [next(worker.batches(1, 2))[number] for worker in workers]
        np.testing.assert_array_equal(np.concatenate(parts), array)
    for worker in workers:  # what the ActNorms are set from
        for one, other in zip(first_batch(worker), batches[0], strict=True):
            np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------------------------------------- pictures


def test_pictures_of_df2k(df2k, tmp_path):
    def names(path, split="train"):
        return [pair.name for pair in find_pictures(str(path), "", 4, split)]

    assert names(df2k) == ["0001", "0002", "0003", "000001", "000002"]
    assert names(df2k, "test") == ["0801", "0802"]
    assert names(df2k / "Flickr2K") == ["000001", "000002"], "any folder, sub-folders too"
    assert find_hr_folders(str(df2k / "DIV2K_train_HR"), "train") == [df2k / "DIV2K_train_HR"]
    shutil.copytree(df2k / "DIV2K_train_HR", tmp_path / "Set5" / "HR")
    assert find_hr_folders(str(tmp_path / "Set5"), "test") == [tmp_path / "Set5" / "HR"]


def test_lr_pictures_are_matlabs_bicubic_or_those_of_a_folder(df2k, tmp_path):
    chosen = options(df2k / "DIV2K_train_HR", patch_size=64, use_flip=False)
    found = find_pictures(chosen.dataset_GT_path, "", 4, "train")
    pictures = training_pictures(chosen.dataset_GT_path, lambda: found, 4, 16, 1)
    hr, lr, name = next(pictures.read([1]))
    assert name == "0002"
    np.testing.assert_array_equal(lr, imresize(images.read_rgb(df2k / "DIV2K_train_HR" / "0002.png"), 1 / 4))
    for number in (1, 2, 3):
        images.write_picture(tmp_path / f"000{number}x4.png", np.full((16, 18, 3), number, np.uint8))
    found = find_pictures(chosen.dataset_GT_path, str(tmp_path), 4, "train")
    pictures = training_pictures(chosen.dataset_GT_path, lambda: found, 4, 16, 1)
    assert [lr.mean() for _, lr, _ in pictures.read([2, 0])] == [3, 1]
    assert hr.shape == (64, 72, 3)


@pytest.fixture(scope="module")
def packed(df2k, tmp_path_factory):
    """What prepare.py makes of it: 16x16 patches, three of each picture."""
    output = tmp_path_factory.mktemp("packed")
    assert prepare.main(["--root", str(df2k), "--output", str(output), "--patch_size", "16", "--crops", "3"]) == 0
    return output


def test_training_from_records_sees_the_packed_patches(packed):
    chosen = options(packed / "train" / "DIV2K_X4_train.mindrecord", use_flip=False)
    stream = stream_of(chosen)
    assert len(stream.pictures) == 15
    records = {name: (hr, lr) for hr, lr, name in PatchRecords(chosen.dataset_GT_path).read()}
    assert {name.rpartition("_")[0] for name in records} == {"0001", "0002", "0003", "000001", "000002"}
    seen = set()
    for hr, lr, _ in stream.batches(0, 15):  # two passes
        for one, other in zip(hr, lr, strict=True):
            (name,) = [
                n for n, (big, _) in records.items() if np.array_equal(big / np.float32(255), one.transpose(1, 2, 0))
            ]
            np.testing.assert_array_equal(other.transpose(1, 2, 0), records[name][1] / np.float32(255))
            seen.add(name)
    assert seen == set(records)


def test_smaller_patches_are_cut_from_records_and_larger_ones_refused(packed):
    path = packed / "train" / "DIV2K_X4_train.mindrecord"
    assert next(stream_of(options(path, patch_size=8)).batches(0, 1))[0].shape == (2, 3, 8, 8)
    with pytest.raises(UserError, match=r"X4_train\.mindrecord holds patches of 16, smaller than --patch_size 24"):
        stream_of(options(path, patch_size=24))
    with pytest.raises(UserError, match=r"X4_train\.mindrecord was packed for x4, not x2"):
        stream_of(options(path, scale=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_GT_path": "/nope"}, r"--dataset_GT_path is not there: /nope \(folder of HR pictures"),
        ({"dataset_GT_path": "/nope.mindrecord"}, r"/nope\.mindrecord is not there: python SRFlow/src/"),
        ({"dataset_LQ_path": "/nope"}, "--dataset_LQ_path is not a folder: /nope"),
        ({"patch_size": 80}, "every training picture is smaller than the patch of 80x80"),
        ({"patch_size": 20}, r"--patch_size 20 \(HR pixels\) must be a multiple of 8"),
    ],
)
def test_mistakes(df2k, changes, message):
    with pytest.raises(UserError, match=message):
        stream_of(options(df2k, **changes))


# --------------------------------------------------------------------------------------------------- patches to look at


def test_what_is_looked_at(df2k, packed, caplog):
    caplog.set_level("INFO")
    sets = packed / "train" / "DIV2K_X4_train.mindrecord"
    valid = packed / "valid" / "DIV2K_X4_valid.mindrecord"
    assert beside(str(df2k)) == beside(str(df2k / "DIV2K_train_HR")) == str(df2k / "DIV2K_valid_HR")
    assert beside(str(sets)) == str(valid)
    assert beside(str(valid)) == beside(str(df2k / "Flickr2K")) == ""

    def patches(path, **changes):
        chosen = options(path, **changes)
        return patches_to_look_at(chosen, chosen.hyper())

    hr, lr = patches(df2k)
    assert (hr.shape, lr.shape, hr.dtype) == ((2, 3, 16, 16), (2, 3, 4, 4), np.float32)
    whole = images.read_rgb(df2k / "DIV2K_valid_HR" / "0802.png")  # 16 x 18 LR pixels
    np.testing.assert_array_equal(hr[1].transpose(1, 2, 0), whole[24:40, 28:44] / np.float32(255))
    np.testing.assert_array_equal(lr[1].transpose(1, 2, 0), imresize(whole, 1 / 4)[6:10, 7:11] / np.float32(255))
    records = [hr for hr, _, _ in PatchRecords(valid).read()]
    found = patches(sets, test_pictures=2)[0]
    for one, number in zip(found, (0, 3), strict=True):
        np.testing.assert_array_equal(one.transpose(1, 2, 0), records[number] / np.float32(255))
    assert len(patches(sets)[0]) == len(patches(sets, test_pictures=0)[0]) == 6, "as many as there are"
    assert len(patches(df2k, test_pictures=1)[0]) == 1
    assert len(patches(df2k, val_GT_path=str(df2k / "Flickr2K"))[0]) == 2
    assert patches(df2k / "Flickr2K") is None
    assert "no --val_GT_path and none beside the training images: the run is not validated" in caplog.text
    with pytest.raises(UserError, match=r"every picture of .*DIV2K_valid_HR is smaller than --patch_size 80"):
        patches(df2k, patch_size=80)
    with pytest.raises(UserError, match=r"--val_GT_path is not there: /nope .--val_GT_path '' does without."):
        patches(df2k, val_GT_path="/nope")


# --------------------------------------------------------------------------------------------------------- prepare.py


def test_prepared_sets_are_in_the_seeds_layout(packed):
    names = {str(path.relative_to(packed)) for path in packed.rglob("*") if path.is_file()}
    sets = "train/DIV2K_X4_train.mindrecord", "valid/DIV2K_X4_valid.mindrecord"
    assert names == {f"{name}{end}" for name in sets for end in ("", ".db", ".json")}
    manifest = PatchRecords(packed / sets[1]).manifest
    assert (manifest.patch, manifest.scale, manifest.pictures) == (16, 4, {"0801": 3, "0802": 3})


def test_what_is_there_is_left_as_it_is(df2k, packed, tmp_path, capsys, caplog):
    """So that a program that was stopped goes on with the next set; other settings are not mixed up with it."""
    caplog.set_level("INFO")
    output = Path(shutil.copytree(packed, tmp_path / "sets"))
    shutil.rmtree(output / "valid")
    before = {path: path.stat().st_mtime_ns for path in (output / "train").iterdir()}
    words = ["--root", str(df2k), "--output", str(output), "--patch_size", "16", "--crops", "3"]
    assert prepare.main(words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (output / "train").iterdir()}
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{output}/train/DIV2K_X4_train.mindrecord: 15 patches of 5 pictures",
        f"{output}/valid/DIV2K_X4_valid.mindrecord: 6 patches of 2 pictures",
    ]
    assert "is there already" in caplog.text
    one, other = (PatchRecords(root / "valid" / "DIV2K_X4_valid.mindrecord").manifest for root in (packed, output))
    assert one.content_sha256 == other.content_sha256
    with pytest.raises(UserError, match=r"was made with .*'crops': 3.*, not .*'crops': 4.*: choose another --output"):
        prepare.main([*words[:-1], "4"])
    assert prepare.main([*words[:-1], "1", "--seed", "5", "--overwrite", "--split", "valid"]) == 0
    assert PatchRecords(output / "valid" / "DIV2K_X4_valid.mindrecord").manifest.records == 2


def test_any_folder_of_pictures_can_be_prepared(df2k, tmp_path, caplog):
    words = ["--root", str(df2k / "Flickr2K"), "--output", str(tmp_path), "--patch_size", "16", "--crops", "1"]
    assert prepare.main([*words, "--scale", "8"]) == 0
    assert PatchRecords(tmp_path / "train" / "DIV2K_X8_train.mindrecord").manifest.records == 2
    assert not (tmp_path / "valid").exists()
    assert "has no DIV2K_valid_HR: no validation set is made" in caplog.text


def test_mistakes_of_preparing(df2k, tmp_path):
    with pytest.raises(UserError, match=r"which pictures. type --root FOLDER"):
        prepare.main([])
    with pytest.raises(UserError, match="/nope"):
        prepare.main(["--root", "/nope"])
    folder = Path(shutil.copytree(df2k, tmp_path / "df2k"))
    shutil.copy(folder / "DIV2K_train_HR" / "0001.png", folder / "Flickr2K" / "Flickr2K_HR" / "0001.png")
    with pytest.raises(UserError, match=r"Flickr2K_HR/0001\.png and .*DIV2K_train_HR/0001\.png have one name"):
        prepare.main(["--root", str(folder), "--output", str(tmp_path / "out"), "--patch_size", "16"])
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() or path.name.startswith(".")]


def test_the_seeds_folders_are_there(root):
    folder = root / "SRFlow" / "src" / "dataset" / "DF2K-4X"
    assert {path.name for path in folder.iterdir()} >= {"train", "valid"}
    default = prepare.PrepareOptions()
    assert (default.crops, default.patch_size, default.scale, default.encoding) == (47, 160, 4, "png")
    assert prepare.HERE / f"DF2K-{default.scale}X" == folder
    defaults = dataclasses.asdict(PackOptions(hr=folder, output=folder))
    assert defaults["seed"] == default.seed
    assert pack is prepare.pack
