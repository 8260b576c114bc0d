"""Enlarge pictures with WDSR: a file or a folder, of any size, gray, RGBA and 16 bit included.

python WDSR/infer.py --input photo.jpg --output results                       # the demo weights, x2
python WDSR/infer.py --input holiday/ --ckpt_path best.ckpt --output results --format png
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from common import UserError, config, images, runtime
from common.picture_jobs import Job, Results, do_all, find_jobs
from common.resize import imresize
from WDSR.src.args import InferConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Enlarge; returns the exit code: 0, or 2 when a picture could not be read."""
    runtime.start_log()
    options = config.parse(InferConfig, argv, description=__doc__)
    if not options.input:
        raise UserError("which pictures? type --input FILE or --input FOLDER")
    jobs = find_jobs([options.input], options.output)
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    from WDSR.src import utils

    network, saved, source = utils.load_network(options)
    scale = network.hyper.scale
    enlarge, engine = utils.make_upscaler(network, saved, source, options)
    log.info("%d picture(s), x%d, %s", len(jobs), scale, engine)
    runtime.keep_interrupts()

    def work(job: Job) -> None:
        ending = f".{options.format.lstrip('.')}" if options.format else job.source.suffix
        name = f"{job.source.stem}{options.suffix.replace('{scale}', str(scale))}{ending}"
        enlarge_file(job.source, results.reserve(job, name), enlarge, scale, options.compare)

    do_all(jobs, work, options.output, "enlarged")
    return 0


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
