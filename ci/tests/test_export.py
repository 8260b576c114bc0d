"""export.py of the five: every graph, run by other programs at sizes that were never compared, is the network; weights
by the authors' names."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import Tensor, load, nn
from safetensors import safe_open

from ci.tests.clone import ROOT
from ci.tests.CSNLN import nets as csnln
from ci.tests.naive import normal
from ci.tests.specs import BY_NAME, weights_of
from ci.tests.SRDiff import nets as srdiff
from ci.tests.training import assert_same
from common import UserError
from common.runtime import graph_mode
from SRDiff.src.model_utils.official import CONSTANTS
from WDSR.src.model import WDSR, Hyper

rng = np.random.default_rng(0)


def images(height, width, count):
    return rng.random((count, 3, height, width), np.float32)


def wdsr(network, height, width, count, white=255):
    """Graph -> ({input: values}, {output: values}), told by the training form; `white` is 1 in ONNX."""
    lr = images(height, width, count)
    found = network(Tensor(255 * lr)).asnumpy()
    return {"": ({"lr_image": lr * np.float32(white)}, {"sr_image": found * (white / 255)})}


def csnln_graph(network, height, width, count, white=1):
    lr = images(height, width, count)
    return {"": ({"lr_image": lr}, {"sr_image": csnln.restored(network, lr)})}


def irn(network, height, width, count, white=1):
    hr, lr = images(2 * height, 2 * width, count), images(height, width, count)
    z = rng.standard_normal((count, 9, height, width), np.float32)
    restored = network.inverse(Tensor(np.concatenate([lr, z], 1)))[0].asnumpy()
    return {
        "downscale": ({"hr_image": hr}, {"lr_image": network(Tensor(hr)).asnumpy()[:, :3]}),
        "upscale": ({"lr_image": lr, "z": z}, {"hr_image": restored}),
    }


def srflow(network, height, width, count, white=1):
    hr, lr = images(4 * height, 4 * width, count), images(height, width, count)
    shapes = network.hyper.latent_shapes(height, width)
    latents = [0.8 * rng.standard_normal((count, *shape), np.float32) for shape in shapes]
    with graph_mode(False):
        decoded = network.inverse([Tensor(latent) for latent in latents], Tensor(lr))[0].asnumpy()
        encoded, logdet = network.forward(Tensor(hr), Tensor(lr))
    names = [f"latent_{number}" for number in range(len(latents))]
    found = {name: latent.asnumpy() for name, latent in zip(names, encoded, strict=True)}
    return {
        "decode": ({"lr_image": lr, **dict(zip(names, latents, strict=True))}, {"hr_image": decoded}),
        "encode": ({"hr_image": hr, "lr_image": lr}, {**found, "logdet": logdet.asnumpy()}),
    }


def srdiff_graphs(network, height, width, count, white=255):
    """In float64."""
    unit, x = images(height, width, count), normal(count, 3, 4 * height, 4 * width)
    lr = 2 * unit - 1
    t, weights = np.arange(3, 3 + count, dtype=np.float32), srdiff.exact(network)
    features = srdiff.read(srdiff.encode(weights, network.hyper, lr)[0])
    told = srdiff.transposed(features, weights, "denoise_fn.cond_proj", 4).astype(np.float32)
    eps = srdiff.predict(weights, network.hyper, x, t, features)
    return {
        "encoder": ({"lr_image": unit if white == 1 else lr}, {"cond": told}),
        "predictor": ({"x": x, "t": t, "cond": told}, {"eps": eps}),
    }


BESIDES = {  # arrays of the authors' files that are no parameters here
    "SRDiff": CONSTANTS,
    "CSNLN": ("SEM.multi_source_projection.up_attention.escape_NaN",),
}
GRAPHS = {"WDSR": wdsr, "IRN": irn, "SRFlow": srflow, "SRDiff": srdiff_graphs, "CSNLN": csnln_graph}
SIDES = {"SRFlow": (6, 10), "SRDiff": (4, 14)}  # in twos; the others: any


@pytest.fixture
def export(saved, tmp_path):
    """export(spec, *words): its files are named net* in `tmp_path`."""

    def run(spec, *words):
        given = ["--checkpoint", saved[spec.name], "--file_name", tmp_path / "net", "--device_target", "CPU"]
        assert spec.main("export", *given, *words) == 0

    return run


def assert_close(found, wanted):
    """A log-determinant is the sum of a map of each level."""
    wanted = dict(wanted)
    if (logdet := wanted.pop("logdet", None)) is not None:
        maps = found[len(wanted) :]
        np.testing.assert_allclose(sum(x.sum((1, 2, 3), dtype=np.float64) for x in maps), logdet, rtol=1e-5)
    for one, (name, other) in zip(found, wanted.items(), strict=False):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max(), err_msg=name)


def test_onnx(spec, export, saved, tmp_path):
    export(spec, "--file_format", "ONNX")
    network = spec.network()
    small = (4, 6) if spec.name == "SRDiff" else (2, 4)
    for count, (height, width) in ((1, SIDES.get(spec.name, (7, 5))), (3, small)):
        graphs = GRAPHS[spec.name](network, height, width, count, 1)
        files = {f"net_{name}.onnx" if name else "net.onnx": graph for name, graph in graphs.items()}
        assert {path.name for path in tmp_path.iterdir()} == set(files)
        for file, (inputs, outputs) in files.items():
            session = onnxruntime.InferenceSession(tmp_path / file)
            assert [port.name for port in session.get_inputs()] == list(inputs)
            names = [port.name for port in session.get_outputs()]
            assert [name for name in names if "logdet" not in name] == [name for name in outputs if name != "logdet"]
            assert_close(session.run(None, inputs), outputs)
    for name, ports in graphs.items():
        path = tmp_path / (f"net_{name}.onnx" if name else "net.onnx")
        said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert (said["model"], said["scale"], said["source"]) == (spec.name, str(spec.scale), str(saved[spec.name]))
        assert said.get("graph", "") == name
        assert len(said["digest"]) == 64
        for kind, arrays in zip(("inputs", "outputs"), ports, strict=True):
            found = {port.pop("name"): port for port in json.loads(said[kind])}
            assert [name for name in found if "logdet" not in name] == [name for name in arrays if name != "logdet"]
            for port, about in found.items():
                image = {"layout": "NCHW", "colour": "RGB", "range": [0, 1]}
                assert about == image if port.endswith("_image") else len(about["meaning"]) > 10


@pytest.mark.parametrize("weights", sorted(ROOT.glob("*/weights/*.ckpt")), ids=lambda path: path.stem)
def test_demo_weights_run_in_onnx_runtime(weights, tmp_path):
    """export.py compares each graph with the network, and an error says by how much they differ."""
    spec = BY_NAME[weights.parents[1].name]
    words = f"--{spec.checkpoint}", weights, "--file_format", "ONNX", "--file_name", tmp_path / "net"
    assert spec.main("export", *words, "--device_target", "CPU") == 0
    assert len(list(tmp_path.iterdir())) == len(spec.graphs)


def test_mindir(spec, export, tmp_path):
    """`--file_name` may have the ending already; the batch size is the graph's; one graph at a time."""
    graph = spec.graphs[-1]
    height, width = SIDES.get(spec.name, (8, 10))
    words = ["--lr_height", height, "--lr_width", width] if spec.name == "CSNLN" else []
    words += ["--graph", graph] if graph else []
    export(spec, "--batch_size", 2, "--file_name", tmp_path / "net.mindir", *words)
    (path,) = tmp_path.iterdir()
    assert path.name == (f"net_{graph}.mindir" if graph else "net.mindir")
    inputs, outputs = GRAPHS[spec.name](spec.network(), height, width, 2)[graph]
    found = nn.GraphCell(load(str(path)))(*map(Tensor, inputs.values()))
    assert_close([part.asnumpy() for part in (found if isinstance(found, tuple) else (found,))], outputs)


