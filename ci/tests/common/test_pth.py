"""Reading PyTorch files: real ones (ci/goldens/pth, made by PyTorch 2.13), hand-assembled ones, and hostile ones."""

import argparse
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest

from common.checkpoint.fitting import CheckpointError
from common.checkpoint.pth import read_pth, read_weights

# ---------------------------------------------------------------------------------- files assembled opcode by opcode

FALSE, NONE, REDUCE = b"\x89", b"N", b"R"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def dict_of(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(count: int, *view: bytes, kind: str = "FloatStorage", key: str = "0", module: str = "torch") -> bytes:
    return tuple_of(text("storage"), name(module, kind), text(key), text("cpu"), number(count), *view) + b"Q"


def tensor(block: bytes, size: tuple, stride: tuple, offset: int = 0) -> bytes:
    shape, steps = tuple_of(*map(number, size)), tuple_of(*map(number, stride))
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = tuple_of(block, number(offset), shape, steps, FALSE, hooks)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def write_zip(path, body, blocks=None, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", program(body))
        for key, block in (blocks or {}).items():
            archive.writestr(f"x/data/{key}", bytes(block))
    return path


def write_legacy(path, body, blocks=None):
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, machine)]
    parts += [program(body), pickle.dumps(list(blocks or {}), 2)]
    parts += [struct.pack("<q", block.size) + block.tobytes() for block in (blocks or {}).values()]
    path.write_bytes(b"".join(parts))
    return path


NUMBERS = np.arange(24, dtype="<f4")
WHOLE = tensor(storage(24), (2, 3, 4), (12, 4, 1))


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth"])
def test_real_files_give_what_pytorch_saved(goldens_dir, file):
    expected = np.load(goldens_dir / "pth" / "expected.npz")
    found = read_pth(goldens_dir / "pth" / file)
    arrays = found.pop("state_dict")
    assert list(arrays) == list(expected.files)
    for key, array in arrays.items():
        assert array.dtype == expected[key].dtype, key
        assert array.flags.c_contiguous, key
        assert array.flags.writeable, key
        np.testing.assert_array_equal(array, expected[key], strict=True, err_msg=key)
    assert found == {
        "epoch": 7, "best": 31.25, "name": "x2 é", "lr": 1e-4, "shape": (1, 2), "milestones": {200: 1},
        "flags": [True, None, (1, 2)],
    }  # fmt: skip


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth"])
def test_read_weights_unwraps_and_widens(goldens_dir, file):
    expected, weights = np.load(goldens_dir / "pth" / "expected.npz"), read_weights(goldens_dir / "pth" / file)
    assert set(weights) == set(expected.files)
    assert {weights[key].dtype for key in ("plain", "half", "double", "bfloat16")} == {np.dtype("float32")}
    np.testing.assert_array_equal(weights["half"], expected["half"].astype(np.float32))


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_views_are_copied_out_in_their_own_order(tmp_path, write):
    body = dict_of(
        whole=WHOLE,
        transposed=tensor(storage(24), (4, 3, 2), (1, 4, 12)),
        sliced=tensor(storage(24), (2, 2), (12, 2), offset=5),
        expanded=tensor(storage(24), (3, 2), (0, 1), offset=22),
        scalar=tensor(storage(24), (), (), offset=7),
        empty=tensor(storage(24), (0, 3), (3, 1)),
        odd_stride=tensor(storage(24), (1, 2), (2**39, 1), offset=1),
    )
    found = read_pth(write(tmp_path / "x.pth", body, {"0": NUMBERS}))
    whole = NUMBERS.reshape(2, 3, 4)
    expected = {
        "whole": whole, "transposed": whole.transpose(2, 1, 0), "sliced": [[5, 7], [17, 19]],
        "expanded": [[22, 23]] * 3, "scalar": 7, "empty": np.empty((0, 3)), "odd_stride": [[1, 2]],
    }  # fmt: skip
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], np.asarray(value, np.float32), strict=True, err_msg=key)
    found["whole"][:] = -1
    assert found["scalar"] == 7, "tensors of one storage must not share memory here"


def test_read_weights_takes_off_the_usual_wrappings(tmp_path):
    inner = dict_of(**{"module.a": WHOLE, "module.b": tensor(storage(24), (1,), (1,))})
    state = dict_of(state=dict_of(a=WHOLE))
    for wrapped, names in (
        (dict_of(epoch=number(3), params=dict_of(a=WHOLE), state_dict=dict_of(model=inner)), ["a"]),
        (dict_of(epoch=number(3), state_dict=dict_of(model=inner)), ["a", "b"]),
        (dict_of(whatever=dict_of(a=WHOLE), optimizer=state, ema=dict_of(decay=number(1))), ["a"]),
    ):
        assert list(read_weights(write_zip(tmp_path / "x.pth", wrapped, {"0": NUMBERS}))) == names
    for body in (WHOLE, b"]", dict_of(epoch=number(3))):
        with pytest.raises(CheckpointError, match="expected a state_dict, found"):
            read_weights(write_zip(tmp_path / "x.pth", body, {"0": NUMBERS}))


