"""Figures of eval.py: the restored image against HR, and the LR image against bicubic's; and validation."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mindspore import Tensor, ops

from common.evaluation import (
    Figure,
    Shown,
    Table,
    psnr_figure,
    ssim_figure,
    with_lpips,
    write_samples,
)
from common.images import Pair, imresize, to_float, to_uint8, told_apart
from common.metrics import Convention
from common.training import Validation, digest_of, mean_psnr

from .data.util import read_with_reference
from .inference import Origin, Rescaler, draw_z, latent, write_lr
from .network.Invnet import COLORS, Hyper, InvRescaleNet
from .options.options import EvalConfig

log = logging.getLogger(__name__)
LOGGED = {"PSNR": 2, "SSIM": 3, "PSNR_Y": 0, "SSIM_Y": 1}  # the authors' words, in their order -> place in `Figures`


class Figures(NamedTuple):
    """The columns of the table: the restored image (bicubic's and IRN's) against HR, and LR against bicubic's."""

    restored: list[Figure]
    lr: list[Figure]


def figures(scale: int, crop: int, lpips_weights: str) -> Figures:
    """Return PSNR-Y, SSIM-Y, PSNR-RGB, SSIM-RGB of both, and LPIPS; `crop` -1 crops the scale."""
    conventions = [Convention(channels, scale if crop < 0 else crop) for channels in ("y", "rgb")]
    made = [make(convention) for convention in conventions for make in (psnr_figure, ssim_figure)]
    lr = [figure._replace(name=f"LR {figure.name}", columns=("IRN",)) for figure in made]
    restored = with_lpips(made, lpips_weights)
    return Figures([figure._replace(columns=("bicubic", "IRN")) for figure in restored], lr)


def evaluate(
    title: str,
    pairs: Sequence[Pair],
    rescaler: Rescaler,
    columns: Figures,
    options: EvalConfig,
    folder: Path,
    share: Callable[[list[Pair]], list[Pair]] = list,
) -> Table:
    """Measure every image of a set; write what the options ask for into `folder`.

    The LR image is rounded to 8 bits between the directions. Seconds are those of down-scaling and one up-scaling.
    """
    table = Table(title, [*columns.restored, *columns.lr])
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
        table.measure(pair.name, [[bicubic], restored], hr, lr, columns.restored)
        table.measure(pair.name, [[lr]], reference, lr, columns.lr)
        say(table, pair.name, columns)
        name = f"{pair.name}{options.suffix}"
        if options.save_lr:
            write_lr(folder / "LR" / f"{name}.png", lr, None, Origin(*hr.shape[:2], scale, rescaler.digest))
        if options.save_results:
            write_samples(folder, name, columns.restored[0], {"SR": restored[:1]}, bicubic, hr, lr)
    return table


def shown(pairs: Sequence[Pair], scale: int, options: EvalConfig, folder: Path) -> Iterator[Shown]:
    """Yield each image for the report: HR, the bicubic LR image, and what `evaluate` restored."""
    for pair in pairs:
        hr, reference = read_with_reference(pair, scale)
        yield Shown(pair.name, hr, to_uint8(reference), [folder / "SR" / f"{pair.name}{options.suffix}.png"])


def say(table: Table, name: str, columns: Figures) -> None:
    """Log two lines as the authors do: an image's figures and the means so far."""

    def line(values: Mapping[str, tuple[float, ...]]) -> str:
        groups = {"": columns.restored, "LR ": columns.lr}
        logged = [(f"{of}{word}", group[place]) for of, group in groups.items() for word, place in LOGGED.items()]
        return "; ".join(f"{word} {values[figure.name][-1]:.{figure.digits}f}" for word, figure in logged)

    log.info("%s: %s", name, line(table.rows[name]))
    log.info("mean of %d: %s", len(table.rows), line({f.name: table.mean(f.name) for f in table.figures}))


def make_validation(pairs: list[Pair], hyper: Hyper, seed: int) -> Validation | None:
    """Return network -> mean PSNR of the restored image (Y, and as the authors log it RGB) and of LR, with one z."""
    if not pairs:
        return None
    images = [read_with_reference(pair, hyper.scale) for pair in pairs]
    of_y, of_rgb = Convention("y", hyper.scale), Convention("rgb", hyper.scale)

    def validate(network: InvRescaleNet) -> dict[str, float]:
        scores = []
        for number, (hr, reference) in enumerate(images):
            output = network(Tensor(to_float(hr).transpose(2, 0, 1)[None]))
            lr = to_uint8(output[0, :COLORS].asnumpy().transpose(1, 2, 0))
            z = draw_z([seed, number], hyper, lr.shape)
            restored = network.inverse(ops.concat((Tensor(to_float(lr).transpose(2, 0, 1)[None]), Tensor(z)), 1))[0]
            restored = to_uint8(restored.asnumpy()[0].transpose(1, 2, 0))
            scores.append((of_y.psnr(restored, hr), of_rgb.psnr(restored, hr), of_y.psnr(lr, to_uint8(reference))))
        names = of_y.label("PSNR"), of_rgb.label("PSNR"), "LR " + of_y.label("PSNR")
        return dict(zip(names, map(mean_psnr, zip(*scores, strict=True)), strict=True))

    return Validation(validate, digest_of((image for pair in images for image in pair), seed))