def arrays_of(path):
    with safe_open(path, framework="np") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def test_weights_by_the_authors_names(spec, export, tmp_path):
    """Every array of ours, float32, and what their files have besides; our programs read it without a word more."""
    export(spec, "--file_format", "SAFETENSORS")
    found, said = arrays_of(tmp_path / "net.safetensors")
    network, about = spec.network(), json.loads(said["__meta__"])
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert (about["model"], about["scale"]) == (spec.name, spec.scale)
    assert type(network.hyper)(**about["hyper"]) == network.hyper
    ours = weights_of(network)
    assert found.keys() - ours.keys() == set(BESIDES.get(spec.name, ()))
    assert_same({name: array for name, array in found.items() if name in ours}, ours)
    words = "--checkpoint", tmp_path / "net.safetensors", "--file_name", tmp_path / "again.safetensors"
    export(spec, "--file_format", "SAFETENSORS", *words)
    assert_same(arrays_of(tmp_path / "again.safetensors")[0], found)


def test_ychfans_names(tmp_path):
    """WDSR's other authors have one body, whose first entry is the head, its last the tail."""
    hyper = Hyper(num_features=8, num_blocks=1, variant="A", expand=4.0, res_scale=0.5, normalization="ychfan")
    weights = weights_of(WDSR(hyper))
    place = BY_NAME["WDSR"].save(tmp_path / "x.ckpt", weights, hyper=hyper.__dict__)
    words = "--checkpoint", place, "--file_name", tmp_path / "y", "--file_format", "SAFETENSORS"
    assert BY_NAME["WDSR"].main("export", *words, "--device_target", "CPU") == 0
    places = {
        "head.0": "body.0",
        "body.0.body.0": "body.1.body.0",
        "body.0.body.2": "body.1.body.2",
        "tail.0": "body.2",
    }
    parts = {name: name.rpartition(".")[::2] for name in weights}
    theirs = {f"{places.get(cell, cell)}.{end}": weights[name] for name, (cell, end) in parts.items()}
    assert_same(arrays_of(tmp_path / "y.safetensors")[0], theirs)


def test_what_cannot_be_written(spec, export, tmp_path):
    with pytest.raises(UserError, match="AIR is written only where MindSpore has an Ascend backend"):
        export(spec, "--file_format", "AIR")
    with pytest.raises(UserError, match="did you mean 'ONNX'"):
        export(spec, "--file_format", "ONX")
    assert not list(tmp_path.iterdir())