class _Evil:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("way", ["system", "eval", "import"])
def test_nothing_is_run(tmp_path, write, protocol, way):
    mark = tmp_path / "was_run"
    evil = {
        "system": _Evil(os.system, f"touch '{mark}'"),
        "eval": _Evil(eval, f"open({str(mark)!r}, 'w').close()"),
        "import": _Evil(__import__, "antigravity"),
    }[way]
    dumped = pickle.dumps({"a": evil}, protocol)
    with pytest.raises(CheckpointError, match=r"it holds '(posix|nt|builtins|__builtin__)\.\w+', and only tensors"):
        read_pth(write(tmp_path / "x.pth", dumped[2:-1]))
    assert not mark.exists()
    assert "antigravity" not in sys.modules
    if way != "import":
        pickle.loads(dumped)
        assert mark.exists(), "the payload would have worked"


@pytest.mark.parametrize("refused", ["torch.nn.modules.conv.Conv2d", "torch.QInt8Storage"])
def test_refusal_names_what_was_refused(tmp_path, refused):
    body = dict_of(options=name(*refused.rsplit(".", 1)) + b")\x81}b", weight=WHOLE)
    with pytest.raises(CheckpointError, match=rf"x\.pth .*it holds '{refused}', .*state_dict"):
        read_pth(write_zip(tmp_path / "x.pth", body, {"0": NUMBERS}))


def test_options_of_a_run_beside_the_weights(tmp_path):
    options = pickle.dumps(argparse.Namespace(scale=4), 2)[2:-1]
    path = write_zip(tmp_path / "x.pth", dict_of(args=options, state_dict=dict_of(a=WHOLE)), {"0": NUMBERS})
    assert read_pth(path)["args"] == argparse.Namespace(scale=4)
    assert [*read_weights(path)] == ["a"]


def view(size, stride, offset=0, count=24):
    return tensor(storage(count), size, stride, offset)


HOSTILE = {
    "one past the end": view((24,), (1,), offset=1),
    "stride past the end": view((2, 2), (23, 1)),
    "offset wraps": view((1,), (1,), offset=2**64),
    "negative size": view((-1,), (1,)),
    "negative stride": view((2,), (-1,), offset=5),
    "negative offset": view((2,), (1,), offset=-1),
    "absurd size": view((2**62,), (1,)),
    "absurd expanded": view((2**39,), (0,)),
    "ranks differ": view((2, 2), (1,)),
    "data missing": tensor(storage(24, key="7"), (1,), (1,)),
    "path in the key": tensor(storage(1, key="../data.pkl"), (1,), (1,)),
    "two types of one storage": dict_of(a=WHOLE, b=tensor(storage(12, kind="DoubleStorage"), (1,), (1,))),
    "persistent module": tuple_of(text("module"), NONE, text("source"), text("code")) + b"Q",
    "tensor called": WHOLE + b")R",
    "unhashable key": b"}]K\x01s",
    "empty stack": b"\x85",
    "missing memo": b"h\x05",
    "huge text": b"X" + struct.pack("<I", 2**32 - 1),
    "extension registry": b"\x82\x01",
    "instance": b"(ios\nsystem\n",
    "surrogate name": b"\x8c\x03\xed\xa0\x80\x8c\x01x\x93",
    "numpy object": name("numpy", "dtype") + tuple_of(text("O8"), FALSE, FALSE) + REDUCE,
}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_are_refused_in_one_sentence(tmp_path, what, write):
    body = HOSTILE[what]
    path = write(tmp_path / "x.pth", body, {"0": NUMBERS} if b"Storage" in body else {})
    with pytest.raises(CheckpointError) as caught:
        read_pth(path)
    message = str(caught.value)
    message.encode()  # lone surrogates would break the printing of it
    assert message.startswith((f"{path} cannot be read as PyTorch weights: ", f"{path} holds more than fits"))
    assert "\n" not in message


@pytest.mark.parametrize("source", ["zip.pth", "legacy.pth"])
def test_cut_anywhere(tmp_path, goldens_dir, source):
    whole = (goldens_dir / "pth" / source).read_bytes()
    for length in range(0, len(whole), 61):
        (tmp_path / "x.pth").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_pth(tmp_path / "x.pth")


def test_foreign_zips_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(CheckpointError, match="not one of PyTorch"):
        read_pth(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("models/x2.pth", bytes(1000))
    with pytest.raises(CheckpointError, match=r"zip archive, around .models/x2\.pth.: unpack it"):
        read_pth(path)
    write_zip(path, WHOLE, {"0": NUMBERS}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_pth(path)
    write_zip(path, WHOLE, {"0": NUMBERS})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/constants.pkl", program(b")"))
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_pth(path)
