"""Checkpoints: what is written comes back, MindSpore reads it too, damage is found, a killed writer harms nothing."""

import gzip
import io
import itertools
import json
import math
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from common import UserError
from common.checkpoint import Checkpoint, CheckpointError, ckpt_format, describe, digest, load_into, read, save

FORMATS = ["ckpt", "safetensors"]
DTYPES = ["bool", "float16", "float32", "float64"]
DTYPES += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
META = {
    "model": "WDSR", "scale": 2, "step": 300, "best": {"psnr": 34.56789012345678, "epoch": None}, "lr": 1e-300,
    "nan": math.nan, "inf": -math.inf, "名": "模型 é\u2028", "flags": [True, False, 0, 1.0, "", [], {}], "big": 2**70,
}  # fmt: skip


@pytest.fixture
def example():
    rng = np.random.default_rng(5)
    weights = {name: (rng.standard_normal((2, 3)) * 50).astype(name) for name in DTYPES}
    weights |= {
        "zero_d": np.array(2.5, np.float32),
        "nothing": np.zeros((0, 3), np.float32),
        "body.0.weight": np.eye(3),
    }
    state = {"optimizer.moment1.body.0.weight": rng.standard_normal((3, 3)), "ema.body.0.weight": np.ones((3, 3), "f4")}
    return Checkpoint(weights, dict(META), state)


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    for arrays, wanted in ((found.weights, expected.weights), (found.state, expected.state)):
        assert set(arrays) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(arrays[name], array, strict=True, err_msg=name)
            assert arrays[name].flags.writeable, name
    # NaN is not equal to itself, and 1 == 1.0 == True: compare the texts.
    assert json.dumps(found.meta) == json.dumps(expected.meta)


# -------------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("suffix", FORMATS)
def test_everything_comes_back(tmp_path, example, suffix):
    path = tmp_path / "new folder" / f"x.{suffix}"
    save(path, example)
    assert_same(read(path), example)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == [path.name], "a temporary file was left"


def test_safetensors_that_start_like_a_pickle(tmp_path):
    """The first byte of a .safetensors file is the low byte of its header's length: any multiple of 8, 0x80 too."""
    first_bytes = set()
    for length in range(0, 300, 8):
        checkpoint = Checkpoint({"a": np.ones(2)}, {"note": "x" * length})
        save(tmp_path / "x.safetensors", checkpoint)
        first_bytes.add((tmp_path / "x.safetensors").read_bytes()[0])
        assert_same(read(tmp_path / "x.safetensors"), checkpoint)
    assert 0x80 in first_bytes


@pytest.mark.parametrize("suffix", FORMATS)
def test_layout_in_memory_does_not_matter(tmp_path, suffix):
    array = np.arange(24, dtype="f4").reshape(2, 3, 4)
    views = {"T": array.T, "strided": array[:, ::2, ::-1], "big": array.astype(">f4"), "F": np.asfortranarray(array)}
    save(tmp_path / f"x.{suffix}", Checkpoint(views | {"scalar": np.float64(2)}))
    found = read(tmp_path / f"x.{suffix}").weights
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view, err_msg=name)
        assert found[name].dtype == np.dtype("float32")
    assert found["scalar"].shape == ()
    assert digest(views) == digest({name: np.ascontiguousarray(view, "<f4") for name, view in views.items()})


@pytest.mark.parametrize("suffix", FORMATS)
def test_bfloat16_is_widened_and_the_rest_refused(tmp_path, suffix):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    path = tmp_path / f"x.{suffix}"
    save(path, Checkpoint({"a": np.array([1.5, -2, 3], ml_dtypes.bfloat16)}))
    np.testing.assert_array_equal(read(path).weights["a"], np.array([1.5, -2, 3], np.float32), strict=True)
    for array in (np.ones(2, complex), np.array(["text"]), np.array([None])):
        with pytest.raises(CheckpointError, match="'b' is of type"):
            save(path, Checkpoint({"b": array}))
    assert "a" in read(path).weights


@pytest.mark.parametrize("bad", [{"a": np.float32(1)}, {1: "a"}, {"a": {"b": [{2: 1}]}}, {"a": Path("x")}, {"a": b"x"}])
def test_meta_that_json_would_change_is_refused(tmp_path, bad):
    with pytest.raises(TypeError, match="meta"):
        save(tmp_path / "x.ckpt", Checkpoint({}, bad))


