"""Train CSNLN.

python CSNLN/train.py                              # as default_config.yaml says: data_path, data_train, data_test
python CSNLN/train.py --data_path DATA --data_train BSD200+T91 --model csnln_small --batch_size 4 --patch_size 48
python CSNLN/train.py --resume runs/CSNLN/csnln_x2-20261120-101500     # resume
"""

from collections.abc import Sequence
from functools import partial

from common import UserError, config, runtime
from common.training import runs
from CSNLN.src.config import TrainConfig, parse


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    run = runs.begin(parse(TrainConfig, argv, __doc__), argv, __doc__, "CSNLN")
    options = run.options
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)

    from common.training import L1Loss, Trainer, adam, memory, mixed_precision
    from CSNLN.src import measuring, recipe, utils
    from CSNLN.src.CSNLN import CSNLN, count_parameters
    from CSNLN.src.dataset import dataset, srdata
    from CSNLN.src.recomputing import RecomputingStep

    hyper = options.hyper()
    if (images := options.recompute) and options.batch_size % images:
        raise UserError(f"--batch_size {options.batch_size} must be a multiple of --recompute {images}")
    stream = dataset.training_stream(options, hyper, here)
    validate = measuring.make_validation(srdata.evaluation_pairs(options, hyper), hyper) if here.is_main else None
    network = CSNLN(hyper, options.seed)
    if options.pre_trained and not run.saved:
        utils.load_weights(network, options.pre_trained, options)
    work = partial(recipe.step_work, network, options)
    is_low = bool(images) or memory.is_low("CSNLN", work, options, here)
    need = memory.checked("CSNLN", work(is_low), here, options, "--recompute 1, or --model csnln_small")
    loss = L1Loss(mixed_precision(network, options, here))
    plan = recipe.plan(options)
    about = (
        f"CSNLN x{hyper.scale}, {count_parameters(network):,} parameters; {len(stream.images)} images; "
        f"{here.world_size} worker(s) on {here.device}, {options.batch_size} patches each{need}"
    )
    trainer = Trainer(
        network,
        loss,
        stream,
        plan,
        here,
        partial(run.open, here, about),
        utils.describe(hyper, config.to_dict(options)),
        optimizer=adam(options, network.trainable_params()),
        step=RecomputingStep(network, images, plan.gradient_clip, here.world_size) if is_low else None,
        validate=validate,
        checkpoint_folder=run.checkpoint_folder,
    )
    return run.fit(trainer)


if __name__ == "__main__":
    runtime.run_main(main)
