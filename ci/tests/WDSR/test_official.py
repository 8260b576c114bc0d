"""The authors' files: PyTorch's two formats, the key names of both code bases, and refusals that name the key."""

import re
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.common.test_pth import dict_of, storage, tensor, text, write_legacy, write_zip
from common.checkpoint.fitting import CheckpointError, load_into
from WDSR.src.args import InferConfig
from WDSR.src.model import WDSR, Hyper
from WDSR.src.official import hyper_of, to_ours
from WDSR.src.utils import load_network

NTIRE_B = Hyper(num_features=10, num_blocks=2, scale=3)
NTIRE_A = replace(NTIRE_B, variant="A", expand=4.0, scale=2)
YCHFAN = replace(NTIRE_A, normalization="ychfan", scale=4)
HYPERS = {"ntire2018 B": NTIRE_B, "ntire2018 A": NTIRE_A, "ychfan": YCHFAN}


def filters(name: str, inputs: int, outputs: int, side: int) -> dict[str, tuple[int, ...]]:
    """Entries of a convolution under torch.nn.utils.weight_norm, in its order."""
    return {
        f"{name}.bias": (outputs,),
        f"{name}.weight_g": (outputs, 1, 1, 1),
        f"{name}.weight_v": (outputs, inputs, side, side),
    }


def ntire2018_a(blocks: int, features: int, wide: int, scale: int) -> dict[str, tuple[int, ...]]:
    """state_dict of github.com/JiahuiYu/wdsr_ntire2018, wdsr_a.py."""
    shapes = filters("head.0", 3, features, 3)
    for block in range(blocks):
        shapes |= filters(f"body.{block}.body.0", features, wide, 3) | filters(
            f"body.{block}.body.2", wide, features, 3
        )
    return shapes | filters("tail.0", features, 3 * scale**2, 3) | filters("skip.0", 3, 3 * scale**2, 5)


def ntire2018_b(blocks: int, features: int, wide: int, low_rank: int, scale: int) -> dict[str, tuple[int, ...]]:
    """The same, wdsr_b.py."""
    shapes = filters("head.0", 3, features, 3)
    for block in range(blocks):
        shapes |= filters(f"body.{block}.body.0", features, wide, 1)
        shapes |= filters(f"body.{block}.body.2", wide, low_rank, 1)
        shapes |= filters(f"body.{block}.body.3", low_rank, features, 3)
    return shapes | filters("tail.0", features, 3 * scale**2, 3) | filters("skip.0", 3, 3 * scale**2, 5)


def ychfan(blocks: int, features: int, wide: int, scale: int) -> dict[str, tuple[int, ...]]:
    """state_dict of github.com/ychfan/wdsr: head, blocks and tail are one sequence."""
    shapes = filters("body.0", 3, features, 3)
    for place in range(1, blocks + 1):
        shapes |= filters(f"body.{place}.body.0", features, wide, 3) | filters(
            f"body.{place}.body.2", wide, features, 3
        )
    return shapes | filters(f"body.{blocks + 1}", features, 3 * scale**2, 3) | filters("skip.0", 3, 3 * scale**2, 5)


SHAPES = {
    "ntire2018 B": ntire2018_b(2, 10, 60, 8, 3),
    "ntire2018 A": ntire2018_a(2, 10, 40, 2),
    "ychfan": ychfan(2, 10, 40, 4),
}
# Where each of ychfan's convolutions stands in ours, for two blocks; written out so that no rule is tested by itself.
YCHFAN_PLACES = {
    "body.0": "head.0",
    "body.1.body.0": "body.0.body.0",
    "body.1.body.2": "body.0.body.2",
    "body.2.body.0": "body.1.body.0",
    "body.2.body.2": "body.1.body.2",
    "body.3": "tail.0",
    "skip.0": "skip.0",
}


def weights_of(kind: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in SHAPES[kind].items()}


def write_pth(path, weights, write=write_zip, prefix="", container=""):
    """A file as torch.save writes it: one storage for each array."""
    bodies, blocks, view = {}, {}, [b"N"] if write is write_legacy else []
    for number, (name, array) in enumerate(weights.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        block = storage(array.size, *view, key=str(number))
        bodies[prefix + name] = tensor(block, array.shape, strides)
        blocks[str(number)] = array.ravel()
    body = dict_of(**bodies)
    if container:
        body = dict_of(**{"epoch": text("30"), container: body})
    return write(path, body, blocks)


def load(path, **options) -> WDSR:
    return load_network(InferConfig(ckpt_path=str(path), **options))[0]


def expected_output(kind: str, weights: dict[str, np.ndarray], x: np.ndarray, **settings) -> np.ndarray:
    """With each parameter set by hand."""
    network = WDSR(replace(HYPERS[kind], **settings))
    for name, parameter in network.parameters_and_names():
        place, _, part = name.rpartition(".")
        if kind == "ychfan":
            place = {ours: theirs for theirs, ours in YCHFAN_PLACES.items()}[place]
        parameter.set_data(Tensor(weights[f"{place}.{part}"]))
    return network(Tensor(x)).asnumpy()


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (1, 3, 5, 6)).astype(np.float32)


