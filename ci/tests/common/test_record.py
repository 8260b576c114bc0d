"""metrics.csv and curve.png: what is written is read back, a resumed run forgets what it must, the curve is true."""

import csv
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from common.training.record import Record, read_rows

ORANGE = (200, 80, 30)


def content(folder):
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_rows_and_new_columns(tmp_path):
    with Record(tmp_path) as record:
        assert content(tmp_path) == [["step", "loss", "learning_rate", "gradient_norm", "seconds_per_step"]]
        record.add(10, {"loss": 1.5, "learning_rate": 1e-4})
        record.add(10, {"PSNR-Y (crop 2)": 30.25})
        record.add(20, {"loss": 0.1 + 0.2, "learning_rate": 5e-5})
    assert content(tmp_path) == [
        ["step", "loss", "learning_rate", "PSNR-Y (crop 2)"],
        ["10", "1.5", "0.0001", ""],
        ["10", "", "", "30.25"],
        ["20", "0.30000000000000004", "5e-05", ""],
    ]
    assert record.series("loss") == ([10, 20], [1.5, 0.1 + 0.2]), "every digit"


def test_resumed_run_forgets_later_rows(tmp_path):
    with Record(tmp_path) as record:
        for step in (5, 10, 15, 20):
            record.add(step, {"loss": float(step)})
        record.add(20, {"PSNR": 1.0})
    with Record(tmp_path, 10) as record:
        assert content(tmp_path) == [["step", "loss"], ["5", "5.0"], ["10", "10.0"]]
        record.add(15, {"loss": 7.0})
    assert content(tmp_path)[3:] == [["15", "7.0"]]
    with Record(tmp_path):
        assert len(content(tmp_path)) == 1, "a run from the start has no rows"


@pytest.mark.parametrize("cut", [1, 2, 4, 6, 8])
def test_line_that_a_kill_cut_is_left_out(tmp_path, cut):
    """Whatever is left of `120,0.25`, it must not be taken for step 12, nor for a loss of 0.2."""
    (tmp_path / "metrics.csv").write_bytes(b"step,loss\r\n110,0.5\r\n120,0.25\r\n"[: -1 - cut])
    assert read_rows(tmp_path / "metrics.csv") == [{"step": "110", "loss": "0.5"}]
    with Record(tmp_path, 120):
        assert content(tmp_path) == [["step", "loss"], ["110", "0.5"]]


def test_curve_shows_the_loss_above_the_score(tmp_path):
    """A falling loss on a logarithmic scale is a straight line where it falls by a factor; the score rises below it."""
    with Record(tmp_path) as record:
        for step in range(0, 41):
            record.add(step, {"loss": 100 * 0.8**step, "learning_rate": 1.0})
            if step % 10 == 0:
                record.add(step, {"PSNR-Y (crop 2)": 30 + step / 10})
        path = record.draw()
    assert path == tmp_path / "curve.png"
    image = Image.open(path)
    assert image.size == (800, 580)
    line = np.argwhere(np.abs(np.asarray(image.convert("RGB")).astype(int) - ORANGE).max(-1) <= 40)
    upper, lower = line[line[:, 0] < 270], line[line[:, 0] > 290]
    fall, rise = (np.polyfit(part[:, 1], part[:, 0], 1) for part in (upper, lower))
    assert fall[0] > 0.15, "falls (y points down)"
    assert np.abs(np.polyval(fall, upper[:, 1]) - upper[:, 0]).max() < 6, "straight: the scale is logarithmic"
    assert rise[0] < -0.15, "rises"


def test_heats_share_a_panel(tmp_path, monkeypatch):
    """SRFlow's PSNR at several heats: a line each in one panel, below that of the loss."""
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *rest, **more: drawn.append(self) or save(self, *rest, **more))
    with Record(tmp_path) as record:
        for step in range(3):
            heats = {f"PSNR-RGB (crop 4), heat {heat}": 30 + step - heat for heat in (0, 0.5, 0.9)}
            record.add(step, {"loss": 1.0, "log-likelihood": 2.0, **heats})
    *_, psnr = drawn[-1].axes
    assert [axis.get_ylabel() for axis in drawn[-1].axes] == ["loss", "log-likelihood", "PSNR-RGB (crop 4)"]
    assert [line.get_ydata()[0] for line in psnr.get_lines()] == [30, 29.5, 29.1]
    assert [text.get_text() for text in psnr.get_legend().get_texts()] == ["heat 0", "heat 0.5", "heat 0.9"]


def test_no_curve_without_numbers_or_matplotlib(tmp_path, monkeypatch):
    record = Record(tmp_path)
    assert record.draw() is None
    for step, loss in enumerate((-3.0, float("nan"), 0.5, float("inf"), 0.25)):
        record.add(step, {"loss": loss})
    assert record.series("loss") == ([0, 2, 4], [-3.0, 0.5, 0.25])
    assert record.draw() is not None, "a likelihood may be negative: no logarithm then"
    (tmp_path / "curve.png").unlink()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert record.draw() is None
    assert not (tmp_path / "curve.png").exists()
