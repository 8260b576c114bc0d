"""The authors' .pth files: written by PyTorch, loaded by name and strictly, and they compute what PyTorch computed."""

import re
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.common.test_pth import write_legacy, write_zip
from ci.tests.SRFlow.nets import TINY, weights_of
from ci.tests.WDSR.test_official import write_pth
from common import UserError
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.checkpoint.fitting import CheckpointError, load_into
from SRFlow.src.model.RRDBNet import RRDBNet
from SRFlow.src.model.SRFlowNet import UNREAD, Hyper, SRFlowNet, load_weights
from SRFlow.src.model_utils.options import EvalConfig, TrainConfig
from SRFlow.src.model_utils.recipe import make_network
from SRFlow.src.model_utils.util import load_network, read_encoder

HYPER = Hyper(4, 3, 2, 1, (1,), 2, 1, 4)  # as ci/goldens/pth/make_srflow.py builds them with PyTorch
FILES = ("srflow_x4", "srflow_x4_parallel_legacy")
SMALL = TINY[2]
WRITERS = [(write_zip, ""), (write_zip, "module."), (write_legacy, ""), (write_legacy, "module.")]


def load(path, **options) -> SRFlowNet:
    return load_network(EvalConfig(ckpt_path=str(path), **options))[0]


def random_weights(hyper: Hyper) -> dict[str, np.ndarray]:
    """Random arrays by the authors' names."""
    random = np.random.default_rng(5)
    return {name: np.float32(random.normal(0, 0.1, a.shape)) for name, a in weights_of(SRFlowNet(hyper)).items()}


def assert_close(found: Tensor, wanted: np.ndarray) -> None:
    """Within 2e-6 of the largest value, what the goldens ask of float32 at the least."""
    assert found.shape == wanted.shape
    assert np.abs(found.asnumpy() - wanted).max() <= 2e-6 * np.abs(wanted).max()


def assert_holds(network, weights) -> None:
    """Every parameter is the array of its name, but for those that nothing reads."""
    found = weights_of(network)
    assert found.keys() - set(UNREAD) == weights.keys() - set(UNREAD)
    for name in found.keys() & weights.keys() - set(UNREAD):
        np.testing.assert_array_equal(found[name], weights[name], err_msg=name)


# ------------------------------------------------------------------ whole networks


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


@pytest.mark.parametrize(("write", "prefix"), WRITERS)
def test_forms_of_the_file(tmp_path, write, prefix):
    """As PyTorch writes it now and wrote it before 1.6, with and without DataParallel's prefix."""
    weights = random_weights(SMALL)
    path = tmp_path / "40000_G.pth"
    write_pth(path, weights, write, prefix)
    assert_holds(load(path, stack=SMALL.stack), weights)


def test_three_levels_and_a_split(goldens_dir, tmp_path):
    """Weights that the authors' own code computed the golden with, by way of a .pth file."""
    with np.load(goldens_dir / "srflow_4x.npz") as file:
        golden = dict(file)
    weights = {key.removeprefix("state/"): array for key, array in golden.items() if key.startswith("state/")}
    network = load(write_pth(tmp_path / "SRFlow_DF2K_4X.pth", weights), stack=(0, 1))
    assert network.hyper == Hyper(4, 8, 2, 8, (0, 1), 3, 2, 8)
    assert_holds(network, weights)
    picture = network.inverse(
        [Tensor(0 * golden[f"out/eps_{name}"]) for name in ("split", "z")], Tensor(golden["in/lr"])
    )
    assert_close(picture[0], golden["out/sr_heat0"])


@pytest.mark.parametrize("kept", [(), UNREAD[:1], UNREAD])
@pytest.mark.parametrize("width", [1, 5])
def test_what_nothing_reads_is_tolerated_by_name(kept, width):
    """It may be there, or not; and since the authors' code gives it 320 channels in any network, of any shape."""
    weights = random_weights(SMALL)
    for name in UNREAD:
        weights[name] = np.ones((width * 4, 7), np.float32)
        if name not in kept:
            del weights[name]
    network = SRFlowNet(SMALL)
    load_weights(network, weights, "x.pth")
    assert_holds(network, weights)
    assert {parameter.dtype for parameter in network.get_parameters()} == {ms.float32}


def test_it_is_taken_over_where_it_fits():
    weights, network = random_weights(SMALL), SRFlowNet(SMALL)
    load_weights(network, weights, "x.pth")
    for name in UNREAD:
        np.testing.assert_array_equal(weights_of(network)[name], weights[name])


# ------------------------------------------------------------------ the encoder alone


@pytest.mark.parametrize("source", ["srflow_rrdb_x4.pth", "srflow_x4.pth", "srflow_x4_parallel_legacy.pth"])
def test_training_starts_from_an_encoder(goldens_dir, source):
    """The authors' RRDB_*.pth has ESRGAN's names, without a prefix; a whole network has an encoder in it, too."""
    path = goldens_dir / "pth" / source
    options = TrainConfig(rrdb_path=str(path))
    untrained, network = SRFlowNet(HYPER, options.seed), make_network(options, HYPER, from_start=True)
    saved = checkpoint.read(path).weights
    wanted = {f"RRDB.{name.removeprefix('RRDB.')}": saved[name] for name in saved if not name.startswith("flow")}
    first = weights_of(untrained)
    assert len(wanted) == len([name for name in first if name.startswith("RRDB.")])
    assert_holds(network, first | wanted)  # the flow stays as it begins
    assert not np.array_equal(first["RRDB.conv_first.weight"], wanted["RRDB.conv_first.weight"])


