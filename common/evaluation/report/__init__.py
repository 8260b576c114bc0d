"""report.html: an evaluation as one self-contained page.

The images are those that were measured, as PNG, pixel for pixel. Every name, path and heading that comes from outside
goes through `escape`.
"""

import base64
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

import cv2
import numpy as np

from common.atomic import replacing
from common.evaluation.table import Table
from common.images import Pair, imresize, read_pair

log = logging.getLogger(__name__)
PAGE_BYTES = 200 * 2**20  # of images, as they are in the page: with more, browsers become slow
COMPRESSION = cv2.IMWRITE_PNG_COMPRESSION, 6
# Words of the headings -> their meaning.
CONVENTIONS = {
    "PSNR-": "PSNR: in dB, of values up to 255; the higher, the nearer to HR.",
    "SSIM-": "SSIM: at most 1; the higher, the nearer to HR; the window is named.",
    "LR-PSNR": "LR-PSNR: PSNR in dB between the result downscaled by bicubic and the LR image.",
    "LR PSNR": "LR PSNR, LR SSIM: between the LR image that the model made and bicubic's.",
    "LPIPS": "LPIPS: a distance of what a trained network sees; the lower, the nearer to HR.",
    "-Y (": "-Y: on luma, not rounded; ITU-R BT.601 unless another is named. A gray file is measured as it is.",
    "-RGB (": "-RGB: on the three colours together.",
    "(crop ": "crop N: a border of N pixels is left out.",
}


