"""MindRecord sets: what goes in comes out, damage is found, a killed pack loses nothing that was there."""

import importlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from common import UserError
from common.images import imresize, read_rgb, write_picture
from common.mindrecord import PackOptions, PatchRecords, open_patches, pack, read_manifest, unpack, verify
from common.mindrecord.__main__ import main

packing = importlib.import_module("common.mindrecord.pack")
SCALE, PATCH = 4, 24
SIZES = {"1": (61, 50), "2": (24, 27), "10": (48, 72)}  # natural order: 10 comes last


def make_image(height, width, seed, noise=20):
    """Smooth with some noise: compresses like a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9 + c) + c) * np.cos(y / (14 - c)) for c in range(3)]
    return (128 + 90 * np.stack(waves, -1) + rng.normal(0, noise, (height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def hr_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hr")
    for seed, (name, size) in enumerate(SIZES.items()):
        # The zeros of a black image must not be taken for the end of a string.
        write_picture(folder / f"{name}.png", make_image(*size, seed) * np.uint8(name != "2"))
    return folder


def options(hr_folder, output, **changes):
    return PackOptions(**{"hr": hr_folder, "output": output, "scale": SCALE, "patch": PATCH, **changes})


@pytest.fixture
def packed(hr_folder, tmp_path):
    """A set of 13 records in one raw file."""
    pack(options(hr_folder, tmp_path / "x.mindrecord", encoding="raw"))
    return tmp_path / "x.mindrecord"


def expected_records(hr_folder):
    """Written naively: whole LR images first, patches side by side, the last moved back to the edge."""
    for name in SIZES:
        hr = read_rgb(hr_folder / f"{name}.png")
        hr = hr[: len(hr) // SCALE * SCALE, : hr.shape[1] // SCALE * SCALE]
        lr = imresize(hr, 1 / SCALE)
        count = 0
        for y in sorted({min(y, len(hr) - PATCH) for y in range(0, len(hr), PATCH)}):
            for x in sorted({min(x, hr.shape[1] - PATCH) for x in range(0, hr.shape[1], PATCH)}):
                low = lr[y // 4 : y // 4 + PATCH // 4, x // 4 : x // 4 + PATCH // 4]
                yield hr[y : y + PATCH, x : x + PATCH], low, f"{name}_{count:04d}"
                count += 1


def assert_same(found, expected):
    found, expected = list(found), list(expected)
    assert [name for *_, name in found] == [name for *_, name in expected]
    for (hr, lr, name), (hr_expected, lr_expected, _) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(hr, hr_expected, name)
        np.testing.assert_array_equal(lr, lr_expected, name)
        assert hr.dtype == lr.dtype == np.uint8


@pytest.mark.parametrize(("encoding", "shards"), [("png", 1), ("raw", 1), ("png", 3), ("raw", 13)])
def test_round_trip(hr_folder, tmp_path, encoding, shards):
    output = tmp_path / "ä b" / "x.mindrecord"
    manifest = pack(options(hr_folder, output, encoding=encoding, shards=shards))
    records = open_patches(output, SCALE, PATCH)
    assert_same(records.read(), expected_records(hr_folder))
    assert len(records) == manifest.records == 13
    assert verify(output) == manifest == read_manifest(output)
    assert manifest.pictures == {"1": 6, "2": 1, "10": 6}
    assert sum(manifest.shard_records) == 13
    assert sorted(path.name for path in output.parent.iterdir()) == sorted([*manifest.files, "x.mindrecord.json"])
    with pytest.raises(UserError, match=r"x\.mindrecord was packed for x4, not x2"):
        open_patches(output, 2)
    with pytest.raises(UserError, match=r"x\.mindrecord holds patches of 24, smaller than --patch_size 48"):
        open_patches(output, SCALE, 48)


def test_content_hash_is_that_of_the_images(hr_folder, tmp_path):
    made = [
        pack(options(hr_folder, tmp_path / f"{number}.mindrecord", **changes)).content_sha256
        for number, changes in enumerate(({"encoding": "raw"}, {"shards": 2}, {"stride": 20}))
    ]
    assert made[0] == made[1] != made[2]


def test_whole_images_with_given_lr(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    given = {name: make_image(h // SCALE, w // SCALE, 7) for name, (h, w) in SIZES.items()}
    for name, lr in given.items():
        write_picture(tmp_path / "lr" / f"{name}x4.png", lr)
        write_picture(tmp_path / "same" / f"{name}.png", lr)
    for folder in ("lr", "same"):  # DIV2K's names, and equal names; the scale is found out
        manifest = pack(PackOptions(hr_folder, output, lr=tmp_path / folder, patch=0))
        assert (manifest.scale, manifest.lr_source) == (SCALE, "files")
        for hr, lr, name in PatchRecords(output).read():
            np.testing.assert_array_equal(lr, given[name])
            assert hr.shape == (lr.shape[0] * SCALE, lr.shape[1] * SCALE, 3)
    verify(output)
    with pytest.raises(UserError, match="cannot tell the scale"):
        pack(PackOptions(hr_folder, output, lr=hr_folder, patch=0))
    with pytest.raises(UserError, match="needs"):
        pack(PackOptions(hr_folder, output, lr=tmp_path / "same", scale=2, patch=0))


def test_crops_repeat_with_the_seed_and_stay_inside(hr_folder, tmp_path):
    def places(seed):
        from mindspore.dataset import MindDataset

        output = tmp_path / f"{seed}.mindrecord"
        pack(options(hr_folder, output, crops=47, seed=seed))
        rows = MindDataset(str(output), ["name", "y", "x", "height", "width"], shuffle=False)
        return [tuple(v.item() for v in row) for row in rows.create_tuple_iterator(num_epochs=1, output_numpy=True)]

    first, again, other = places(5), places(5), places(6)
    assert first == again != other
    assert len(first) == 47 * len(SIZES)
    for name, y, x, height, width in first:
        image = SIZES[name.split("_")[0]]
        assert (height, width, y % SCALE, x % SCALE) == (PATCH, PATCH, 0, 0)
        assert 0 <= y <= image[0] - PATCH
        assert 0 <= x <= image[1] - PATCH
    assert len({y for name, y, *_ in first if name.startswith("1_")}) == (60 - PATCH) // SCALE + 1  # all are reached


@pytest.mark.parametrize("shards", [1, 3])
def test_any_order_of_many_indices(hr_folder, tmp_path, shards):
    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, crops=100, shards=shards, patch=8, encoding="raw"))
    records = PatchRecords(output)
    everything = list(records.read())
    wanted = np.random.default_rng(0).integers(len(records), size=3000)  # NumPy integers, with repeats
    assert_same(records.read(wanted), [everything[index] for index in wanted])
    assert_same(
        itertools.islice(records.read(itertools.cycle([3, 1, 1])), 7), [everything[i] for i in [3, 1, 1] * 2 + [3]]
    )
    with ThreadPoolExecutor(2) as pool:  # a training and a validation set, say
        for found in pool.map(lambda _: list(records.read()), range(2)):
            assert_same(found, everything)
    for wrong in (-1, 300):
        with pytest.raises(UserError, match=r"the set has 0 \.\.\. 299"):
            list(records.read([0, wrong]))


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_as_mindspore_dataset(hr_folder, tmp_path, encoding):
    from mindspore.dataset import MindDataset, vision

    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, encoding=encoding, shards=2))
    expected = list(expected_records(hr_folder))
    wanted = [7, 0, 10]
    rows = PatchRecords(output).dataset(wanted).create_dict_iterator(num_epochs=1, output_numpy=True)
    assert_same([(row["HR"], row["LR"], row["name"].item()) for row in rows], [expected[i] for i in wanted])
    if encoding == "png":  # without this package, as the module's first lines say; in MindSpore's order
        rows = MindDataset(f"{output}0", ["HR", "LR", "name"], shuffle=False)
        rows = rows.map(vision.Decode(), "HR").map(vision.Decode(), "LR")
        rows = rows.create_tuple_iterator(num_epochs=1, output_numpy=True)
        found = [(hr, lr, name.item()) for hr, lr, name in rows]
        assert_same(sorted(found, key=lambda row: row[2]), sorted(expected, key=lambda row: row[2]))


# ------------------------------------------------------------------------------------------------------------- damage


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "place", "found"),
    [
        ("x.mindrecord", 20, r"x\.mindrecord is not as it was packed \(its SHA-256 differs\)"),
        ("x.mindrecord", -1, r"x\.mindrecord is not as it was packed"),
        ("x.mindrecord.db", 5000, r"x\.mindrecord\.db is not as it was packed"),
        ("x.mindrecord.json", 300, r"the manifest .*x\.mindrecord\.json is (not as it was written|damaged)"),
    ],
)
def test_flipped_bit_is_found_at_opening(packed, name, place, found):
    """MindSpore itself would hand out garbage, or end the interpreter, whichever byte it is."""
    flip(packed.with_name(name), place)
    for attempt in (PatchRecords, verify, lambda path: open_patches(path, SCALE, PATCH)):
        with pytest.raises(UserError, match=found):
            attempt(packed)
    flip(packed.with_name(name), place)
    PatchRecords(packed)


def test_incomplete_and_renamed_sets(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    manifest = pack(options(hr_folder, output, shards=2))
    assert sorted(manifest.files) == ["x.mindrecord0", "x.mindrecord0.db", "x.mindrecord1", "x.mindrecord1.db"]
    for name in (*manifest.files, "x.mindrecord.json"):
        hidden = (tmp_path / name).rename(tmp_path / "hidden")
        with pytest.raises(UserError, match=name):
            PatchRecords(output)
        hidden.rename(tmp_path / name)
    with pytest.raises(UserError, match=r"one shard of a set, open .*x\.mindrecord$"):
        PatchRecords(tmp_path / "x.mindrecord0")
    with pytest.raises(UserError, match="no such file"):
        PatchRecords(tmp_path / "y.mindrecord")
    shutil.copy(tmp_path / "x.mindrecord.json", tmp_path / "y.mindrecord.json")
    with pytest.raises(UserError, match=r"was packed as x\.mindrecord0: .* cannot be renamed"):
        PatchRecords(tmp_path / "y.mindrecord")
    os.truncate(tmp_path / "x.mindrecord1", 5000)
    with pytest.raises(UserError, match="has 5000 bytes, but"):
        verify(output)


# -------------------------------------------------------------------------------------------------------------- kills

KILLED = """
import os, signal, sys
from pathlib import Path
from mindspore.mindrecord import FileWriter
from common.mindrecord.__main__ import main

