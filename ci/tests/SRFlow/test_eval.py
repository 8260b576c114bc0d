"""What SRFlow's eval.py alone has: the likelihood, and the seed's protocol on packed patches."""

import re

import numpy as np
import pytest
from mindspore import Tensor

from ci.tests.specs import BY_NAME, psnr, smooth, write
from ci.tests.test_evaluation import rows_of
from common.images import imresize
from common.mindrecord import PackOptions, PatchRecords, pack
from common.runtime import graph_mode
from SRFlow import eval as evaluation
from SRFlow.src.model.SRFlow import NegativeLogLikelihood


@pytest.fixture
def records(tmp_path):
    """A packed set of three patches."""
    path = tmp_path / "valid" / "DIV2K_X4_valid.mindrecord"
    path.parent.mkdir()
    pack(PackOptions(hr=write(tmp_path / "hr", {"a": smooth(60, 72, 3)}), scale=4, output=path, patch=32, crops=3))
    return path


@pytest.fixture
def run(saved, tmp_path):
    def begin(*words):
        given = [*words, "--ckpt_path", saved["SRFlow"], "--output", tmp_path / "o", "--device_target", "CPU"]
        assert evaluation.main([str(word) for word in given]) == 0
        return tmp_path / "o"

    return begin


def test_likelihood_of_hr(run, tmp_path):
    """By the objective of training, of images with reflection padding to what the network takes."""
    hr = smooth(43, 37, 2)
    out = run("--dataset_GT_path", write(tmp_path / "Some", {"a": hr}), "--heat", 0, "--save_results", "no")
    hr = hr[:40, :36]
    lr, image = imresize(hr, 1 / 4), np.pad(hr, [(0, 0), (0, 4), (0, 0)], mode="reflect")
    lr = np.pad(lr, [(0, 0), (0, 1), (0, 0)], mode="reflect")
    batch = [Tensor((x[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)) for x in (image, lr)]
    with graph_mode(False):
        wanted = NegativeLogLikelihood(BY_NAME["SRFlow"].network()).per_image(*batch).asnumpy().item()
    (row,) = rows_of(out / "Some.csv").values()
    assert row["NLL (bits per pixel, no noise): HR"] == pytest.approx(wanted, abs=1e-4)


def test_the_seeds_lines(run, records, tmp_path, capsys):
    """Of packed patches, which a yml file in the seed's sections names; heat 0 is the inverse of zeros."""
    file, network = tmp_path / "run.yml", BY_NAME["SRFlow"].network()
    file.write_text(f"datasets:\n  val:\n    dataroot: {records}\n    n_max: 2\nheat: 0\n")
    out = run("--opt", file)  # n_max is for the validation while training
    lines, number = capsys.readouterr().out.splitlines(), r"\[-?\d[\d.e-]*\]"
    for place, line in enumerate(lines[:3], 1):
        assert re.fullmatch(rf"Get the number {place} data psnrloss: {number}, ssim_loss: {number}", line)
    assert re.fullmatch(rf"The mean of psnr is: {number}", lines[3])
    assert re.fullmatch(rf"The mean of ssim is: {number}", lines[4])
    assert lines[5:] == [f"written to {out}"]
    wanted = []
    for hr, lr, _ in PatchRecords(records).read():
        image = Tensor((lr[None].transpose(0, 3, 1, 2) / 255).astype(np.float32))
        latents = [Tensor(np.zeros((1, *shape), np.float32)) for shape in network.hyper.latent_shapes(8, 8)]
        with graph_mode(False):
            sr = network.inverse(latents, image)[0].asnumpy()[0].transpose(1, 2, 0)
        wanted.append(psnr(np.rint(sr.clip(0, 1) * 255).astype(np.uint8), hr))
    said = [float(re.search(r"psnrloss: \[(.*?)\]", line)[1]) for line in lines[:3]]
    np.testing.assert_allclose(said, wanted, atol=0.02)  # a value that rounds to its neighbour
    assert float(re.search(r"\[(.*)\]", lines[3])[1]) == pytest.approx(np.mean(said), abs=1e-4)
    rows = rows_of(out / "DIV2K_X4_valid.csv")
    assert [row["PSNR-RGB (crop 0), heat 0: SR"] for row in rows.values()] == pytest.approx(said, abs=1e-5)


@pytest.mark.parametrize("protocol", ["patches", "table"])
def test_either_protocol_of_either_data(run, records, tmp_path, capsys, protocol):
    data = {"patches": write(tmp_path / "Some", {"a": smooth(40, 48)}), "table": records}[protocol]
    words = ("--limit", 1, "--heats", "0,0.5", "--nll", "no", "--save_results", "no", "--protocol", protocol)
    out, said = run("--dataset_GT_path", data, *words), capsys.readouterr().out
    tables = {"patches": {"Some_heat_0.csv", "Some_heat_0.5.csv"}, "table": {"DIV2K_X4_valid.csv"}}[protocol]
    assert {path.name for path in out.glob("*.csv")} == tables
    assert len(re.findall(r"^The mean of ssim is", said, re.M)) == (2 if protocol == "patches" else 0)
    assert ("PSNR-Y (crop 4)" in said) == (protocol == "table")
