"""Checkpoints: what is written comes back, MindSpore reads it too, damage is found, a killed writer harms nothing."""

import contextlib
import gzip
import io
import json
import math
import os
import resource
import tarfile

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from common.checkpoint.files import Checkpoint, digest, read, save
from common.checkpoint.fitting import CheckpointError, describe, load_into

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


@pytest.mark.parametrize("suffix", FORMATS)
def test_everything_comes_back(tmp_path, example, suffix):
    path = tmp_path / "new folder" / f"x.{suffix}"
    save(path, example)
    assert_same(read(path), example)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == [path.name], "a temporary file was left"


@pytest.mark.parametrize("suffix", FORMATS)
def test_layout_in_memory_does_not_matter(tmp_path, suffix):
    array = np.arange(24, dtype="f4").reshape(2, 3, 4)
    views = {"T": array.T, "strided": array[:, ::2, ::-1], "big": array.astype(">f4"), "F": np.asfortranarray(array)}
    wanted = {name: np.ascontiguousarray(view, "<f4") for name, view in views.items()}
    save(tmp_path / f"x.{suffix}", Checkpoint(views))
    assert_same(read(tmp_path / f"x.{suffix}"), Checkpoint(wanted))
    assert digest(views) == digest(wanted)


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


@pytest.mark.parametrize("crc_check", [False, True])
def test_files_of_mindspore_are_read(tmp_path, crc_check):
    net, path = Net(), tmp_path / "x.ckpt"
    load_into(net, random_arrays(net), source="the test")
    ms.save_checkpoint(net, str(path), append_dict={"note": "zwei 二"}, crc_check=crc_check)
    assert_same(read(path), Checkpoint(arrays_of(net), {"note": "zwei 二"}))
    content = bytearray(path.read_bytes())
    content[content.index(b"head.weight") + 60] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC") if crc_check else contextlib.nullcontext():
        read(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_single_flipped_bit_is_found(tmp_path, suffix):
    path, checkpoint = tmp_path / f"x.{suffix}", Checkpoint({"a.b": np.arange(3.0)}, {"s": 2}, {"m": np.ones(1, "f4")})
    save(path, checkpoint)
    content, unnoticed = path.read_bytes(), 0
    for position in range(0, len(content) * 8, 3):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert_same(read(path), checkpoint)
            unnoticed += 1
        except CheckpointError:
            pass
    assert unnoticed < (1 if suffix == "ckpt" else 100), "blanks of the header alone"


@pytest.mark.parametrize("suffix", FORMATS)
def test_cut_anywhere_is_found(tmp_path, suffix):
    """MindSpore's own loader takes a file that ends between two arrays for a whole one."""
    path = tmp_path / f"x.{suffix}"
    save(path, Checkpoint({"a.b": np.arange(3.0), "c": np.eye(2)}, {"s": 2}, {"m": np.ones(1, "f4")}))
    content = path.read_bytes()
    for start, end in [(0, n) for n in range(len(content))] + [(n, None) for n in range(1, len(content))]:
        path.write_bytes(content[start:end])
        with pytest.raises(CheckpointError):
            read(path)


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [*FORMATS, "pth", "html"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbf\n <html><head><title>Virus scan warning</title></head></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4913208\n", "a Git LFS pointer"),
        (b'{"message": "Not Found"}', "JSON"),
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


@pytest.mark.parametrize("suffix", FORMATS)
def test_full_disk_leaves_the_old_file(tmp_path, suffix):
    path, (soft, hard) = tmp_path / f"x.{suffix}", resource.getrlimit(resource.RLIMIT_FSIZE)
    save(path, Checkpoint({"old": np.ones(10)}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .*untouched"):
            save(path, Checkpoint({"new": np.ones(100_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (list(read(path).weights), list(tmp_path.iterdir())) == (["old"], [path])


def test_load_into_renames_by_table_or_function():
    weights, net = random_arrays(Net()), Net()
    table = {"conv_first.weight": "head.weight", "dead.weight": None}
    file = {"conv_first.weight" if name == "head.weight" else name: a for name, a in weights.items()}
    load_into(net, file | {"dead.weight": np.ones(3)}, source="x.pth", names=table)
    np.testing.assert_array_equal(net.head.weight.asnumpy(), weights["head.weight"])
    file = {"net." + name: -array for name, array in weights.items()}
    load_into(net, file, source="x", names=lambda name: name.removeprefix("net."))
    np.testing.assert_array_equal(net.head.weight.asnumpy(), -weights["head.weight"])
    with pytest.raises(CheckpointError, match="two of its arrays would both be gain"):
        load_into(net, weights | {"old_gain": np.ones(())}, source="x", names={"old_gain": "gain"})


def test_load_into_reports_all_and_touches_nothing():
    net, weights = Net(), random_arrays(Net(width=8))
    before = arrays_of(net)
    weights = {f"network.{name}" if name.startswith("body") else name: a for name, a in weights.items()}
    weights["seen"] = weights["seen"].astype(np.float32)
    with pytest.raises(CheckpointError) as caught:
        load_into(net, weights, source=describe("x2.ckpt", {"model": "WDSR", "scale": 2, "step": 300}))
    for part in (
        "x2.ckpt (WDSR x2, step 300) does not fit this network: ",
        "2 of the network's 6 parameters are missing in it (body.0.weight, body.1.w)",
        "2 of its 6 arrays have no place in the network (network.body.0.weight, network.body.1.w)",
        "3 shapes or types differ (seen: (2,) float32 there, (2,) int32 here, head.weight: (8, 3, 3, 3) float32 there",
    ):
        assert part in str(caught.value)
    for name, array in arrays_of(net).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