moves, replace = [], Path.replace

def move(source, target):
    moves.append(source)
    if str(len(moves)) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)

Path.replace = move
if sys.argv[1] == "commit":
    FileWriter.commit = lambda file: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("place", "old"),
    [("commit", True), ("1", True), ("2", True), ("4", True), ("1", False), ("5", False)],
    ids=["while writing", "before moving", "old set away", "data moved", "new set", "new set but its manifest"],
)
def test_killed_pack(hr_folder, tmp_path, root, place, old):
    """From three shards to two: the moves are that of the old manifest, 2 of data, 2 of indexes, the new manifest."""
    output = tmp_path / "x.mindrecord"
    before = pack(options(hr_folder, output, shards=3)) if old else None
    words = ["pack", "--hr", str(hr_folder), "--output", str(output), "--patch", "24", "--crops", "3", "--shards", "2"]
    killed = subprocess.run([sys.executable, "-c", KILLED, place, *words], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    if old and place in ("commit", "1"):
        assert verify(output) == before
    else:
        with pytest.raises(UserError, match=r"expected a packed set .*: its pack is still running or was killed"):
            PatchRecords(output)
    if place == "1":
        with pytest.raises(UserError, match="were skipped"):
            main([*words, "--patch", "400"])
        assert len(list(tmp_path.iterdir())) == (7 if old else 0)
    assert main(words) == 0
    assert verify(output).records == 9
    names = ["x.mindrecord.json", "x.mindrecord0", "x.mindrecord0.db", "x.mindrecord1", "x.mindrecord1.db"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_failed_pack_leaves_the_old_set(hr_folder, packed, monkeypatch):
    before = verify(packed)

    def full(*_):
        raise RuntimeError("Unexpected error.\n\n[ERROR] No free disk to be used.\n\n- C++ Call Stack:\n")

    def stopped(*_):
        raise KeyboardInterrupt

    for name, raised in (("mindspore.mindrecord.FileWriter.write_raw_data", full), ("pathlib.Path.replace", stopped)):
        with monkeypatch.context() as patch:
            patch.setattr(name, raised)
            with pytest.raises((UserError, KeyboardInterrupt)) as told:
                pack(options(hr_folder, packed, on_error="skip"))
        assert str(told.value) in ("MindSpore cannot write x.mindrecord: No free disk to be used.", "")
        assert verify(packed) == before
        assert not list(packed.parent.glob(".*"))


def test_two_packs_of_one_set_at_once(hr_folder, packed, monkeypatch):
    """The later one wins, the earlier one fails."""
    read, again = packing.read_pair, iter([options(hr_folder, packed, crops=2)])

    def slow(*words):
        for other in again:
            pack(other)
        return read(*words)

    monkeypatch.setattr(packing, "read_pair", slow)
    with pytest.raises((UserError, OSError)):
        pack(options(hr_folder, packed))
    assert verify(packed).records == 6
    assert not list(packed.parent.glob(".*"))


def test_files_of_others_stay(hr_folder, tmp_path):
    for name in ("x.mindrecord", "x.mindrecord.db", "x.mindrecord.json"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(UserError, match=r"not from an earlier pack|is not a manifest"):
            pack(options(hr_folder, tmp_path / "x.mindrecord"))
        assert (tmp_path / name).read_text() == "{}"
        (tmp_path / name).unlink()


def test_umask_and_the_rights_of_a_set_that_is_replaced(hr_folder, tmp_path):
    before = os.umask(0o027)
    try:
        for rights in (0o640, 0o664):  # of a new set, of one that was there
            pack(options(hr_folder, tmp_path / "x.mindrecord"))
            files = [path for path in tmp_path.iterdir() if path.is_file()]
            assert {path.stat().st_mode & 0o777 for path in files} == {rights}
            for path in files:
                path.chmod(0o664)
    finally:
        os.umask(before)


# ------------------------------------------------------------------------------------------------ what is packed, how


def test_unreadable_and_small_images(hr_folder, tmp_path, caplog):
    folder = shutil.copytree(hr_folder, tmp_path / "hr")
    whole = (folder / "1.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "4.jpg").write_text("no image")
    write_picture(folder / "5.png", make_image(23, 90, 0))
    output = tmp_path / "x.mindrecord"
    with pytest.raises(UserError, match=r"3\.png is damaged"):
        pack(options(folder, output))
    assert not list(tmp_path.glob("*x.mindrecord*"))
    manifest = pack(options(folder, output, on_error="skip"))
    assert list(manifest.skipped) == ["3", "4", "5"]
    assert "5.png is smaller than a patch of 24: 88x20" in manifest.skipped["5"]
    assert [name in caplog.text for name in ("3.png", "4.jpg", "5.png")] == [True] * 3
    assert_same(PatchRecords(output).read(), expected_records(hr_folder))
    for name in ("3.png", "4.jpg"):
        (folder / name).unlink()
    assert list(pack(options(folder, output)).skipped) == ["5"]  # too small an image stops nothing


def test_unpack(packed, hr_folder, tmp_path):
    assert unpack(packed, tmp_path / "out") == 13
    for hr, lr, name in expected_records(hr_folder):
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "HR" / f"{name}.png"), hr)
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "LR" / f"{name}.png"), lr)
    with pytest.raises(UserError, match="HR is not empty"):
        unpack(packed, tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", ".."])
def test_unpack_stays_in_its_folder(hr_folder, tmp_path, monkeypatch, name):
    found = packing.find_pairs(hr_folder, None, SCALE)
    monkeypatch.setattr(packing, "find_pairs", lambda *_: [pair._replace(name=name) for pair in found][:1])
    pack(options(hr_folder, tmp_path / "x.mindrecord", patch=0))
    with pytest.raises(UserError, match="leads out of"):
        unpack(tmp_path / "x.mindrecord", tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(("encoding", "shards", "limit"), [("png", 1, 64 << 20), ("png", 1, 1000), ("raw", 2, 1000)])
def test_set_costs_about_its_payload(tmp_path, monkeypatch, encoding, shards, limit):
    """With few records and with a stream of many, where later images are unlike the first."""
    monkeypatch.setattr(packing, "BUFFER_BYTES", limit)
    for number in range(6):
        write_picture(tmp_path / "hr" / f"{number}.png", make_image(16, 16, number, noise=0))
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1332, 3), dtype=np.uint8)
    write_picture(tmp_path / "hr" / "7.png", noise)
    write_picture(tmp_path / "hr" / "8.png", noise[:40, :40])
    manifest = pack(PackOptions(tmp_path / "hr", tmp_path / "x.mindrecord", patch=0, encoding=encoding, shards=shards))
    assert verify(tmp_path / "x.mindrecord") == manifest
    files = [tmp_path / name for name in manifest.files]
    assert sum(path.stat().st_blocks * 512 for path in files) < 1.05 * manifest.payload_bytes
    if limit > manifest.payload_bytes:
        assert sum(path.stat().st_size for path in files) < 1.05 * manifest.payload_bytes


