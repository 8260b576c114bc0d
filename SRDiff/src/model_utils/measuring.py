"""What eval.py measures, and on which data sets: samples in several ways, against HR and LR, and their seconds."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common import UserError
from common.atomic import replacing
from common.data import Picture, named_sets, packed_set, stem_of
from common.data import sets as picture_sets
from common.evaluation import (
    EvaluationRun,
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
from .pictures import Look, NoNumbersError, Sampler

log = logging.getLogger(__name__)
Samples = dict[Way, dict[int, np.ndarray]]  # of one picture, by their numbers from 1
SECONDS, DIVERSITY = "seconds per sample", "diversity (std of 255)"


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """What there is to measure: for the name of each set its pictures, or a packed set."""
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
    """The pictures of a set, or a worker's `share` of them, read one by one, and cut to `cut_to`."""
    multiple = math.lcm(scale, options.cut_to)
    pictures = picture_sets.pictures_of(title, pairs, scale, options.limit, share)
    return (cut(picture, multiple) for picture in pictures)


def cut(picture: Picture, multiple: int) -> Picture:
    """Cut the sides of HR to multiples of a number, and those of LR alike; LR that was made of HR is made anew."""
    name, hr, lr, made = picture
    height, width = (side - side % multiple for side in hr.shape[:2])
    if not height or not width:
        raise UserError(
            f"{name} is smaller than {multiple}x{multiple}, and pictures are cut to multiples of it (--cut_to)"
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


@dataclass
class Results:
    """What a set gave.

    Attributes:
        table: its figures, the means over the samples.
        deviations: over the samples of each way, by picture and figure.
        lost: "picture, way, sample: why", of samples that ran to values that are no numbers.
        seen: names of all pictures, those that are left out of the table among them.
    """

    table: Table
    deviations: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


def evaluate(
    title: str,
    pictures: Iterator[Picture],
    sampler: Sampler,
    ways: Sequence[Way],
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> Results:
    """Measure every picture of a set in every way.

    Seconds are those of one sample's chain, and of the encoder, which looks at a picture once for all of them. A
    picture of which a way has no sample is left out of the table.
    """
    results = Results(Table(title, columns, {}, {}))
    for picture in pictures:
        results.seen.append(picture.name)
        start = time.perf_counter()
        look = sampler.look_at(picture.lr)
        looking = time.perf_counter() - start
        samples, seconds = {}, []
        for way in ways:
            start = time.perf_counter()
            samples[way] = draw_all(look, picture.name, way, options, results.lost)
            seconds.append(looking + (time.perf_counter() - start) / options.samples)
        if options.save_results:
            write_samples(folder, picture.name, samples, options.samples > 1)
        if not all(samples.values()):
            log.warning("%s is left out of the table: a way has no sample of it", picture.name)
            continue
        try:
            row = measure(picture, samples, results)
        except UserError as error:
            raise UserError(f"{picture.name}: {error}") from error
        results.table.rows[picture.name] = {**row, SECONDS: tuple(seconds)}
        results.table.seconds[picture.name] = sum(seconds)
        first = columns[0]
        said = ", ".join(f"{c} {v:.2f}" for c, v in zip(first.columns, row[first.name], strict=True))
        log.info("%s: %s %s", picture.name, first.name, said)
        if options.save_results:
            write_strip(folder, picture, samples, first, row[first.name])
    return results


def whole(results: Results, run: EvaluationRun) -> Results:
    table = run.whole(results.table, results.seen)
    deviations = {name: found for part in run.gather(results.deviations) for name, found in part.items()}
    lost = [line for part in run.gather(results.lost) for line in part]
    if not table.rows:
        raise UserError(f"nothing could be measured: {lost[0] if lost else 'no pictures'}")
    return Results(table, {name: deviations[name] for name in table.rows if name in deviations}, lost)


def draw_all(look: Look, name: str, way: Way, options: EvalConfig, lost: list[str]) -> dict[int, np.ndarray]:
    """The samples of a picture in one way by number; those that run to values that are no numbers go to `lost`."""
    samples = {}
    for number in range(1, options.samples + 1):
        try:
            samples[number] = look.picture(look.draw(look.noise(options.seed, name, number - 1), way))
        except NoNumbersError as error:
            lost.append(f"{name}, {way}, sample {number}: {error}")
            log.warning("%s", lost[-1])
    return samples


def measure(picture: Picture, samples: Samples, results: Results) -> dict[str, tuple[float, ...]]:
    """A row of the table without the seconds; the deviations over several samples are added to `results`."""
    bicubic, row = imresize(picture.lr, picture.hr.shape[0] // picture.lr.shape[0]), {}
    spreads = results.table.spreads.setdefault(picture.name, {})
    several = any(figure.name == DIVERSITY for figure in results.table.figures)
    for figure in results.table.figures:
        if figure.measure is measured_apart:
            continue
        scores = [[figure.measure(sr, picture.hr, picture.lr) for sr in found.values()] for found in samples.values()]
        row[figure.name] = (figure.measure(bicubic, picture.hr, picture.lr), *map(float, map(np.mean, scores)))
        if several:
            deviations = tuple(map(float, map(np.std, scores)))
            results.deviations.setdefault(picture.name, {})[figure.name] = deviations
            spreads[figure.name] = deviations[-1]
    if several:
        row[DIVERSITY] = tuple(diversity(list(found.values())) for found in samples.values())
    return row


def summary(results: Results, ways: Sequence[Way]) -> str:
    """A Markdown table of the means, a line for each way; ± is the deviation over the samples of a picture."""
    table = results.table
    rows = [["sampler", "steps", *(figure.name for figure in table.figures)]]
    rows.append(["---", "---:", *["---:"] * len(table.figures)])
    for number, (sampler, steps) in enumerate([("bicubic", ""), *ways]):
        cells = []
        for figure in table.figures:
            place = number - (len(ways) + 1 - len(figure.columns))  # not all figures have a column for bicubic
            text = f"{table.mean(figure.name)[place]:.{figure.digits}f}" if place >= 0 else ""
            found = [deviations[figure.name] for deviations in results.deviations.values() if figure.name in deviations]
            if number and found:
                text += f" ± {np.mean(found, 0)[number - 1]:.{figure.digits}f}"
            cells.append(text)
        rows.append([sampler, str(steps), *cells])
    return f"## {table.title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write_summary(summary: str, lost: Sequence[str], path: Path) -> None:
    """The summary, and the samples that were lost."""
    listed = "".join(f"- {line}\n" for line in lost)
    with replacing(path) as temporary:
        text = summary + (f"\nLost samples:\n\n{listed}" if lost else "")
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def path_of(folder: Path, name: str, way: Way, number: int, several: bool) -> Path:
    """SR_ddpm_100/baby.png, or baby_1.png ... of several samples."""
    return folder / f"SR_{way.sampler}_{way.steps}" / (f"{name}_{number}.png" if several else f"{name}.png")


def write_samples(folder: Path, name: str, samples: Samples, several: bool) -> None:
    for way, found in samples.items():
        for number, sr in found.items():
            write_picture(path_of(folder, name, way, number, several), sr)


def shown(
    pictures: Iterator[Picture], results: Results, ways: Sequence[Way], count: int, folder: Path
) -> Iterator[Shown]:
    """Each picture of the table for the report, with the first sample of each way that was not lost."""
    for picture in pictures:
        if picture.name not in results.table.rows:
            continue
        paths = []
        for way in ways:
            starts = {n: f"{picture.name}, {way}, sample {n}: " for n in range(1, count + 1)}
            first = next(n for n, start in starts.items() if not any(line.startswith(start) for line in results.lost))
            paths.append(path_of(folder, picture.name, way, first, count > 1))
        yield Shown(picture.name, picture.hr, picture.lr, paths)


def write_strip(folder: Path, picture: Picture, samples: Samples, figure: Figure, values: Sequence[float]) -> None:
    """LR | bicubic | the first sample of each way | HR."""
    bicubic = imresize(picture.lr, picture.hr.shape[0] // picture.lr.shape[0])
    enlarged = zip(figure.columns, [bicubic, *(next(iter(found.values())) for found in samples.values())], strict=True)
    strip = captioned_strip({"LR": picture.lr, **dict(enlarged), "HR": picture.hr}, figure, *values)
    write_picture(folder / "strips" / f"{picture.name}.png", strip)
