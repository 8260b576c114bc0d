"""report.html: an evaluation as one page to look at, which needs no network and no other file.

It holds the tables, sorted by a click on a column, and of each image bicubic, SR and HR, two at a time on the sides
of a divider. The images are those that were measured, as PNG, pixel for pixel.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from common import UserError
from common.atomic import replacing
from common.evaluation.report import page
from common.evaluation.table import Table
from common.images import Pair, imresize, read_pair

log = logging.getLogger(__name__)
PAGE_BYTES = 200 * 2**20  # of images, as they are in the page: with more, browsers become slow
COMPRESSION = cv2.IMWRITE_PNG_COMPRESSION, 6
# What stands in the headings -> what it means.
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
    """One image of the page.

    Attributes:
        name: as in the table.
        hr, lr: (sH, sW, 3) and (H, W, 3), uint8; bicubic is made of `lr`, and left out where that is None.
        made: PNG files with the results that were measured, for each column of the table's first figure but bicubic.
    """

    name: str
    hr: np.ndarray
    lr: np.ndarray | None
    made: Sequence[Path]

    def layers(self) -> list[bytes]:
        """Bicubic, the results and HR as PNG files."""
        try:
            results = [path.read_bytes() for path in self.made]
        except OSError as error:
            raise UserError(f"cannot read {error.filename} for the report: {error.strerror}") from None
        bicubic = [] if self.lr is None else [_png(imresize(self.lr, self.hr.shape[0] // self.lr.shape[0]))]
        return [*bicubic, *results, _png(self.hr)]


def of_pairs(pairs: Iterable[Pair], scale: int, folder: Path) -> Iterator[Shown]:
    """What `common.evaluation.evaluate` measured, with the results that it wrote to `folder`; read one by one."""
    return (Shown(pair.name, *read_pair(pair, scale), [folder / "SR" / f"{pair.name}.png"]) for pair in pairs)


class Report:
    """The page of one evaluation.

    Args:
        path: of the page; None: nothing is done.
        model, checkpoint, scale: what is evaluated.
    """

    def __init__(self, path: Path | None, model: str, checkpoint: str, scale: int) -> None:
        self.path = path
        self.title = f"{model} x{scale}"
        self.facts = {"Model": model, "Checkpoint": checkpoint, "Data": "", "Scale": f"x{scale}"}
        self.facts["Evaluated"] = time.strftime("%Y-%m-%d %H:%M %Z")
        self.room = PAGE_BYTES
        self.sets: list[str] = []
        self.headings: set[str] = set()
        self.sections: list[str] = []

    def add(self, name: str, table: Table, pictures: Iterable[Shown] = (), samples: int = 1) -> None:
        """Put a set into the page, and write the page.

        Args:
            name: of the set.
            pictures: those of the table; others are left out.
            samples: how many of each image the figures are the means of; the first is shown.
        """
        if self.path is None:
            return
        self.sets += [] if name in self.sets else [name]
        self.headings |= {figure.name for figure in table.figures}
        number, viewers, left_out = len(self.sections), {}, 0
        for shown in pictures:
            if shown.name in table.rows:
                viewer = page.viewer(number, table, shown.name, shown.hr.shape[:2], shown.layers())
                if len(viewer) > self.room:
                    left_out += 1
                    continue
                viewers[shown.name] = viewer
                self.room -= len(viewer)
        notes = [*self._notes(name, len(viewers), left_out, samples), *filter(None, [table.remark()])]
        self.sections.append(page.section(name, table, notes, number, viewers))
        self._write()

    def _notes(self, name: str, shown: int, left_out: int, samples: int) -> list[str]:
        notes = []
        if shown and samples > 1:
            notes.append(f"The figures are means over {samples} samples of each image; the first of them is shown.")
        if left_out:
            notes.append(
                f"{shown} of {shown + left_out} images are shown, as many as fit into {PAGE_BYTES / 2**20:g} MiB, "
                "since a larger page would be slow. The others are in the table, and as files beside this page."
            )
            log.warning("report.html, %s: %s", name, notes[-1])
        elif not shown:
            notes.append("There are no images of this set.")
        return notes

    def _write(self) -> None:
        sets = ", ".join(self.sets)
        meanings = [meaning for word, meaning in CONVENTIONS.items() if any(word in head for head in self.headings)]
        conventions = ["All figures are of 8-bit images.", *meanings]
        before, after = page.frame(f"{self.title} on {sets}", self.facts | {"Data": sets}, conventions)
        try:
            with replacing(self.path) as temporary:
                whole = "".join([before, *self.sections, after])
                temporary.write_bytes(whole.encode(errors="backslashreplace"))  # a name need not be UTF-8
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), COMPRESSION)[1].tobytes()
