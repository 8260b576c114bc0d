"""MindRecord sets: what goes in comes out, damage is found, a killed pack loses nothing."""

import dataclasses
import errno
import fcntl
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common import UserError
from common.images.files import read_rgb, write_picture
from common.images.pairs import find_pairs
from common.images.resize import imresize
from common.mindrecord import PackOptions, PatchRecords, open_dataset, open_patches, pack, repair, unpack, verify
from common.mindrecord import manifest as mindrecord_manifest
from common.mindrecord import pack as mindrecord_move
from common.mindrecord import pack as mindrecord_pack
from common.mindrecord import pack as mindrecord_writer
from common.mindrecord import read as mindrecord_read
from common.mindrecord.__main__ import main
from common.mindrecord.manifest import read_manifest, write_manifest

SCALE, PATCH = 4, 24
SIZES = {"1": (61, 50), "2": (24, 27), "10": (48, 72)}  # natural order: 10 comes last


def make_picture(height, width, seed, noise=20):
    """Smooth with some noise: compresses like a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9 + c) + c) * np.cos(y / (14 - c)) for c in range(3)]
    return (128 + 90 * np.stack(waves, -1) + rng.normal(0, noise, (height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def hr_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hr")
    for seed, (name, size) in enumerate(SIZES.items()):
        # The zeros of a black picture must not be taken for the end of a string.
        write_picture(folder / f"{name}.png", make_picture(*size, seed) * np.uint8(name != "2"))
    return folder


def options(hr_folder, output, **changes):
    return PackOptions(**{"hr": hr_folder, "output": output, "scale": SCALE, "patch": PATCH, **changes})


@pytest.fixture
def packed(hr_folder, tmp_path):
    """A set of 13 records in one raw file."""
    pack(options(hr_folder, tmp_path / "x.mindrecord", encoding="raw"))
    return tmp_path / "x.mindrecord"


def expected_records(hr_folder):
    """Written naively: whole LR pictures first, patches side by side, the last moved back to the edge."""
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
    expected = list(expected_records(hr_folder))
    records = PatchRecords(output)
    assert len(records) == len(expected) == manifest.records
    assert records.scale == SCALE
    assert_same(records.read(), expected)
    assert verify(output) == manifest == read_manifest(output)
    assert sum(manifest.pictures.values()) == len(expected)
    assert manifest.pictures == {"1": 6, "2": 1, "10": 6}
    assert not list(output.parent.glob(".*"))


def test_content_hash_is_that_of_the_pictures(hr_folder, tmp_path):
    made = [
        pack(options(hr_folder, tmp_path / f"{number}.mindrecord", **changes)).content_sha256
        for number, changes in enumerate(({"encoding": "raw"}, {"shards": 2}, {"stride": 20}))
    ]
    assert made[0] == made[1] != made[2]


def test_whole_pictures_with_and_without_given_lr(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    given = {name: make_picture(h // SCALE, w // SCALE, 7) for name, (h, w) in SIZES.items()}
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
    with pytest.raises(UserError, match=r"3 of 3 pictures .* have no x2 picture"):
        pack(PackOptions(hr_folder, output, lr=tmp_path / "lr", scale=2, patch=0))


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
        picture = SIZES[name.split("_")[0]]
        assert (height, width, y % SCALE, x % SCALE) == (PATCH, PATCH, 0, 0)
        assert 0 <= y <= picture[0] - PATCH
        assert 0 <= x <= picture[1] - PATCH
    assert len({y for name, y, *_ in first if name.startswith("1_")}) == (60 - PATCH) // SCALE + 1  # all are reached


@pytest.mark.parametrize("shards", [1, 3])
def test_any_order_of_many_indices(hr_folder, tmp_path, shards):
    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, crops=400, shards=shards, patch=8, encoding="raw"))
    records = PatchRecords(output)
    everything = list(records.read())
    wanted = np.random.default_rng(0).integers(len(records), size=10_000)  # NumPy integers, with repeats
    count = 0
    for index, (hr, lr, name) in zip(wanted, records.read(wanted), strict=True):
        assert name == everything[index][2]
        assert (hr == everything[index][0]).all()
        assert (lr == everything[index][1]).all()
        count += 1
    assert count == 10_000


def test_endless_indices_are_followed(packed):
    names = [name for *_, name in itertools.islice(PatchRecords(packed).read(itertools.cycle([3, 1, 1])), 40)]
    assert names[:4] == [names[0], names[1], names[1], names[0]]
    assert names == (names[:3] * 14)[:40]


def test_two_readers_at_once(packed, hr_folder):
    """A training and a validation set, say, and each in its own thread."""
    records = PatchRecords(packed)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: list(records.read()), range(2)))
    interleaved = list(zip(records.read(), records.read(), strict=True))
    for rows in (*found, [first for first, _ in interleaved], [second for _, second in interleaved]):
        assert_same(rows, expected_records(hr_folder))


@pytest.mark.parametrize("wrong", [-1, 13, 10**6])
def test_indices_out_of_range(packed, wrong):
    """MindSpore itself hands out some other record."""
    with pytest.raises(UserError, match=r"the set has 0 \.\.\. 12"):
        list(PatchRecords(packed).read([0, wrong]))


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_as_mindspore_dataset(hr_folder, tmp_path, encoding):
    from mindspore.dataset import MindDataset, vision

    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, encoding=encoding, shards=2))
    expected = list(expected_records(hr_folder))
    wanted = [7, 0, 10]
    rows = open_dataset(output, wanted).create_dict_iterator(num_epochs=1, output_numpy=True)
    assert_same([(row["HR"], row["LR"], row["name"].item()) for row in rows], [expected[i] for i in wanted])
    assert open_dataset(output).get_dataset_size() == len(expected)
    if encoding == "png":  # without this package, as the module's first lines say; in MindSpore's order
        rows = MindDataset(f"{output}0", ["HR", "LR", "name"], shuffle=False)
        rows = rows.map(vision.Decode(), "HR").map(vision.Decode(), "LR")
        rows = rows.create_tuple_iterator(num_epochs=1, output_numpy=True)
        found = [(hr, lr, name.item()) for hr, lr, name in rows]
        assert_same(sorted(found, key=lambda row: row[2]), sorted(expected, key=lambda row: row[2]))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("place", [20, 400, 30_000, -1])
def test_flipped_byte_in_data(packed, place):
    flip(packed, place)
    with pytest.raises(UserError, match=r"x\.mindrecord is (damaged|not as it was packed)"):
        verify(packed)


@pytest.mark.parametrize(
    ("name", "place", "found"),
    [
        ("x.mindrecord", 30_000, r"x\.mindrecord is not as it was packed \(its SHA-256 differs\)"),
        ("x.mindrecord", -1, r"x\.mindrecord is not as it was packed"),
        ("x.mindrecord.db", 5000, r"x\.mindrecord\.db is not as it was packed"),
        ("x.mindrecord.json", 300, r"the manifest .*x\.mindrecord\.json is (not as it was written|damaged)"),
    ],
)
def test_flipped_bit_is_found_at_opening(packed, name, place, found):
    """MindSpore itself would hand out garbage, or end the interpreter, whichever byte it is."""
    flip(packed.with_name(name), place)
    for attempt in (PatchRecords, open_dataset, lambda path: open_patches(path, SCALE, PATCH)):
        with pytest.raises(UserError, match=found):
            attempt(packed)
    flip(packed.with_name(name), place)
    PatchRecords(packed)


def test_changed_manifest_is_found(packed):
    manifest = packed.with_name("x.mindrecord.json")
    manifest.write_text(manifest.read_text().replace('"scale": 4', '"scale": 5'))
    with pytest.raises(UserError, match=r"x\.mindrecord\.json is not as it was written"):
        PatchRecords(packed)


def test_verify_looks_beyond_the_hashes(packed):
    """Whole files whose records are not what was packed, as a writer at fault would leave them."""
    manifest = read_manifest(packed)
    for changes in ({"content_sha256": "0" * 64}, {"pictures": manifest.pictures | {"1": 7}}):
        write_manifest(packed.with_name("x.mindrecord.json"), dataclasses.replace(manifest, **changes))
        PatchRecords(packed)
        with pytest.raises(UserError, match="does not hold the pictures that were packed"):
            verify(packed)


def test_log_says_why_a_large_set_takes_a_while_to_open(packed, monkeypatch, caplog):
    with caplog.at_level(logging.INFO):
        PatchRecords(packed)
        assert "hashing" not in caplog.text
        monkeypatch.setattr(mindrecord_manifest, "TOLD_FROM", 1000)
        PatchRecords(packed)
    assert f"hashing the 0.0 GB of {packed}, to find damage before it is read" in caplog.text


def test_file_that_cannot_be_read(packed, monkeypatch):
    """A bad sector, say."""

    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(mindrecord_manifest, "sha256", broken)
    with pytest.raises(UserError, match=r"cannot read .*x\.mindrecord: Input/output error"):
        PatchRecords(packed)


def test_incomplete_sets(hr_folder, tmp_path):
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
    os.truncate(tmp_path / "x.mindrecord1", 5000)
    with pytest.raises(UserError, match="has 5000 bytes, but"):
        verify(output)
    (tmp_path / "x.mindrecord.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        verify(output)


def test_sets_that_were_mixed_or_renamed(hr_folder, tmp_path):
    """Raw records of the same sizes: only the pack id tells the data files apart."""
    first, second = tmp_path / "a" / "x.mindrecord", tmp_path / "b" / "x.mindrecord"
    pack(options(hr_folder, first, encoding="raw", crops=4, seed=1))
    pack(options(hr_folder, second, encoding="raw", crops=4, seed=2))
    assert first.stat().st_size == second.stat().st_size
    shutil.copy(second, first)
    with pytest.raises(UserError, match="of another pack"):
        PatchRecords(first)
    for path in second.parent.iterdir():
        path.rename(path.with_name(path.name.replace("x", "y", 1)))
    with pytest.raises(UserError, match=r"was packed as x\.mindrecord: .* cannot be renamed"):
        PatchRecords(second.with_name("y.mindrecord"))


SLOW_PACK = """
import sys, time
from pathlib import Path
from common.mindrecord import packing as mindrecord_pack
from common.mindrecord import writer as mindrecord_writer
from common.mindrecord import PackOptions, pack

