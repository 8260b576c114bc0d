"""Figures of eval.py, and on which data sets: samples in several ways, against HR and LR, and their seconds."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import UserError
from common.data import Picture, named_sets, packed_set, stem_of
from common.data import sets as picture_sets
from common.evaluation import (
    Figure,
    Shown,
    Table,
    captioned_strip,
    diversity,
    lr_psnr_figure,
    measured_apart,
    psnr_figure,
    ssim_figure,
    with_lpips,
)
from common.images import Pair, imresize, write_picture
from common.metrics import PROTOCOLS, Convention
from common.mindrecord import PatchRecords

from ..dataset.patches import find_pictures
from ..model.sampling import Way
from .options import EvalConfig
from .pictures import Sampler

log = logging.getLogger(__name__)
Samples = dict[Way, list[np.ndarray]]  # of one image
Deviations = dict[str, dict[str, tuple[float, ...]]]  # image -> figure -> of each way, over its samples
SECONDS, DIVERSITY = "seconds per sample", "diversity (std of 255)"


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """Return the name of each set to measure, with its images, or a packed set."""
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if packed := packed_set(path, options.data_name, scale):
        return packed
    root = Path(path)
    if not options.data_test:
        return {stem_of(options.data_name or root.resolve()): find_pictures(path, lr_path, scale, "test")}
    return {
        name: find_pictures(str(place), lr_of_set, scale, "test")
        for name, place, lr_of_set in named_sets(options.data_test, root, lr_path)
    }


def pictures_of(
    title: str,
    pairs: Sequence[Pair] | PatchRecords,
    scale: int,
    options: EvalConfig,
    share: Callable[[Sequence], Sequence] = list,
) -> Iterator[Picture]:
    """The images of a set, or a worker's `share` of them, read one by one, and cut to `cut_to`."""
    multiple = math.lcm(scale, options.cut_to)
    pictures = picture_sets.pictures_of(title, pairs, scale, options.limit, share)
    return (cut(picture, multiple) for picture in pictures)


