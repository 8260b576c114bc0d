"""Pairs of images -> figures of 8-bit RGB, by bicubic and the network (terminal, CSV, Markdown), and images."""

import csv
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import metrics
from common.atomic import replacing
from common.images import Pair, comparison_strip, imresize, read_pair, told_apart, write_image
from common.metrics import Convention

log = logging.getLogger(__name__)


class Figure(NamedTuple):
    """One figure of the table, in one column or several."""

    name: str  # with its convention, "PSNR-Y (crop 2)"
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # (sr, hr, lr), uint8 HWC -> value
    digits: int = 2  # after the point
    columns: tuple[str, ...] = ("bicubic", "SR")  # what it is measured of


def psnr_figure(convention: Convention) -> Figure:
    return Figure(convention.label("PSNR"), lambda sr, hr, lr: convention.psnr(sr, hr))


def ssim_figure(convention: Convention) -> Figure:
    return Figure(convention.label("SSIM"), lambda sr, hr, lr: convention.ssim(sr, hr), 4)


def lr_psnr_figure(scale: int, rounding: str = "half_up") -> Figure:
    """Measure SR downscaled by bicubic, rounded as `common.metrics.lr_psnr` says, against the LR image."""
    name = Convention("rgb", 0).label("LR-PSNR")
    return Figure(name, lambda sr, hr, lr: metrics.lr_psnr(sr, lr, scale, channels="rgb", crop=0, rounding=rounding))


def with_lpips(figures: Sequence[Figure], weights: str) -> list[Figure]:
    """Return the figures, and LPIPS behind them: by the weights (AlexNet's and LPIPS's) in a folder; not by ""."""
    if not weights:
        return list(figures)
    from common.metrics.lpips import Lpips

    distance = Lpips.from_files(weights)
    return [*figures, Figure("LPIPS (AlexNet v0.1)", lambda sr, hr, lr: distance(sr, hr), 4)]


def measured_apart(sr: np.ndarray, hr: np.ndarray, lr: np.ndarray) -> float:
    """Stand in the place of `Figure.measure` where a figure takes more than one image."""
    raise NotImplementedError("this figure is not one of a single image")


def diversity(samples: Sequence[np.ndarray]) -> float:
    """Return the standard deviation of each colour value over the samples, in steps of 255: the mean of all values."""
    return float(np.std(np.stack(samples).astype(np.float64), 0).mean())


