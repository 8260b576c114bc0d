"""The authors' files: what they are of is read off their shapes, every key has its place, and refusals name the key."""

import re

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.common.test_pth import dict_of, storage, tensor, write_legacy, write_zip
from common import UserError
from common.checkpoint.fitting import CheckpointError
from CSNLN.src.config import InferConfig
from CSNLN.src.CSNLN import CSNLN, Hyper
from CSNLN.src.official import hyper_of
from CSNLN.src.utils import load_network, load_weights

RESIZING = {2: 6, 3: 9, 4: 8}  # kernels


def layer(name: str, *shape: int, slope: bool = True) -> dict[str, tuple[int, ...]]:
    """A convolution's entries, and those of the PReLU behind it."""
    shapes = {f"{name}.0.weight": shape, f"{name}.0.bias": (shape[0],)}
    return shapes | ({f"{name}.1.weight": (1,)} if slope else {})


def fusion(name: str, c: int, kernel: int) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}.up_attention.escape_NaN": (1,)}
    for attention, joint in (("up_attention", "_"), ("down_attention", "")):
        shapes |= layer(f"{name}.{attention}.conv_match{joint}1", c // 2, c, 1, 1)
        shapes |= layer(f"{name}.{attention}.conv_match{joint}2", c // 2, c, 1, 1)
        shapes |= layer(f"{name}.{attention}.conv_assembly", c, c, 1, 1)
    shapes |= layer(f"{name}.upsample", c, c, kernel, kernel)
    for place in (0, 2):
        shapes |= {f"{name}.encoder.body.{place}.weight": (c, c, 3, 3), f"{name}.encoder.body.{place}.bias": (c,)}
    return shapes | {f"{name}.encoder.body.1.weight": (1,)}


def shapes_of(scale: int, c: int, depth: int) -> dict[str, tuple[int, ...]]:
    """state_dict of github.com/SHI-Labs/Cross-Scale-Non-Local-Attention."""
    kernel = RESIZING[3 if scale == 3 else 2]
    shapes = {"sub_mean.weight": (3, 3, 1, 1), "sub_mean.bias": (3,)}
    shapes |= layer("head.0", c, 3, 3, 3) | layer("head.1", c, c, 3, 3)
    shapes |= fusion("SEM.multi_source_projection", c, kernel)
    shapes |= layer("SEM.down_sample_1", c, c, kernel, kernel) | layer("SEM.error_encode", c, c, kernel, kernel)
    if scale == 4:
        shapes |= fusion("SEM.multi_source_projection_2", c, kernel)
        for name in ("down_sample_3", "down_sample_4", "error_encode_2"):
            shapes |= layer(f"SEM.{name}", c, c, 8, 8)
    else:
        shapes |= layer("SEM.down_sample_2", c, c, kernel, kernel)
    shapes |= layer("SEM.post_conv", c, c, 3, 3) | layer("tail", 3, c * depth, 3, 3, slope=False)
    return shapes | {"add_mean.weight": (3, 3, 1, 1), "add_mean.bias": (3,)}


def weights_of(scale: int, c: int = 4, depth: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {key: random.normal(0, 0.2, shape).astype(np.float32) for key, shape in shapes_of(scale, c, depth).items()}


def write(path, weights, writer=write_zip, prefix=""):
    """A file as torch.save writes it: one storage for each array."""
    bodies, blocks, view = {}, {}, [b"N"] if writer is write_legacy else []
    for number, (name, array) in enumerate(weights.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        bodies[prefix + name] = tensor(storage(array.size, *view, key=str(number)), array.shape, strides)
        blocks[str(number)] = array.ravel()
    return writer(path, dict_of(**bodies), blocks)


def load(path, **options) -> CSNLN:
    return load_network(InferConfig(ckpt_file=str(path), **options))[0]


@pytest.mark.parametrize(
    ("scale", "writer", "prefix"),
    [(2, write_zip, ""), (3, write_legacy, ""), (4, write_zip, "module."), (4, write_legacy, "")],
)
def test_files_of_the_authors_load(tmp_path, scale, writer, prefix):
    weights = weights_of(scale)
    network = load(write(tmp_path / "model_best.pt", weights, writer, prefix))
    assert network.hyper == Hyper(scale, 4, 2)
    by_hand = CSNLN(network.hyper)
    for name, parameter in by_hand.parameters_and_names():
        parameter.set_data(Tensor(weights[name]))
    x = Tensor(np.random.default_rng(0).random((1, 3, 6, 6), np.float32))
    np.testing.assert_array_equal(network(x).asnumpy(), by_hand(x).asnumpy())


def test_training_starts_from_them(tmp_path):
    weights, network = weights_of(3), CSNLN(Hyper(3, 4, 2))
    load_weights(network, str(write(tmp_path / "x3.pt", weights)))
    for parameter in network.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), weights[parameter.name])


@pytest.mark.parametrize(("scale", "c", "depth"), [(2, 128, 12), (3, 32, 3), (4, 6, 1)])
def test_every_size_is_read_off_the_shapes(scale, c, depth):
    weights = {name: np.empty(shape, np.float32) for name, shape in shapes_of(scale, c, depth).items()}
    hyper = hyper_of(weights, "x.pt")
    assert hyper == Hyper(scale, c, depth)
    found = {parameter.name: parameter.shape for parameter in CSNLN(hyper).get_parameters()}
    assert found == {name: array.shape for name, array in weights.items() if "escape_NaN" not in name}


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("key", ["head.1.1.weight", "SEM.post_conv.0.bias", "sub_mean.bias", "tail.0.bias"])
def test_missing_key_is_named(tmp_path, key):
    weights = weights_of(2)
    del weights[key]
    with pytest.raises(CheckpointError, match=rf"cut\.pt does not fit .*1 of .* missing in it \({re.escape(key)}\)"):
        load(write(tmp_path / "cut.pt", weights))


@pytest.mark.parametrize("key", ["tail.1.weight", "SEM.escape_nan", "escape_NaN.weight"])
def test_extra_key_is_named(tmp_path, key):
    weights = weights_of(2) | {key: np.zeros(3, np.float32)}
    with pytest.raises(CheckpointError, match=rf"no place in the network \({re.escape(key)}\)"):
        load(write(tmp_path / "more.pt", weights))


def test_wrong_shape_is_named(tmp_path):
    weights = weights_of(2) | {"head.1.0.weight": np.zeros((4, 4, 5, 5), np.float32)}
    with pytest.raises(CheckpointError, match=r"head\.1\.0\.weight: \(4, 4, 5, 5\)"):
        load(write(tmp_path / "bent.pt", weights))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"conv.weight": (3, 3, 3, 3)}, "no CSNLN: it has conv.weight"),
        (shapes_of(2, 4, 2) | {"SEM.error_encode.0.weight": (4, 4, 5, 5)}, "filters have other sizes"),
        (shapes_of(2, 4, 2) | {"tail.0.weight": (3, 9, 3, 3)}, "filters have other sizes"),
        (shapes_of(2, 4, 2) | {"tail.0.weight": (3,)}, "no CSNLN"),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path, shapes, message):
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(CheckpointError, match=message):
        load(write(tmp_path / "other.pt", weights))


def test_flags_that_contradict_the_file(tmp_path):
    path = write(tmp_path / "x3.pt", weights_of(3))
    assert load(path, scale=3, depth=2).hyper.scale == 3
    for flags, message in (({"scale": 2}, "has scale 3, not 2"), ({"depth": 5}, "has depth 2, not 5")):
        with pytest.raises(UserError, match=message):
            load(path, **flags)