@pytest.mark.parametrize("prefix", ["", "module."], ids=["plain", "DataParallel"])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("kind", SHAPES)
def test_files_of_the_authors_load(tmp_path, x, kind, write, prefix):
    weights = weights_of(kind)
    network = load(write_pth(tmp_path / "model_best.pt", weights, write, prefix))
    assert network.hyper == HYPERS[kind]
    np.testing.assert_array_equal(network(Tensor(x)).asnumpy(), expected_output(kind, weights, x))


def test_file_of_a_trainer_with_other_entries(tmp_path, x):
    weights = weights_of("ychfan")
    network = load(write_pth(tmp_path / "epoch_30.pth", weights, container="state_dict", prefix="module."))
    np.testing.assert_array_equal(network(Tensor(x)).asnumpy(), expected_output("ychfan", weights, x))


def test_what_shapes_do_not_tell_comes_from_the_flags(tmp_path, x):
    weights = weights_of("ntire2018 B")
    path = write_pth(tmp_path / "deep.pt", weights)
    scaled = load(path, res_scale=0.1)(Tensor(x)).asnumpy()
    np.testing.assert_array_equal(scaled, expected_output("ntire2018 B", weights, x, res_scale=0.1))
    assert not np.allclose(scaled, load(path)(Tensor(x)).asnumpy())


def folded(weights):
    """The filters themselves, as torch.nn.utils.remove_weight_norm leaves them."""
    plain = {name: array for name, array in weights.items() if name.endswith("bias")}
    for name, v in weights.items():
        if name.endswith("_v"):
            length = np.sqrt((v.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True))
            plain[name[:-2]] = (weights[name[:-1] + "g"] * v / length).astype(np.float32)
    return plain


def parametrized(weights):
    """The names of torch.nn.utils.parametrizations.weight_norm."""
    ends = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return {re.sub("weight_[gv]$", lambda match: ends[match[0]], name): array for name, array in weights.items()}


