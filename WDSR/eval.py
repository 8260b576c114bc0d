"""Measure WDSR on data sets, beside bicubic.

    python WDSR/eval.py --dir_data DATA --data_test Set5+Set14 --scale 2 --ckpt_path runs/WDSR/.../ckpt/best.ckpt
    python WDSR/eval.py --dir_data ci/sample --data_range 1-8/9-12                   # the demo weights on the sample

Each picture and the mean: PSNR-Y and SSIM-Y (border of `scale` cropped; the benchmarks' convention), PSNR-RGB (border
of scale + 6 cropped; the authors' on DIV2K), LR-PSNR, and LPIPS when its weights are given.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from common import config, runtime
from WDSR.src.args import EvalConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit code."""
    runtime.start_log()
    return run(config.parse(EvalConfig, argv, description=__doc__))


def run(options: EvalConfig) -> int:
    """Evaluate with parsed options."""
    runtime.start(options.device_target)

    from common.atomic import make_writable
    from common.evaluation import evaluate
    from common.report import Report, of_pairs
    from common.runs import make_run_folder
    from WDSR.src import utils
    from WDSR.src.data.srdata import evaluation_sets

    network, saved, source = utils.load_network(options)
    hyper = network.hyper
    sets = evaluation_sets(
        options.dir_data, options.data_test, hyper.scale, data_range=options.data_range, track=options.track
    )
    figures = utils.figures(hyper.scale, options.crop, options.lpips_weights)
    if options.output:
        make_writable(Path(options.output))
    upscale, engine = utils.make_upscaler(network, saved, source, options)
    runtime.keep_interrupts()
    name = f"eval_{options.data_test.replace('/', '-')}_x{hyper.scale}"
    folder = Path(options.output) if options.output else make_run_folder(Path("runs/WDSR"), name)
    report = Report(folder, "WDSR", source, hyper.scale, options)
    for name, pairs in sets.items():
        ensemble = ", self-ensemble" if options.self_ensemble else ""
        title = f"{name} x{hyper.scale}, WDSR {source}, {engine}{ensemble}"
        pictures = folder / name if options.save_results else None
        pairs = pairs[: options.limit or None]
        table = evaluate(title, pairs, upscale, figures, hyper.scale, pictures)
        table.write(folder, name)
        report.add(name, table, of_pairs(pairs, hyper.scale, pictures))
        print(table.console())  # noqa: T201
        for word, figure in zip(("psnr", "ssim"), figures, strict=False):
            print(f"Mean {word} of {name} x{hyper.scale} is {table.mean(figure.name)[1]:.4f} [{figure.name}]")  # noqa: T201
    if not options.lpips_weights:
        print("LPIPS: not computed (give --lpips_weights)")  # noqa: T201
    print(f"written to {folder}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
