"""CSNLN's ONNX graph: the authors' network with any memory for its attention, of which no table is larger."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from ci.tests.CSNLN import nets
from ci.tests.CSNLN.nets import batch
from common import UserError
from common.checkpoint import load_into
from CSNLN import export
from CSNLN.src import graphs
from CSNLN.src.CSNLN import CSNLN, Hyper
from CSNLN.src.official import official_name

WHOLE, LEAST = 2**40, 1  # bytes: all queries at once, one row of them
SOME = 30000  # at x2 3 rows of 8, so that the last block begins within the one before


def close(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("memory", [WHOLE, SOME, LEAST])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_graph_is_the_authors_network(goldens_dir, scale, memory, fixed):
    """Of one size, it has no loop, and no length that is computed in the graph."""
    golden = np.load(goldens_dir / f"csnln_x{scale}.npz")
    weights = {name.removeprefix("state/"): golden[name] for name in golden.files if name.startswith("state/")}
    hyper = Hyper(scale, n_feats=8, depth=weights["tail.0.weight"].shape[1] // 8)
    network = CSNLN(hyper)
    load_into(network, weights, source="golden", names=official_name)
    count, _, *sides = golden["in/lr"].shape
    data = graphs.onnx_bytes(network, memory, count, *(sides if fixed else ()))
    onnx.checker.check_model(data, full_check=True)
    operators = {node.op_type for node in onnx.load_model_from_string(data).graph.node}
    assert operators.isdisjoint({"Loop", "Shape", "Mod"}) if fixed else "Loop" in operators
    session = onnxruntime.InferenceSession(data)
    close(session.run(["sr_image"], {"lr_image": golden["in/lr"]})[0], golden["out/sr"])


def profile(network, memory, image, folder):
    """What ONNX Runtime says it ran, in order: (name of the node, bytes of its result)."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "run")
    session = onnxruntime.InferenceSession(graphs.onnx_bytes(network, memory), options)
    session.run(None, {"lr_image": image})
    with open(session.end_profiling(), encoding="utf-8") as file:
        events = [event for event in json.load(file) if event["name"].endswith("_kernel_time")]
    events.sort(key=lambda event: event["ts"])
    return [(event["name"], int(event["args"].get("output_size", 0))) for event in events]


def test_no_table_is_larger_than_its_block(tmp_path):
    """One row at a time, nothing is as large as the table of all queries, but at most the upscaled features, of which
    ONNX Runtime makes 16 where there are fewer."""
    largest = {memory: max(size for _, size in profile(nets.shaken(), memory, batch(1, 24, 24), tmp_path))
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


def test_onnx_of_one_size(saved, tmp_path):
    words = ["--ckpt_file", str(saved["CSNLN"]), "--file_name", str(tmp_path / "net"), "--device_target", "CPU"]
    assert export.main([*words, "--file_format", "ONNX", "--height", "6", "--width", "8"]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert [port.shape for port in (*session.get_inputs(), *session.get_outputs())] == [[1, 3, 6, 8], [1, 3, 12, 16]]
    close(session.run(None, {"lr_image": batch(1, 6, 8)})[0], nets.restored(nets.shaken(), batch(1, 6, 8)))


def test_a_graph_that_answers_otherwise_is_not_written(saved, tmp_path, monkeypatch):
    words = ["--ckpt_file", str(saved["CSNLN"]), "--file_name", str(tmp_path / "net"), "--device_target", "CPU"]
    for more in ((), ("--file_format", "ONNX")):
        with pytest.raises(UserError, match="multiples of 2: --lr_height 7 --lr_width 48"):
            export.main([*words, "--height", "7", *more])
    monkeypatch.setattr(graphs, "OVERLAP", 5.9)
    with pytest.raises(UserError, match=r"differs from the network .* nothing was written"):
        export.main([*words, "--file_format", "ONNX"])
    assert not list(tmp_path.iterdir())
