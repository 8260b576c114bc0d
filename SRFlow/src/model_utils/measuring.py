"""Figures of eval.py: samples at several heats, how they differ, and HR's likelihood."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.data import ImagePair
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
from common.images import imresize
from common.metrics import PROTOCOLS, Convention

from .inference import Sampler
from .options import EvalConfig

log = logging.getLogger(__name__)
Samples = dict[float, list[np.ndarray]]  # of one image, by the heat
DIVERSITY, NLL = "diversity (std of 255)", "NLL (bits per pixel, no noise)"
# MindSpore's nn.PSNR and nn.SSIM, which the seed measures with: RGB, nothing cropped, an 11x11 Gaussian window.
SEED_FIGURES = psnr_figure(Convention("rgb", 0)), ssim_figure(Convention("rgb", 0))


def figures(options: EvalConfig, scale: int) -> list[Figure]:
    authors, on_y = PROTOCOLS["srflow"](scale), Convention("y", scale if options.crop < 0 else options.crop)
    made = [make(convention) for convention in (authors, on_y) for make in (psnr_figure, ssim_figure)]
    made = with_lpips([*made, lr_psnr_figure(scale, "half_even")], options.lpips_weights)
    heats = tuple(f"heat {heat:g}" for heat in options.all_heats())
    made = [figure._replace(columns=("bicubic", *heats)) for figure in made]
    made += [Figure(DIVERSITY, None, 2, heats)] if options.samples > 1 else []
    return [*made, Figure(NLL, None, 3, ("HR",))] if options.nll else made


def evaluate(
    title: str,
    images: Iterator[ImagePair],
    sampler: Sampler,
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> Table:
    """Measure every image of a set. Seconds are those of one sample."""
    table = Table(title, columns)
    for name, hr, lr, _ in images:
        start = time.perf_counter()
        samples = {heat: draw_all(sampler, name, lr, heat, options) for heat in options.all_heats()}
        table.seconds[name] = (time.perf_counter() - start) / (options.samples * len(samples))
        bicubic = imresize(lr, sampler.hyper.scale)
        table.measure(name, [[bicubic], *samples.values()], hr, lr)
        if options.samples > 1:
            table.rows[name][DIVERSITY] = tuple(map(diversity, samples.values()))
        if options.nll:
            table.rows[name][NLL] = (sampler.encode(hr, lr)[1],)
        table.log_first(name)
        if options.save_results:
            placed = {place_of(heat): found for heat, found in samples.items()}
            write_samples(folder, name, columns[0], placed, bicubic, hr, lr)
    return table


def draw_all(sampler: Sampler, name: str, lr: np.ndarray, heat: float, options: EvalConfig) -> list[np.ndarray]:
    """Return the samples of one heat; at heat 0 all are the same one."""
    count = options.samples if heat else 1
    return [sampler.decode(lr, sampler.draw(lr, heat, options.seed, name, number)) for number in range(count)]


def place_of(heat: float) -> str:
    return f"SR_heat_{heat:g}"


def shown(images: Iterator[ImagePair], options: EvalConfig, folder: Path) -> Iterator[Shown]:
    counts = {place_of(heat): options.samples if heat else 1 for heat in options.all_heats()}
    for name, hr, lr, _ in images:
        yield Shown(name, hr, lr, [sample_path(folder, place, name, 1, count) for place, count in counts.items()])


def evaluate_patches(
    title: str,
    patches: Iterator[ImagePair],
    sampler: Sampler,
    heat: float,
    options: EvalConfig,
    say: Callable[[str], None],
) -> Table:
    """Measure PSNR and SSIM of each patch by the seed's protocol, and say its line."""
    columns = [figure._replace(name=f"{figure.name}, heat {heat:g}", columns=("SR",)) for figure in SEED_FIGURES]
    table = Table(title, columns)
    for number, (name, hr, lr, _) in enumerate(patches, 1):
        start = time.perf_counter()
        samples = draw_all(sampler, name, lr, heat, options)
        table.seconds[name] = (time.perf_counter() - start) / len(samples)
        table.measure(name, [samples], hr, lr)
        say(patch_line(number, table.rows[name]))
    return table


def patch_line(number: int, row: Mapping[str, tuple[float, ...]]) -> str:
    """Return the seed's line of a patch, counted from 1."""
    psnr, ssim = (as_printed(*values) for values in row.values())
    return f"Get the number {number} data psnrloss: {psnr}, ssim_loss: {ssim}"


def mean_lines(table: Table) -> list[str]:
    means = zip(("psnr", "ssim"), table.figures, strict=True)
    return [f"The mean of {word} is: {as_printed(*table.mean(figure.name))}" for word, figure in means]


def as_printed(value: float) -> str:
    """`[34.00094]`: the seed prints an array of one float32."""
    return str(np.array([value], np.float32))
