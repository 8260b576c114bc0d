"""The authors' .pth files: written by PyTorch, loaded by name and strictly, and they compute what PyTorch computed."""

import json
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from ci.tests.WDSR.test_official import write_pth
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.checkpoint.fitting import CheckpointError
from IRN.src.graphs import Downscale, Upscale
from IRN.src.network.Invnet import BLOCKS_PER_LEVEL, COLORS, HAAR, Hyper, InvRescaleNet, Quantization
from IRN.src.official import hyper_of
from IRN.src.options.options import EvalConfig
from IRN.src.utils.util import load_network, load_weights

FILES = {  # as ci/goldens/pth/make_irn.py writes them with PyTorch
    "irn_x4": Hyper(4, (1, 2), 1),
    "irn_x2_legacy": Hyper(2, (2,), 1),
    "irn_x2_parallel": Hyper(2, (1,), 1),
}
SMALL = FILES["irn_x2_parallel"]


def load(path, **options) -> InvRescaleNet:
    return load_network(EvalConfig(ckpt_path=str(path), **options))[0]


def weights_of(hyper: Hyper) -> dict[str, np.ndarray]:
    """Random arrays by the authors' names, as the network asks for them; the Haar filters are the Haar filters."""
    random, weights = np.random.default_rng(5), {}
    for name, parameter in InvRescaleNet(hyper).parameters_and_names():
        noise = random.normal(0, 0.1, parameter.shape)
        weights[name] = np.float32(noise) if parameter.requires_grad else parameter.asnumpy()
    return weights


def assert_close(found: Tensor, wanted: np.ndarray) -> None:
    """Within 2e-6 of the largest value, what the goldens ask of float32."""
    assert found.shape == wanted.shape
    assert np.abs(found.asnumpy() - wanted).max() <= 2e-6 * np.abs(wanted).max()


# ------------------------------------------------------------------ they load


@pytest.mark.parametrize("name", FILES)
def test_files_of_pytorch(goldens_dir, name):
    network = load(goldens_dir / "pth" / f"{name}.pth")
    assert network.hyper == FILES[name]
    with np.load(goldens_dir / "pth" / "irn_expected.npz") as file:
        wanted = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}
    hr_image, z = Tensor(wanted["hr_image"]), Tensor(wanted["z"])
    lr_and_z = network(hr_image)
    lr_image = Quantization()(lr_and_z[:, :COLORS])
    assert_close(lr_and_z, wanted["lr_and_z"])
    assert_close(lr_image, wanted["lr_image"])
    assert_close(network.inverse(ops.concat((lr_image, z), 1))[0], wanted["restored"])
    assert_close(Quantization()(Downscale(network)(hr_image)), wanted["lr_image"])
    assert_close(Upscale(network)(lr_image, z), wanted["restored"])


@pytest.mark.parametrize("name", FILES)
def test_start_weights_of_a_training(goldens_dir, name):
    """--ckpt_path of train.py: into a network that is there already, every trained value of the file."""
    path = str(goldens_dir / "pth" / f"{name}.pth")
    network, saved = InvRescaleNet(FILES[name], seed=9), checkpoint.read(path).weights
    load_weights(network, path)
    found = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    assert list(found) == list(saved)
    for key, array in found.items():
        np.testing.assert_array_equal(array, saved[key], err_msg=key)
    assert any(array.any() for key, array in found.items() if key.endswith("conv5.weight"))


