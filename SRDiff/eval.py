"""Measure SRDiff on data sets, beside bicubic, in one way of sampling or several.

    python SRDiff/eval.py --dataset_GT_path DATA --data_test Set5+Set14 --samples 5 --ckpt_path FILE
    python SRDiff/eval.py --dataset_GT_path DATA --data_test Set5 --sampler ddpm,ddim,dpm --steps 100,20,10,5

Of each image and the mean: PSNR and SSIM by the authors' protocol (RGB, images cut to multiples of 8, then nothing
cropped, 7x7 uniform window) and on Y (nothing cropped either, as the seed's 28.78 dB), PSNR of the downscaled
result against LR, LPIPS, how much the samples differ, and seconds. A figure of several samples is their mean.
"""

import logging
from collections.abc import Sequence

from common import config, runtime
from common.atomic import replacing
from SRDiff.src.model_utils.options import EvalConfig

log = logging.getLogger(__name__)
WIDEST = 8  # columns of a table on the terminal


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(EvalConfig, argv, description=__doc__)
    here = runtime.start(options.device_target, distribute=options.run_distribute)

    from common.evaluation import EvaluationRun
    from common.metrics import LPIPS_NOT_COMPUTED
    from SRDiff.src.dataset.patches import evaluation_sets
    from SRDiff.src.model_utils import measuring
    from SRDiff.src.model_utils.inference import Sampler
    from SRDiff.src.model_utils.util import load_trained

    trained = load_trained(options)
    scale, ways = trained.hyper.scale, options.ways(trained.hyper.timesteps)
    sets = evaluation_sets(options, scale)
    columns = measuring.figures(options, scale, ways)
    with EvaluationRun("SRDiff", trained.source, scale, sets, options, here, options.name) as run:
        sampler = Sampler(trained, options.runner, options.tile, options.tile_batch)
        sampler.engine("encoder")  # before the clock runs
        runner = sampler.engine("predictor").name
        runtime.keep_interrupts()
        for name, pairs in sets.items():
            title = f"{name} x{scale}, SRDiff {trained.source}, {runner}, {options.samples} sample(s)"
            own, folder = (name, pairs, scale, options), run.folder / name
            images = measuring.images_of(*own, run.share)
            table = measuring.evaluate(title, images, sampler, ways, columns, options, folder)
            table = run.whole(table)
            shown = measuring.shown(measuring.images_of(*own), ways, options.samples, folder)
            run.add(name, table, shown, options.samples)
            summary = measuring.summary(table, ways)
            if here.is_main:
                with replacing(run.folder / f"{name}_summary.md") as temporary:
                    temporary.write_text(summary, encoding="utf-8", errors="backslashreplace")
            count = max(1, WIDEST // (len(ways) + 1))
            for first in range(0, len(columns), count):
                title = f"{name} x{scale}, further figures" if first else ""
                run.say(table.console(table.figures[first : first + count], title))
            if len(ways) > 1 or options.samples > 1:
                run.say("\n" + summary)
            if not options.lpips_weights:
                run.say(LPIPS_NOT_COMPUTED)
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
