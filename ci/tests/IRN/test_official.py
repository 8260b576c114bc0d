"""IRN's .pth files of PyTorch compute what PyTorch computed; sizes are read off them, another transform is refused."""

import json

import numpy as np
import pytest
from mindspore import Tensor, ops

from ci.tests.IRN.nets import TINY
from ci.tests.naive import assert_close
from ci.tests.specs import BY_NAME, weights_of
from ci.tests.test_official import write_pth
from common.checkpoint import CheckpointError
from IRN.src.graphs import Downscale, Upscale
from IRN.src.network.Invnet import BLOCKS_PER_LEVEL, COLORS, HAAR, Hyper, InvRescaleNet, Quantization
from IRN.src.official import hyper_of

FILES = {  # as ci/goldens/pth/make_networks.py writes them with PyTorch
    "irn_x4": Hyper(4, (1, 2), 1),
    "irn_x2_legacy": Hyper(2, (2,), 1),
    "irn_x2_parallel": Hyper(2, (1,), 1),
}


load = BY_NAME["IRN"].load


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


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_published_sizes_are_read_off_the_shapes(goldens_dir, scale):
    listed = json.loads((goldens_dir / "full_size_keys" / f"irn_x{scale}.json").read_text(encoding="utf-8"))
    weights = {name: np.broadcast_to(np.float32(0), shape) for name, shape in listed["state_dict"].items()}
    assert hyper_of(weights, "x.pth", 1.0) == Hyper(scale, BLOCKS_PER_LEVEL[scale])


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
    """The network computes Haar's, whatever the file holds; another would silently give another image."""
    weights = weights_of(InvRescaleNet(TINY)) | {"operations.0.haar_weights": other_transforms()[kind]}
    with pytest.raises(CheckpointError, match=r"odd\.pth: operations\.0\.haar_weights is not the Haar transform"):
        load(write_pth(tmp_path / "odd.pth", weights))