mindrecord_writer.BUFFER_BYTES = 1  # the first record goes to disk at once
read = mindrecord_pack.read_pair

def slow(pair, scale):
    if pair.name == "10":
        print("seven records written", flush=True)
        time.sleep(60)
    return read(pair, scale)

mindrecord_pack.read_pair = slow
pack(PackOptions(Path(sys.argv[1]), Path(sys.argv[2]), scale=4, patch=24, crops=3))
"""


def test_killed_in_the_middle(hr_folder, packed, root):
    before = verify(packed)
    command = [sys.executable, "-c", SLOW_PACK, str(hr_folder), str(packed)]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    aside = packed.parent / ".x.mindrecord.packing" / "x.mindrecord"
    try:
        assert process.stdout.readline() == "seven records written\n"
        with pytest.raises(UserError, match="another process is packing"):
            pack(options(hr_folder, packed))
    finally:
        process.kill()
        process.communicate()
    assert aside.exists()
    assert verify(packed) == before
    after = pack(options(hr_folder, packed, crops=2))
    assert verify(packed) == after != before
    assert not aside.parent.exists()


class Killed(BaseException):
    """In place of SIGKILL: nothing in the program catches it."""


@pytest.mark.parametrize("survived", range(6))
@pytest.mark.parametrize("finish", ["repair", "pack"])
def test_killed_between_two_renames(hr_folder, tmp_path, monkeypatch, survived, finish):
    """From three shards to two: 3 index removals, 5 moves."""
    output = tmp_path / "x.mindrecord"
    pack(options(hr_folder, output, shards=3))

    def killed_publish(path):
        moves = itertools.count()
        replace = Path.replace

        def killed_replace(source, target):
            if next(moves) == survived:
                raise Killed
            return replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed_replace)
            mindrecord_move.publish(path)

    monkeypatch.setattr(mindrecord_pack, "publish", killed_publish)
    new = options(hr_folder, output, shards=2, crops=3)
    if survived < 5:
        with pytest.raises(Killed):
            pack(new)
        # No reader, ours or MindSpore's, can take the files for a set: an index is there only beside its own data.
        with pytest.raises(UserError, match=r"was killed while it moved .* repair"):
            PatchRecords(output)
        assert len(list(tmp_path.glob("*.db"))) == max(0, survived - 3)
    else:
        pack(new)
    monkeypatch.undo()
    if finish == "repair":
        assert repair(output) == (survived < 5)
        assert not repair(output)
        assert verify(output).records == 9
    else:  # the interrupted set is finished first, so that this failing pack leaves a sound one
        with pytest.raises(UserError, match="were skipped"):
            pack(options(hr_folder, output, patch=400))
        assert verify(output).records == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x.mindrecord.json", "x.mindrecord0", "x.mindrecord0.db", "x.mindrecord1", "x.mindrecord1.db",
    ]  # fmt: skip


def test_failed_pack_leaves_the_old_set(hr_folder, packed, monkeypatch):
    before = verify(packed)

    def full(*_):
        raise RuntimeError("Unexpected error.\n\n[ERROR] No free disk to be used.\n\n- C++ Call Stack:\n")

    monkeypatch.setattr("mindspore.mindrecord.FileWriter.write_raw_data", full)
    with pytest.raises(UserError, match=r"cannot write x\.mindrecord: No free disk to be used\.$"):
        pack(options(hr_folder, packed, on_error="skip"))
    assert verify(packed) == before
    assert not list(packed.parent.glob(".*"))


def test_files_of_others_stay(hr_folder, tmp_path):
    output = tmp_path / "x.mindrecord"
    for name in ("x.mindrecord", "x.mindrecord.db", "x.mindrecord.json"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(UserError, match=r"not from an earlier pack|is not a manifest"):
            pack(options(hr_folder, output))
        assert (tmp_path / name).read_text() == "{}"
        (tmp_path / name).unlink()
    folder = tmp_path / ".x.mindrecord.packing"
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(UserError, match="was not made by this command"):
        pack(options(hr_folder, output))
    assert (folder / "mine").exists()


def test_two_packs_of_one_set(hr_folder, packed):
    folder = packed.with_name(".x.mindrecord.packing")
    folder.mkdir()
    with (folder / "common.mindrecord.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for attempt in (lambda: pack(options(hr_folder, packed)), lambda: repair(packed)):
            with pytest.raises(UserError, match="another process is packing"):
                attempt()
    pack(options(hr_folder, packed))
    assert not folder.exists()


def test_unreadable_and_small_pictures(hr_folder, tmp_path, caplog):
    folder = shutil.copytree(hr_folder, tmp_path / "hr")
    whole = (folder / "1.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "4.jpg").write_text("no picture")
    write_picture(folder / "5.png", make_picture(23, 90, 0))
    output = tmp_path / "x.mindrecord"
    with pytest.raises(UserError, match=r"3\.png is damaged"):
        pack(options(folder, output))
    assert not list(tmp_path.glob("*x.mindrecord*"))
    manifest = pack(options(folder, output, on_error="skip"))
    assert list(manifest.skipped) == ["3", "4", "5"]
    assert "88x20" in manifest.skipped["5"]
    assert [name in caplog.text for name in ("3.png", "4.jpg", "5.png")] == [True] * 3
    assert_same(PatchRecords(output).read(), expected_records(hr_folder))
    for name in ("3.png", "4.jpg"):
        (folder / name).unlink()
    assert list(pack(options(folder, output)).skipped) == ["5"]  # too small a picture stops nothing


def test_unpack(packed, hr_folder, tmp_path):
    assert unpack(packed, tmp_path / "out") == 13
    expected = list(expected_records(hr_folder))
    names = sorted(name for *_, name in expected)
    assert sorted(path.stem for path in (tmp_path / "out" / "LR").iterdir()) == names
    for hr, lr, name in expected:
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "HR" / f"{name}.png"), hr)
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "LR" / f"{name}.png"), lr)
    with pytest.raises(UserError, match="HR is not empty"):
        unpack(packed, tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", ".."])
def test_unpack_stays_in_its_folder(hr_folder, tmp_path, monkeypatch, name):
    def renamed(*arguments):
        return [pair._replace(name=name) for pair in find_pairs(*arguments)][:1]

    monkeypatch.setattr(mindrecord_pack, "find_pairs", renamed)
    pack(options(hr_folder, tmp_path / "x.mindrecord", patch=0))
    with pytest.raises(UserError, match="leads out of"):
        unpack(tmp_path / "x.mindrecord", tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("*evil*"))
    assert not list(tmp_path.rglob("*.png"))


def test_file_costs_about_its_payload(tmp_path):
    """MindRecord's own sizes would make it 48 MB of header and pages for 0.5 MB of pictures."""
    write_picture(tmp_path / "hr" / "a.png", make_picture(480, 640, 0))
    output = tmp_path / "x.mindrecord"
    manifest = pack(PackOptions(tmp_path / "hr", output, patch=48, crops=100))
    files = sum((tmp_path / name).stat().st_size for name in manifest.files)
    unpack(output, tmp_path / "out")
    payload = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.png"))
    assert manifest.records == 100
    assert abs(manifest.payload_bytes / payload - 1) < 0.15  # another PNG level
    assert files < 1.1 * manifest.payload_bytes


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("shards", [1, 2])
def test_streams_when_later_pictures_are_unlike_the_first(tmp_path, monkeypatch, encoding, shards):
    """Tiny smooth pictures decide the sizes, then one of 6 MB that no PNG makes smaller must fit."""
    for number in range(6):
        write_picture(tmp_path / "hr" / f"{number}.png", make_picture(16, 16, number, noise=0))
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1332, 3), dtype=np.uint8)
    write_picture(tmp_path / "hr" / "7.png", noise)
    write_picture(tmp_path / "hr" / "8.png", noise[:40, :40])
    monkeypatch.setattr(mindrecord_writer, "BUFFER_BYTES", 1000)
    output = tmp_path / "x.mindrecord"
    manifest = pack(PackOptions(tmp_path / "hr", output, patch=0, encoding=encoding, shards=shards))
    verify(output)
    np.testing.assert_array_equal(next(PatchRecords(output).read([6]))[0], noise)
    used = sum((tmp_path / name).stat().st_blocks * 512 for name in manifest.files)
    assert used < 1.05 * manifest.payload_bytes


