"""WDSR's files: the key names of both code bases, of other programs' weight normalisation, sizes off the shapes.

Our names are those of github.com/JiahuiYu/wdsr_ntire2018; test_goldens.py has them against the authors'.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.specs import BY_NAME, weights_of
from ci.tests.test_official import write_pth
from common.checkpoint import CheckpointError
from WDSR.src.model import WDSR, Hyper
from WDSR.src.official import hyper_of, to_ours

B = Hyper(num_features=10, num_blocks=2, scale=3)
A = replace(B, variant="A", expand=4.0, scale=2)
HYPERS = {"ntire2018 B": B, "ntire2018 A": A, "ychfan": replace(A, normalization="ychfan", scale=4)}
# Where ychfan's convolutions are ours, for two blocks; written out so that no rule is tested by itself.
YCHFAN_PLACES = {
    "head.0": "body.0",
    "body.0.body.0": "body.1.body.0",
    "body.0.body.2": "body.1.body.2",
    "body.1.body.0": "body.2.body.0",
    "body.1.body.2": "body.2.body.2",
    "tail.0": "body.3",
    "skip.0": "skip.0",
}


load = BY_NAME["WDSR"].load


def trained(hyper: Hyper) -> WDSR:
    """A network with weights of its own."""
    network, random = WDSR(hyper), np.random.default_rng(5)
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(random.normal(0, 0.3, parameter.shape).astype(np.float32)))
    return network


def theirs(kind: str, network: WDSR) -> dict[str, np.ndarray]:
    """The weights by the authors' names."""
    weights = weights_of(network)
    if kind == "ychfan":
        weights = {f"{YCHFAN_PLACES[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": a for n, a in weights.items()}
    return weights


@pytest.fixture
def x() -> Tensor:
    return Tensor(np.random.default_rng(0).uniform(0, 255, (1, 3, 5, 6)).astype(np.float32))


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


@pytest.mark.parametrize("spelled", [dict, folded, parametrized, ports, lambda weights: folded(ports(weights))])
@pytest.mark.parametrize("kind", HYPERS)
def test_files_of_other_programs_compute_the_same(tmp_path, x, kind, spelled):
    network = trained(HYPERS[kind])
    found = load(write_pth(tmp_path / "x.pth", spelled(theirs(kind, network)), prefix="_orig_mod.module."))
    assert found.hyper == HYPERS[kind]
    expected = network(x).asnumpy()
    np.testing.assert_allclose(found(x).asnumpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("kind", "typed"), [("ntire2018 B", {"res_scale": 0.1}), ("ntire2018 A", {"normalization": "ychfan"})]
)
def test_what_shapes_do_not_tell_comes_from_the_flags(tmp_path, x, kind, typed):
    network = trained(replace(HYPERS[kind], **typed))
    path = write_pth(tmp_path / "deep.pt", theirs(kind, network))
    np.testing.assert_array_equal(load(path, **typed)(x).asnumpy(), network(x).asnumpy())
    assert not np.allclose(load(path)(x).asnumpy(), network(x).asnumpy())


def test_a_filter_of_zeros_stays_one(tmp_path, x):
    weights = {name.replace("_v", ""): 0 * array for name, array in weights_of(WDSR(B)).items() if "_g" not in name}
    found = load(write_pth(tmp_path / "zeros.pth", weights))(x).asnumpy()
    np.testing.assert_allclose(found, np.broadcast_to(np.float32(B.shift_and_width[0]), found.shape))


@pytest.mark.parametrize(("features", "wide", "low_rank"), [(10, 60, 8), (11, 15, 8), (49, 50, 3), (13, 63, 12)])
def test_every_width_is_read_off_the_shapes(features, wide, low_rank):
    """Channels are int(features * ratio) and the quotient of two whole numbers may be truncated to one less."""
    shapes = {
        name: list(array.shape) for name, array in weights_of(WDSR(Hyper(num_features=features, num_blocks=1))).items()
    }
    for place, inputs, outputs in (("0", features, wide), ("2", wide, low_rank), ("3", low_rank, features)):
        shapes[f"body.0.body.{place}.weight_v"][:2] = outputs, inputs
        shapes[f"body.0.body.{place}.weight_g"][0] = shapes[f"body.0.body.{place}.bias"][0] = outputs
    weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    network = WDSR(hyper_of(to_ours(weights), "x.pt", Hyper()))
    assert {p.name: p.shape for p in network.get_parameters()} == {name: tuple(shape) for name, shape in shapes.items()}


def test_published_sizes_are_read_off_the_shapes(goldens_dir):
    for path in sorted((goldens_dir / "full_size_keys").glob("wdsr_b_*.json")):
        blocks, features, scale = map(int, re.findall(r"(\d+)blocks_(\d+)feats_x(\d)", path.name)[0])
        listed = json.loads(path.read_text(encoding="utf-8"))["state_dict"]
        weights = {name: np.broadcast_to(np.float32(0), shape) for name, shape in listed.items()}
        assert hyper_of(to_ours(weights), "x.pt", Hyper()) == Hyper(
            scale=scale, num_blocks=blocks, num_features=features
        )


def test_files_of_other_channels_are_refused(tmp_path):
    weights = weights_of(WDSR(B)) | {"head.0.weight_v": np.zeros((10, 4, 3, 3), np.float32)}
    with pytest.raises(CheckpointError, match=r"for 4 channels: 1 .luma. or 3 .RGB."):
        load(write_pth(tmp_path / "other.pth", weights))