def test_programming_errors_are_no_user_errors(tmp_path):
    for weights in ({"a": [1.0]}, {"a": ms.Tensor([1.0])}):
        with pytest.raises(TypeError, match="not an array"):
            save(tmp_path / "x.ckpt", Checkpoint(weights))
    with pytest.raises(ValueError, match="reserved"):
        save(tmp_path / "x.ckpt", Checkpoint({"__meta__": np.ones(1)}))
    assert not list(tmp_path.iterdir())


def test_digest_sees_name_type_shape_and_bytes():
    base = {"a": np.zeros((2, 3), "f4"), "b": np.ones(3, "i8")}
    others = [
        {"c": base["a"], "b": base["b"]},
        base | {"a": np.zeros((3, 2), "f4")},
        base | {"a": np.zeros((2, 3), "i4")},
        base | {"a": np.full((2, 3), -0.0, "f4")},
        {"a": base["a"]},
    ]
    assert digest(base) == digest(dict(reversed(base.items())))
    assert len({digest(other) for other in [base, *others]}) == 6


def test_both_formats_store_the_same_digest(tmp_path, example):
    save(tmp_path / "x.ckpt", example)
    save(tmp_path / "x.safetensors", example)
    stored = ckpt_format.parse_arrays((tmp_path / "x.ckpt").read_bytes())["__digest__"].tobytes().hex()
    assert stored.encode() in (tmp_path / "x.safetensors").read_bytes()


# ---------------------------------------------------------------------------------------------- MindSpore's own tools


class Net(nn.Cell):
    def __init__(self, width: int = 4):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, has_bias=True)
        self.body = nn.SequentialCell(nn.Conv2d(width, width, 3), nn.PReLU(1))
        self.gain = ms.Parameter(ms.Tensor(1.0, ms.float32), name="gain")
        self.seen = ms.Parameter(ms.Tensor([0, 0], ms.int32), name="seen", requires_grad=False)


def arrays_of(network) -> dict[str, np.ndarray]:
    return {name: parameter.asnumpy().copy() for name, parameter in network.parameters_dict().items()}


def random_arrays(network, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: (rng.standard_normal(a.shape) * 9).astype(a.dtype) for name, a in arrays_of(network).items()}


def test_plain_mindspore_loads_our_files(tmp_path):
    weights = random_arrays(Net())
    checkpoint = Checkpoint(weights, META, {"optimizer.step": np.array(3)})
    for suffix in FORMATS:
        path, net = tmp_path / f"x.{suffix}", Net()
        save(path, checkpoint)
        loaded = ms.load_checkpoint(str(path), format=suffix)
        missing, _ = ms.load_param_into_net(net, loaded)
        assert missing == []
        for name, array in arrays_of(net).items():
            np.testing.assert_array_equal(array, weights[name], strict=True, err_msg=name)


def test_same_bytes_as_mindspore_writes(tmp_path, example):
    arrays = {name: array for name, array in example.weights.items() if array.size}  # it drops those without elements
    ours = io.BytesIO()
    ckpt_format.write_arrays(ours, arrays.items())
    entries = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(tmp_path / "x.ckpt"))
    assert ours.getvalue() == (tmp_path / "x.ckpt").read_bytes()


def test_large_arrays_are_cut_as_mindspore_cuts_them(tmp_path, monkeypatch):
    """Over 512 MB in fact; here over 40 bytes."""
    monkeypatch.setattr(ckpt_format, "_SLICE", 40)
    path, weights = tmp_path / "x.ckpt", {"a": np.eye(3), "b": np.ones(5), "c": np.arange(6.0)}
    save(path, Checkpoint(weights))
    assert path.read_bytes().count(b"Float64") == 2 + 1 + 2
    assert_same(read(path), Checkpoint(weights))
    loaded = ms.load_checkpoint(str(path))
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name].asnumpy(), array, strict=True)


@pytest.mark.parametrize("crc_check", [False, True])
def test_files_of_mindspore_are_read(tmp_path, crc_check):
    net = Net()
    load_into(net, random_arrays(net), source="the test")
    path = tmp_path / "x.ckpt"
    ms.save_checkpoint(net, str(path), append_dict={"note": "zwei 二"}, crc_check=crc_check)
    found = read(path)
    assert_same(found, Checkpoint(arrays_of(net), {"note": "zwei 二"}))
    content = bytearray(path.read_bytes())
    content[content.index(b"head.weight") + 60] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    if crc_check:
        with pytest.raises(CheckpointError, match="CRC"):
            read(path)