def ports(weights):
    """The names of ports of the challenge code: `module` within a block."""
    return {re.sub(r"^(body\.\d+)\.body", r"\1.module", name): array for name, array in weights.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model.net."])
@pytest.mark.parametrize("spelled", [folded, parametrized, ports, lambda weights: folded(ports(weights))])
@pytest.mark.parametrize("kind", SHAPES)
def test_files_of_other_programs_compute_the_same(tmp_path, x, kind, spelled, prefix):
    weights = weights_of(kind)
    network = load(write_pth(tmp_path / "theirs.pth", spelled(weights), prefix=prefix))
    assert network.hyper == HYPERS[kind]
    expected = expected_output(kind, weights, x)
    np.testing.assert_allclose(network(Tensor(x)).asnumpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_filter_of_zeros_stays_one(tmp_path, x):
    weights = {name: np.zeros(shape, np.float32) for name, shape in SHAPES["ntire2018 B"].items() if "_g" not in name}
    plain = {name.replace("_v", ""): array for name, array in weights.items()}
    mean = np.float32(HYPERS["ntire2018 B"].shift_and_width[0])
    found = load(write_pth(tmp_path / "zeros.pth", plain))(Tensor(x)).asnumpy()
    np.testing.assert_allclose(found, np.broadcast_to(mean, found.shape))


def test_normalization_is_typed_where_names_do_not_tell(tmp_path, x):
    weights = weights_of("ntire2018 A")
    network = load(write_pth(tmp_path / "theirs.pth", weights), normalization="ychfan")
    expected = expected_output("ntire2018 A", weights, x, normalization="ychfan")
    np.testing.assert_array_equal(network(Tensor(x)).asnumpy(), expected)


@pytest.mark.parametrize(("features", "wide", "low_rank"), [(10, 60, 8), (11, 15, 8), (49, 50, 3), (13, 63, 12)])
def test_every_width_is_read_off_the_shapes(features, wide, low_rank):
    """Channels are int(features * ratio) and the quotient of two whole numbers may be truncated to one less."""
    shapes = ntire2018_b(1, features, wide, low_rank, 2)
    weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    network = WDSR(hyper_of(to_ours(weights), "x.pt", Hyper()))
    assert {p.name: p.shape for p in network.get_parameters()} == shapes
    load_into(network, weights, source="x.pt")


def test_published_sizes(tmp_path):
    """The challenge's WDSR-A with 16 blocks of 32 and 128 channels, and a WDSR-B of 32 blocks of 64."""
    for shapes, variant, scale in ((ntire2018_a(16, 32, 128, 2), "A", 2), (ntire2018_b(32, 64, 384, 51, 4), "B", 4)):
        weights = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
        hyper = hyper_of(to_ours(weights), "x.pt", Hyper())
        wanted = replace(Hyper(), num_features=32, num_blocks=16, expand=4.0) if variant == "A" else Hyper()
        assert hyper == replace(wanted, variant=variant, scale=scale)


# ------------------------------------------------------------------ refusals

LAST = {"ntire2018 B": "tail.0", "ntire2018 A": "tail.0", "ychfan": "body.3"}


@pytest.mark.parametrize("part", ["weight_v", "weight_g", "bias"])
@pytest.mark.parametrize("place", ["head", "first block", "last block", "tail", "skip"])
@pytest.mark.parametrize("kind", SHAPES)
def test_missing_key_is_named(tmp_path, kind, place, part):
    first = 1 if kind == "ychfan" else 0
    theirs = {
        "head": "body.0" if kind == "ychfan" else "head.0",
        "first block": f"body.{first}.body.0",
        "last block": f"body.{first + 1}.body.2",
        "tail": LAST[kind],
        "skip": "skip.0",
    }[place]
    weights = weights_of(kind)
    del weights[f"{theirs}.{part}"]
    ours = YCHFAN_PLACES[theirs] if kind == "ychfan" else theirs
    with pytest.raises(CheckpointError, match=re.escape(f"{ours}.{part}")) as caught:
        load(write_pth(tmp_path / "cut.pth", weights))
    assert "cut.pth" in str(caught.value)


@pytest.mark.parametrize("extra", ["tail.1.weight", "body.0.body.4.bias", "rgb_mean", "body.7.gamma"])
@pytest.mark.parametrize("kind", ["ntire2018 B", "ntire2018 A"])
def test_extra_key_is_named(tmp_path, kind, extra):
    weights = weights_of(kind) | {extra: np.zeros(3, np.float32)}
    message = rf"1 of its {len(weights)} arrays have no place in the network \({re.escape(extra)}\)"
    with pytest.raises(CheckpointError, match=message):
        load(write_pth(tmp_path / "more.pth", weights))


def test_extra_key_of_ychfan_is_named(tmp_path):
    weights = weights_of("ychfan") | {"body.1.body.4.bias": np.zeros(3, np.float32)}
    with pytest.raises(CheckpointError, match=r"no place in the network \(body\.0\.body\.4\.bias\)"):
        load(write_pth(tmp_path / "more.pth", weights))


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("key", ["skip.0.weight_v", "body.1.body.2.weight_g"])
def test_wrong_shape_is_named(tmp_path, kind, key):
    weights = weights_of(kind)
    wrong = weights[key] = np.zeros((*weights[key].shape[:-1], 7), np.float32)
    ours = ".".join([YCHFAN_PLACES[key.rpartition(".")[0]], key.rpartition(".")[2]]) if kind == "ychfan" else key
    with pytest.raises(CheckpointError, match=re.escape(f"{ours}: {wrong.shape}")):
        load(write_pth(tmp_path / "bent.pth", weights))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"conv.weight": (3, 3, 3, 3)}, "no WDSR: it has conv.weight"),
        ({"head.0.weight": (8, 3, 3, 3), "tail.0.weight": (12, 8, 3, 3)}, r"no WDSR.*not 'body\.0\.body\.0"),
        (ntire2018_b(1, 8, 48, 6, 2) | {"head.0.weight_v": (8, 4, 3, 3)}, "for 4 channels: 1 .luma. or 3 .RGB."),
        ({"head.0.weight_v": (8,), "tail.0.weight_v": (12,)}, "filters are not"),
        ({"head.0.weight_v": (8, 3), "tail.0.weight_v": (12, 8), "body.0.body.0.weight_v": (8, 8)}, "filters are not"),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path, weights, message):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in weights.items()}
    with pytest.raises(CheckpointError, match=message):
        load(write_pth(tmp_path / "other.pth", arrays))


def test_scale_of_the_file_counts(tmp_path):
    path = write_pth(tmp_path / "x3.pth", weights_of("ntire2018 B"))
    assert load(path, scale="3").hyper.scale == 3
    with pytest.raises(Exception, match=r"x3\.pth has scale 3, not 2"):
        load(path, scale="2")
