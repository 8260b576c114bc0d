"""The ONNX graph against the authors' network; export.py as a user starts it, its files run by other programs."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import Tensor, load, nn

from ci.tests.CSNLN import nets
from ci.tests.CSNLN.nets import batch
from ci.tests.CSNLN.use import saved, used  # noqa: F401
from common import UserError
from common.checkpoint import load_into
from common.export import onnx_writer
from CSNLN import export
from CSNLN.src import graphs
from CSNLN.src.attention import CrossScaleAttention, NonLocalAttention
from CSNLN.src.CSNLN import CSNLN, Hyper
from CSNLN.src.official import official_name

WHOLE, LEAST = 2**40, 1  # bytes: all queries at once, one row of them
SOME = 30000  # at x2 3 rows of 8, so that the last block begins within the one before


def run(*arguments):
    assert export.main([*map(str, arguments), "--device_target", "CPU"]) == 0


def close(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("memory", [WHOLE, SOME, LEAST])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_graph_is_the_authors_network(goldens_dir, scale, memory):
    golden = np.load(goldens_dir / f"csnln_x{scale}.npz")
    weights = {name.removeprefix("state/"): golden[name] for name in golden.files if name.startswith("state/")}
    hyper = Hyper(scale, n_feats=8, depth=weights["tail.0.weight"].shape[1] // 8)
    network = CSNLN(hyper)
    load_into(network, weights, source="golden", names=official_name)
    data = graphs.onnx_bytes(network, memory, len(golden["in/lr"]))
    onnx.checker.check_model(data, full_check=True)
    session = onnxruntime.InferenceSession(data)
    close(session.run(["sr_image"], {"lr_image": golden["in/lr"]})[0], golden["out/sr"])


@pytest.mark.parametrize(
    ("kind", "memory", "rows"),
    [
        ("in", 4 * 2 * 3 * 10 * 80, 3),  # 2 tables of 3 rows of 10 queries and 80 keys
        ("in", 4 * 2 * 3 * 10 * 80 - 1, 2),
        ("in", 1, 1),
        ("in", 2**40, 8),
        ("cross", 4 * 5 * (3 + 2) * 10 * 80, 3),  # 5 tables, and a row more at each side
        ("cross", 4 * 5 * (3 + 2) * 10 * 80 - 1, 2),
        ("cross", 1, 1),
        ("cross", 2**40, 8),
    ],
)
def test_rows_of_a_block_follow_the_memory(kind, memory, rows):
    graph, cell, halo = (
        onnx_writer.Graph([]),
        *{"in": (NonLocalAttention, 0), "cross": (CrossScaleAttention, 1 + 1)}[kind],
    )
    held = memory // (4 * graphs.TABLES[cell]["onnx"])
    found = graphs.rows_of(*(graph.ints([length]) for length in (8, 10, 80)), held, halo)
    output = onnx.helper.make_tensor_value_info(found.name, onnx.TensorProto.INT64, None)
    made = onnx.helper.make_graph(graph.nodes, "rows", [], [output], list(graph.constants.values()))
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    assert onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})[0] == rows


def profile(network, memory, picture, folder):
    """What ONNX Runtime says it ran, in order: (name of the node, bytes of its result)."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "run")
    session = onnxruntime.InferenceSession(graphs.onnx_bytes(network, memory), options)
    session.run(None, {"lr_image": picture})
    with open(session.end_profiling(), encoding="utf-8") as file:
        events = [event for event in json.load(file) if event["name"].endswith("_kernel_time")]
    events.sort(key=lambda event: event["ts"])
    return [(event["name"], int(event["args"].get("output_size", 0))) for event in events]