def test_learned_transform_of_x3(goldens_dir, tmp_path):
    """The weights of the authors' x3, which their own code computed the golden with, by way of a .pth file."""
    with np.load(goldens_dir / "irn_x3_convdown.npz") as file:
        golden = dict(file)
    weights = {key.removeprefix("state/"): array for key, array in golden.items() if key.startswith("state/")}
    network = load(write_pth(tmp_path / "IRN_x3.pth", weights))
    assert network.hyper == Hyper(3, (1,), 8)
    assert_close(network(Tensor(golden["in/hr"])), golden["out/fwd"])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_published_sizes_are_read_off_the_shapes(goldens_dir, scale):
    listed = json.loads((goldens_dir / "full_size_keys" / f"irn_x{scale}.json").read_text(encoding="utf-8"))
    weights = {name: np.broadcast_to(np.float32(0), shape) for name, shape in listed["state_dict"].items()}
    assert hyper_of(weights, "x.pth", 1.0) == Hyper(scale, BLOCKS_PER_LEVEL[scale])


@pytest.mark.parametrize("hyper", [Hyper(4, (3, 1), 5), Hyper(2, (1,), 7), Hyper(3, (2,), 1), Hyper(8, (1, 2, 1), 3)])
def test_other_sizes_are_read_off_the_shapes(hyper):
    assert hyper_of(weights_of(hyper), "x.pth", 1.0) == hyper


def test_clamp_comes_from_the_flag(goldens_dir):
    path = goldens_dir / "pth" / "irn_x2_parallel.pth"
    assert load(path).hyper.clamp == 1.0
    assert load(path, clamp=0.5).hyper.clamp == 0.5


# ------------------------------------------------------------------ what is said when they do not


PLACES = ["operations.0.haar_weights", "operations.1.F.conv1.bias", "operations.1.G.conv5.weight",
          "operations.2.H.conv3.weight", "operations.2.H.conv5.bias"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES[1:])
def test_missing_key_is_named(tmp_path, place):
    weights = weights_of(FILES["irn_x2_legacy"])
    del weights[place]
    with pytest.raises(CheckpointError, match=rf"1 of the network's 61 parameters are missing in it \({place}\)") as e:
        load(write_pth(tmp_path / "cut.pth", weights))
    assert "cut.pth" in str(e.value)


def test_missing_transform_or_coupling(tmp_path):
    weights = weights_of(FILES["irn_x2_legacy"])
    for missing in ("operations.0.", "operations.1."):
        kept = {name: array for name, array in weights.items() if not name.startswith(missing)}
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            load(write_pth(tmp_path / "cut.pth", kept))


@pytest.mark.parametrize(
    "extra", ["operations.1.F.conv6.weight", "operations.3.F.conv2.bias", "netD.conv.weight", "step"]
)
def test_extra_key_is_named(tmp_path, extra):
    weights = weights_of(SMALL) | {extra: np.zeros(3, np.float32)}
    message = rf"1 of its {len(weights)} arrays have no place in the network \({re.escape(extra)}\)"
    with pytest.raises(CheckpointError, match=message):
        load(write_pth(tmp_path / "more.pth", weights))


@pytest.mark.parametrize("place", PLACES)
def test_wrong_shape_is_named(tmp_path, place):
    weights = weights_of(FILES["irn_x2_legacy"])
    wrong = weights[place] = np.resize(weights[place], (*weights[place].shape, 2))
    if place.endswith("haar_weights"):
        weights[place] = wrong = np.tile(HAAR.reshape(4, 1, 2, 2), (4, 1, 1, 1))  # of four channels
    with pytest.raises(CheckpointError, match=re.escape(f"{place}: {wrong.shape}")):
        load(write_pth(tmp_path / "bent.pth", weights))


def other_transforms() -> dict[str, np.ndarray]:
    filters = np.tile(HAAR.reshape(4, 1, 2, 2), (3, 1, 1, 1))
    turned = filters.copy()
    turned[7] *= -1
    return {
        "orthonormal": filters / 2,
        "one sign": turned,
        "order of the bands": filters[[0, 2, 1, 3] * 3],
        "transposed": np.ascontiguousarray(filters.transpose(0, 1, 3, 2)),
        "trained": filters + np.float32(1e-6),
    }


