"""Figures of eval.py, and on which data sets: samples at several heats, how they differ, and HR's likelihood."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import UserError
from common.data import Picture, div2k, named_sets, packed_set, stem_of
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

from ..dataloader.init import find_hr_folders, find_pictures, require_packed
from .options import EvalConfig
from .pictures import Sampler

log = logging.getLogger(__name__)
# MindSpore's nn.PSNR and nn.SSIM, which the seed measures with: RGB, nothing cropped, an 11x11 Gaussian window.
DIVERSITY, NLL = "diversity (std of 255)", "NLL (bits per pixel, no noise)"
SEED_FIGURES = psnr_figure(Convention("rgb", 0)), ssim_figure(Convention("rgb", 0))


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """Return the name of each set to measure, with its images, or a packed set."""
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if not path:
        path, lr_path = options.val_GT_path, options.val_LQ_path
    require_packed(path)
    if packed := packed_set(path, options.data_name, scale):
        return packed
    root = Path(path)
    if not options.data_test:
        folder = hr_folder(root)
        name = stem_of(options.data_name or (folder.parent if folder.name == "HR" else folder).resolve())
        return {name: find_pictures(str(folder), lr_path, scale, "test")}

    return {
        name: find_pictures(str(hr_folder(place)), lr_of_set, scale, "test")
        for name, place, lr_of_set in named_sets(options.data_test, root, lr_path)
    }


def by_patches(options: EvalConfig, pairs: Sequence[Pair] | PatchRecords) -> bool:
    """Return whether a set is measured by the seed's protocol."""
    return options.protocol == "patches" or (options.protocol == "auto" and isinstance(pairs, PatchRecords))


def hr_folder(root: Path) -> Path:
    """The HR images of one set; in a DIV2K root its validation images."""
    (folder,) = find_hr_folders(str(root), "test")
    training = root / div2k.HR["train"]
    if folder == root and training.is_dir():
        raise UserError(f"{root} has no {div2k.HR['test']}; for the training images type --dataset_GT_path {training}")
    return folder


def figures(options: EvalConfig, scale: int) -> list[Figure]:
    """PSNR and SSIM on RGB by the authors' protocol and on Y, LR-PSNR, LPIPS where weights are given, and the rest."""
    authors, on_y = PROTOCOLS["srflow"](scale), Convention("y", scale if options.crop < 0 else options.crop)
    made = [make(convention) for convention in (authors, on_y) for make in (psnr_figure, ssim_figure)]
    made = with_lpips([*made, lr_psnr_figure(scale, "half_even")], options.lpips_weights)
    heats = tuple(f"heat {heat:g}" for heat in options.all_heats())
    made = [replace(figure, columns=("bicubic", *heats)) for figure in made]
    made += [Figure(DIVERSITY, measured_apart, 2, heats)] if options.samples > 1 else []
    return [*made, Figure(NLL, measured_apart, 3, ("HR",))] if options.nll else made


def evaluate(
    title: str,
    pictures: Iterator[Picture],
    sampler: Sampler,
    columns: Sequence[Figure],
    options: EvalConfig,
    folder: Path,
) -> Table:
    """Measure every image of a set; the figures of a heat are the means over its samples.

    Seconds are those of one sample.
    """
    table = Table(title, columns, {}, {})
    for picture in pictures:
        start = time.perf_counter()
        samples = {heat: draw_all(sampler, picture, heat, options) for heat in options.all_heats()}
        table.seconds[picture.name] = (time.perf_counter() - start) / (options.samples * len(samples))
        try:
            row, spreads = measure(picture, samples, columns)
        except UserError as error:
            raise UserError(f"{picture.name}: {error}") from error
        if options.nll:
            row[NLL] = (sampler.encode(picture.hr, picture.lr).nll,)
        table.rows[picture.name] = row
        table.spreads[picture.name] = spreads if options.samples > 1 else {}
        first = columns[0]
        said = ", ".join(f"{c} {v:.2f}" for c, v in zip(first.columns, row[first.name], strict=True))
        log.info("%s: %s %s", picture.name, first.name, said)
        if options.save_results:
            write_results(folder, picture, samples, first, row[first.name])
    return table


def draw_all(sampler: Sampler, picture: Picture, heat: float, options: EvalConfig) -> list[np.ndarray]:
    """The samples of one heat; at heat 0 all are the same one."""
    count = options.samples if heat else 1
    latents = (sampler.draw(picture.lr, heat, options.seed, picture.name, number) for number in range(count))
    return [sampler.decode(picture.lr, parts) for parts in latents]


