"""SRFlow/src/dataset/prepare.py, which packs DF2K into the seed's layout; trainings and validations on its sets."""

import shutil

import numpy as np
import pytest

from ci.tests.specs import noise, write
from common import UserError
from common.mindrecord import PatchRecords
from SRFlow.src.dataset import prepare

SETS = "train/DIV2K_X4_train.mindrecord", "valid/DIV2K_X4_valid.mindrecord"
PLACES = ["DIV2K_train_HR/0001", "DIV2K_train_HR/0002", "DIV2K_train_HR/0003", "Flickr2K/Flickr2K_HR/000001",
          "Flickr2K/Flickr2K_HR/000002", "DIV2K_valid_HR/0801", "DIV2K_valid_HR/0802"]  # fmt: skip
NETWORK = {"scale": 4, "L": 1, "patch_size": 16}


@pytest.fixture
def df2k(tmp_path):
    """DF2K in little."""
    return write(tmp_path / "df2k", {place: noise(64, 72, seed=number) for number, place in enumerate(PLACES)})


@pytest.fixture
def words(df2k, tmp_path):
    """16x16 patches, three of each image."""
    return ["--root", str(df2k), "--output", str(tmp_path / "sets"), "--patch_size", "16", "--crops", "3"]


def test_sets_are_in_the_seeds_layout_and_trained_on(words, begun, tmp_path, capsys, caplog):
    """What is there is left as it is, so that a stopped program goes on with the next set; settings are not mixed."""
    assert prepare.main(words) == 0
    output = tmp_path / "sets"
    said = [f"{output}/{SETS[0]}: 15 patches of 5 images", f"{output}/{SETS[1]}: 6 patches of 2 images"]
    assert capsys.readouterr().out.splitlines() == said
    names = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert names == {f"{name}{end}" for name in SETS for end in ("", ".db", ".json")}
    content = PatchRecords(output / SETS[1]).manifest.content_sha256
    trainer = begun("SRFlow", dataset_GT_path=output / SETS[0], stage="rrdb", **NETWORK)
    assert len(trainer.stream.images) == 15
    assert all(np.isfinite(list(trainer.validate(trainer.network).values()))), "on the set beside"

    shutil.rmtree(output / "valid")
    before = {path: path.stat().st_mtime_ns for path in (output / "train").iterdir()}
    with caplog.at_level("INFO"):
        assert prepare.main(words) == 0
    assert "is there already" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in (output / "train").iterdir()}
    assert PatchRecords(output / SETS[1]).manifest.content_sha256 == content
    with pytest.raises(UserError, match=r"was made with .*'crops': 3.*, not .*'crops': 4.*: choose another --output"):
        prepare.main([*words[:-1], "4"])
    assert prepare.main([*words[:-1], "1", "--seed", "5", "--overwrite", "--split", "valid"]) == 0
    assert PatchRecords(output / SETS[1]).manifest.records == 2


def test_any_folder_of_images_can_be_prepared(words, df2k, tmp_path, caplog):
    words[1] = str(df2k / "Flickr2K")
    assert prepare.main([*words, "--scale", "8"]) == 0
    assert PatchRecords(tmp_path / "sets" / "train" / "DIV2K_X8_train.mindrecord").manifest.records == 6
    assert not (tmp_path / "sets" / "valid").exists()
    assert "has no DIV2K_valid_HR: no validation set is made" in caplog.text
    shutil.copy(df2k / "DIV2K_train_HR" / "0001.png", df2k / "Flickr2K" / "Flickr2K_HR" / "0001.png")
    with pytest.raises(UserError, match=r"Flickr2K_HR/0001\.png and .*DIV2K_train_HR/0001\.png have one name"):
        prepare.main([words[0], str(df2k), "--output", str(tmp_path / "out"), "--patch_size", "16"])
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_the_seeds_folders_are_there(root):
    folder = root / "SRFlow" / "src" / "dataset" / "DF2K-4X"
    assert {path.name for path in folder.iterdir()} >= {"train", "valid"}
    default = prepare.PrepareOptions()
    assert (default.crops, default.patch_size, default.scale, default.encoding) == (47, 160, 4, "png")