@pytest.mark.parametrize("kind", other_transforms())
def test_another_transform_is_refused(tmp_path, kind):
    """The network computes Haar's, whatever the file holds; another would silently give another picture."""
    weights = weights_of(SMALL) | {"operations.0.haar_weights": other_transforms()[kind]}
    path = write_pth(tmp_path / "odd.pth", weights)
    message = r"odd\.pth: operations\.0\.haar_weights is not the Haar transform"
    with pytest.raises(CheckpointError, match=message):
        load(path)
    network = InvRescaleNet(SMALL)
    with pytest.raises(CheckpointError, match=message):
        load_weights(network, str(path))
    assert not network.parameters_dict()["operations.1.F.conv5.weight"].asnumpy().any()  # nothing was touched


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"conv.weight": (3, 3, 3, 3)}, r"is no IRN: it has conv\.weight"),
        ({"head.0.weight_v": (8, 3, 3, 3)}, "is no IRN"),
        ({"operations.0.haar_weights": (12, 1, 2, 2)}, "is no IRN"),  # no coupling
        ({"operations.0.F.conv1.weight": (8, 9, 3, 3)}, "is no IRN"),  # no transform
        ({"operations.0.conv_weights": (16, 16), "operations.1.F.conv1.weight": (8, 45, 3, 3)}, "only x3 has learned"),
        (
            {f"operations.{2 * i}.haar_weights": (12 * 4**i, 1, 2, 2) for i in range(4)}
            | {f"operations.{2 * i + 1}.F.conv1.weight": (8, 9, 3, 3) for i in range(4)},
            "scales 2, 3, 4 and 8, not 16",
        ),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path, shapes, message):
    arrays = {name: np.resize(HAAR if "haar" in name else np.float32(0), shape) for name, shape in shapes.items()}
    with pytest.raises(UserError, match=message):
        load(write_pth(tmp_path / "other.pth", arrays))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"scale": 2}, "has scale 4, not 2"),
        ({"growth": 16}, "has growth 1, not 16"),
        ({"scale": 4, "block_num": (8, 8)}, r"has block_num \(1, 2\), not \(8, 8\)"),  # typed, be it the default
        ({"scale": 4, "block_num": (2, 2)}, r"has block_num \(1, 2\), not \(2, 2\)"),
        ({"model": "irn_small"}, "leave the flag out, or give another checkpoint"),
        ({"scale": 4}, None),
    ],
)
def test_flags_that_contradict_the_file(goldens_dir, flags, message):
    path = goldens_dir / "pth" / "irn_x4.pth"
    if message is None:
        assert load(path, **flags).hyper == FILES["irn_x4"]
    else:
        with pytest.raises(UserError, match=message):
            load(path, **flags)


def test_start_weights_of_another_size(goldens_dir):
    with pytest.raises(CheckpointError, match=r"irn_x4\.pth does not fit this network: .*have no place"):
        load_weights(InvRescaleNet(SMALL), str(goldens_dir / "pth" / "irn_x4.pth"))
    with pytest.raises(CheckpointError, match="not found"):
        load_weights(InvRescaleNet(SMALL), str(goldens_dir / "pth" / "irn_x5.pth"))


def test_checkpoint_of_another_model(tmp_path):
    checkpoint.save(tmp_path / "x2.ckpt", Checkpoint(weights_of(SMALL), {"model": "WDSR", "scale": 2}))
    for attempt in (load, lambda path: load_weights(InvRescaleNet(SMALL), str(path))):
        with pytest.raises(UserError, match=r"x2\.ckpt holds WDSR, not IRN"):
            attempt(tmp_path / "x2.ckpt")


def test_loading_leaves_constants_untrained(goldens_dir):
    network = load(goldens_dir / "pth" / "irn_x4.pth")
    fixed = {p.name for p in network.get_parameters()} - {p.name for p in network.trainable_params()}
    assert fixed == {"operations.0.haar_weights", "operations.2.haar_weights"}
    assert {p.dtype for p in network.get_parameters()} == {ms.float32}