def measure(
    picture: Picture, samples: dict[float, list[np.ndarray]], columns: Sequence[Figure]
) -> tuple[dict[str, tuple[float, ...]], dict[str, float]]:
    """A row of the table without the likelihood, and the standard deviations over the samples of the last heat."""
    bicubic, row, spreads = imresize(picture.lr, picture.hr.shape[0] // picture.lr.shape[0]), {}, {}
    for figure in columns:
        if figure.measure is not measured_apart:
            scores = [[figure.measure(sr, picture.hr, picture.lr) for sr in found] for found in samples.values()]
            row[figure.name] = (figure.measure(bicubic, picture.hr, picture.lr), *map(float, map(np.mean, scores)))
            spreads[figure.name] = float(np.std(scores[-1])) if len(set(scores[-1])) > 1 else 0.0
        elif figure.name == DIVERSITY:
            row[DIVERSITY] = tuple(map(diversity, samples.values()))
    return row, spreads


def write_results(
    folder: Path, picture: Picture, samples: dict[float, list[np.ndarray]], figure: Figure, values: Sequence[float]
) -> None:
    """The samples, and a strip LR | bicubic | the first of each heat | HR."""
    for heat, found in samples.items():
        for number, sr in enumerate(found, 1):
            name = f"{picture.name}_{number}" if len(found) > 1 else picture.name
            write_picture(folder / f"SR_heat_{heat:g}" / f"{name}.png", sr)
    bicubic = imresize(picture.lr, picture.hr.shape[0] // picture.lr.shape[0])
    enlarged = zip(figure.columns, [bicubic, *(found[0] for found in samples.values())], strict=True)
    strip = captioned_strip({"LR": picture.lr, **dict(enlarged), "HR": picture.hr}, figure, *values)
    write_picture(folder / "strips" / f"{picture.name}.png", strip)


def shown(pictures: Iterator[Picture], options: EvalConfig, folder: Path) -> Iterator[Shown]:
    """Each image for the report, with the first sample of each heat that `write_results` wrote to `folder`."""
    several = options.samples > 1
    for name, hr, lr, _ in pictures:
        stems = {heat: f"{name}_1" if heat and several else name for heat in options.all_heats()}
        yield Shown(name, hr, lr, [folder / f"SR_heat_{heat:g}" / f"{stem}.png" for heat, stem in stems.items()])


def evaluate_patches(
    title: str,
    pictures: Iterator[Picture],
    sampler: Sampler,
    heat: float,
    options: EvalConfig,
    say: Callable[[str], None],
) -> Table:
    """The seed's protocol: PSNR and SSIM of each patch, of which the line is said."""
    names = [f"{figure.name}, heat {heat:g}" for figure in SEED_FIGURES]
    columns = [replace(figure, name=name, columns=("SR",)) for figure, name in zip(SEED_FIGURES, names, strict=True)]
    table = Table(title, columns, {}, {})
    for number, picture in enumerate(pictures, 1):
        start = time.perf_counter()
        samples = draw_all(sampler, picture, heat, options)
        table.seconds[picture.name] = (time.perf_counter() - start) / len(samples)
        try:
            scores = [[figure.measure(sr, picture.hr, picture.lr) for sr in samples] for figure in columns]
        except UserError as error:
            raise UserError(f"{picture.name}: {error}") from error
        table.rows[picture.name] = {name: (float(np.mean(found)),) for name, found in zip(names, scores, strict=True)}
        say(patch_line(number, table.rows[picture.name]))
    return table


def patch_line(number: int, row: Mapping[str, tuple[float, ...]]) -> str:
    """The seed's line of the patch with this number, from 1."""
    psnr, ssim = (as_printed(*values) for values in row.values())
    return f"Get the number {number} data psnrloss: {psnr}, ssim_loss: {ssim}"


def patch_lines(table: Table) -> list[str]:
    return [patch_line(number, row) for number, row in enumerate(table.rows.values(), 1)]


def mean_lines(table: Table) -> list[str]:
    """The seed's last two lines."""
    means = zip(("psnr", "ssim"), table.figures, strict=True)
    return [f"The mean of {word} is: {as_printed(*table.mean(figure.name))}" for word, figure in means]


def as_printed(value: float) -> str:
    """`[34.00094]`: the seed prints an array of one float32."""
    return str(np.array([value], np.float32))