BAD = {
    "--patch 22": "multiples of the scale 4",
    "--patch 24 --stride 6": "multiples of the scale 4",
    "--patch -4": "--patch -4 is negative",
    "--patch 0 --crops 3": "leave out --stride and --crops",
    "--stride 8 --crops 3": "exclude each other",
    "--crops 0": "--crops 0 is not positive",
    "--scale 1": "is not in 2 ... 16",
    "--shards 0": "is not in 1 ... 1000",
    "--patch 24 --shards 200": "13 records cannot fill 200 shards",
    "--patch 400": "all 3 pictures of .* were skipped",
    "--lr nowhere": "there is no nowhere",
    "--hr nowhere": "there is no nowhere",
    "--encoding webp": "invalid choice: 'webp'",
    "--crop 3": "unrecognized arguments: --crop",
    "--patch 0 --output a:b": "MindSpore cannot write a:b: .*name",
    "--output file/x.mindrecord": "cannot write to .*file",
    "--output folder": "folder exists and is not from an earlier pack",
}


@pytest.mark.parametrize("given", BAD)
def test_mistakes(hr_folder, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=BAD[given]):
        main(["pack", "--hr", str(hr_folder), "--output", "x.mindrecord", *given.split()])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_same_name_in_two_folders(hr_folder, tmp_path):
    for folder in ("a", "b"):
        shutil.copytree(hr_folder, tmp_path / "hr" / folder)
    with pytest.raises(UserError, match=r"3 names .* pack folder by folder"):
        pack(options(tmp_path / "hr", tmp_path / "x.mindrecord"))


