"""Measure SRFlow on data sets, beside bicubic, at one heat or several.

    python SRFlow/eval.py --dataset_GT_path DATA --data_test Set5+Set14 --heats 0,0.5,0.9 --samples 5 --ckpt_path FILE
    python eval.py --opt SRFlow_DF2K_4X.yml                                    # the seed's: patches, line by line

Of each picture and the mean: PSNR and SSIM by the authors' protocol (RGB, nothing cropped, 7x7 uniform window) and on Y
(a border of `scale` cropped), PSNR of the result made small again against LR, LPIPS, how much the samples differ, and
the negative log-likelihood of HR. A figure of several samples is their mean.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from common import config, runtime
from SRFlow.src.model_utils.use_options import EvalConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit code."""
    runtime.start_log()
    options = config.parse(EvalConfig, argv, description=__doc__)
    heats = options.all_heats()
    runtime.start(options.device_target)

    from common.atomic import make_writable
    from common.report import Report
    from common.runs import make_run_folder
    from SRFlow.src.model_utils import data_sets, measuring
    from SRFlow.src.model_utils.sampling import Sampler
    from SRFlow.src.model_utils.trained import load_trained

    trained = load_trained(options)
    scale = trained.hyper.scale
    sets = data_sets.evaluation_sets(options, scale)
    columns = measuring.figures(options, scale)
    if options.output:
        make_writable(Path(options.output))
    sampler = Sampler(trained, options.engine, options.tile)
    runner = sampler.engine("decode").name
    runtime.keep_interrupts()
    run_name = options.name or f"eval_{'+'.join(sets)}_x{scale}"
    folder = Path(options.output) if options.output else make_run_folder(Path("runs/SRFlow"), run_name)
    report = Report(folder, "SRFlow", trained.source, scale, options)
    for name, pairs in sets.items():
        title = f"{name} x{scale}, SRFlow {trained.source}, {runner}, {options.samples} sample(s)"
        if data_sets.by_patches(options, pairs):
            for heat in heats:
                pictures = data_sets.pictures_of(name, pairs, scale, options.limit)
                table = measuring.evaluate_patches(title, pictures, sampler, heat, options, say)
                table.write(folder, name if len(heats) == 1 else f"{name}_heat_{heat:g}")
                report.add(name, table)
            continue
        pictures = data_sets.pictures_of(name, pairs, scale, options.limit)
        table = measuring.evaluate(title, pictures, sampler, columns, options, folder / name)
        table.write(folder, name)
        pictures = data_sets.pictures_of(name, pairs, scale, options.limit)
        report.add(name, table, measuring.shown(pictures, options, folder / name), options.samples)
        for first in range(0, len(table.figures), 2):
            say(table.console(table.figures[first : first + 2], f"{name} x{scale}, further figures" if first else ""))
        if not options.lpips_weights:
            say("LPIPS: not computed (give --lpips_weights)")
    say(f"written to {folder}")
    return 0


def say(text: str) -> None:
    """On standard output, at once: patches take their time."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    runtime.run_main(main)