def test_no_table_is_larger_than_its_block(used, tmp_path):  # noqa: F811
    """One row at a time, nothing is as large as the table of all queries, but at most the enlarged features, of which
    ONNX Runtime makes 16 where there are fewer."""
    largest = {memory: max(size for _, size in profile(used[2], memory, batch(1, 24, 24), tmp_path))
               for memory in (WHOLE, LEAST)}  # fmt: skip
    assert largest[WHOLE] >= 4 * 576 * 576
    assert largest[LEAST] <= 4 * (4 * 576) * 16


def test_an_estimate_is_read_before_the_next_is_made(tmp_path):
    """So that the memory does not grow with the depth: the sums of the last convolution alternate with the cells."""
    network = nets.shaken(Hyper(2, n_feats=2, depth=4))
    nodes = onnx.load_model_from_string(graphs.onnx_bytes(network, WHOLE)).graph.node
    sums = [node.name for node in nodes if any(name.startswith("tail.0.weight_") for name in node.input)]
    ran = [name.split("_")[:2] for name, _ in profile(network, WHOLE, batch(1, 4, 4), tmp_path)]
    places = [ran.index(name.split("_")) for name in sums]
    loops = [place for place, (kind, *_) in enumerate(ran) if kind == "Loop"]  # two in a cell
    assert (len(places), len(loops)) == (4, 8)
    for time in range(3):
        assert loops[2 * time + 1] < places[time] < loops[2 * time + 2]


def test_onnx(saved, used, tmp_path):  # noqa: F811
    """At sizes that were never compared, some of which the attention cannot divide."""
    run("--ckpt_file", saved[3], "--file_name", tmp_path / "net", "--file_format", "ONNX", "--batch_size", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert session.get_inputs()[0].shape == [2, 3, "height", "width"]
    assert session.get_outputs()[0].shape == [2, 3, "3*height", "3*width"]
    lr = batch(2, 7, 11)
    padded = np.pad(lr, ((0, 0), (0, 0), (0, 2), (0, 1)), mode="reflect")
    wanted = used[3](Tensor(padded)).asnumpy()[:, :, :21, :33]
    close(session.run(["sr_image"], {"lr_image": lr})[0], wanted)
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert (said["model"], said["scale"], said["source"]) == ("CSNLN", "3", str(saved[3]))
    assert json.loads(said["hyper"]) == {"scale": 3, "n_feats": 4, "depth": 2}
    assert len(said["digest"]) == 64


def test_a_graph_that_answers_otherwise_is_not_written(saved, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(graphs, "OVERLAP", 5.9)
    with pytest.raises(UserError, match=r"differs from the network .* nothing was written"):
        run("--ckpt_file", saved[2], "--file_name", tmp_path / "net", "--file_format", "ONNX")
    assert not list(tmp_path.iterdir())


def test_mindir(saved, used, tmp_path):  # noqa: F811
    run("--ckpt_file", saved[2], "--file_name", tmp_path / "net.mindir", "--lr_height", 8, "--lr_width", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["net.mindir"]
    lr = batch(1, 8, 10)
    found = nn.GraphCell(load(str(tmp_path / "net.mindir")))(Tensor(lr)).asnumpy()
    close(found, used[2](Tensor(lr)).asnumpy())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--file_format", "ONX"], "did you mean 'ONNX'"),
        (["--file_format", "AIR"], "AIR is written only where MindSpore has an Ascend backend"),
        (["--lr_height", "7"], "multiples of 2: --lr_height 7 --lr_width 48"),
        (["--ckpt_file", "/nope.ckpt"], "checkpoint not found: /nope.ckpt"),
        (["--scale", "4"], "has scale 2, not 4"),
        (["--batch_size", "0"], "batch_size must be 1 or more"),
        (["--attention_memory", "0"], "attention_memory must be 1 or more"),
        (["--file_format", "ONNX", "--file_name", "/proc/nope/x"], "cannot write to /proc/nope"),
    ],
)
def test_mistakes_get_one_sentence(saved, tmp_path, monkeypatch, words, sentence):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        export.main(["--ckpt_file", str(saved[2]), "--device_target", "CPU", *words])
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
