"""Pairs of images -> figures of 8-bit RGB, by bicubic and the network (terminal, CSV, Markdown), and images."""

import csv
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError, metrics
from common.atomic import replacing
from common.images import Pair, comparison_strip, imresize, read_pair, told_apart, write_image
from common.metrics import Convention

log = logging.getLogger(__name__)


class Figure(NamedTuple):
    """One figure of the table, in one column or several."""

    name: str  # with its convention, "PSNR-Y (crop 2)"
    measure: Callable[..., float] | None  # (sr, hr, lr), uint8 HWC -> value; None: the caller adds it to the rows
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


def diversity(samples: Sequence[np.ndarray]) -> float:
    """Return the standard deviation of each colour value over the samples, in steps of 255: the mean of all values."""
    return float(np.std(np.stack(samples).astype(np.float64), 0).mean())


@dataclass
class Table:
    """Figures of all images of one set."""

    title: str
    figures: Sequence[Figure]
    # Of an image, of a figure: a value for each of its columns.
    rows: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # of an image; no column where it is empty
    # As `rows`: standard deviations over the samples of an image, if several; the last column's go to the CSV file.
    spreads: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)

    def measure(
        self,
        name: str,
        columns: Iterable[Sequence[np.ndarray]],
        hr: np.ndarray,
        lr: np.ndarray | None,
        figures: Sequence[Figure] = (),
    ) -> None:
        """Add these figures of an image, by default all that have a `measure`, to its row.

        `columns` are the samples (sH, sW, 3) of each column, of which the row has the means.
        """
        row, columns = self.rows.setdefault(name, {}), list(columns)
        for figure in figures or [figure for figure in self.figures if figure.measure]:
            try:
                scores = [[figure.measure(sr, hr, lr) for sr in samples] for samples in columns]
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
            row[figure.name] = tuple(float(np.mean(values)) for values in scores)
            if any(len(samples) > 1 for samples in columns):
                spread = tuple(float(np.std(v)) if len(set(v)) > 1 else 0.0 for v in scores)  # equal ones may be inf
                self.spreads.setdefault(name, {})[figure.name] = spread

    def log_first(self, name: str) -> None:
        """Log the first figure of an image."""
        first, values = self.figures[0], self.rows[name][self.figures[0].name]
        said = ", ".join(f"{c} {v:.{first.digits}f}" for c, v in zip(first.columns, values, strict=True))
        log.info("%s: %s %s", name, first.name, said)

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
                writer.writerow([name, *values, *seconds, *(self.spreads[name][figure.name][-1] for figure in spread)])
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
    table = Table(title, figures)
    for pair in share(told_apart(title, pairs)):
        hr, lr = read_pair(pair, scale)
        bicubic = imresize(lr, scale)
        start = time.perf_counter()
        sr = upscale(lr)
        table.seconds[pair.name] = time.perf_counter() - start
        table.measure(pair.name, [[bicubic], [sr]], hr, lr)
        table.log_first(pair.name)
        if folder is not None:
            write_samples(folder, pair.name, figures[0], {"SR": [sr]}, bicubic, hr, lr)
    return table


def write_samples(
    folder: Path,
    name: str,
    figure: Figure,
    samples: Mapping[str, Sequence[np.ndarray]],
    bicubic: np.ndarray,
    hr: np.ndarray,
    lr: np.ndarray,
) -> None:
    """Write an image's samples, and a strip: LR | bicubic | the first sample of each column | HR, with its figure.

    `samples`: those of the figure's columns behind bicubic's, by the sub-folder in which they are written.
    """
    for place, found in samples.items():
        for number, sr in enumerate(found, 1):
            write_image(sample_path(folder, place, name, number, len(found)), sr)
    shown = [bicubic, *(found[0] for found in samples.values())]
    captions = [f"{way}\n{figure.measure(sr, hr, lr):.2f}" for way, sr in zip(figure.columns, shown, strict=True)]
    strip = [("LR", lr), *zip(captions, shown, strict=True), (f"HR\n{figure.name}", hr)]
    write_image(folder / "strips" / f"{name}.png", comparison_strip(strip))


def sample_path(folder: Path, place: str, name: str, number: int, count: int) -> Path:
    """Return folder/place/baby.png, or of `count` samples baby_1.png ..."""
    return folder / place / (f"{name}_{number}.png" if count > 1 else f"{name}.png")