def test_bfloat16_of_mindspore_is_read(tmp_path):
    path = tmp_path / "x.ckpt"
    values = ms.Tensor(np.array([1.5, -2.0, 3e38], np.float32)).astype(ms.bfloat16)
    ms.save_checkpoint([{"name": "a", "data": values}, {"name": "b", "data": values[0]}], str(path))
    found = read(path).weights
    np.testing.assert_array_equal(found["a"], values.astype(ms.float32).asnumpy(), strict=True)
    np.testing.assert_array_equal(found["b"], np.array(1.5, np.float32), strict=True)


def test_foreign_safetensors_are_read(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones((2, 2))}, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert_same(read(tmp_path / "x.safetensors"), Checkpoint({"a": np.ones((2, 2))}))


@pytest.mark.parametrize(
    ("file", "name"), [("zip.pth", "x.pth"), ("legacy.pth", "x.pt"), ("zip.pth", "x.ckpt"), ("legacy.pth", "x.tar")]
)
def test_files_of_pytorch_are_read(tmp_path, goldens_dir, file, name):
    (tmp_path / name).write_bytes((goldens_dir / "pth" / file).read_bytes())
    found = read(tmp_path / name)
    expected = np.load(goldens_dir / "pth" / "expected.npz")
    np.testing.assert_array_equal(found.weights["transposed"], expected["transposed"], strict=True)
    assert found.weights["half"].dtype == np.float32
    assert (found.meta, found.state) == ({"format": "pth"}, {})


# ------------------------------------------------------------------------------------------------------------- damage


def mutate(content: bytes, rng: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 3))):
        at, kind = rng.randrange(len(result)), rng.randrange(4)
        if kind == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 2:
            del result[at + 1 : at + rng.randint(2, 9)]
        else:
            del result[at + 1 :]
    return bytes(result)


@pytest.mark.parametrize("suffix", FORMATS)
def test_mutated_files_are_refused_or_the_same(tmp_path, example, suffix):
    path = tmp_path / f"x.{suffix}"
    save(path, example)
    content, rng, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(400):
        path.write_bytes(mutate(content, rng))
        try:
            assert_same(read(path), example)  # a header's padding carries no content
        except CheckpointError:
            refused += 1
    assert refused > 350


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_single_flipped_bit_is_found(tmp_path, suffix):
    path, checkpoint = tmp_path / f"x.{suffix}", Checkpoint({"a.b": np.arange(3.0)}, {"s": 2}, {"m": np.ones(1, "f4")})
    save(path, checkpoint)
    content = path.read_bytes()
    for position in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert_same(read(path), checkpoint)
            assert suffix == "safetensors", f"bit {position} was not missed"
        except CheckpointError:
            pass


def test_ckpt_cut_between_two_messages_is_found(tmp_path, example):
    """MindSpore's own loader takes such a file for a whole one."""
    path = tmp_path / "x.ckpt"
    save(path, example)
    content = path.read_bytes()
    boundaries, position = [0], 0
    while position < len(content):
        size, shift, position = 0, 0, position + 1
        while True:
            byte, position = content[position], position + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        position += size
        boundaries.append(position)
    assert len(boundaries) == len(example.weights) + len(example.state) + 3
    for start, end in [(0, b) for b in boundaries[:-1]] + [(b, None) for b in boundaries[1:]]:
        path.write_bytes(content[start:end])
        with pytest.raises(CheckpointError, match=r"damaged|empty"):
            read(path)
    for start, end in itertools.pairwise(boundaries):
        path.write_bytes(content[:start] + content[end:])
        with pytest.raises(CheckpointError, match="damaged"):
            read(path)


@pytest.mark.parametrize("suffix", [*FORMATS, "pth"])
@pytest.mark.parametrize("content", [b"", b"\n", b"hello, these are my weights\n" * 9, b"\x0a\x00", bytes(64)])
def test_other_files_under_a_checkpoints_name(tmp_path, suffix, content):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.\w+ (is|cannot)") as caught:
        read(path)
    assert isinstance(caught.value, UserError)


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [*FORMATS, "pth", "zip", "html"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>", "a web page"),
        (b"\xef\xbb\xbf\n <html>\xe4\xb8", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4913208\n", "a Git LFS pointer"),
        (b'{"message": "Not Found"}', "JSON"),
        (b'[{"name": "x2.pth"}]', "JSON"),
        (b"404: Not Found", "a text that begins with '404: Not Found'"),
        (gzip.compress(b"x", mtime=0), "a gzip archive"),
        (tar_of("models/x2.pth"), "a tar archive"),
        (tar_of("sys_info"), "a file of PyTorch before 0.1.10"),
    ],
)
def test_what_a_download_can_leave_is_named(tmp_path, suffix, content, said):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x\.\w+ is {said}"):
        read(path)


