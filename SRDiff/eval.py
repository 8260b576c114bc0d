"""Measure SRDiff on data sets, beside bicubic, in one way of sampling or several.

    python SRDiff/eval.py --dataset_GT_path DATA --data_test Set5+Set14 --samples 5 --ckpt_path FILE
    python SRDiff/eval.py --dataset_GT_path DATA --data_test Set5 --sampler ddpm,ddim,dpm --steps 100,20,10,5

Of each picture and the mean: PSNR and SSIM by the authors' protocol (RGB, pictures cut to multiples of 8, then nothing
cropped, 7x7 uniform window) and on Y (nothing cropped either, as the seed's 28.78 dB), PSNR of the result made small
again against LR, LPIPS, how much the samples differ, and seconds. A figure of several samples is their mean.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from common import config, runtime
from SRDiff.src.model_utils.use_options import EvalConfig

log = logging.getLogger(__name__)
WIDEST = 8  # columns of a table on the terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit code."""
    runtime.start_log()
    options = config.parse(EvalConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common.atomic import make_writable
    from common.metrics import LPIPS_NOT_COMPUTED
    from common.report import Report
    from common.runs import make_run_folder
    from SRDiff.src.model_utils import data_sets, measuring
    from SRDiff.src.model_utils.sampling import Sampler
    from SRDiff.src.model_utils.trained import load_trained

    trained = load_trained(options)
    scale, ways = trained.hyper.scale, options.ways(trained.hyper.timesteps)
    sets = data_sets.evaluation_sets(options, scale)
    columns = measuring.figures(options, scale, ways)
    if options.output:
        make_writable(Path(options.output))
    sampler = Sampler(trained, options.engine, options.tile)
    sampler.engine("encoder")  # before the clock runs
    runner = sampler.engine("predictor").name
    runtime.keep_interrupts()
    run_name = options.name or f"eval_{'+'.join(sets)}_x{scale}"
    folder = Path(options.output) if options.output else make_run_folder(Path("runs/SRDiff"), run_name)
    report = Report(folder, "SRDiff", trained.source, scale, options)
    for name, pairs in sets.items():
        title = f"{name} x{scale}, SRDiff {trained.source}, {runner}, {options.samples} sample(s)"
        pictures = data_sets.pictures_of(name, pairs, scale, options)
        results = measuring.evaluate(title, pictures, sampler, ways, columns, options, folder / name)
        results.table.write(folder, name)
        pictures = data_sets.pictures_of(name, pairs, scale, options)
        shown = measuring.shown(pictures, results, ways, options.samples, folder / name)
        report.add(name, results.table, shown, options.samples)
        measuring.write_summary(results, ways, folder / f"{name}_summary.md")
        figures, count = results.table.figures, max(1, WIDEST // (len(ways) + 1))
        for first in range(0, len(figures), count):
            title = f"{name} x{scale}, further figures" if first else ""
            say(results.table.console(figures[first : first + count], title))
        if len(ways) > 1 or options.samples > 1:
            say("\n" + measuring.summary(results, ways))
        if not options.lpips_weights:
            say(LPIPS_NOT_COMPUTED)
        if results.lost:
            say(f"{len(results.lost)} sample(s) ran to values that are no numbers: {'; '.join(results.lost[:3])}")
    say(f"written to {folder}")
    return 0


def say(text: str) -> None:
    """On standard output."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    runtime.run_main(main)
