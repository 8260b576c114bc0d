"""Measure IRN on data sets, beside bicubic: down, to 8 bits, and up again.

    python IRN/eval.py --dataset_GT_path DATA --data_test Set5+Set14 --ckpt_path runs/IRN/.../ckpt/best.ckpt
    python val.py -opt ./src/options/test/test_IRN_x4.yml --dataset_GT_path DATA --ckpt_path FILE     # the seed's form

Each image and the mean: PSNR and SSIM on Y and on RGB, of the restored image against HR (the mean over --draws z;
beside it bicubic down and up) and of the LR image against the bicubic LR image. A border of `scale` is cropped.
"""

from collections.abc import Sequence

from common import UserError, config, runtime
from common.atomic import refuse_path
from IRN.src.options.options import EvalConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(EvalConfig, argv, description=__doc__)
    if not options.dataset_GT_path:
        raise UserError("which images? type --dataset_GT_path FOLDER")
    refuse_path(options.suffix, "--suffix")
    here = runtime.start(options.device_target, distribute=options.run_distribute)

    from common.evaluation import EvaluationRun
    from common.metrics import LPIPS_NOT_COMPUTED
    from IRN.src import inference, measuring
    from IRN.src.data.util import evaluation_sets
    from IRN.src.utils import util

    network, saved, source = util.load_network(options)
    hyper = network.hyper
    sets = evaluation_sets(options, hyper.scale)
    columns = measuring.figures(hyper.scale, options.crop, options.lpips_weights)
    with EvaluationRun("IRN", source, hyper.scale, sets, options, here, options.name) as run:
        rescaler = inference.make_rescaler(network, saved, source, options)
        for name, pairs in sets.items():
            title = f"{name} x{hyper.scale}, IRN {source}, {rescaler.name}, {options.draws} draw(s) of z"
            pairs, folder = pairs[: options.limit or None], run.folder / name
            table = measuring.evaluate(title, pairs, rescaler, columns, options, folder, run.share)
            table = run.whole(table)
            run.add(name, table, measuring.shown(pairs, hyper.scale, options, folder), options.draws)
            run.say(table.console(columns.restored))
            run.say(table.console(columns.lr, f"{name} x{hyper.scale}, LR images against bicubic's"))
        if not options.lpips_weights:
            run.say(LPIPS_NOT_COMPUTED)
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