class Shown(NamedTuple):
    name: str  # as in the table
    hr: np.ndarray  # (sH, sW, 3), uint8
    lr: np.ndarray | None  # (H, W, 3), uint8; bicubic is made of it, and left out where it is None
    made: Sequence[Path]  # PNG files of the results, for each column of the table's first figure but bicubic

    def layers(self) -> list[bytes]:
        """Return bicubic, the results and HR as PNG files."""
        bicubic = [] if self.lr is None else [_png(imresize(self.lr, self.hr.shape[0] // self.lr.shape[0]))]
        return [*bicubic, *(path.read_bytes() for path in self.made), _png(self.hr)]


def of_pairs(pairs: Iterable[Pair], scale: int, folder: Path) -> Iterator[Shown]:
    """Read, one by one, what `evaluate` measured, with the results that it wrote to `folder`."""
    return (Shown(pair.name, *read_pair(pair, scale), [folder / "SR" / f"{pair.name}.png"]) for pair in pairs)


class Report:
    """The page of one evaluation; without a path nothing is done."""

    def __init__(self, path: Path | None, model: str, checkpoint: str, scale: int) -> None:
        self.path = path
        self.title = f"{model} x{scale}"
        self.facts = {"Model": model, "Checkpoint": checkpoint, "Data": "", "Scale": f"x{scale}"}
        self.facts["Evaluated"] = time.strftime("%Y-%m-%d %H:%M %Z")
        self.room = PAGE_BYTES
        self.sets: list[str] = []
        self.headings: set[str] = set()
        self.sections: list[str] = []

    def add(self, name: str, table: Table, images: Iterable[Shown] = (), samples: int = 1) -> None:
        """Add a set and those of the images that are in its table; of several `samples` the first is shown."""
        if self.path is None:
            return
        self.sets += [] if name in self.sets else [name]
        self.headings |= {figure.name for figure in table.figures}
        # Where an image is in the page: numbers, since names may hold anything.
        anchors = {image: f"set{len(self.sections)}-image{place}" for place, image in enumerate(table.rows)}
        viewers, notes, left_out = {}, [], 0
        for shown in images:
            if shown.name in anchors:
                viewer = _viewer(anchors[shown.name], table, shown)
                if len(viewer) > self.room:
                    left_out += 1
                    continue
                viewers[shown.name] = viewer
                self.room -= len(viewer)
        if viewers and samples > 1:
            notes.append(f"The figures are means over {samples} samples of each image; the first of them is shown.")
        if left_out:
            notes.append(
                f"{len(viewers)} of {len(viewers) + left_out} images are shown, as many as fit into "
                f"{PAGE_BYTES / 2**20:g} MiB, since a larger page would be slow. The others are in the table, and as "
                "files beside this page."
            )
            log.warning("report.html, %s: %s", name, notes[-1])
        elif not viewers:
            notes.append("There are no images of this set.")
        said = "".join(f"<p>{escape(note)}</p>" for note in [*notes, *filter(None, [table.remark()])])
        self.sections.append(
            f'<section class="set"><h2>{escape(name)}</h2><p class="ran">{escape(table.title)}</p>'
            f"{_table(table, {image: anchors[image] for image in viewers})}{said}{''.join(viewers.values())}</section>"
        )
        self._write()

    def _write(self) -> None:
        sets, script = ", ".join(self.sets), _file("page.js")
        facts = (self.facts | {"Data": sets}).items()
        meanings = [meaning for word, meaning in CONVENTIONS.items() if any(word in head for head in self.headings)]
        page = Template(_file("page.html")).substitute(
            title=escape(f"{self.title} on {sets}"),
            facts="".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts),
            conventions="".join(f"<li>{escape(line)}</li>" for line in ["All figures are of 8-bit images.", *meanings]),
            style=_file("page.css"),
            script=script,
            # The page's policy lets this script run, and nothing else.
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            sections="".join(self.sections),
        )
        with replacing(self.path) as temporary:
            temporary.write_bytes(page.encode(errors="backslashreplace"))  # a name need not be UTF-8


def _viewer(anchor: str, table: Table, shown: Shown) -> str:
    """Show the layers of an image: each column of the table's first figure, and HR, two of which are chosen."""
    figure, images, (height, width) = table.figures[0], shown.layers(), shown.hr.shape[:2]
    values = [f": {value:.{figure.digits}f}" for value in table.rows[shown.name][figure.name]]
    labels, last = [*figure.columns, "HR"], len(images) - 1
    layers = [
        f'<div class="pane" data-caption="{escape(label + value)}"><img alt="{escape(f"{shown.name}, {label}")}" '
        f'width="{width}" height="{height}" decoding="async" '
        f'src="data:image/png;base64,{base64.b64encode(image).decode()}"></div>'
        for label, value, image in zip(labels, [*values, ""], images, strict=True)
    ]
    pairs = [pair for way in range(1, last) for pair in ((way - 1, way), (way, last), (0, way))]
    options = [
        f'<option data-left="{left}" data-right="{right}">{escape(f"{labels[left]} | {labels[right]}")}</option>'
        for left, right in dict.fromkeys(pairs)
    ]
    return Template(_file("viewer.html")).substitute(
        anchor=anchor,
        name=escape(shown.name),
        about=escape(f"{width} x {height} pixels; the values are {figure.name}"),
        height=height,
        width=width,
        layers="".join(layers),
        options="".join(options),
    )


def _table(table: Table, links: Mapping[str, str]) -> str:
    """Set figures above their columns, then the images, linked where they are shown, and the mean, not sorted."""
    (first, *_), *rows, mean = table.lines()
    columns = [first, *(column for figure in table.figures for column in figure.columns)]
    columns += ["seconds"] if table.seconds else []
    figures = "".join(
        f'<th scope="colgroup" colspan="{len(figure.columns)}">{escape(figure.name)}</th>' for figure in table.figures
    )
    buttons = "".join(
        f'<th scope="col"><button type="button" data-column="{place}">{escape(column)}</button></th>'
        for place, column in enumerate(columns)
    )
    body = ""
    for place, (name, *cells) in enumerate(rows):
        values = [value for figure in table.figures for value in table.rows[name][figure.name]]
        values += [table.seconds[name]] if table.seconds else []
        shown = f'<a href="#{links[name]}">{escape(name)}</a>' if name in links else escape(name)
        body += f'<tr><th scope="row" data-value="{place}">{shown}</th>'
        for cell, value in zip(cells, values, strict=True):  # what is read, and all digits to sort by, for JavaScript
            body += f'<td data-value="{repr(float(value)).replace("inf", "Infinity")}">{cell}</td>'
        body += "</tr>"
    last = "".join(f"<td>{cell}</td>" for cell in mean[1:])
    room = "<td></td>" if table.seconds else ""
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>'
        f"<thead><tr><td></td>{figures}{room}</tr><tr>{buttons}</tr></thead><tbody>{body}</tbody>"
        f'<tfoot><tr><th scope="row">mean</th>{last}</tr></tfoot></table></div>'
    )


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]), COMPRESSION)[1].tobytes()


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
