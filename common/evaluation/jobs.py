"""The work of every infer.py around its network: finds the images, names the results, continues after a bad one."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError, images, runtime
from common.atomic import make_writable, refuse_path
from common.config import InferOptions
from common.export import Progress, Upscale
from common.images import find_images, imresize

log = logging.getLogger(__name__)
NAME_BYTES = 255  # of a file, on nearly all file systems


class Job(NamedTuple):
    """One image to work on, and its folder below the folder that was given, which its results keep."""

    source: Path
    inside: Path


def find_jobs(inputs: Sequence[str], output: str) -> list[Job]:
    """Find the images of files and folders, but those of an earlier input and of an output folder below an input."""
    jobs: list[Job] = []
    results = Path(output).resolve()
    for root in map(Path, inputs):
        below = root.resolve() in results.parents
        found = [path for path in find_images(root) if not (below and results in path.resolve().parents)]
        if not found:
            raise UserError(f"{root} holds nothing but results of {results}")
        before = {job.source.resolve() for job in jobs}
        for path in found:
            inside = path.relative_to(root).parent if root.is_dir() else Path()
            jobs += [Job(path, inside)] if path.resolve() not in before else []
    return jobs


class Results:
    """The folder of the results, tried before work; none replaces another, an input or one of `others`."""

    def __init__(self, folder: str, jobs: Sequence[Job], others: Sequence[str] = ()) -> None:
        self.folder = Path(folder)
        self._inputs = {Path(source).resolve() for source in (*(job.source for job in jobs), *others)}
        self._taken: dict[Path, Path] = {}
        make_writable(self.folder)

    def reserve(self, job: Job, name: str) -> Path:
        if len(os.fsencode(name)) > NAME_BYTES:
            raise UserError(f"the name {name} has more than {NAME_BYTES} bytes: shorten {job.source}, or --suffix")
        refuse_path(name, "a result's name with its --suffix")
        target = self.folder / job.inside / name
        place = target.resolve()
        if place in self._inputs:
            raise UserError(f"{target} would be overwritten: give another --output or --suffix")
        if (other := self._taken.setdefault(place, job.source)) != job.source:
            raise UserError(f"{job.source} and {other} would both become {target}: rename one of them")
        return target


def result_names(source: Path, suffix: str, ending: str, scale: float, count: int = 1) -> list[str]:
    """Return `photo_x4.jpg` of `photo.jpg`; of several results `photo_x4_1.jpg`, `photo_x4_2.jpg` ...

    `suffix` may have {scale}; `ending` "" is the image's own, or PNG's where that is not written.
    """
    stem = source.stem + suffix.replace("{scale}", f"{scale:g}")
    own = source.suffix if source.suffix.lower() in images.WRITTEN else ".png"
    ending = f".{ending.lstrip('.')}" if ending else own
    return [f"{stem}_{number}{ending}" for number in range(1, count + 1)] if count > 1 else [stem + ending]


def write_result(
    source: Path,
    image: images.DecodedImage,
    target: Path,
    result: np.ndarray,
    said: Sequence[str] = (),
    outscale: float = 0.0,
) -> np.ndarray:
    """Write and log a result, gray where its image is, with the image's profile and alpha, and return it.

    `outscale`: its size over the image's, by bicubic; 0 leaves it as it is.
    """
    if outscale:
        result = imresize(result, size=tuple(max(1, round(side * outscale)) for side in image.rgb.shape[:2]))
    result, alpha, said = image.colored_alike(result), image.alpha, [*image.notes, *said]
    if alpha is not None and alpha.shape != result.shape[:2]:
        alpha = imresize(alpha, size=result.shape[:2])
        said.append("alpha upscaled by bicubic")
    images.write_image(target, result, alpha, image.icc)
    log_result(source, image.rgb, target, result, said)
    return result


def log_result(source: Path, image: np.ndarray, target: Path, result: np.ndarray, said: Sequence[str] = ()) -> None:
    notes = f" ({'; '.join(said)})" if said else ""
    log.info("%s %dx%d -> %s %dx%d%s", source, *image.shape[1::-1], target, *result.shape[1::-1], notes)


def progress_of(source: Path | str, unit: str = "tile") -> Progress:
    """Return what shows how far an image is, given the number of its tiles: a bar, or lines of the log."""
    return lambda total: runtime.progress(total, Path(source).name, unit, in_log=True)


def do_all(jobs: Sequence[Job], work: Callable[[Job], None], output: str, done: str) -> None:
    """Work on every image; one that cannot be worked on (`done`: "upscaled") is named, and the others are done."""
    failed = 0
    for job in jobs:
        try:
            work(job)
        except UserError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            log.error("error: %s", error)
    if failed:
        others = f"; the others are in {output}" if failed < len(jobs) else ""
        raise UserError(f"{failed} of {len(jobs)} images could not be {done}{others}")


def upscale_all(jobs: Sequence[Job], results: Results, upscale: Upscale, options: InferOptions, piece: str) -> None:
    """Upscale every image: alpha by bicubic; 16 bit stays 16 bit where the format can hold it."""
    scale = upscale.scale

    def work(job: Job) -> None:
        (name,) = result_names(job.source, options.suffix, options.format, options.outscale or scale)
        target, compare = results.reserve(job, name), f"{Path(name).stem}_compare.png"
        compared = results.reserve(job, compare) if options.compare else None
        image = images.read_image(job.source)
        images.check_writable(target, *(scale * side for side in image.rgb.shape[:2]))
        result = upscale(image.rgb, progress_of(job.source, piece))
        result = write_result(job.source, image, target, result, outscale=options.outscale)
        if compared:
            in_color = np.broadcast_to(np.atleast_3d(result), (*result.shape[:2], 3))
            small, large = (images.to_uint8(images.to_float(rgb)) for rgb in (image.rgb, in_color))
            layers = [("LR", small), ("bicubic", imresize(small, size=large.shape[:2])), ("SR", large)]
            images.write_image(compared, images.comparison_strip(layers))

    do_all(jobs, work, options.output, "upscaled")