def value(tag: bytes, dims: bytes, kind: bytes, content: bytes) -> bytes:
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    return field(1, field(1, tag) + field(2, dims + field(2, kind) + field(3, content)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (value(b"a", b"\x08\x03", b"Float32", bytes(8)), r"'a' is .* no Float32 of shape \(3,\)"),
        (value(b"a", b"\x08\x02", b"Float32", bytes(8)) * 1 + value(b"b", b"", b"Int4", b"x"), "unknown type 'Int4'"),
        (value(b"a", b"\x08" + b"\xff" * 9 + b"\x01", b"Float32", b""), "no Float32 of shape"),
        (value(b"a", (b"\x08" + b"\xff" * 8 + b"\x7f") * 5, b"Float32", bytes(8)), "no Float32 of shape"),
        (value(b"a", b"\x08\x00" * 40, b"Float32", b""), "no Float32 of shape"),
        (value(b"a", b"", b"Bool", b"x") + value(b"b", b"", b"Bool", b"x") + value(b"a", b"", b"Bool", b"x"), "twice"),
        (value(b"a", b"\x08\x01", b"Int8", b"x") + value(b"a", b"\x08\x02", b"Int8", b"x"), "twice"),
        (value(b"\xff", b"", b"Bool", b"x"), "utf-8"),
        (value(b"\x1b[2J", b"", b"Bool", b"x"), "no readable text"),
        (b"\x0a\x05\x0a\x01a\x1a\x00", "MapParameter"),
        (b"\x0a\x03\x0a\x01a", "unknown type"),
        (b"\x0d\x01", "cut off or no protobuf message"),
    ],
)
def test_bad_protobuf_is_explained(tmp_path, content, reason):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read(tmp_path / "x.ckpt")


