"""Reading PyTorch files: real ones (ci/goldens/pth, made by PyTorch 2.13), hand-assembled ones, and hostile ones."""

import argparse
import collections
import io
import pickle
import random
import struct
import sys
import zipfile

import numpy as np
import pytest

from common.checkpoint.pth import PthError, read_pth, read_weights

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


def write_zip(path, body, blocks=None, *, order=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", program(body))
        for key, block in (blocks or {}).items():
            archive.writestr(f"x/data/{key}", bytes(block))
        if order:
            archive.writestr("x/byteorder", order)
    return path


def write_legacy(path, body, blocks=None, machine=None):
    machine = machine or {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, machine)]
    parts += [program(body), pickle.dumps(list(blocks or {}), 2)]
    parts += [struct.pack("<q", block.size) + block.tobytes() for block in (blocks or {}).values()]
    path.write_bytes(b"".join(parts))
    return path


NUMBERS = np.arange(24, dtype="<f4")
WHOLE = tensor(storage(24), (2, 3, 4), (12, 4, 1))


# --------------------------------------------------------------------------------------------------- files as they are


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
    expected = np.load(goldens_dir / "pth" / "expected.npz")
    weights = read_weights(goldens_dir / "pth" / file)
    assert set(weights) == set(expected.files)
    assert {weights[key].dtype for key in ("plain", "half", "double", "bfloat16")} == {np.dtype("float32")}
    assert weights["long"].dtype == np.int64
    np.testing.assert_array_equal(weights["half"], expected["half"].astype(np.float32))


@pytest.mark.parametrize("network", ["alex", "vgg", "squeeze"])
@pytest.mark.parametrize("version", ["v0.0", "v0.1"])
def test_official_lpips_files(shared_data, version, network):
    weights = read_weights(shared_data / "lpips" / "official_lin" / version / f"{network}.pth")
    assert list(weights) == [f"lin{i}.model.1.weight" for i in range(7 if network == "squeeze" else 5)]
    assert all(array.shape[0] == 1 and array.shape[2:] == (1, 1) for array in weights.values())
    if (version, network) == ("v0.1", "alex"):
        expected = np.load(shared_data / "lpips" / "alex_lin_v0.1.npz")
        for key in expected.files:
            np.testing.assert_array_equal(weights[key].ravel(), expected[key].ravel())


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


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("BoolStorage", b"\x00\x01\x02", np.array([False, True, True])),
        ("BFloat16Storage", struct.pack("<3H", 0x3FC0, 0xC000, 0x7F80), np.array([1.5, -2, np.inf], np.float32)),
        ("HalfStorage", np.array([1, 2, 3], "<f2"), np.array([1, 2, 3], np.float16)),
        ("LongStorage", np.array([1, -2, 3], "<i8"), np.array([1, -2, 3])),
        ("ComplexFloatStorage", np.array([1, 2j, 3], "<c8"), np.array([1, 2j, 3], np.complex64)),
    ],
)
def test_storage_types(tmp_path, kind, raw, expected):
    body = tensor(storage(3, kind=kind), (3,), (1,))
    np.testing.assert_array_equal(read_pth(write_zip(tmp_path / "x.pth", body, {"0": raw})), expected, strict=True)
    scalar = tensor(storage(3, kind=kind), (), (), offset=1)
    found = read_pth(write_zip(tmp_path / "x.pth", scalar, {"0": raw}))
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected[1], strict=False)


def test_big_endian_zip(tmp_path):
    body = dict_of(a=WHOLE, b=tensor(storage(1, key="1", kind="BFloat16Storage"), (1,), (1,)))
    path = write_zip(tmp_path / "x.pth", body, {"0": NUMBERS.astype(">f4"), "1": b"\x3f\xc0"}, order="big")
    found = read_pth(path)
    np.testing.assert_array_equal(found["a"].ravel(), NUMBERS, strict=True)
    assert found["b"] == [1.5]