def measure_samples(
    figures: Sequence[Figure], samples: Iterable[Sequence[np.ndarray]], bicubic: np.ndarray, *of: np.ndarray
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
    """Measure several samples of each column but bicubic's, without the figures that are `measured_apart`.

    All are (sH, sW, 3); `of`: HR and LR. Returns (a row, the means over the samples; their standard deviations).
    """
    row, spreads, samples = {}, {}, list(samples)
    for figure in (figure for figure in figures if figure.measure is not measured_apart):
        scores = [[figure.measure(sr, *of) for sr in found] for found in samples]
        row[figure.name] = (figure.measure(bicubic, *of), *(float(np.mean(values)) for values in scores))
        # Equal values may be infinite.
        spreads[figure.name] = tuple(float(np.std(values)) if len(set(values)) > 1 else 0.0 for values in scores)
    return row, spreads


@dataclass
class Table:
    """Figures of all images of one set."""

    title: str
    figures: Sequence[Figure]
    rows: dict[str, dict[str, tuple[float, ...]]]  # of an image, of a figure: a value for each of its columns
    seconds: dict[str, float]  # left out of the table where it is empty
    # Of a network that draws: standard deviation of the last column over several draws, for the CSV file.
    spreads: dict[str, dict[str, float]] = field(default_factory=dict)

    def mean(self, figure: str) -> tuple[float, ...]:
        return tuple(np.mean([row[figure] for row in self.rows.values()], axis=0).tolist())

    def lines(self) -> list[list[str]]:
        """Return the table as text: headings, images, mean."""

        def line(name: str, row: Mapping[str, tuple[float, ...]], seconds: float) -> list[str]:
            cells = [f"{value:.{figure.digits}f}" for figure in self.figures for value in row[figure.name]]
            return [name, *cells, *([f"{seconds:.2f}"] if self.seconds else [])]

        heads = [f"{figure.name}: {column}" for figure in self.figures for column in figure.columns]
        body = [line(name, row, self.seconds.get(name, 0)) for name, row in self.rows.items()]
        means = {figure.name: self.mean(figure.name) for figure in self.figures}
        last = line("mean", means, np.mean([self.seconds.get(name, 0) for name in self.rows]))
        return [["image", *heads, *(["seconds"] if self.seconds else [])], *body, last]

    def console(self, figures: Sequence[Figure] | None = None, title: str = "") -> str:
        """Return aligned columns of all figures or of some, the name of a figure above its own."""
        part = replace(self, figures=self.figures if figures is None else figures, title=title or self.title)
        columns = [column for figure in part.figures for column in figure.columns]
        head, *body = part.lines()
        rows = [[head[0], *columns, *head[1 + len(columns) :]], *body]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        above, last = " " * widths[0], 0
        for figure in part.figures:
            first, last = last + 1, last + len(figure.columns)
            room = sum(widths[first : last + 1]) + 2 * (last - first)
            widths[last] += max(0, len(figure.name) - room)
            above += "  " + figure.name.rjust(room)
        texts = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([part.title, above, *texts, *filter(None, [part.remark()])])

    def remark(self) -> str:
        """Return what explains an infinite mean; "" where there is none."""
        exact = [name for name, row in self.rows.items() if any(np.inf in row[figure.name] for figure in self.figures)]
        named = ", ".join(exact[:5]) + (" ..." if len(exact) > 5 else "")
        return f"inf: reproduced exactly ({named}); one such image makes the mean inf" if exact else ""

    def write(self, folder: Path, stem: str) -> None:
        """Write `stem.csv` (full precision) and, as a Markdown table below the title, `stem.md`."""
        spread = [figure for figure in self.figures if any(figure.name in row for row in self.spreads.values())]
        heads, *body = self.lines()
        escaped = {"encoding": "utf-8", "errors": "backslashreplace"}  # a name need not be UTF-8
        with replacing(folder / f"{stem}.csv") as temporary, open(temporary, "w", newline="", **escaped) as file:
            writer = csv.writer(file)
            writer.writerow([*heads, *(f"{figure.name}: {figure.columns[-1]}, std over draws" for figure in spread)])
            for name, row in self.rows.items():
                values = [value for figure in self.figures for value in row[figure.name]]
                seconds = [self.seconds[name]] if self.seconds else []
                writer.writerow([name, *values, *seconds, *(self.spreads[name][figure.name] for figure in spread)])
        rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *body]
        remark = f"\n{self.remark()}\n" if self.remark() else ""
        with replacing(folder / f"{stem}.md") as temporary:
            lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
            temporary.write_text(f"## {self.title}\n\n{lines}{remark}", **escaped)


def evaluate(
    title: str,
    pairs: Iterable[Pair],
    upscale: Callable[[np.ndarray], np.ndarray],
    figures: Sequence[Figure],
    scale: int,
    folder: Path | None,
    share: Callable[[list[Pair]], list[Pair]] = list,
) -> Table:
    """Measure every pair, or this worker's `share` of them; the first figure is written under the images of a strip.

    `upscale`: (h, w, 3) uint8 -> (h * scale, w * scale, 3) uint8; `folder`: for SR/ and strips/, or None.
    """
    table = Table(title, figures, {}, {})
    for pair in share(told_apart(title, pairs)):
        hr, lr = read_pair(pair, scale)
        bicubic = imresize(lr, scale)
        start = time.perf_counter()
        sr = upscale(lr)
        table.seconds[pair.name] = time.perf_counter() - start
        table.rows[pair.name] = {f.name: (f.measure(bicubic, hr, lr), f.measure(sr, hr, lr)) for f in figures}
        before, after = table.rows[pair.name][figures[0].name]
        log.info("%s: %s %.2f, bicubic %.2f", pair.name, figures[0].name, after, before)
        if folder is not None:
            write_image(folder / "SR" / f"{pair.name}.png", sr)
            strip = {"LR": lr, "bicubic": bicubic, "SR": sr, "HR": hr}
            write_image(folder / "strips" / f"{pair.name}.png", captioned_strip(strip, figures[0], before, after))
    return table


def captioned_strip(images: Mapping[str, np.ndarray], figure: Figure, *values: float) -> np.ndarray:
    """Lay LR | bicubic | SR ... | HR side by side, captioned; those between with values, the last with their name."""
    lines = "", *(f"\n{value:.2f}" for value in values), f"\n{figure.name}"
    captions = [caption + line for caption, line in zip(images, lines, strict=True)]
    return comparison_strip(list(zip(captions, images.values(), strict=True)))
