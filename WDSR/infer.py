"""Upscale images with WDSR: a file or a folder, of any size, gray, RGBA and 16 bit included.

python WDSR/infer.py photo.jpg --output results                       # the demo weights, x2
python WDSR/infer.py holiday/ --ckpt_path best.ckpt --output results --format png
"""

import logging
from collections.abc import Sequence

from common import UserError, config, runtime
from common.evaluation import Results, find_jobs, upscale_all
from WDSR.src.args import InferConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    inputs, options = config.parse_inputs(InferConfig, argv, description=__doc__, usage="IMAGES ...")
    if not inputs:
        raise UserError("which images? type --input FILE or --input FOLDER")
    jobs = find_jobs(inputs, options.output)
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    from WDSR.src import inference, utils

    upscale = inference.make_upscaler(*utils.load_network(options), options)
    log.info("%d image(s), x%d, %s", len(jobs), upscale.scale, upscale.engine)
    upscale_all(jobs, results, upscale, options, "tile")
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