def test_oldest_spelling(tmp_path):
    """Python 2's byte texts, _rebuild_tensor, pieces of storages, an OrderedDict made of a list of pairs."""
    view = tuple_of(text("9"), number(4), number(6))
    old = name("torch._utils", "_rebuild_tensor") + tuple_of(
        storage(24, view), number(1), tuple_of(number(5)), tuple_of(number(1))
    )
    body = name("collections", "OrderedDict") + b"](](U\x01w" + old + REDUCE + b"ee\x85R"
    found = read_pth(write_legacy(tmp_path / "x.pth", body, {"0": NUMBERS}))
    np.testing.assert_array_equal(found["w"], NUMBERS[5:10], strict=True)


def test_read_weights_takes_off_the_usual_wrappings(tmp_path):
    inner = dict_of(**{"module.a": WHOLE, "module.b": tensor(storage(24), (1,), (1,))})
    wrapped = dict_of(epoch=number(3), params=dict_of(a=WHOLE), state_dict=dict_of(model=inner))
    assert list(read_weights(write_zip(tmp_path / "x.pth", wrapped, {"0": NUMBERS}))) == ["a"]
    wrapped = dict_of(epoch=number(3), state_dict=dict_of(model=inner))
    assert list(read_weights(write_zip(tmp_path / "x.pth", wrapped, {"0": NUMBERS}))) == ["a", "b"]
    state = dict_of(state=dict_of(a=WHOLE))
    wrapped = dict_of(whatever=dict_of(a=WHOLE), optimizer=state, ema=dict_of(decay=number(1)))
    assert list(read_weights(write_zip(tmp_path / "x.pth", wrapped, {"0": NUMBERS}))) == ["a"]


@pytest.mark.parametrize("body", [WHOLE, dict_of(net=dict_of(a=dict_of())), b"]", dict_of(epoch=number(3))])
def test_read_weights_says_when_there_are_none(tmp_path, body):
    with pytest.raises(PthError, match="expected a state_dict, found"):
        read_weights(write_zip(tmp_path / "x.pth", body, {"0": NUMBERS}))


# --------------------------------------------------------------------------------------------------------- hostile


