"""SRFlow's .pth files of PyTorch compute what PyTorch computed; the encoder's own file; what shapes do not tell."""

import json

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.naive import assert_close
from ci.tests.specs import BY_NAME, weights_of
from ci.tests.SRFlow.nets import TINY
from ci.tests.test_official import write_pth
from common import UserError, checkpoint
from common.checkpoint import CheckpointError
from SRFlow.src.model.SRFlowNet import PRESETS, UNREAD, Hyper, SRFlowNet
from SRFlow.src.model_utils import official

HYPER = Hyper(4, 3, 2, 1, (1,), 2, 1, 4)  # as ci/goldens/pth/make_networks.py builds them with PyTorch
FILES = ("srflow_x4", "srflow_x4_parallel_legacy")
NETWORK = {"scale": 4, "nf": 3, "nb": 2, "gc": 1, "stack": 1, "L": 2, "K": 1, "hidden_channels": 4}


load = BY_NAME["SRFlow"].load


@pytest.mark.parametrize("name", FILES)
def test_files_of_pytorch(goldens_dir, name):
    network = load(goldens_dir / "pth" / f"{name}.pth", stack=(1,))
    assert network.hyper == HYPER
    with np.load(goldens_dir / "pth" / "srflow_expected.npz") as file:
        wanted = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}
    lr_image = Tensor(wanted["lr_image"])
    (latent,), logdet = network.forward(Tensor(wanted["hr_image"]), lr_image)
    assert_close(latent, wanted["latent"])
    assert_close(logdet, wanted["logdet"])
    assert_close(network.inverse([Tensor(wanted["z"])], lr_image)[0], wanted["sr_image"])
    assert_close(network.RRDB(lr_image), wanted["enlarged"])


@pytest.mark.parametrize("kept", [(), UNREAD])
def test_what_nothing_reads_is_tolerated_by_name(kept, tmp_path):
    """It may be there, or not; and since the authors' code gives it 320 channels in any network, of any shape."""
    weights = {name: 2 * array + 1 for name, array in weights_of(SRFlowNet(TINY[2])).items()}
    for name in UNREAD:
        weights[name] = np.ones((20, 7), np.float32)
        if name not in kept:
            del weights[name]
    found = weights_of(load(write_pth(tmp_path / "x.pth", weights), stack=TINY[2].stack))
    for name in found.keys() - set(UNREAD):
        np.testing.assert_array_equal(found[name], weights[name], err_msg=name)


@pytest.mark.parametrize("source", ["srflow_rrdb_x4.pth", "srflow_x4.pth", "srflow_x4_parallel_legacy.pth"])
def test_training_starts_from_an_encoder(goldens_dir, begun, source):
    """The authors' RRDB_*.pth has ESRGAN's names, without a prefix; a whole network has an encoder in it, too."""
    path = goldens_dir / "pth" / source
    found, saved = weights_of(begun("SRFlow", rrdb_path=path, **NETWORK).network), checkpoint.read(path).weights
    wanted = {f"RRDB.{name.removeprefix('RRDB.')}": saved[name] for name in saved if not name.startswith("flow")}
    assert {name for name in found if name.startswith("RRDB.")} == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    with pytest.raises(CheckpointError, match=r"does not fit this network: .*RRDB_trunk\.0\.RDB1\.conv1\.weight"):
        begun("SRFlow", rrdb_path=path, **NETWORK | {"gc": 2})


def test_what_the_files_do_not_tell(goldens_dir):
    """Shapes say how many blocks the flow reads, not which; an encoder is no network."""
    path = goldens_dir / "pth" / "srflow_x4.pth"
    for typed, message in (
        ({}, r"srflow_x4\.pth does not tell which 1 block\(s\) its flow reads: type --stack"),
        ({"stack": (0, 1)}, "which 1 block"),
        ({"stack": (2,)}, r"blocks from 0 to 1, not \[2\]"),
    ):
        with pytest.raises(UserError, match=message):
            load(path, **typed)
    with pytest.raises(CheckpointError, match=r"srflow_rrdb_x4\.pth is no SRFlow: it has HRconv\.bias, "):
        load(goldens_dir / "pth" / "srflow_rrdb_x4.pth")


@pytest.mark.parametrize("name", PRESETS)
def test_published_sizes_are_read_off_the_shapes(goldens_dir, name):
    content = json.loads((goldens_dir / "full_size_keys" / f"srflow_{name}.json").read_text())
    weights = {key: np.broadcast_to(np.float32(0), shape) for key, shape in content["state_dict"].items()}
    assert official.hyper_of(weights, "x.pth") == PRESETS[name]
    assert official.hyper_of(weights, "x.pth", (0, 2, 4, 6), 0.01).stack == (0, 2, 4, 6)