def test_header_holds_the_pages_of_many_records(tmp_path, monkeypatch):
    """A smooth picture first, then noise that makes five times as many pages as expected."""
    write_picture(tmp_path / "hr" / "0.png", make_picture(128, 128, 0, noise=0) // 64 * 64)
    write_picture(tmp_path / "hr" / "1.png", np.random.default_rng(0).integers(0, 256, (512, 1024, 3), dtype=np.uint8))
    monkeypatch.setattr(mindrecord_writer, "BUFFER_BYTES", 1000)
    output = tmp_path / "x.mindrecord"
    pack(PackOptions(tmp_path / "hr", output, patch=32, stride=16))
    assert verify(output).records == 49 + 31 * 63


def test_one_picture_in_memory_at_a_time(tmp_path, monkeypatch):
    for number in range(20):
        write_picture(tmp_path / "hr" / f"{number}.png", make_picture(96, 96, number))
    alive, most, held = [], [], []

    class Tracked(np.ndarray):
        """A weakly referable array."""

    read, drain = mindrecord_pack.read_pair, mindrecord_writer.Writer._drain

    def tracked_read(pair, scale):
        hr, lr = read(pair, scale)
        hr = hr.view(Tracked)
        alive.append(weakref.ref(hr))
        most.append(sum(reference() is not None for reference in alive))
        return hr, lr

    def tracked_drain(writer, *, last):
        held.append(sum(len(row["HR"]) + len(row["LR"]) for row in writer._waiting))
        drain(writer, last=last)

    monkeypatch.setattr(mindrecord_pack, "read_pair", tracked_read)
    monkeypatch.setattr(mindrecord_writer.Writer, "_drain", tracked_drain)
    monkeypatch.setattr(mindrecord_writer, "BUFFER_BYTES", 20_000)
    manifest = pack(PackOptions(tmp_path / "hr", tmp_path / "x.mindrecord", patch=32, shards=2, encoding="raw"))
    assert manifest.payload_bytes > 20 * 20_000
    assert max(most) <= 2  # the new one while the last is let go
    assert max(held) < 20_000 + 2 * 32 * 32 * 4
    verify(tmp_path / "x.mindrecord")


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
    "--encoding webp": "invalid choice: 'webp'",
    "--crop 3": "unrecognized arguments: --crop",
    "--seed x": "invalid int value: 'x'",
}