class _Evil:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("way", ["system", "eval", "exec", "import"])
def test_nothing_is_run(tmp_path, write, protocol, way):
    import os

    mark = tmp_path / "was_run"
    evil = {
        "system": _Evil(os.system, f"touch '{mark}'"),
        "eval": _Evil(eval, f"open({str(mark)!r}, 'w')"),
        "exec": _Evil(exec, f"open({str(mark)!r}, 'w')"),
        "import": _Evil(__import__, "antigravity"),
    }[way]
    dumped = pickle.dumps({"a": evil}, protocol)
    assert "posix" in str(dumped) or way != "system"
    body = dumped[2:-1]
    with pytest.raises(PthError, match=r"it holds '(posix|nt|builtins|__builtin__)\.\w+', and only tensors"):
        read_pth(write(tmp_path / "x.pth", body))
    assert not mark.exists()
    assert "antigravity" not in sys.modules
    pickle.loads(pickle.dumps(_Evil(open, str(mark), "w"))).close()  # the payload would have worked
    assert mark.exists()


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("models.wdsr", "WDSR"),
        ("torch.nn.modules.conv", "Conv2d"),
        ("torch", "QInt8Storage"),
    ],
)
def test_refusal_names_what_was_refused(tmp_path, module, attribute):
    body = dict_of(options=name(module, attribute) + b")\x81}b", weight=WHOLE)
    with pytest.raises(PthError, match=rf"x\.pth .*it holds '{module}\.{attribute}', .*state_dict"):
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
    "offset past the end": view((1,), (1,), offset=24),
    "offset wraps": view((1,), (1,), offset=2**64),
    "negative size": view((-1,), (1,)),
    "negative stride": view((2,), (-1,), offset=5),
    "negative offset": view((2,), (1,), offset=-1),
    "absurd size": view((2**62,), (1,)),
    "absurd expanded": view((2**39,), (0,)),
    "absurd empty": view((0, 2**39, 2**39), (1, 1, 1)),
    "overflowing": view((2**32, 2**32, 2**32), (0, 0, 0)),
    "64 dimensions": view((1,) * 64, (1,) * 64),
    "ranks differ": view((2, 2), (1,)),
    "size of texts": name("torch._utils", "_rebuild_tensor_v2")
    + tuple_of(storage(24), number(0), tuple_of(text("2")), tuple_of(number(1)))
    + REDUCE,
    "negative count": view((0,), (1,), count=-24),
    "data missing": tensor(storage(24, key="7"), (1,), (1,)),
    "path in the key": tensor(storage(1, key="../data.pkl"), (1,), (1,)),
    "piece before the start": tensor(storage(24, tuple_of(text("9"), number(-4), number(5))), (1,), (1,)),
    "two types of one storage": dict_of(a=WHOLE, b=tensor(storage(12, kind="DoubleStorage"), (1,), (1,))),
    "nested persistent id": storage(24) + b"Q",
    "storage in its own key": tuple_of(text("storage"), name("torch", "FloatStorage"), storage(24), NONE, number(24))
    + b"Q",
    "persistent module": tuple_of(text("module"), NONE, text("source"), text("code")) + b"Q",
    "size of a size": name("torch", "Size") + tuple_of(name("torch", "Size")) + REDUCE,
    "tensor called": WHOLE + b")R",
    "tensor built": WHOLE + b"}b",
    "unhashable key": b"}]K\x01s",
    "odd items": b"}(K\x01u",
    "empty stack": b"\x85",
    "no mark": b"t",
    "stack below the mark": b"N(0t",
    "append to a dict": b"}K\x01a",
    "missing memo": b"h\x05",
    "huge memo index": b"Nr\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff",
    "huge bytes": b"\x8e" + struct.pack("<Q", 2**62),
    "huge text": b"X" + struct.pack("<I", 2**32 - 1),
    "huge integer": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "negative length": b"\x8b" + struct.pack("<i", -5),
    "huge frame": b"\x95" + struct.pack("<Q", 2**63) + b"r",
    "extension registry": b"\x82\x01",
    "unknown opcode": b"\xff",
    "instance": b"(ios\nsystem\n",
    "surrogate name": b"\x8c\x03\xed\xa0\x80\x8c\x01x\x93",
    "numpy object": name("numpy", "dtype") + tuple_of(text("O8"), FALSE, FALSE) + REDUCE,
    "numpy size": name("numpy.core.multiarray", "scalar")
    + tuple_of(name("numpy", "dtype") + tuple_of(text("f8")) + REDUCE, text("abc"))
    + REDUCE,
    "numpy big-endian": name("numpy", "dtype") + tuple_of(text("f8")) + REDUCE + tuple_of(number(3), text(">")) + b"b",
}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_are_refused_in_one_sentence(tmp_path, what, write):
    body = HOSTILE[what]
    path = write(tmp_path / "x.pth", body, {"0": NUMBERS} if b"Storage" in body else {})
    with pytest.raises(PthError) as caught:
        read_pth(path)
    message = str(caught.value)
    message.encode()  # lone surrogates would break the printing of it
    assert message.startswith((f"{path} cannot be read as PyTorch weights: ", f"{path} holds more than fits"))
    assert len(message) < len(str(path)) + 300
    assert "\n" not in message


def test_many_large_views_of_little_data_are_refused(tmp_path):
    """Each view is inside its storage, together they would take 24 GB."""
    block = np.zeros(1_000_000, "<f4")
    one = tensor(storage(block.size), (1000, block.size - 1000), (1, 1))
    with pytest.raises(PthError, match="absurdly more numbers"):
        read_pth(write_zip(tmp_path / "x.pth", dict_of(a=one, b=one), {"0": block.tobytes()}))


