"""Upscale images with CSNLN: a file or a folder, of any size, gray, RGBA and 16 bit included.

python CSNLN/infer.py photo.jpg --output results                       # the demo weights, x2
python CSNLN/infer.py holiday/ --ckpt_file best.ckpt --output results --self_ensemble --format png
python CSNLN/infer.py wall.png --output results --attention 40,25      # which patches answer to this pixel
"""

import logging
from collections.abc import Sequence
from functools import partial

from common import UserError, runtime
from common.evaluation import Results, do_all, find_jobs, upscale_all
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

    from CSNLN.src import inference, utils

    network, _, _ = utils.load_network(options)
    if query:
        draw = partial(inference.draw_attention, results, network, query, options.attention_time)
        do_all(jobs, draw, options.output, "drawn")
        return 0
    upscale = inference.make_upscaler(network, options)
    log.info("%d image(s), x%d, %s", len(jobs), upscale.scale, upscale.engine)
    upscale_all(jobs, results, upscale, options, "piece")
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
