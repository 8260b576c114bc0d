"""Figures of eval.py: samples by several methods, how they differ, and their seconds."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from common import UserError
from common.data import ImagePair
from common.data import sets as image_sets
from common.evaluation import (
    Figure,
    Shown,
    Table,
    diversity,
    lr_psnr_figure,
    psnr_figure,
    sample_path,
    ssim_figure,
    with_lpips,
    write_samples,
)
from common.images import Pair, imresize
from common.metrics import PROTOCOLS, Convention
from common.mindrecord import PatchRecords

from ..model.sampling import Way
from .inference import Chain, Sampler
from .options import EvalConfig

log = logging.getLogger(__name__)
SECONDS, DIVERSITY = "seconds per sample", "diversity (std of 255)"


def images_of(
    title: str,
    pairs: Sequence[Pair] | PatchRecords,
    scale: int,
    options: EvalConfig,
    share: Callable[[Sequence], Sequence] = list,
) -> Iterator[ImagePair]:
    """Yield the images of a set, or a worker's `share`, cut to `cut_to`; LR that was made of HR is made anew."""
    multiple = math.lcm(scale, options.cut_to)
    for name, hr, lr, made in image_sets.images_of(title, pairs, scale, options.limit, share):
        height, width = (side - side % multiple for side in hr.shape[:2])
        if not height or not width:
            raise UserError(
                f"{name} is smaller than {multiple}x{multiple}, and images are cut to multiples of it (--cut_to)"
            )
        if (height, width) != hr.shape[:2]:
            hr = hr[:height, :width]
            lr = imresize(hr, 1 / scale) if made else lr[: height // scale, : width // scale]
        yield ImagePair(name, hr, lr, made)


def figures(options: EvalConfig, scale: int, ways: Sequence[Way]) -> list[Figure]:
    authors, on_y = PROTOCOLS["srdiff"](scale), Convention("y", scale if options.crop < 0 else options.crop)
    made = [make(convention) for convention in (authors, on_y) for make in (psnr_figure, ssim_figure)]
    made = with_lpips([*made, lr_psnr_figure(scale, "half_even")], options.lpips_weights)
    names = tuple(map(str, ways))
    made = [figure._replace(columns=("bicubic", *names)) for figure in made]
    made += [Figure(DIVERSITY, None, 2, names)] if options.samples > 1 else []
    return [*made, Figure(SECONDS, None, 2, names)]


def evaluate(
    title: str,
    images: Iterator[ImagePair],
    sampler: Sampler,
    ways: Sequence[Way],
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> Table:
    """Measure every image of a set in every way. Seconds are those of one sample, with the encoder's."""
    table = Table(title, columns)
    for name, hr, lr, _ in images:
        start = time.perf_counter()
        chain = Chain(lr, sampler)
        encoding = time.perf_counter() - start
        samples, seconds = {}, []
        for way in ways:
            start = time.perf_counter()
            noises = (chain.noise(options.seed, name, number) for number in range(options.samples))
            samples[way] = [chain.image(chain.sample(noise, way)) for noise in noises]
            seconds.append(encoding + (time.perf_counter() - start) / options.samples)
        table.seconds[name] = sum(seconds)
        bicubic = imresize(lr, sampler.hyper.scale)
        table.measure(name, [[bicubic], *samples.values()], hr, lr)
        if options.samples > 1:
            table.rows[name][DIVERSITY] = tuple(map(diversity, samples.values()))
        table.rows[name][SECONDS] = tuple(seconds)
        table.log_first(name)
        if options.save_results:
            placed = {place_of(way): found for way, found in samples.items()}
            write_samples(folder, name, columns[0], placed, bicubic, hr, lr)
    return table


def place_of(way: Way) -> str:
    return f"SR_{way.sampler}_{way.steps}"


def shown(images: Iterator[ImagePair], ways: Sequence[Way], count: int, folder: Path) -> Iterator[Shown]:
    for name, hr, lr, _ in images:
        yield Shown(name, hr, lr, [sample_path(folder, place_of(way), name, 1, count) for way in ways])


def summary(table: Table, ways: Sequence[Way]) -> str:
    """A Markdown table of the means, a line for each way; ± is the deviation over the samples of an image."""
    rows = [["sampler", "steps", *(figure.name for figure in table.figures)]]
    rows.append(["---", "---:", *["---:"] * len(table.figures)])
    for number, (sampler, steps) in enumerate([("bicubic", ""), *ways]):
        cells = []
        for figure in table.figures:
            place = number - (len(ways) + 1 - len(figure.columns))  # not all figures have a column for bicubic
            text = f"{table.mean(figure.name)[place]:.{figure.digits}f}" if place >= 0 else ""
            found = [spread[figure.name] for spread in table.spreads.values() if figure.name in spread]
            if number and found:
                text += f" ± {np.mean(found, 0)[place]:.{figure.digits}f}"
            cells.append(text)
        rows.append([sampler, str(steps), *cells])
    return f"## {table.title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
