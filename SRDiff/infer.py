"""Upscale images with SRDiff: a file or a folder, of any size, gray, RGBA and 16 bit included.

    python SRDiff/infer.py IMAGES --samples 4 --seed 1 --output results             # the demo weights, x4
    python SRDiff/infer.py IMAGES --sampler ddpm                                    # all 100 steps instead of 10
    python SRDiff/infer.py IMAGE --interpolate --t 50 --weight 0,0.5,1              # between two samples
    python SRDiff/infer.py FACE --fuse OTHER --box 40,60,32,48 --t 50                 # a part of another HR image

A sample is drawn by its seed and the image's name: the same alone and among others. Large images are made in tiles
that share their noise and are blended at every step of the chain, so that no seams show.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from common import UserError, config, runtime
from common.evaluation import Results, do_all, find_jobs
from SRDiff.src.model_utils.options import InferConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    inputs, options = parse(list(sys.argv[1:] if argv is None else argv))
    jobs = find_jobs(inputs, options.output)
    results = Results(options.output, jobs, [path for path in (options.fuse, options.mask) if path])
    runtime.start(options.device_target)

    from SRDiff.src.model_utils.inference import Sampler, work
    from SRDiff.src.model_utils.util import load_trained

    sampler = Sampler(load_trained(options), options.runner, options.tile, options.tile_batch)
    way = options.way(sampler.hyper.timesteps)
    log.info("%d image(s), x%d, %s steps, %s", len(jobs), sampler.hyper.scale, way, sampler.engine("predictor").name)
    runtime.keep_interrupts()
    done = "fused" if options.fuse else "upscaled"
    do_all(jobs, lambda job: work(job, results, sampler, options), options.output, done)
    return 0


def parse(words: list[str]) -> tuple[list[str], InferConfig]:
    inputs, options = config.parse_inputs(InferConfig, words, description=__doc__, usage="IMAGES ...")
    if not inputs:
        raise UserError("which images? type infer.py FILE, or infer.py FOLDER")
    options.check()
    for path in filter(None, (options.fuse, options.mask)):
        if not Path(path).is_file():
            raise UserError(f"expected an image, but {path} is no file")
    return inputs, options


if __name__ == "__main__":
    runtime.run_main(main)