def test_command(hr_folder, tmp_path, root, monkeypatch, capsys):
    """As a user types it: exit codes, one sentence, no traceback, from another folder."""
    assert main(["pack", "--hr", str(hr_folder), "--patch", "24", "--output", str(tmp_path / "x.mindrecord")]) == 0
    assert "13 records of 3 images (0 skipped)" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    for words, told in {
        "verify x.mindrecord": ["x.mindrecord is sound: 13 records"],
        "info x.mindrecord": [
            "13 records",
            "24 x 24, png",
            "1/4",
            "imresize",
            "name (string)",
            "mindrecord.db",
            "seed=0",
        ],
        "unpack x.mindrecord --output out": ["wrote 13 images to out/HR"],
    }.items():
        assert main(words.split()) == 0
        said = capsys.readouterr().out
        assert [part for part in told if part not in said] == []
    flip(tmp_path / "x.mindrecord", -1)
    command, environment = (
        [sys.executable, "-m", "common.mindrecord", "verify", "x.mindrecord"],
        {**os.environ, "PYTHONPATH": str(root)},
    )
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: x.mindrecord is not as it was packed")
    assert failed.stderr.count("\n") == 1
    (tmp_path / "pictures").mkdir()
    shutil.copy(hr_folder / "1.png", os.fsdecode(bytes(tmp_path / "pictures") + b"/\xb5\xb1.png"))
    command[-2:] = ["pack", "--hr", "pictures", "--patch", "0", "--output", "y.mindrecord"]
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "has no form in utf-8: rename it" in failed.stderr


def test_help_is_quick(root):
    code = "import sys, common.mindrecord; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