@pytest.mark.parametrize("given", BAD)
def test_mistakes(hr_folder, tmp_path, given):
    command = ["pack", "--hr", str(hr_folder), "--output", str(tmp_path / "x.mindrecord"), *given.split()]
    with pytest.raises(UserError, match=BAD[given]):
        main(command)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a:b", "a;b", "it's", "a*"])
def test_names_that_mindrecord_refuses(hr_folder, tmp_path, name):
    with pytest.raises(UserError, match="MindRecord refuses the name"):
        pack(options(hr_folder, tmp_path / name))


def test_places_that_cannot_be_written(hr_folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write in"):
        pack(options(hr_folder, tmp_path / "file" / "x.mindrecord"))
    (tmp_path / "x.mindrecord").mkdir()
    with pytest.raises(UserError, match=r"x\.mindrecord exists"):
        pack(options(hr_folder, tmp_path / "x.mindrecord"))
    with pytest.raises(UserError, match="there is no"):
        pack(options(tmp_path / "nothing", tmp_path / "y.mindrecord"))


def test_name_that_is_not_utf8(hr_folder, tmp_path):
    folder = shutil.copytree(hr_folder, tmp_path / "hr")
    (folder / "1.png").rename(os.fsdecode(bytes(folder) + b"/\xb5\xb1.png"))
    with pytest.raises(UserError, match="not UTF-8"):
        pack(options(folder, tmp_path / "x.mindrecord"))


def test_same_name_in_two_folders(hr_folder, tmp_path):
    for folder in ("a", "b"):
        shutil.copytree(hr_folder, tmp_path / "hr" / folder)
    with pytest.raises(UserError, match=r"3 names .* pack folder by folder"):
        pack(options(tmp_path / "hr", tmp_path / "x.mindrecord"))


def test_command(hr_folder, tmp_path, root):
    """As a user types it: exit codes, one sentence, no traceback, from another folder."""

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(
            [sys.executable, "-m", "common.mindrecord", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = run("pack", "--hr", str(hr_folder), "--patch", "24", "--output", "x.mindrecord")
    assert (done.returncode, done.stderr) == (0, "")
    assert "13 records of 3 pictures (0 skipped)" in done.stdout
    flip(tmp_path / "x.mindrecord", -1)
    failed = run("verify", "x.mindrecord")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: x.mindrecord is not as it was packed")
    assert failed.stderr.count("\n") == 1


def test_commands_in_process(packed, tmp_path, capsys):
    assert main(["verify", str(packed)]) == 0
    assert "is sound: 13 records" in capsys.readouterr().out
    assert main(["info", str(packed)]) == 0
    told = capsys.readouterr().out
    for part in ("13 records", "24 x 24, raw", "1/4", "imresize", "name (string)", "x.mindrecord.db", "seed=0"):
        assert part in told
    assert main(["unpack", str(packed), "--output", str(tmp_path / "out")]) == 0
    assert main(["repair", str(packed)]) == 0
    assert "nothing to repair" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.mindrecord.json").read_text())["format"] == "common.mindrecord"


def test_help_is_quick(root):
    code = "import sys, common.mindrecord; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_a_misplaced_record_is_told(packed, monkeypatch):
    """Should another MindSpore count the records differently, nothing wrong is handed out."""
    monkeypatch.setattr(mindrecord_read, "_rows", lambda manifest, indices: [(i + 1) % 13 for i in indices])
    with pytest.raises(UserError, match="gave record 1 for 0"):
        next(PatchRecords(packed).read())


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
