"""Measure WDSR on data sets, beside bicubic.

    python WDSR/eval.py --dir_data DATA --data_test Set5+Set14 --scale 2 --ckpt_path runs/WDSR/.../ckpt/best.ckpt
    python WDSR/eval.py --dir_data ci/sample --data_range 1-8/9-12                   # the demo weights on the sample

Each image and the mean: PSNR-Y and SSIM-Y (border of `scale` cropped; the benchmarks' convention), PSNR-RGB (border
of scale + 6 cropped; the authors' on DIV2K), LR-PSNR, and LPIPS when its weights are given.
"""

from collections.abc import Sequence

from common import config, runtime
from WDSR.src.args import EvalConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    return run(config.parse(EvalConfig, argv, description=__doc__))


def run(options: EvalConfig) -> int:
    here = runtime.start(options.device_target, distribute=options.run_distribute)

    from common.evaluation import EvaluationRun, evaluate, of_pairs
    from common.metrics import LPIPS_NOT_COMPUTED
    from WDSR.src import inference, measuring, utils
    from WDSR.src.data.srdata import evaluation_sets

    network, saved, source = utils.load_network(options)
    scale = network.hyper.scale
    sets = evaluation_sets(options, scale)
    figures = measuring.figures(scale, options.crop, options.lpips_weights)
    with EvaluationRun("WDSR", source, scale, sets, options, here) as run:
        upscale = inference.make_upscaler(network, saved, source, options)
        for name, pairs in sets.items():
            ensemble = ", self-ensemble" if options.self_ensemble else ""
            title = f"{name} x{scale}, WDSR {source}, {upscale.engine}{ensemble}"
            results = run.folder / name if options.save_results else None
            pairs = pairs[: options.limit or None]
            table = run.whole(evaluate(title, pairs, upscale, figures, scale, results, run.share))
            run.add(name, table, of_pairs(pairs, scale, results))
            run.say(table.console())
            for word, figure in zip(("psnr", "ssim"), figures, strict=False):
                run.say(f"Mean {word} of {name} x{scale} is {table.mean(figure.name)[1]:.4f} [{figure.name}]")
        if not options.lpips_weights:
            run.say(LPIPS_NOT_COMPUTED)
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