def test_damaged_containers(tmp_path, goldens_dir):
    path = tmp_path / "x.pth"
    for what, content in {
        "empty": b"",
        "text": b"hello world\n",
        "pickle": pickle.dumps({"a": 1}),
        "zip": None,
    }.items():
        if content is None:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("readme.txt", "no weights")
        else:
            path.write_bytes(content)
        with pytest.raises(PthError, match="cannot be read as PyTorch weights"):
            read_pth(path)
        assert path.exists(), what
    for source in ("zip.pth", "legacy.pth"):
        whole = (goldens_dir / "pth" / source).read_bytes()
        for length in range(0, len(whole), 61):
            path.write_bytes(whole[:length])
            with pytest.raises(PthError):
                read_pth(path)
    with pytest.raises(PthError, match="not found"):
        read_pth(tmp_path / "none.pth")
    with pytest.raises(PthError, match="could not be read"):
        read_pth(tmp_path)


def test_zip_bombs_and_foreign_zips_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    with pytest.raises(PthError, match="not one of PyTorch"):
        read_pth(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("models/x2.pth", bytes(1000))
    with pytest.raises(PthError, match=r"zip archive, around .models/x2\.pth.: unpack it"):
        read_pth(path)
    zeros = bytes(50_000_000)
    write_zip(path, tensor(storage(len(zeros), kind="ByteStorage"), (1,), (1,)), {"0": zeros}, compression=8)
    with pytest.raises(PthError, match="compressed"):
        read_pth(path)
    noise = np.random.default_rng(0).bytes(96)  # compresses to more than it is, so only the method tells
    write_zip(path, WHOLE, {"0": noise, "pad": np.random.default_rng(1).bytes(9000)}, compression=8)
    with pytest.raises(PthError, match="compressed"):
        read_pth(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y/data.pkl", program(WHOLE))
    with pytest.raises(PthError, match="not one of PyTorch"):
        read_pth(path)
    write_zip(path, WHOLE, {"0": NUMBERS})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/constants.pkl", program(b")"))
    with pytest.raises(PthError, match="TorchScript"):
        read_pth(path)


def test_truncated_where_no_tensor_looks(tmp_path):
    """The one tensor needs the first number only, but the file lacks its last."""
    path = write_legacy(tmp_path / "x.pth", tensor(storage(24), (1,), (1,)), {"0": NUMBERS})
    assert read_pth(path) == [0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PthError, match="truncated"):
        read_pth(path)


def test_big_endian_machine_of_the_old_format(tmp_path):
    path = write_legacy(tmp_path / "x.pth", WHOLE, {"0": NUMBERS}, machine={"little_endian": False})
    with pytest.raises(PthError, match="byte order"):
        read_pth(path)


def _mutate(content: bytes, rng: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(result))
        kind = rng.randrange(5)
        if kind == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[at] = rng.randrange(256)
        elif kind == 2:
            result[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 3:
            del result[at + 1 : at + rng.randint(2, 9)]
        else:
            del result[at + 1 :]
    return bytes(result)


def _only_plain(value) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int | float | None) and _only_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_only_plain, value))
    return value is None or type(value) in (np.ndarray, str, bytes, int, float, bool)


def test_mutated_files_end_in_an_error_or_in_plain_values(tmp_path, goldens_dir):
    """Half of the zip mutations hit the pickle itself, which the CRC of the archive would otherwise shield."""
    rng = random.Random(20)
    path = tmp_path / "x.pth"
    legacy = (goldens_dir / "pth" / "legacy.pth").read_bytes()
    zipped = (goldens_dir / "pth" / "zip.pth").read_bytes()
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    main = next(member for member in members if member.endswith("data.pkl"))
    outcome, messages = collections.Counter(), []
    for turn in range(1500):
        if turn % 3 == 0:
            path.write_bytes(_mutate(legacy, rng))
        elif turn % 3 == 1:
            path.write_bytes(_mutate(zipped, rng))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for member, content in members.items():
                    archive.writestr(member, _mutate(content, rng) if member == main else content)
        try:
            assert _only_plain(read_pth(path)), turn
            outcome["read"] += 1
        except PthError as error:
            outcome["refused"] += 1
            messages.append(str(error).removeprefix(str(path)))
    assert outcome["refused"] > 700, outcome
    assert outcome["read"] > 100, outcome  # mutations of numbers in the older format, which has no checksum
    assert max(map(len, messages)) < 400
    "".join(messages).encode("utf-8")  # lone surrogates could not be printed
    assert not any("\n" in message for message in messages)
