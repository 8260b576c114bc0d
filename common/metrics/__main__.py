"""The command `python -m common.metrics`: figures of images that any program made."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import UserError
from common.atomic import make_writable
from common.config import Parser
from common.evaluation import Figure, Table, lr_psnr_figure, psnr_figure, ssim_figure, with_lpips
from common.evaluation.report import Report, Shown
from common.images import Pair, find_pairs, imresize, read_rgb, size_of
from common.metrics import LPIPS_NOT_COMPUTED, PROTOCOLS
from common.runtime import run_main, start_log

DESCRIPTION = """PSNR, SSIM, LR-PSNR and LPIPS of SR against HR: two images, or two folders paired by name.

    python -m common.metrics runs/WDSR/eval_Set5_x2/Set5/SR DATA/Set5/HR --scale 2
    python -m common.metrics SR HR --lr DATA/Set5/LR_bicubic/X4 --protocol srflow --lpips_weights FOLDER --csv table.csv
"""
# Name -> the conventions of its columns, as `common.metrics.PROTOCOLS` names them.
TABLES = {
    "benchmark-y": ("benchmark-y",),
    "irn": ("benchmark-y", "irn-rgb"),
    "srflow": ("srflow", "benchmark-y"),
    "srdiff": ("srdiff", "benchmark-y"),
    "rgb": ("irn-rgb",),
}
PROTOCOL_HELP = """benchmark-y: Y, as published for Set5 to Urban100; irn: Y and RGB;
srflow, srdiff: RGB without a crop and SSIM of a 7x7 window, and Y; rgb [%(default)s]"""
SCALES = 1, 2, 3, 4, 8  # that names of SR images may end in


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    for path in filter(None, (options.csv, options.report)):
        make_writable(path.parent)
    pairs = _pairs(options.hr, options.sr, options.scale)
    of_lr = _pairs(options.hr, options.lr, options.scale) if options.lr else []
    lr_of = {pair.name: pair.lr for pair in of_lr}
    scale = options.scale
    if not scale and of_lr:
        scale = round(size_of(pairs[0].lr)[0] / size_of(lr_of[pairs[0].name])[0])
    crop = scale if options.crop is None else options.crop
    if crop is None or crop < 0:
        raise UserError("how many pixels to crop is not known: type --crop N, or --scale N (benchmarks crop the scale)")

    columns = ("bicubic", "SR") if lr_of else ("SR",)
    conventions = [PROTOCOLS[name](crop) for name in TABLES[options.protocol]]
    figures = [make(one) for one in conventions for make in (psnr_figure, ssim_figure)]
    if lr_of:
        rounding = "half_even" if options.protocol in ("srflow", "srdiff") else "half_up"
        figures.append(lr_psnr_figure(scale, rounding))
    figures = [Figure(f.name, f.measure, f.digits, columns) for f in with_lpips(figures, options.lpips_weights)]
    table = Table(f"{options.sr} against {options.hr}", figures)
    for pair in pairs:
        sr, hr, lr = _read(pair, lr_of.get(pair.name), scale)
        table.measure(pair.name, [[sr]] if lr is None else [[imresize(lr, scale)], [sr]], hr, lr)

    print(table.console())  # noqa: T201
    print("\n".join(one.describe() for one in conventions))  # noqa: T201
    if not options.lpips_weights:
        print(LPIPS_NOT_COMPUTED)  # noqa: T201
    if options.csv:
        table.write(options.csv.parent, options.csv.stem)
    if options.report:
        report = Report(options.report, "SR images", str(options.sr), scale or 1)
        read = ((pair, *_read(pair, lr_of.get(pair.name), scale)) for pair in pairs)
        report.add(options.hr.name, table, (Shown(p.name, hr, lr, [p.lr]) for p, _, hr, lr in read))
    return 0


def _pairs(hr: Path, other: Path, scale: int | None) -> list[Pair]:
    """Pair HR with SR or LR (as `lr`): two files, or two folders by name, also where infer.py added _x2."""
    for path in (hr, other):
        if not path.exists():
            raise UserError(f"{path} is not there: expected an image or a folder of images")
    if hr.is_file() and other.is_file():
        return [Pair(hr.stem, hr, other)]
    refused = None
    for one in [scale] if scale else SCALES:
        try:
            return find_pairs(hr, other, one)
        except UserError as error:
            refused = refused or error
    raise refused


def _read(pair: Pair, lr: Path | None, scale: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Read (sr, hr, lr), uint8 HWC; HR loses the rows and columns below and right of the scale's last multiple."""
    sr, hr = read_rgb(pair.lr), read_rgb(pair.hr, gray_as_plane=True)
    (height, width), most = sr.shape[:2], scale or max(SCALES)
    if not (0 <= hr.shape[0] - height < most and 0 <= hr.shape[1] - width < most):
        raise UserError(f"{pair.lr} is {width}x{height}, {pair.hr} is {hr.shape[1]}x{hr.shape[0]}: expected one size")
    low = read_rgb(lr) if lr else None
    if low is not None and (low.shape[0] * scale, low.shape[1] * scale) != (height, width):
        found = f"{low.shape[1]}x{low.shape[0]}"
        raise UserError(f"{lr} is {found}: expected 1/{scale} of {pair.lr}, which is {width}x{height}")
    return sr, hr[:height, :width], low


def _parser() -> Parser:
    parser = Parser(prog="python -m common.metrics", description=DESCRIPTION)
    add = parser.add_argument
    add("sr", type=Path, metavar="SR", help="image or folder of images to measure")
    add("hr", type=Path, metavar="HR", help="image or folder of images: ground truth")
    add("--protocol", choices=tuple(TABLES), default="benchmark-y", help=" ".join(PROTOCOL_HELP.split()))
    add("--crop", type=int, metavar="N", help="pixels cut from each side [the scale]")
    add("--scale", type=int, metavar="N", help="HR over LR [with --lr from the sizes]")
    add("--lr", type=Path, help="LR image or folder; adds bicubic and LR-PSNR")
    add("--lpips_weights", default="", metavar="FOLDER", help="folder of AlexNet's and LPIPS's weights; adds LPIPS")
    add("--csv", type=Path, metavar="FILE", help="write the table as CSV, and as Markdown beside it")
    add("--report", type=Path, metavar="FILE", help="write the table and the images as an HTML page")
    return parser


if __name__ == "__main__":
    start_log()
    sys.exit(run_main(main))