@pytest.mark.parametrize(("write", "prefix"), WRITERS)
def test_forms_of_the_encoders_file(tmp_path, write, prefix):
    encoder = RRDBNet(3, 1, 2, 8, np.random.default_rng(0))
    weights = {name: 2 * array + 1 for name, array in weights_of(encoder).items()}
    path = tmp_path / "RRDB_DF2K_8X.pth"
    write_pth(path, weights, write, prefix)
    load_into(encoder, read_encoder(str(path)), source=path)
    assert_holds(encoder, weights)


def test_encoders_file_is_no_network(goldens_dir):
    with pytest.raises(CheckpointError, match=r"srflow_rrdb_x4\.pth is no SRFlow: it has HRconv\.bias, "):
        load(goldens_dir / "pth" / "srflow_rrdb_x4.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_blocks": 3}, r"30 of the network's 102 .*missing in it \(RRDB\.RRDB_trunk\.2\.RDB1\.conv1\.weight"),
        ({"num_blocks": 1, "stack": (0,)}, r"30 of its 72 arrays have no place .*\(RRDB\.RRDB_trunk\.1\."),
        ({"scale": 8}, r"2 of the network's \d+ parameters are missing in it \(RRDB\.upconv3\.weight"),
        ({"scale": 2}, r"2 of its \d+ arrays have no place in the network \(RRDB\.upconv2\.weight"),
        (
            {"growth": 2},
            r"shapes or types differ \(RRDB\.RRDB_trunk\.0\.RDB1\.conv1\.weight: \(1, 3, 3, 3\) float32 there",
        ),
    ],
)
def test_encoder_of_another_size(goldens_dir, change, message):
    options = TrainConfig(rrdb_path=str(goldens_dir / "pth" / "srflow_rrdb_x4.pth"))
    with pytest.raises(CheckpointError, match=message):
        make_network(options, replace(HYPER, **change), from_start=True)


# ------------------------------------------------------------------ what is said when they do not load


PLACES = [
    "RRDB.conv_last.bias",
    "RRDB.RRDB_trunk.1.RDB3.conv5.weight",
    "flowUpsamplerNet.layers.1.actnorm.logs",
    "flowUpsamplerNet.layers.3.invconv.weight",
    "flowUpsamplerNet.layers.7.affine.fFeatures.2.actnorm.bias",
    "flowUpsamplerNet.layers.7.affine.fAffine.4.logs",
]


@pytest.mark.parametrize("place", PLACES)
def test_missing_key_is_named(place):
    weights, network = random_weights(SMALL), SRFlowNet(SMALL)
    before, count = weights_of(network), len(weights)
    del weights[place]
    with pytest.raises(CheckpointError, match=rf"cut\.pth.* 1 of the network's {count} .*missing in it \({place}\)"):
        load_weights(network, weights, "cut.pth")
    assert_holds(network, before)  # nothing was touched


@pytest.mark.parametrize(
    "extra", ["flowUpsamplerNet.f.1.weight", "flowUpsamplerNet.layers.8.actnorm.bias", "RRDB.upconv3.bias", "step"]
)
def test_extra_key_is_named(extra):
    weights = random_weights(SMALL) | {extra: np.zeros(3, np.float32)}
    message = rf"1 of its {len(weights)} arrays have no place in the network \({re.escape(extra)}\)"
    with pytest.raises(CheckpointError, match=message):
        load_weights(SRFlowNet(SMALL), weights, "more.pth")


@pytest.mark.parametrize("place", PLACES)
def test_wrong_shape_is_named(place):
    weights = random_weights(SMALL)
    weights[place] = np.zeros((*weights[place].shape, 2), np.float32)
    with pytest.raises(CheckpointError, match=re.escape(f"{place}: {weights[place].shape}")):
        load_weights(SRFlowNet(SMALL), weights, "bent.pth")


def test_network_that_does_not_tell_its_stack(goldens_dir):
    """Shapes say how many blocks the flow reads, not which."""
    path = goldens_dir / "pth" / "srflow_x4.pth"
    with pytest.raises(
        UserError, match=r"srflow_x4\.pth does not tell which 1 block\(s\) its flow reads: type --stack"
    ):
        load(path)
    with pytest.raises(UserError, match="which 1 block"):
        load(path, stack=(0, 1))
    with pytest.raises(UserError, match=r"blocks from 0 to 1, not \[2\]"):
        load(path, stack=(2,))


def test_checkpoint_of_another_model(tmp_path):
    checkpoint.save(tmp_path / "x2.ckpt", Checkpoint(random_weights(SMALL), {"model": "IRN", "scale": 2}))
    with pytest.raises(UserError, match=r"x2\.ckpt holds IRN, not SRFlow"):
        load(tmp_path / "x2.ckpt")
