"""Enlarge pictures with WDSR: a file or a folder, of any size, gray, RGBA and 16 bit included.

python WDSR/infer.py --input photo.jpg --output results                       # the demo weights, x2
python WDSR/infer.py --input holiday/ --ckpt_path best.ckpt --output results --format png
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from common import UserError, config, images, runtime
from common.resize import imresize
from WDSR.src.args import InferConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Enlarge; returns the exit code: 0, or 2 when a picture could not be read."""
    runtime.start_log()
    options = config.parse(InferConfig, argv, description=__doc__)
    if not options.input:
        raise UserError("which pictures? type --input FILE or --input FOLDER")
    results = Path(options.output).resolve()
    paths = [path for path in images.find_pictures(options.input) if not is_result(path, options)]
    if not paths:
        raise UserError(f"{options.input} holds nothing but results of {results}")
    make_writable(results)
    runtime.start(options.device_target)

    from WDSR.src import utils

    network, saved, source = utils.load_network(options)
    enlarge, engine = utils.make_upscaler(network, saved, source, options)
    log.info("%d picture(s), x%d, %s", len(paths), network.hyper.scale, engine)
    runtime.keep_interrupts()
    failed = 0
    for path in paths:
        try:
            target = target_path(path, options, network.hyper.scale)
            enlarge_file(path, target, enlarge, network.hyper.scale, options.compare)
        except UserError as error:
            if len(paths) == 1:
                raise
            failed += 1
            log.error("error: %s", error)
    if failed:
        others = f"; the others are in {options.output}" if failed < len(paths) else ""
        raise UserError(f"{failed} of {len(paths)} pictures could not be enlarged{others}")
    return 0


def is_result(path: Path, options: InferConfig) -> bool:
    """Whether a picture below the input stands in an output folder that is below the input, too."""
    root, results = Path(options.input).resolve(), Path(options.output).resolve()
    return results != root and root in results.parents and results in path.resolve().parents


def make_writable(folder: Path) -> None:
    """Make the output folder before anything is computed.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: permission denied")


def target_path(path: Path, options: InferConfig, scale: int) -> Path:
    """Where the enlargement of `path` goes: the sub-folders of the input are kept.

    Raises:
        UserError: it would overwrite its own input.
    """
    root = Path(options.input)
    inside = path.relative_to(root).parent if root.is_dir() else Path()
    ending = f".{options.format.lstrip('.')}" if options.format else path.suffix
    target = Path(options.output) / inside / f"{path.stem}{options.suffix.format(scale=scale)}{ending}"
    if target.resolve() == path.resolve():
        raise UserError(f"{path} would be overwritten: give another --output or --suffix")
    return target


def enlarge_file(path: Path, target: Path, enlarge: Callable, scale: int, compare: bool) -> None:
    """Read, enlarge, write; alpha is enlarged by bicubic, 16 bit stays 16 bit where the format can hold it."""
    picture = images.read_picture(path)
    height, width = picture.rgb.shape[:2]
    with_progress = lambda total: runtime.progress(total, path.name, "tile")  # noqa: E731
    result = enlarge(picture.rgb, with_progress)
    alpha = None if picture.alpha is None else imresize(picture.alpha, scale)
    images.write_picture(target, result, alpha)
    said = [*picture.notes, *([] if alpha is None else ["alpha enlarged by bicubic"])]
    notes = f" ({'; '.join(said)})" if said else ""
    log.info("%s %dx%d -> %s %dx%d%s", path, width, height, target, width * scale, height * scale, notes)
    if compare:
        small = images.to_uint8(images.to_float(picture.rgb))
        strip = [("LR", small), ("bicubic", imresize(small, scale)), ("SR", images.to_uint8(images.to_float(result)))]
        images.write_picture(target.with_name(f"{target.stem}_compare.png"), images.comparison_strip(strip))


if __name__ == "__main__":
    runtime.run_main(main)