@pytest.mark.parametrize(("kind", "size"), [("F8_E4M3", 2), ("C64", 16), ("BF17", 4)])
def test_safetensors_with_numbers_that_are_not_held(tmp_path, kind, size):
    header = json.dumps({"a": {"dtype": kind, "shape": [2], "data_offsets": [0, size]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(CheckpointError, match="damaged or"):
        read(tmp_path / "x.safetensors")


def test_paths_that_hold_no_checkpoint(tmp_path):
    (tmp_path / "folder.ckpt").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"\0")
    for path, reason in {
        "none.ckpt": "checkpoint not found",
        "folder.ckpt": "could not be read",
        "notes.txt": "expected a name ending in",
        "notes.txt/x.ckpt": "could not be read",
    }.items():
        with pytest.raises(CheckpointError, match=reason):
            read(tmp_path / path)


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("suffix", FORMATS)
def test_full_disk_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    save(path, Checkpoint({"old": np.ones(10)}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .*untouched"):
            save(path, Checkpoint({"new": np.ones(100_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(read(path).weights) == ["old"]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error("now")

    path = tmp_path / "x.ckpt"
    save(path, Checkpoint({"old": np.ones(10)}))
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else CheckpointError):
        save(path, Checkpoint({"new": np.ones(10)}))
    assert list(read(path).weights) == ["old"]
    assert os.listdir(tmp_path) == ["x.ckpt"]


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.ckpt").mkdir()
    for path in ("/proc/x.ckpt", tmp_path / "file" / "x.ckpt", tmp_path / "folder.ckpt", tmp_path / "x.pth", tmp_path):
        with pytest.raises(CheckpointError, match=r"could not be written|are written as \.ckpt"):
            save(path, Checkpoint({"a": np.ones(1)}))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.ckpt"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "runs").mkdir()
    save(tmp_path / "runs" / "a.ckpt", Checkpoint({"a": np.ones(1)}))
    (tmp_path / "last.ckpt").symlink_to("runs/a.ckpt")
    save(tmp_path / "last.ckpt", Checkpoint({"b": np.ones(1)}))
    assert (tmp_path / "last.ckpt").is_symlink()
    assert list(read(tmp_path / "runs" / "a.ckpt").weights) == ["b"]


WRITER = """
import sys, itertools, numpy as np
from common.checkpoint import Checkpoint, save
for step in itertools.count():
    save(sys.argv[1], Checkpoint({"a": np.full(200_000, step, "f4")}, {"step": step}))
"""


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_killed_writer_leaves_a_whole_file(tmp_path, root, suffix):
    path, rng = tmp_path / f"last.{suffix}", random.Random(3)
    for _ in range(3):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=root) as writer:
            deadline = time.monotonic() + 60
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(rng.random() / 20)
            writer.send_signal(signal.SIGKILL)
        found = read(path)
        assert np.all(found.weights["a"] == found.meta["step"])


# ------------------------------------------------------------------------------------------------------------ loading


def test_load_into_sets_everything_and_copies():
    net, weights = Net(), random_arrays(Net())
    given = {name: np.array(array) for name, array in weights.items()}
    given["head.bias"] = given["head.bias"].astype("f8")
    given["seen"] = given["seen"].astype("i8")
    load_into(net, given, source="x.ckpt")
    for array in given.values():
        array[...] = 0
    for name, parameter in net.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), weights[name], strict=True, err_msg=name)
    assert net.gain.dtype == ms.float32
    assert not net.seen.requires_grad


def test_load_into_renames_by_table_or_function():
    weights = random_arrays(Net())
    net = Net()
    table = {"conv_first.weight": "head.weight", "dead.weight": None}
    file = {"conv_first.weight" if name == "head.weight" else name: a for name, a in weights.items()}
    load_into(net, file | {"dead.weight": np.ones(3)}, source="x.pth", names=table)
    np.testing.assert_array_equal(net.head.weight.asnumpy(), weights["head.weight"])
    net = Net()
    load_into(
        net, {"net." + n: a for n, a in weights.items()}, source="x", names=lambda name: name.removeprefix("net.")
    )
    np.testing.assert_array_equal(net.head.weight.asnumpy(), weights["head.weight"])
    with pytest.raises(CheckpointError, match=r"two of its arrays would both be gain"):
        load_into(net, weights | {"old_gain": np.ones(())}, source="x", names={"old_gain": "gain"})


def test_load_into_bfloat16_and_half_parameters():
    for kind in (ms.bfloat16, ms.float16):
        net = nn.Cell()
        net.gain = ms.Parameter(ms.Tensor([1.0, 2.0], ms.float32).astype(kind), name="gain")
        load_into(net, {"gain": np.array([1.5, -3], np.float32)}, source="x")
        assert net.gain.dtype == kind
        np.testing.assert_array_equal(net.gain.astype(ms.float32).asnumpy(), [1.5, -3])


def test_load_into_reports_all_and_touches_nothing():
    net = Net()
    before = arrays_of(net)
    weights = random_arrays(Net(width=8))
    weights = {f"network.{name}" if name.startswith("body") else name: a for name, a in weights.items()}
    weights["seen"] = weights["seen"].astype(np.float32)
    source = describe("x2.ckpt", {"model": "WDSR", "scale": 2, "step": 300})
    with pytest.raises(CheckpointError) as caught:
        load_into(net, weights, source=source)
    message = str(caught.value)
    for part in (
        "x2.ckpt (WDSR x2, step 300) does not fit this network: ",
        "2 of the network's 6 parameters are missing in it (body.0.weight, body.1.w)",
        "2 of its 6 arrays have no place in the network (network.body.0.weight, network.body.1.w)",
        "3 shapes or types differ (seen: (2,) float32 there, (2,) int32 here, "
        "head.weight: (8, 3, 3, 3) float32 there, (4, 3, 3, 3) float32 here, ",
    ):
        assert part in message
    assert "\n" not in message
    for name, array in arrays_of(net).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_load_into_names_five_and_counts_the_rest():
    net = nn.SequentialCell(*[nn.Dense(1, 1) for _ in range(8)])
    with pytest.raises(CheckpointError, match=r"16 of the network's 16 .* missing in it \((\d\.\w+, ){5}\.\.\.\)"):
        load_into(net, {}, source="empty.ckpt")
    cell = nn.Cell()
    cell.a = ms.Parameter(ms.Tensor([1.0], ms.float32), name="a")
    with pytest.raises(CheckpointError, match=r"a: \(\) float32 there, \(1,\) float32 here"):
        load_into(cell, {"a": np.array(1, np.float32)}, source="x.ckpt")


def test_describe_says_what_is_known():
    assert describe("a b.pth", {}) == "a b.pth"
    assert describe("x.ckpt", {"scale": 3}) == "x.ckpt (x3)"
    assert describe("x.ckpt", {"model": "IRN", "step": 0}) == "x.ckpt (IRN, step 0)"
