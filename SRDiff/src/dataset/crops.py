"""Cutting pictures into crops, several at a time, so that a program that was stopped goes on where it was."""

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from common import UserError
from common.images import Pair, read_pair, size_of, write_picture
from common.runtime import progress

log = logging.getLogger(__name__)
PNG_END = b"IEND\xaeB`\x82"  # closes every whole PNG file


class Job(NamedTuple):
    """One picture to cut.

    Attributes:
        pair: its files.
        size: (height, width) of HR, cut to a multiple of the scale.
        folder: for X1/ and X4/.
        first: number of its first crop.
        crop: side of the HR crops; 0 keeps it whole.
    """

    pair: Pair
    size: tuple[int, int]
    folder: Path
    first: int
    scale: int
    crop: int

    def crops(self) -> Iterator[tuple[int, int, int]]:
        """(number, top, left) of each HR crop, row by row."""
        tops, lefts = (starts(length, self.crop) for length in self.size)
        places = ((top, left) for top in tops for left in lefts)
        yield from ((number, *place) for number, place in enumerate(places, self.first))

    def crop_shape(self) -> tuple[int, int]:
        """(height, width) of its HR crops."""
        height, width = (min(length, self.crop or length) for length in self.size)
        return height, width

    def files(self, number: int) -> tuple[Path, Path]:
        """Where the HR and LR crop go."""
        hr, lr = (self.folder / f"X{factor}" / f"image_{number:04d}.png" for factor in (1, self.scale))
        return hr, lr


def starts(length: int, crop: int) -> list[int]:
    """Where the crops of one axis begin: side by side, the last one moved inwards; one for 0 or what is shorter."""
    if not 0 < crop < length:
        return [0]
    return [*range(0, length - crop, crop), length - crop]


def remove_remains(folder: Path) -> None:
    """Remove the unfinished files of a run that was killed."""
    for path in folder.glob("X*/.image_*.tmp.png"):
        path.unlink(missing_ok=True)


def run(jobs: Sequence[Job], title: str, workers: int) -> int:
    """Do the jobs in several processes; returns the number of files written.

    Raises:
        UserError: a picture cannot be read, or a file not written; what has been written is kept.
    """
    pool = ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), initializer=ignore_interrupts)
    written = 0
    try:
        with progress(len(jobs), title, "picture") as bar:
            futures = [pool.submit(cut, job) for job in jobs]
            for done, future in enumerate(as_completed(futures), 1):
                written += future.result()
                bar.update(1)
                if done * 10 // len(jobs) > (done - 1) * 10 // len(jobs):  # ten lines, where there is no bar
                    log.info("%s: %d of %d pictures", title, done, len(jobs), extra={"bar": True})
    except BrokenProcessPool:
        raise UserError("a process was killed, perhaps for want of memory: try fewer --num_workers") from None
    finally:
        pool.shutdown(cancel_futures=True)
    return written


def ignore_interrupts() -> None:
    """Ctrl-C is the first process's affair; the others finish the picture that they are at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def cut(job: Job) -> int:
    """Write the files of one picture that are not there yet; returns their number.

    Raises:
        UserError: the picture cannot be read, or a file not written.
    """
    height, width = job.crop_shape()
    shapes = (height, width), (height // job.scale, width // job.scale)
    missing = [
        (path, factor, top, left, shape)
        for number, top, left in job.crops()
        for path, factor, shape in zip(job.files(number), (1, job.scale), shapes, strict=True)
        if not is_whole(path, shape)
    ]
    if missing:
        pictures = dict(zip((1, job.scale), read_pair(job.pair, job.scale), strict=True))
        for path, factor, top, left, shape in missing:
            top, left = top // factor, left // factor
            write_picture(path, pictures[factor][top : top + shape[0], left : left + shape[1]])
    return len(missing)


def is_whole(path: Path, shape: tuple[int, int]) -> bool:
    """Whether a PNG file of this (height, width) is there, to its end."""
    try:
        if not path.exists() or size_of(path) != shape:
            return False
    except UserError:
        return False
    with path.open("rb") as file:
        file.seek(-len(PNG_END), os.SEEK_END)
        return file.read() == PNG_END