def cut(picture: Picture, multiple: int) -> Picture:
    """Cut the sides of HR to multiples of a number, and those of LR alike; LR that was made of HR is made anew."""
    name, hr, lr, made = picture
    height, width = (side - side % multiple for side in hr.shape[:2])
    if not height or not width:
        raise UserError(
            f"{name} is smaller than {multiple}x{multiple}, and images are cut to multiples of it (--cut_to)"
        )
    if (height, width) == hr.shape[:2]:
        return picture
    scale, hr = hr.shape[0] // lr.shape[0], hr[:height, :width]
    return Picture(name, hr, imresize(hr, 1 / scale) if made else lr[: height // scale, : width // scale], made)


def figures(options: EvalConfig, scale: int, ways: Sequence[Way]) -> list[Figure]:
    """PSNR and SSIM on RGB by the authors' protocol and on Y, LR-PSNR, LPIPS where weights are given, and the rest."""
    authors, on_y = PROTOCOLS["srdiff"](scale), Convention("y", scale if options.crop < 0 else options.crop)
    made = [make(convention) for convention in (authors, on_y) for make in (psnr_figure, ssim_figure)]
    made = with_lpips([*made, lr_psnr_figure(scale, "half_even")], options.lpips_weights)
    names = tuple(map(str, ways))
    made = [replace(figure, columns=("bicubic", *names)) for figure in made]
    if options.samples > 1:
        made.append(Figure(DIVERSITY, measured_apart, 2, names))
    return [*made, Figure(SECONDS, measured_apart, 2, names)]


def evaluate(
    title: str,
    pictures: Iterator[Picture],
    sampler: Sampler,
    ways: Sequence[Way],
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> tuple[Table, Deviations]:
    """Measure every image of a set in every way.

    Seconds are those of one sample's chain, and of the encoder, which looks at an image once for all of them.
    """
    table, deviations = Table(title, columns, {}, {}), {}
    for picture in pictures:
        start = time.perf_counter()
        look = sampler.look_at(picture.lr)
        looking = time.perf_counter() - start
        samples, seconds = {}, []
        for way in ways:
            start = time.perf_counter()
            noises = (look.noise(options.seed, picture.name, number) for number in range(options.samples))
            samples[way] = [look.picture(look.draw(noise, way)) for noise in noises]
            seconds.append(looking + (time.perf_counter() - start) / options.samples)
        try:
            row, spread = measure(picture, samples, columns)
        except UserError as error:
            raise UserError(f"{picture.name}: {error}") from error
        table.rows[picture.name] = {**row, SECONDS: tuple(seconds)}
        table.seconds[picture.name] = sum(seconds)
        deviations[picture.name] = spread
        table.spreads[picture.name] = {name: values[-1] for name, values in spread.items()}
        first = columns[0]
        said = ", ".join(f"{c} {v:.2f}" for c, v in zip(first.columns, row[first.name], strict=True))
        log.info("%s: %s %s", picture.name, first.name, said)
        if options.save_results:
            write_results(folder, picture, samples, first, row[first.name])
    return table, deviations


def measure(
    picture: Picture, samples: Samples, columns: Sequence[Figure]
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
    """A row of the table without the seconds; and the deviations over several samples of each way, by figure."""
    bicubic, row, deviations = imresize(picture.lr, picture.hr.shape[0] // picture.lr.shape[0]), {}, {}
    several = any(figure.name == DIVERSITY for figure in columns)
    for figure in columns:
        if figure.measure is measured_apart:
            continue
        scores = [[figure.measure(sr, picture.hr, picture.lr) for sr in found] for found in samples.values()]
        row[figure.name] = (figure.measure(bicubic, picture.hr, picture.lr), *map(float, map(np.mean, scores)))
        if several:
            deviations[figure.name] = tuple(map(float, map(np.std, scores)))
    if several:
        row[DIVERSITY] = tuple(map(diversity, samples.values()))
    return row, deviations


def summary(table: Table, deviations: Deviations, ways: Sequence[Way]) -> str:
    """A Markdown table of the means, a line for each way; ± is the deviation over the samples of an image."""
    rows = [["sampler", "steps", *(figure.name for figure in table.figures)]]
    rows.append(["---", "---:", *["---:"] * len(table.figures)])
    for number, (sampler, steps) in enumerate([("bicubic", ""), *ways]):
        cells = []
        for figure in table.figures:
            place = number - (len(ways) + 1 - len(figure.columns))  # not all figures have a column for bicubic
            text = f"{table.mean(figure.name)[place]:.{figure.digits}f}" if place >= 0 else ""
            found = [spread[figure.name] for spread in deviations.values() if figure.name in spread]
            if number and found:
                text += f" ± {np.mean(found, 0)[number - 1]:.{figure.digits}f}"
            cells.append(text)
        rows.append([sampler, str(steps), *cells])
    return f"## {table.title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def path_of(folder: Path, name: str, way: Way, number: int, several: bool) -> Path:
    """SR_ddpm_100/baby.png, or baby_1.png ... of several samples."""
    return folder / f"SR_{way.sampler}_{way.steps}" / (f"{name}_{number}.png" if several else f"{name}.png")


def write_results(folder: Path, picture: Picture, samples: Samples, figure: Figure, values: Sequence[float]) -> None:
    """All samples, by `path_of`; and a strip LR | bicubic | the first sample of each way | HR."""
    for way, found in samples.items():
        for number, sr in enumerate(found, 1):
            write_picture(path_of(folder, picture.name, way, number, len(found) > 1), sr)
    bicubic = imresize(picture.lr, picture.hr.shape[0] // picture.lr.shape[0])
    enlarged = zip(figure.columns, [bicubic, *(found[0] for found in samples.values())], strict=True)
    strip = captioned_strip({"LR": picture.lr, **dict(enlarged), "HR": picture.hr}, figure, *values)
    write_picture(folder / "strips" / f"{picture.name}.png", strip)


def shown(pictures: Iterator[Picture], ways: Sequence[Way], count: int, folder: Path) -> Iterator[Shown]:
    """Each image for the report, with the first of `count` samples of each way."""
    for name, hr, lr, _ in pictures:
        yield Shown(name, hr, lr, [path_of(folder, name, way, 1, count > 1) for way in ways])
