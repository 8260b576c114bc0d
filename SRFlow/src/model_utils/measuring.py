"""Figures of eval.py: samples at several heats, how they differ, and HR's likelihood."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common import UserError
from common.data import ImagePair
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
from common.images import imresize, write_image
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
    made += [Figure(DIVERSITY, measured_apart, 2, heats)] if options.samples > 1 else []
    return [*made, Figure(NLL, measured_apart, 3, ("HR",))] if options.nll else made


def evaluate(
    title: str,
    images: Iterator[ImagePair],
    sampler: Sampler,
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> Table:
    """Measure every image of a set. Seconds are those of one sample."""
    table, first = Table(title, columns, {}, {}), columns[0]
    for name, hr, lr, _ in images:
        start = time.perf_counter()
        samples = {heat: draw_all(sampler, name, lr, heat, options) for heat in options.all_heats()}
        table.seconds[name] = (time.perf_counter() - start) / (options.samples * len(samples))
        bicubic = imresize(lr, sampler.hyper.scale)
        try:
            row, spreads = measure_samples(columns, samples.values(), bicubic, hr, lr)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if options.samples > 1:
            row[DIVERSITY] = tuple(map(diversity, samples.values()))
            table.spreads[name] = {figure: values[-1] for figure, values in spreads.items()}
        if options.nll:
            row[NLL] = (sampler.encode(hr, lr)[1],)
        table.rows[name] = row
        said = ", ".join(f"{c} {v:.2f}" for c, v in zip(first.columns, row[first.name], strict=True))
        log.info("%s: %s %s", name, first.name, said)
        if options.save_results:
            for heat, found in samples.items():
                for number, sr in enumerate(found, 1):
                    write_image(path_of(folder, name, heat, number, len(found) > 1), sr)
            shown = [bicubic, *(found[0] for found in samples.values())]
            strip = {"LR": lr, **dict(zip(first.columns, shown, strict=True)), "HR": hr}
            write_image(folder / "strips" / f"{name}.png", captioned_strip(strip, first, *row[first.name]))
    return table


def draw_all(sampler: Sampler, name: str, lr: np.ndarray, heat: float, options: EvalConfig) -> list[np.ndarray]:
    """Return the samples of one heat; at heat 0 all are the same one."""
    count = options.samples if heat else 1
    return [sampler.decode(lr, sampler.draw(lr, heat, options.seed, name, number)) for number in range(count)]


def path_of(folder: Path, name: str, heat: float, number: int, several: bool) -> Path:
    """SR_heat_0.9/baby.png, or baby_1.png ... of several samples."""
    return folder / f"SR_heat_{heat:g}" / (f"{name}_{number}.png" if several else f"{name}.png")


def shown(images: Iterator[ImagePair], options: EvalConfig, folder: Path) -> Iterator[Shown]:
    for name, hr, lr, _ in images:
        several = options.samples > 1
        yield Shown(
            name, hr, lr, [path_of(folder, name, heat, 1, several and heat > 0) for heat in options.all_heats()]
        )


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
    table = Table(title, columns, {}, {})
    for number, (name, hr, lr, _) in enumerate(patches, 1):
        start = time.perf_counter()
        samples = draw_all(sampler, name, lr, heat, options)
        table.seconds[name] = (time.perf_counter() - start) / len(samples)
        try:
            table.rows[name] = {f.name: (float(np.mean([f.measure(sr, hr, lr) for sr in samples])),) for f in columns}
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
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
