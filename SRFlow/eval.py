"""Measure SRFlow on data sets, beside bicubic, at one heat or several.

    python SRFlow/eval.py --dataset_GT_path DATA --data_test Set5+Set14 --heats 0,0.5,0.9 --samples 5 --ckpt_path FILE
    python eval.py --opt SRFlow_DF2K_4X.yml                                    # the seed's: patches, line by line

Of each image and the mean: PSNR and SSIM by the authors' protocol (RGB, nothing cropped, 7x7 uniform window) and on Y
(a border of `scale` cropped), PSNR of the result downscaled again against LR, LPIPS, how much the samples differ, and
the negative log-likelihood of HR. A figure of several samples is their mean.
"""

import logging
from collections.abc import Sequence

from common import config, runtime
from SRFlow.src.model_utils.options import EvalConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(EvalConfig, argv, description=__doc__)
    heats = options.all_heats()
    here = runtime.start(options.device_target, distribute=options.run_distribute)

    from common.data import images_of
    from common.evaluation import EvaluationRun
    from common.metrics import LPIPS_NOT_COMPUTED
    from common.mindrecord import PatchRecords
    from SRFlow.src.dataloader.init import evaluation_sets
    from SRFlow.src.model_utils import measuring
    from SRFlow.src.model_utils.inference import Sampler
    from SRFlow.src.model_utils.util import load_trained

    trained = load_trained(options)
    scale = trained.hyper.scale
    sets = evaluation_sets(options, scale)
    columns = measuring.figures(options, scale)
    with EvaluationRun("SRFlow", trained.source, scale, sets, options, here, options.name) as run:
        sampler = Sampler(trained, options.runner, options.tile, options.tile_batch)
        runner = sampler.engine("decode").name
        runtime.keep_interrupts()
        for name, pairs in sets.items():
            title = f"{name} x{scale}, SRFlow {trained.source}, {runner}, {options.samples} sample(s)"
            own, folder = [name, pairs, scale, options.limit], run.folder / name
            packed = isinstance(pairs, PatchRecords)
            if options.protocol == "patches" or (options.protocol == "auto" and packed):
                for heat in heats:
                    images = images_of(*own, run.share)
                    say = run.say if here.world_size == 1 else log.info
                    table = run.whole(measuring.evaluate_patches(title, images, sampler, heat, options, say))
                    rows = table.rows.values() if here.world_size > 1 else ()
                    lines = [measuring.patch_line(number, row) for number, row in enumerate(rows, 1)]
                    run.say("\n".join([*lines, *measuring.mean_lines(table)]))
                    run.add(name, table, stem=name if len(heats) == 1 else f"{name}_heat_{heat:g}")
                continue
            images = images_of(*own, run.share)
            table = run.whole(measuring.evaluate(title, images, sampler, columns, options, folder))
            shown = measuring.shown(images_of(*own), options, folder)
            run.add(name, table, shown, options.samples)
            for first in range(0, len(table.figures), 2):
                some = table.figures[first : first + 2]
                run.say(table.console(some, f"{name} x{scale}, further figures" if first else ""))
            if not options.lpips_weights:
                run.say(LPIPS_NOT_COMPUTED)
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
