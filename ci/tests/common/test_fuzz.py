"""Thousands of mutated files for every reader: a UserError or a sound value, never another exception, never code run.

Nothing is caught but UserError, and all runs in this process: what would crash the interpreter ends pytest, and the
file that did it is then the last one in pytest's temporary folder. Mutated `.pth` files are tried in test_pth.py,
mutated `.ckpt` and `.safetensors` in test_checkpoint.py.
"""

import collections
import datetime
import io
import itertools
import logging
import random
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ci.options_table import programs
from common import UserError, atomic
from common.config import options as config
from common.images import files as images
from common.images.pairs import Pair
from common.metrics import lpips
from common.mindrecord import PackOptions, PatchRecords, pack
from SRFlow.src.model.SRFlowNet import Hyper
from SRFlow.src.model_utils import latent_file
from WDSR.src.data.decoded import DecodedFiles

MODELS = ("IRN", "SRFlow", "WDSR", "SRDiff", "CSNLN")


def mutate(content: bytes, rng: random.Random, snippets: tuple[bytes, ...] = ()) -> bytes:
    """One to five times: a flipped bit, another byte, bytes put in, left out, or said twice, a cut end, a snippet."""
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, kind = rng.randrange(len(result) or 1), rng.randrange(8 if snippets else 6)
        if not result:
            break
        if kind == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            result[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 3:
            del result[at : at + rng.randint(1, 9)]
        elif kind == 4:
            result[at:at] = result[at : at + rng.randint(1, 40)]
        elif kind == 5 and rng.random() < 0.3:
            del result[at:]
        elif snippets:
            result[at:at] = rng.choice(snippets)
    return bytes(result)


def refusal(error: UserError, path: Path) -> str:
    """The message without the path; it must name the file and be one line that a terminal can show."""
    message = str(error)
    assert path.name in message
    assert "\n" not in message
    message.encode()
    return message.replace(str(path), "")


# ---------------------------------------------------------------------------------------------------------------- YAML

DOCUMENTS = {  # of each model: what its files look like, short, since PyYAML takes a millisecond for ten lines
    "IRN": "scale: 2\ndatasets:\n  train: {name: a few, mode: LQGT, dataroot_GT: DATA, batch_size: 2}\n"
    "network_G:\n  which_model_G: {subnet_type: DBNet}\n  block_num: [1]\ntrain: {lr_G: !!float 2e-3, niter: 4}\n",
    "SRFlow": "scale: 4\nheat: 0.9\nnetwork_G:\n  nf: 64\n  flow:\n    K: 16\n    L: 3\n    stackRRDB:\n"
    "      blocks: [ 1, 8, 15, 22 ]\n      concat: true\ntrain:\n  lr_G: !!float 2.5e-4\n  lr_steps_rel: [0.5, 0.75]\n",
    "WDSR": "# a comment\nscale: '2'\nn_feats: 4\nrgb_mean: [0.4488, 0.4371, 0.404]\nno_augment: yes\nlr: 1e-4\n",
    "SRDiff": 'scale: 4\nunet_dim_mults: &dims [1, 2, 3, 4]\nstage: "rrdb"\nfix_rrdb: Off\nname: ~\nlr: .5\n',
    "CSNLN": "data_path: dataset\ndata_train: DIV2K\nscale: 2\npatch_size: 96\nrun_distribute: null\nlr: 1.0e-4\n",
}
RUNS_CODE = (
    "!!python/object/apply:os.system ['touch CANARY'] ",
    "!!python/object/apply:subprocess.check_output [[touch, CANARY]] ",
    '!!python/object/apply:builtins.exec [\'open("CANARY", "w")\'] ',
    "!!python/object/new:os.system [touch CANARY] ",
    "!!python/name:os.system ",
    "!!python/module:antigravity ",
    "!!python/object:pathlib.Path {} ",
    "!!python/tuple [1] ",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch CANARY'] ",
)
SNIPPETS = (
    *RUNS_CODE, "!!int ", "!!float ", "!!bool ", "!!null ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ",
    "!!pairs ", "!!str ", "!x ", "&a ", "*a ", "*dims ", "<<: ", "<<: *dims", "? ", ": ", "- ", "\n", "\n  ", "\t",
    "{", "}", "[", "]", ",", "#", "|\n", ">\n", "'", '"', "\\x", "%YAML 9.9\n", "---\n", "...\n", "~", "null", ".nan",
    "-.inf", "0x_", "1e999", "9" * 5000, "0b", "1:2:3", "2026-99-99", "\0", "\x85", "\u2028", "\ud7ff", "\ufeff", "é",
)  # fmt: skip


def is_plain(value: object) -> bool:
    """Mappings and sequences of texts, null, and what a tag calls a number, a date or bytes (!!float 5e3)."""
    if isinstance(value, dict):
        return all(map(is_plain, itertools.chain(value, value.values())))
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(map(is_plain, value))
    return value is None or type(value) in (str, bytes, int, float, bool, datetime.date, datetime.datetime)


@pytest.mark.parametrize("model", MODELS)
def test_mutated_yaml(tmp_path, monkeypatch, caplog, model):
    """As --config FILE of train.py: an object of the options, or a UserError; a text alone never runs anything."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.CRITICAL)
    program = dict(programs(model))["train.py"]
    path, rng, outcome = tmp_path / "some.yaml", random.Random(f"yaml {model}"), collections.Counter()
    content, snippets = DOCUMENTS[model].encode(), tuple(snippet.encode() for snippet in SNIPPETS)
    for turn in range(700):
        path.write_bytes(mutate(content, rng, snippets))
        try:
            if turn % 3:
                assert isinstance(config.load(program, path), program)
            else:
                assert is_plain(config.read_yaml(path)), path.read_bytes()
            outcome["read"] += 1
        except UserError as error:
            refusal(error, path)
            outcome["refused"] += 1
    assert min(outcome.values()) > 40, outcome
    assert [entry.name for entry in tmp_path.iterdir()] == ["some.yaml"], "no canary: nothing was run"


@pytest.mark.parametrize("payload", RUNS_CODE)
def test_yaml_that_would_run_code_is_refused_everywhere(tmp_path, monkeypatch, payload):
    """As a value, as a key, in a list, below a section of the authors'; the canary would have been put here."""
    monkeypatch.chdir(tmp_path)
    for text in (f"lr: {payload}", f"? {payload}\n: 1", f"x: [{payload}]", f"train: {{lr: {payload}}}", payload):
        (tmp_path / "some.yaml").write_text(text)
        with pytest.raises(UserError, match="is not valid YAML"):
            config.read_yaml(tmp_path / "some.yaml")
    assert [entry.name for entry in tmp_path.iterdir()] == ["some.yaml"]


def test_yaml_aliases_that_end_are_taken(tmp_path):
    """Merges, repeated lists and values; and a long list without any alias."""
    path = tmp_path / "some.yaml"
    path.write_text(
        "base: &base {lr: &rate !!float 5e-3, steps: &steps [1, 2]}\ntrain:\n  <<: *base\n  steps: *steps\nlr: *rate\n"
        f"long: [{'1, ' * 9000}]\n"
    )
    found = config.read_yaml(path)
    assert len(found.pop("long")) == 9000
    base = {"lr": 5e-3, "steps": ["1", "2"]}
    assert found == {"base": base, "train": base, "lr": 5e-3}


# ------------------------------------------------------------------------------------------------------------ pictures


def picture_files() -> dict[str, bytes]:
    """A small picture in every form that the reader takes apart."""
    rng = np.random.default_rng(0)
    rgb = np.repeat(np.repeat(rng.integers(0, 256, (4, 5, 3), np.uint8), 4, axis=0), 4, axis=1)
    picture = Image.fromarray(rgb)
    forms = {
        "rgb.png": (picture, {}),
        "palette.png": (picture.quantize(7), {"transparency": 3}),
        "bits.png": (picture.convert("1"), {}),
        "gray alpha.png": (picture.convert("LA"), {}),
        "text.png": (picture, {"pnginfo": None}),
        "baseline.jpg": (picture, {"quality": 90}),
        "progressive.jpg": (picture, {"progressive": True}),
        "cmyk.jpg": (picture.convert("CMYK"), {}),
        "rgb.bmp": (picture, {}),
        "palette.bmp": (picture.quantize(7), {}),
        "rgb.webp": (picture, {}),
        "rgb.tif": (picture, {}),
        "rgb.gif": (picture, {}),
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {}
    for name, (image, settings) in forms.items():
        buffer = io.BytesIO()
        settings = {"exif": exif.tobytes()} if name in ("text.png", "baseline.jpg") else settings
        image.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name.rpartition(".")[2]), **settings)
        files[name] = buffer.getvalue()
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in rgb.astype(np.uint16) * 257)
    header = struct.pack(">IIBBBBB", 20, 16, 16, 2, 0, 0, 0)
    files["16 bits.png"] = join_png([(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")])
    return files


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """With the checksums that its chunks should have."""
    framed = [
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def split_png(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def mutate_chunk(content: bytes, rng: random.Random) -> bytes:
    """A PNG of which one chunk is another, with the right checksum, which would otherwise shield the decoder."""
    chunks = split_png(content)
    at = rng.randrange(len(chunks))
    kind, data = chunks[at]
    if kind == b"IDAT" and rng.random() < 0.5:
        chunks[at] = kind, zlib.compress(mutate(zlib.decompress(data), rng))
    elif rng.random() < 0.1:
        chunks.insert(at, rng.choice(chunks))
    else:
        chunks[at] = kind, mutate(data, rng) if data else rng.randbytes(3)
    return join_png(chunks)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of sizes and of EXIF
@pytest.mark.parametrize("name", picture_files())
def test_mutated_pictures(tmp_path, monkeypatch, name):
    """(H, W, 3) of 8 or 16 bits, perhaps with alpha, or a UserError that names the file."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**5)  # or headers that claim 100 million cost minutes of zeros
    content, path = picture_files()[name], tmp_path / name
    rng, outcome = random.Random(name), collections.Counter()
    for turn in range(300):
        shielded = name.endswith(".png") and turn % 4
        path.write_bytes(mutate_chunk(content, rng) if shielded else mutate(content, rng))
        try:
            rgb, alpha, *_ = images.read_picture(path)
            assert rgb.dtype in (np.uint8, np.uint16)
            assert rgb.ndim == 3
            assert rgb.shape[2] == 3
            assert rgb.size
            assert alpha is None or (alpha.shape == rgb.shape[:2] and alpha.dtype == rgb.dtype)
            outcome["read"] += 1
        except UserError as error:
            refusal(error, path)
            outcome["refused"] += 1
        try:
            assert min(images.size_of(path)) > 0  # what training looks at first
        except UserError as error:
            refusal(error, path)
    assert min(outcome["read"], outcome["refused"]) > 20, outcome


def bombs() -> dict[str, bytes]:
    """Small files that claim, or unpack to, more than a machine has."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels, zeros = zlib.compress(bytes(60_001)), zlib.compress(bytes(20 * 2**20))
    small, (_, data), end = (
        (b"IHDR", struct.pack(">IIBBBBB", 20, 16, 8, 2, 0, 0, 0)),
        *split_png(picture_files()["rgb.png"])[-2:],
    )
    bmp, jpeg = bytearray(picture_files()["rgb.bmp"]), bytearray(picture_files()["baseline.jpg"])
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return {
        "size.png": join_png([(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]),
        "text.png": join_png([small, (b"zTXt", b"a\0\0" + zeros), (b"IDAT", data), end]),
        "profile.png": join_png([small, (b"iCCP", b"a\0\0" + zeros), (b"IDAT", data), end]),
        "size.bmp": bytes(bmp),
        "size.jpg": bytes(jpeg),
    }


@pytest.mark.parametrize("name", ["size.png", "size.bmp", "size.jpg", "text.png", "profile.png"])
def test_decompression_bombs(tmp_path, name):
    """Pillow's limits hold, 179 million pixels and a mebibyte of compressed text: neither costs anything."""
    path = tmp_path / name
    path.write_bytes(bombs()[name])
    begin = time.process_time()
    if "size" in name:
        for read in (images.read_picture, images.size_of):
            with pytest.raises(
                UserError, match="is larger than the 178,956,970 pixels that are read: cut it"
            ) as raised:
                read(path)
            refusal(raised.value, path)
    else:
        assert images.read_picture(path).rgb.shape == (16, 20, 3)
    assert time.process_time() - begin < 2


# ----------------------------------------------------------------------------------------------- sets, caches, latents


def small_picture() -> np.ndarray:
    return np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), 4, axis=0), 4, axis=1)


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_mutated_mindrecord_is_found_at_opening(tmp_path, encoding):
    """Each of the three files in turn. It is found before MindSpore sees it, whose reader may end the interpreter."""
    output = tmp_path / "x.mindrecord"
    images.write_picture(tmp_path / "hr" / "0.png", small_picture())
    pack(PackOptions(tmp_path / "hr", output, scale=2, patch=16, encoding=encoding))
    files = {path: path.read_bytes() for path in sorted(tmp_path.glob("x.mindrecord*"))}
    assert len(files) == 3
    rng, refused, whole = random.Random(encoding), 0, PatchRecords(output).manifest
    for path, content in files.items():
        for _ in range(300):
            path.write_bytes(mutated := mutate(content, rng))
            if mutated == content:
                continue
            try:
                assert PatchRecords(output).manifest == whole, "blanks of the JSON alone"
                assert path.suffix == ".json"
            except UserError as error:
                refusal(error, output)
                refused += 1
        path.write_bytes(content)
    assert refused > 800


def test_mutated_decoded_pictures(tmp_path, monkeypatch):
    """The files of WDSR's --ext sep, each in turn: nothing but the pictures themselves ever comes out."""
    monkeypatch.setattr(atomic, "sync", lambda path: None)  # a thousand waits for the disk
    images.write_picture(tmp_path / "hr" / "0.png", small_picture())
    pair, rng, again = Pair("0", tmp_path / "hr" / "0.png", None), random.Random(1), 0
    wanted = [picture.tobytes() for picture in DecodedFiles()(pair, 2)]
    files = {path: path.read_bytes() for path in sorted((tmp_path / "hr_decoded").iterdir())}
    assert len(files) == 3
    for path, content in files.items():
        for turn in range(100):
            # Half of the mutations hit the header, which is a literal of Python's.
            mutated = mutate(content[:128], rng) + content[128:] if turn % 2 else mutate(content, rng)
            path.write_bytes(mutated)
            assert [picture.tobytes() for picture in DecodedFiles()(pair, 2)] == wanted, path
            assert path.read_bytes() == content
            again += mutated != content
    assert again > 250


def remake_zip(content: bytes, rng: random.Random) -> bytes:
    """A zip archive with one mutated member, whose checksum is right."""
    source, result = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    chosen = rng.choice(source.namelist())
    with zipfile.ZipFile(result, "w") as archive:
        for name in source.namelist():
            member = source.read(name)
            if name == chosen:  # the header is what there is to misread; any number is a number
                member = mutate(member[:128], rng) + member[128:]
            archive.writestr(name, member)
    return result.getvalue()


def test_mutated_latents(tmp_path):
    """SRFlow's .npz: the very shapes that the network takes, finite, or refused."""
    hyper = Hyper(2, 4, 1, 2, (0,), 1, 1, 4)
    path, rng, outcome = tmp_path / "x.npz", random.Random(2), collections.Counter()
    shapes = [(1, *shape) for shape in hyper.latent_shapes(8, 8)]
    parts = [np.random.default_rng(0).standard_normal(shape).astype(np.float32) for shape in shapes]
    latent_file.write(path, latent_file.Latents(parts, small_picture()[:8, :8], 16, 16, "digest"))
    content = path.read_bytes()
    for turn in range(600):
        path.write_bytes(remake_zip(content, rng) if turn % 2 else mutate(content, rng))
        try:
            found = latent_file.read(path, hyper)
            assert [part.shape for part in found.parts] == shapes
            assert all(np.isfinite(part).all() for part in found.parts)
            outcome["read"] += 1
        except UserError as error:
            refusal(error, path)
            outcome["refused"] += 1
    assert min(outcome["read"], outcome["refused"]) > 30, outcome


def test_mutated_lpips_weights(tmp_path):
    """Files of --lpips_weights (.npz)."""
    path, rng, outcome = tmp_path / "x.npz", random.Random(3), collections.Counter()
    np.savez(path, **{"lin0.model.1.weight": np.ones((1, 4, 1, 1), np.float32), "other": np.arange(6.0)})
    content = path.read_bytes()
    for turn in range(600):
        path.write_bytes(remake_zip(content, rng) if turn % 2 else mutate(content, rng))
        try:
            assert all(isinstance(array, np.ndarray) for array in lpips._read_arrays(path).values())
            outcome["read"] += 1
        except UserError as error:
            refusal(error, path)
            outcome["refused"] += 1
    assert outcome["refused"] > 300, outcome
