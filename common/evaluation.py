"""Pairs of pictures -> a table of named figures (terminal, CSV, Markdown) and pictures to look at.

Every figure is measured twice, of bicubic enlargement and of the network, on 8-bit RGB pictures: what a user would see.
"""

import csv
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import UserError, metrics
from common.atomic import replacing
from common.images import comparison_strip, write_picture
from common.metrics import Convention
from common.pairs import Pair, read_pair
from common.resize import imresize

log = logging.getLogger(__name__)
Compare = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Figure:
    """One column of the table.

    Attributes:
        name: with its convention, "PSNR-Y (crop 2)".
        measure: (sr, hr, lr), uint8 HWC -> value.
        digits: after the point.
    """

    name: str
    measure: Compare
    digits: int = 2


def psnr_figure(convention: Convention) -> Figure:
    """PSNR in dB."""
    return Figure(convention.label("PSNR"), lambda sr, hr, lr: convention.psnr(sr, hr))


def ssim_figure(convention: Convention) -> Figure:
    """SSIM."""
    return Figure(convention.label("SSIM"), lambda sr, hr, lr: convention.ssim(sr, hr), 4)


def lr_psnr_figure(scale: int) -> Figure:
    """PSNR between the SR picture made small again by bicubic and the LR picture: does SR agree with its input?"""
    name = Convention("rgb", 0).label("LR-PSNR")
    return Figure(name, lambda sr, hr, lr: metrics.lr_psnr(sr, lr, scale, channels="rgb", crop=0, rounding="half_up"))


def lpips_figure(distance: Callable[[np.ndarray, np.ndarray], float]) -> Figure:
    """LPIPS, smaller is better."""
    return Figure("LPIPS (AlexNet v0.1)", lambda sr, hr, lr: distance(sr, hr), 4)


@dataclass
class Table:
    """Figures of all pictures of one set: `rows[name][figure] = (bicubic, network)`."""

    title: str
    figures: Sequence[Figure]
    rows: dict[str, dict[str, tuple[float, float]]]
    seconds: dict[str, float]

    def mean(self, figure: str) -> tuple[float, float]:
        """Mean over the pictures, (bicubic, network)."""
        bicubic, network = np.mean([row[figure] for row in self.rows.values()], axis=0)
        return float(bicubic), float(network)

    def lines(self) -> list[list[str]]:
        """The table as text: headings, pictures, mean."""
        heads = [f"{figure.name}: {which}" for figure in self.figures for which in ("bicubic", "SR")]
        body = [[name, *self._texts(row), f"{self.seconds[name]:.2f}"] for name, row in self.rows.items()]
        mean = self._texts({figure.name: self.mean(figure.name) for figure in self.figures})
        return [["picture", *heads, "seconds"], *body, ["mean", *mean, f"{np.mean(list(self.seconds.values())):.2f}"]]

    def _texts(self, row: dict[str, tuple[float, float]]) -> list[str]:
        return [f"{value:.{figure.digits}f}" for figure in self.figures for value in row[figure.name]]

    def console(self) -> str:
        """Aligned columns, the name of a figure above its two."""
        rows = [["picture", *["bicubic", "SR"] * len(self.figures), "seconds"], *self.lines()[1:]]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        above = " " * widths[0]
        for number, figure in enumerate(self.figures):
            left, right = 2 * number + 1, 2 * number + 2
            widths[right] = max(widths[right], len(figure.name) - widths[left] - 2)
            above += "  " + figure.name.rjust(widths[left] + 2 + widths[right])
        texts = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([self.title, above, *texts])

    def markdown(self) -> str:
        """A Markdown table below the title."""
        head, *body = self.lines()
        rows = [head, ["---", *["---:"] * (len(head) - 1)], *body]
        return f"## {self.title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def write(self, folder: Path, stem: str) -> None:
        """`stem.csv` (full precision) and `stem.md`."""
        with replacing(folder / f"{stem}.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.lines()[0])
            for name, row in self.rows.items():
                values = [value for figure in self.figures for value in row[figure.name]]
                writer.writerow([name, *values, self.seconds[name]])
        with replacing(folder / f"{stem}.md") as temporary:
            temporary.write_text(self.markdown(), encoding="utf-8")


def evaluate(
    title: str,
    pairs: Iterable[Pair],
    upscale: Callable[[np.ndarray], np.ndarray],
    figures: Sequence[Figure],
    scale: int,
    pictures: Path | None,
) -> Table:
    """Measure every pair.

    Args:
        title: names the set, the scale and what ran it.
        pairs: the pictures.
        upscale: (h, w, 3) uint8 -> (h * scale, w * scale, 3) uint8.
        figures: columns of the table; the first is written under the pictures of a strip.
        pictures: folder for SR/name.png and strips/name.png; None writes none.

    Raises:
        UserError: two pictures have one name, or a pair cannot be read.
    """
    pairs = list(pairs)
    names = [pair.name for pair in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two pictures of {title} are named {twice[0]}: results are told apart by name, rename one")
    table = Table(title, figures, {}, {})
    for pair in pairs:
        hr, lr = read_pair(pair, scale)
        bicubic = imresize(lr, scale)
        start = time.perf_counter()
        sr = upscale(lr)
        table.seconds[pair.name] = time.perf_counter() - start
        table.rows[pair.name] = {f.name: (f.measure(bicubic, hr, lr), f.measure(sr, hr, lr)) for f in figures}
        before, after = table.rows[pair.name][figures[0].name]
        log.info("%s: %s %.2f, bicubic %.2f", pair.name, figures[0].name, after, before)
        if pictures is not None:
            write_picture(pictures / "SR" / f"{pair.name}.png", sr)
            strip = comparison_strip(
                [
                    ("LR", lr),
                    (f"bicubic\n{before:.2f}", bicubic),
                    (f"SR\n{after:.2f}", sr),
                    (f"HR\n{figures[0].name}", hr),
                ]
            )
            write_picture(pictures / "strips" / f"{pair.name}.png", strip)
    return table
