"""The notebook of ci/notebook, without Jupyter: its code cells run in one namespace, in order."""

import json

import matplotlib
import numpy as np


def test_tour(root):
    matplotlib.use("Agg")
    cells = json.loads((root / "ci/notebook/tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(cells) <= 8
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "strip the outputs"
    found = {}
    for cell in code:
        exec("".join(cell["source"]), found)
    scores = found["scores"]
    assert scores["IRN, restored"] > scores["WDSR x2"] > scores["bicubic x2"]
    flat, sharp = (found["images"][f"SRFlow x4, heat {heat}"] for heat in (0, 0.8))
    assert np.diff(sharp.astype(float), axis=1).std() > np.diff(flat.astype(float), axis=1).std()
    assert len(found["figure"].axes) == len(found["images"])
    found["plt"].close("all")
