"""MindRecord sets: what goes in comes out, damage is found, a killed pack loses nothing that was there."""

import itertools
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from common import UserError
from common.images import imresize, read_rgb, write_image
from common.mindrecord import PackOptions, PatchRecords, open_patches, pack, read_manifest, verify
from common.mindrecord.__main__ import main

SCALE, PATCH = 4, 24
SIZES = {"1": (61, 50), "2": (24, 27), "10": (48, 72)}  # natural order: 10 comes last
CORNERS = {"1": ((0, 24, 36), (0, 24)), "2": ((0,), (0,)), "10": ((0, 24), (0, 24, 48))}


def make_image(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def hr_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hr")
    for seed, (name, size) in enumerate(SIZES.items()):
        # The zeros of a black image must not be taken for the end of a string.
        write_image(folder / f"{name}.png", make_image(*size, seed) * np.uint8(name != "2"))
    return folder


def options(hr_folder, output, **changes):
    return PackOptions(**{"hr": hr_folder, "output": output, "scale": SCALE, "patch": PATCH, **changes})


@pytest.fixture
def packed(hr_folder, tmp_path):
    pack(options(hr_folder, tmp_path / "x.mindrecord", encoding="raw"))
    return tmp_path / "x.mindrecord"


def expected_records(hr_folder):
    """Whole LR images first, patches side by side, the last moved back to the edge."""
    for name, (tops, lefts) in CORNERS.items():
        hr = read_rgb(hr_folder / f"{name}.png")
        lr = imresize(hr[: len(hr) // 4 * 4, : hr.shape[1] // 4 * 4], 1 / 4)
        for count, (y, x) in enumerate(itertools.product(tops, lefts)):
            low = lr[y // 4 : (y + PATCH) // 4, x // 4 : (x + PATCH) // 4]
            yield hr[y : y + PATCH, x : x + PATCH], low, f"{name}_{count:04d}"


def assert_same(found, expected):
    found, expected = list(found), list(expected)
    assert [name for *_, name in found] == [name for *_, name in expected]
    for (hr, lr, name), (hr_expected, lr_expected, _) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(hr, hr_expected, name)
        np.testing.assert_array_equal(lr, lr_expected, name)
        assert hr.dtype == lr.dtype == np.uint8


@pytest.mark.parametrize(("encoding", "shards"), [("png", 1), ("png", 3), ("raw", 13)])
def test_round_trip(hr_folder, tmp_path, encoding, shards):
    output = tmp_path / "ä b" / "x.mindrecord"
    manifest = pack(options(hr_folder, output, encoding=encoding, shards=shards))
    assert_same(open_patches(output, SCALE, PATCH).read(), expected_records(hr_folder))
    assert verify(output) == manifest == read_manifest(output)
    assert manifest.pictures == {"1": 6, "2": 1, "10": 6}
    assert sorted(path.name for path in output.parent.iterdir()) == sorted([*manifest.files, "x.mindrecord.json"])


def test_whole_images_with_given_lr(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    given = {name: make_image(h // SCALE, w // SCALE, 7) for name, (h, w) in SIZES.items()}
    for folder, form in (("lr", "{}x4.png"), ("same", "{}.png")):  # DIV2K's names, and equal names
        for name, lr in given.items():
            write_image(tmp_path / folder / form.format(name), lr)
        manifest = pack(PackOptions(hr_folder, output, lr=tmp_path / folder, patch=0))
        assert (manifest.scale, manifest.lr_source) == (SCALE, "files")
        for hr, lr, name in PatchRecords(output).read():
            np.testing.assert_array_equal(lr, given[name])
            assert hr.shape == (lr.shape[0] * SCALE, lr.shape[1] * SCALE, 3)
    with pytest.raises(UserError, match="cannot tell the scale"):
        pack(PackOptions(hr_folder, output, lr=hr_folder, patch=0))


def test_crops_repeat_with_the_seed_and_stay_inside(hr_folder, tmp_path):
    from mindspore.dataset import MindDataset

    made = [pack(options(hr_folder, tmp_path / "x.mindrecord", crops=47, seed=seed)) for seed in (6, 5, 5)]
    assert made[0].content_sha256 != made[1].content_sha256 == made[2].content_sha256
    rows = MindDataset(str(tmp_path / "x.mindrecord"), ["name", "y", "x", "height", "width"], shuffle=False)
    places = [[value.item() for value in row] for row in rows.create_tuple_iterator(output_numpy=True)]
    assert len(places) == 47 * len(SIZES)
    for name, y, x, height, width in places:
        image = SIZES[name.split("_")[0]]
        assert (height, width, y % SCALE, x % SCALE) == (PATCH, PATCH, 0, 0)
        assert 0 <= y <= image[0] - PATCH
        assert 0 <= x <= image[1] - PATCH
    assert len({y for name, y, *_ in places if name.startswith("1_")}) == (60 - PATCH) // SCALE + 1  # all are reached


def test_any_order_of_many_indices(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, crops=20, shards=3, patch=8, encoding="raw"))
    records = PatchRecords(output)
    everything = list(records.read())
    wanted = np.random.default_rng(0).integers(len(records), size=300)  # NumPy integers, with repeats
    assert_same(records.read(wanted), [everything[index] for index in wanted])
    endless = records.read(itertools.cycle([3, 1]))
    assert_same(itertools.islice(endless, 50), [everything[3], everything[1]] * 25)
    with ThreadPoolExecutor(2) as pool:  # a training and a validation set, say
        for found in pool.map(lambda _: list(records.read()), range(2)):
            assert_same(found, everything)
    with pytest.raises(UserError, match=r"record -1 asked for, but the set has 0 \.\.\. 59"):
        list(records.read([0, -1]))


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_as_mindspore_dataset(hr_folder, tmp_path, encoding):
    from mindspore.dataset import MindDataset, vision

    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, encoding=encoding, shards=2))
    expected = list(expected_records(hr_folder))
    rows = PatchRecords(output).dataset([7, 0, 10]).create_dict_iterator(num_epochs=1, output_numpy=True)
    assert_same([(row["HR"], row["LR"], row["name"].item()) for row in rows], [expected[i] for i in [7, 0, 10]])
    if encoding == "png":  # without this package, as the module's first lines say; in MindSpore's order
        rows = MindDataset(f"{output}0", ["HR", "LR", "name"], shuffle=False)
        rows = rows.map(vision.Decode(), "HR").map(vision.Decode(), "LR")
        found = [(hr, lr, name.item()) for hr, lr, name in rows.create_tuple_iterator(output_numpy=True)]
        assert_same(sorted(found, key=lambda row: row[2]), sorted(expected, key=lambda row: row[2]))


@pytest.mark.parametrize("name", ["", ".db", ".json"])
def test_flipped_bits_are_found_at_opening(packed, name):
    """Before MindSpore sees the file, whose reader may end the interpreter."""
    path, whole = packed.with_name(f"x.mindrecord{name}"), read_manifest(packed)
    content, rng, refused = path.read_bytes(), np.random.default_rng(1), []
    for place in [0, len(content) - 1, *rng.integers(len(content), size=60)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert PatchRecords(packed).manifest == whole, "blanks of the JSON alone"
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > (40 if name == ".json" else 61)
    assert all(f"mindrecord{name} " in said for said in refused)
    path.write_bytes(content[:-9])
    for attempt in (verify, lambda path: open_patches(path, SCALE, PATCH)):
        with pytest.raises(UserError):
            attempt(packed)


def test_incomplete_and_renamed_sets(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    manifest = pack(options(hr_folder, output, shards=2))
    for name in (*manifest.files, "x.mindrecord.json"):
        hidden = (tmp_path / name).rename(tmp_path / "hidden")
        with pytest.raises(UserError, match=name):
            PatchRecords(output)
        hidden.rename(tmp_path / name)
    shutil.copy(tmp_path / "x.mindrecord.json", tmp_path / "z.mindrecord.json")
    for name, told in {
        "x.mindrecord0": "one shard of a set",
        "y.mindrecord": "no such file",
        "z.mindrecord": "renamed",
    }.items():
        with pytest.raises(UserError, match=told):
            PatchRecords(tmp_path / name)


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from common.mindrecord.__main__ import main

moves, replace = itertools.count(1), Path.replace
def move(source, target):
    if str(next(moves)) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)
Path.replace = move
main(sys.argv[2:])
"""


@pytest.mark.parametrize("place", ["1 old", "2 old", "5 new"])
def test_killed_pack(hr_folder, tmp_path, root, place):
    """From three shards to two: the moves are that of the old manifest, 2 of data, 2 of indexes, the new manifest."""
    output, place, old = tmp_path / "x.mindrecord", place.split()[0], place.endswith("old")
    before = pack(options(hr_folder, output, shards=3)) if old else None
    words = ["pack", "--hr", str(hr_folder), "--output", str(output), "--patch", "24", "--crops", "3", "--shards", "2"]
    killed = subprocess.run([sys.executable, "-c", KILLED, place, *words], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    if whole := old and place == "1":
        assert verify(output) == before
    else:
        with pytest.raises(UserError, match=r"expected a packed set .*: its pack is still running or was killed"):
            PatchRecords(output)
    with pytest.raises(UserError, match="were skipped"):
        main([*words, "--patch", "400"])
    assert len(list(tmp_path.iterdir())) == (7 if whole else 0)
    assert main(words) == 0
    assert verify(output).records == 9
    names = ["x.mindrecord.json", "x.mindrecord0", "x.mindrecord0.db", "x.mindrecord1", "x.mindrecord1.db"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_failed_pack_leaves_the_old_set(hr_folder, packed, monkeypatch):
    before = verify(packed)

    def full(*_):
        raise RuntimeError("Unexpected error.\n\n[ERROR] No free disk to be used.\n\n- C++ Call Stack:\n")

    monkeypatch.setattr("mindspore.mindrecord.FileWriter.write_raw_data", full)
    with pytest.raises(UserError, match=r"MindSpore cannot write x\.mindrecord: No free disk to be used\.$"):
        pack(options(hr_folder, packed, on_error="skip"))
    assert verify(packed) == before


def test_files_of_others_stay(hr_folder, tmp_path):
    for name in ("x.mindrecord", "x.mindrecord.db", "x.mindrecord.json"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(UserError, match=r"not from an earlier pack|is not a manifest"):
            pack(options(hr_folder, tmp_path / "x.mindrecord"))
        assert (tmp_path / name).read_text() == "{}"
        (tmp_path / name).unlink()


def test_unreadable_and_small_images(hr_folder, tmp_path):
    folder, output = shutil.copytree(hr_folder, tmp_path / "hr"), tmp_path / "x.mindrecord"
    write_image(folder / "5.png", make_image(23, 90, 0))
    assert list(pack(options(folder, output)).skipped) == ["5"]  # too small an image stops nothing
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"3\.png is damaged"):
        pack(options(folder, output))
    manifest = pack(options(folder, output, on_error="skip"))
    assert list(manifest.skipped) == ["3", "5"]
    assert "5.png is smaller than a patch of 24: 88x20" in manifest.skipped["5"]
    assert_same(PatchRecords(output).read(), expected_records(hr_folder))


def test_command(hr_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words, told in {
        f"pack --hr {hr_folder} --patch 24 --output x.mindrecord": ["13 records of 3 images (0 skipped)"],
        "verify x.mindrecord": ["x.mindrecord is sound: 13 records"],
        "info x.mindrecord": ["13 records", "24 x 24, png", "1/4", "imresize", "name (string)", "record.db", "seed=0"],
        "unpack x.mindrecord --output out": ["wrote 13 images to out/HR"],
    }.items():
        assert main(words.split()) == 0
        said = capsys.readouterr().out
        assert [part for part in told if part not in said] == []
    for hr, lr, name in expected_records(hr_folder):
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "HR" / f"{name}.png"), hr)
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "LR" / f"{name}.png"), lr)
    with pytest.raises(UserError, match="HR is not empty"):
        main(["unpack", "x.mindrecord", "--output", "out"])
