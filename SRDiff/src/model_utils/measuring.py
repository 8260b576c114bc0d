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
    captioned_strip,
    diversity,
    lr_psnr_figure,
    measure_samples,
    measured_apart,
    psnr_figure,
    ssim_figure,
    with_lpips,
)
from common.images import Pair, imresize, write_image
from common.metrics import PROTOCOLS, Convention
from common.mindrecord import PatchRecords

from ..model.sampling import Way
from .inference import Chain, Sampler
from .options import EvalConfig

log = logging.getLogger(__name__)
Deviations = dict[str, dict[str, tuple[float, ...]]]  # image -> figure -> of each way, over its samples
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
    made += [Figure(DIVERSITY, measured_apart, 2, names)] if options.samples > 1 else []
    return [*made, Figure(SECONDS, measured_apart, 2, names)]


def evaluate(
    title: str,
    images: Iterator[ImagePair],
    sampler: Sampler,
    ways: Sequence[Way],
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> tuple[Table, Deviations]:
    """Measure every image of a set in every way. Seconds are those of one sample, with the encoder's."""
    table, deviations, first = Table(title, columns, {}, {}), {}, columns[0]
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
        try:
            row, spreads = measure_samples(columns, samples.values(), bicubic, hr, lr)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if options.samples > 1:
            row[DIVERSITY] = tuple(map(diversity, samples.values()))
            deviations[name] = spreads
            table.spreads[name] = {figure: values[-1] for figure, values in spreads.items()}
        table.rows[name] = {**row, SECONDS: tuple(seconds)}
        said = ", ".join(f"{c} {v:.2f}" for c, v in zip(first.columns, row[first.name], strict=True))
        log.info("%s: %s %s", name, first.name, said)
        if options.save_results:
            for way, found in samples.items():
                for number, sr in enumerate(found, 1):
                    write_image(path_of(folder, name, way, number, len(found) > 1), sr)
            shown = [bicubic, *(found[0] for found in samples.values())]
            strip = {"LR": lr, **dict(zip(first.columns, shown, strict=True)), "HR": hr}
            write_image(folder / "strips" / f"{name}.png", captioned_strip(strip, first, *row[first.name]))
    return table, deviations


def path_of(folder: Path, name: str, way: Way, number: int, several: bool) -> Path:
    """SR_ddpm_100/baby.png, or baby_1.png ... of several samples."""
    return folder / f"SR_{way.sampler}_{way.steps}" / (f"{name}_{number}.png" if several else f"{name}.png")


def shown(images: Iterator[ImagePair], ways: Sequence[Way], count: int, folder: Path) -> Iterator[Shown]:
    for name, hr, lr, _ in images:
        yield Shown(name, hr, lr, [path_of(folder, name, way, 1, count > 1) for way in ways])


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
