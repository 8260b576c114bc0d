"""What eval.py measures: the restored picture against HR, and the LR picture against bicubic's, on Y and on RGB."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.data import named_sets, stem_of
from common.evaluation import Figure, Shown, Table, captioned_strip, psnr_figure, ssim_figure, with_lpips
from common.images import Pair, imresize, to_uint8, told_apart, write_picture
from common.metrics import Convention

from ..data.util import find_hr_folder, find_pictures, read_with_reference
from ..options.options import EvalConfig
from .lr_file import Origin, write_lr
from .rescaling import Rescaler, latent

log = logging.getLogger(__name__)
LOGGED = {"PSNR": 2, "SSIM": 3, "PSNR_Y": 0, "SSIM_Y": 1}  # the authors' words, in their order -> place in `Figures`


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, list[Pair]]:
    """The pictures of each set of --data_test, or all of --dataset_GT_path, by the name of the set.

    Raises:
        UserError: a set that is not there, or an HR picture without its LR picture.
    """
    root, lr_path = Path(options.dataset_GT_path), options.dataset_LQ_path
    if not options.data_test:
        folder = hr_folder(root).resolve()
        name = stem_of(options.data_name or (folder.parent if folder.name == "HR" else folder))
        return {name: find_pictures(str(folder), lr_path, scale, "test")}

    return {
        name: find_pictures(str(hr_folder(place)), beside, scale, "test")
        for name, place, beside in named_sets(options.data_test, root, lr_path)
    }


def hr_folder(root: Path) -> Path:
    """The HR pictures of one set; in a DIV2K root its validation pictures.

    Raises:
        UserError: no such folder, or a DIV2K root without validation pictures.
    """
    folder = find_hr_folder(str(root), "test")
    training = next(
        (base / "DIV2K_train_HR" for base in (root, root / "DIV2K") if (base / "DIV2K_train_HR").is_dir()), None
    )
    if folder == root and training:
        raise UserError(f"{root} has no DIV2K_valid_HR; for the training pictures type --dataset_GT_path {training}")
    return folder


class Figures(NamedTuple):
    """The columns of the table: PSNR-Y, SSIM-Y, PSNR-RGB and SSIM-RGB of both, and LPIPS.

    Attributes:
        restored: of bicubic down and up and of IRN, against HR.
        lr: of the LR picture against the bicubic LR picture.
    """

    restored: list[Figure]
    lr: list[Figure]


def figures(scale: int, crop: int, lpips_weights: str) -> Figures:
    """What is measured.

    Args:
        crop: border left out, of HR and of LR pictures; -1 takes the scale.
        lpips_weights: "" leaves LPIPS out.
    """
    conventions = [Convention(channels, scale if crop < 0 else crop) for channels in ("y", "rgb")]
    made = [make(convention) for convention in conventions for make in (psnr_figure, ssim_figure)]
    lr = [replace(figure, name=f"LR {figure.name}", columns=("IRN",)) for figure in made]
    restored = with_lpips(made, lpips_weights)
    return Figures([replace(figure, columns=("bicubic", "IRN")) for figure in restored], lr)


def evaluate(
    title: str,
    pairs: Sequence[Pair],
    rescaler: Rescaler,
    columns: Figures,
    options: EvalConfig,
    weights: str,
    folder: Path,
    share: Callable[[list[Pair]], list[Pair]] = list,
) -> Table:
    """Measure every picture of a set; write what the options ask for into `folder`.

    The LR picture is rounded to 8 bits between the directions. Seconds are those of down-scaling and one up-scaling.

    Args:
        weights: digest of the network, for the LR files.
        share: picks the pairs that this worker measures; all by default.

    Raises:
        UserError: two pictures have one name, or one cannot be read or is too small to be measured.
    """
    table = Table(title, [*columns.restored, *columns.lr], {}, {})
    scale = rescaler.hyper.scale
    for pair in share(told_apart(title, pairs)):
        hr, reference = read_with_reference(pair, scale)
        reference = to_uint8(reference)
        bicubic = imresize(reference, scale)
        start = time.perf_counter()
        lr = rescaler.downscale(hr)
        between = time.perf_counter()
        restored = [
            rescaler.upscale(lr, latent(options.seed, pair.name, draw, rescaler.hyper, lr, options.gaussian_scale))
            for draw in range(options.draws)
        ]
        table.seconds[pair.name] = between - start + (time.perf_counter() - between) / options.draws
        try:
            scores = {f.name: [f.measure(sr, hr, lr) for sr in restored] for f in columns.restored}
            row = {f.name: (f.measure(bicubic, hr, lr), float(np.mean(scores[f.name]))) for f in columns.restored}
            row |= {f.name: (f.measure(lr, reference, lr),) for f in columns.lr}
        except UserError as error:
            raise UserError(f"{pair.hr}: {error}") from error
        table.rows[pair.name] = row
        table.spreads[pair.name] = {name: spread(values) for name, values in scores.items() if options.draws > 1}
        say(table, pair.name, columns)
        name = f"{pair.name}{options.suffix}.png"
        if options.save_lr:
            write_lr(folder / "LR" / name, lr, None, Origin(*hr.shape[:2], scale, weights))
        if options.save_results:
            write_picture(folder / "SR" / name, restored[0])
            strip = {"LR": lr, "bicubic": bicubic, "IRN": restored[0], "HR": hr}
            first = columns.restored[0]
            write_picture(
                folder / "strips" / name, captioned_strip(strip, first, row[first.name][0], scores[first.name][0])
            )
    return table


def shown(pairs: Sequence[Pair], scale: int, options: EvalConfig, folder: Path) -> Iterator[Shown]:
    """Each picture for the report: HR, the bicubic LR picture, and what `evaluate` restored and wrote to `folder`."""
    for pair in pairs:
        hr, reference = read_with_reference(pair, scale)
        yield Shown(pair.name, hr, to_uint8(reference), [folder / "SR" / f"{pair.name}{options.suffix}.png"])


def say(table: Table, name: str, columns: Figures) -> None:
    """Two lines of the log, as the authors': a picture's figures and the means so far."""

    def line(values: Mapping[str, tuple[float, ...]]) -> str:
        groups = {"": columns.restored, "LR ": columns.lr}
        logged = [(f"{of}{word}", group[place]) for of, group in groups.items() for word, place in LOGGED.items()]
        return "; ".join(f"{word} {values[figure.name][-1]:.{figure.digits}f}" for word, figure in logged)

    log.info("%s: %s", name, line(table.rows[name]))
    log.info("mean of %d: %s", len(table.rows), line({f.name: table.mean(f.name) for f in table.figures}))


def spread(values: Sequence[float]) -> float:
    """Standard deviation; 0 for equal values, be they infinite."""
    return 0.0 if len(set(values)) == 1 else float(np.std(values))
