"""Measure CSNLN on data sets, beside bicubic.

    python CSNLN/eval.py --ckpt_file best.ckpt                      # data_path, data_test: see default_config.yaml
    python CSNLN/eval.py --ckpt_file model_x2.pt --data_path DATA --data_test Set5+Set14 --self_ensemble

Each image and the mean: PSNR-Y and SSIM-Y (border of the scale cropped, as in the paper), PSNR-RGB, LR-PSNR, and
LPIPS when its weights are given. Images are chopped as the authors do (--chop no: not).
"""

from collections.abc import Sequence

from common import runtime
from CSNLN.src.config import EvalConfig, parse


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = parse(EvalConfig, argv, __doc__)
    here = runtime.start(options.device_target, distribute=options.run_distribute)

    from common.evaluation import EvaluationRun, evaluate, of_pairs
    from common.metrics import LPIPS_NOT_COMPUTED
    from CSNLN.src import inference, measuring, utils
    from CSNLN.src.dataset.srdata import evaluation_sets

    network, _, source = utils.load_network(options)
    scale = network.hyper.scale
    sets = evaluation_sets(options, scale)
    figures = measuring.figures(scale, options.crop, options.lpips_weights)
    means = []
    with EvaluationRun("CSNLN", source, scale, sets, options, here) as run:
        upscale = inference.make_upscaler(network, options)
        for name, pairs in sets.items():
            ways = "".join(f", {word}" for word in ("chop", "self_ensemble") if getattr(options, word))
            title = f"{name} x{scale}, CSNLN {source}, {upscale.engine}{ways}"
            results = run.folder / name if options.save_results else None
            pairs = pairs[: options.limit or None]
            table = run.whole(evaluate(title, pairs, upscale, figures, scale, results, run.share))
            run.add(name, table, of_pairs(pairs, scale, results))
            run.say(table.console())
            for number, row in enumerate(table.rows.values()):
                run.say(f"{number} : current psnr: {row[figures[0].name][1]:.4f} [{figures[0].name}]")
            means += [
                f"Mean {word} of {name} x{scale} is {table.mean(figure.name)[1]:.4f} [{figure.name}]"
                for word, figure in zip(("psnr", "ssim"), figures, strict=False)
            ]
        run.say("\n".join(means))
        if not options.lpips_weights:
            run.say(LPIPS_NOT_COMPUTED)
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
