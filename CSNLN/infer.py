"""Upscale images with CSNLN: a file or a folder, of any size, gray, RGBA and 16 bit included.

python CSNLN/infer.py photo.jpg --output results                       # the demo weights, x2
python CSNLN/infer.py holiday/ --ckpt_file best.ckpt --output results --self_ensemble --format png
python CSNLN/infer.py wall.png --output results --attention 40,25      # which patches answer to this pixel
"""

import logging
from collections.abc import Callable, Sequence

from common import UserError, images, runtime
from common.evaluation import Job, Results, do_all, enlarge_all, find_jobs
from CSNLN.src.config import InferConfig, parse_inputs

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    inputs, options = parse_inputs(InferConfig, argv, __doc__, "IMAGES ...")
    if not inputs:
        raise UserError("which images? type --input FILE or --input FOLDER")
    query = options.query() if options.attention else None
    jobs = find_jobs(inputs, options.output)
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    from CSNLN.src import pictures, utils

    network, _, _ = utils.load_network(options)
    if query:
        do_all(jobs, attention_work(network, query, options.attention_time, results), options.output, "looked at")
        return 0
    upscale = pictures.make_upscaler(network, options)
    log.info("%d image(s), x%d, %s", len(jobs), upscale.scale, upscale.engine)
    enlarge_all(jobs, results, upscale, options, "piece")
    return 0


def attention_work(network: object, query: tuple[int, int], time: int, results: Results) -> Callable[[Job], None]:
    """Return what draws an image's attention and logs its weights."""
    from CSNLN.src.pictures import answers, draw

    def work(job: Job) -> None:
        target = results.reserve(job, f"{job.source.stem}_attention_{query[0]}_{query[1]}.png")
        rgb = images.read_picture(job.source).rgb
        found = answers(network, rgb, query, time)
        images.write_picture(target, draw(images.to_uint8(images.to_float(rgb)), found))
        said = "; ".join(
            f"{100 * weight:.2g} % rows {top}-{bottom - 1}, columns {left}-{right - 1}"
            for weight, (top, left, bottom, right) in found.strongest()
        )
        alike = f"all alike: {100 / found.weights.size:.2g} %"
        log.info("%s, pixel %d,%d: %s (%s) -> %s", job.source, *query, said, alike, target)

    return work


if __name__ == "__main__":
    runtime.run_main(main)
