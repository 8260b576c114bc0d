"""Train CSNLN.

python CSNLN/train.py                              # as default_config.yaml says: data_path, data_train, data_test
python CSNLN/train.py --data_path DATA --data_train BSD200+T91 --model csnln_small --batch_size 4 --patch_size 48
python CSNLN/train.py --resume runs/CSNLN/csnln_x2-20261120-101500     # go on after a stop
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import UserError, config, runs, runtime
from CSNLN.src.config import TrainConfig, parse

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    runtime.start_log()
    options, saved, folder = parse(TrainConfig, argv, __doc__), None, None
    if source := runs.latest(options.save_dir, run_name(options)) if options.resume == "auto" else options.resume:
        options, saved, folder = runs.resumed(TrainConfig, argv, source, __doc__, "CSNLN")
    options = replace(options, resume="")  # or a new run with its config.yaml would go on with it
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)

    from common.gradient import mixed_precision
    from common.losses import L1Loss
    from common.recipe import adam
    from common.training import Trainer
    from CSNLN.src import training, utils
    from CSNLN.src.CSNLN import CSNLN, count_parameters
    from CSNLN.src.dataset import dataset, srdata
    from CSNLN.src.recomputing import RecomputingStep

    hyper = options.hyper()
    if options.recompute and options.batch_size % options.recompute:
        raise UserError(f"--batch_size {options.batch_size} must be a multiple of --recompute {options.recompute}")
    stream = dataset.training_stream(options, hyper, here)
    typed = config.typed(TrainConfig, argv)
    validate = training.make_validation(srdata.evaluation_pairs(options, hyper, typed), hyper) if here.is_main else None
    network = CSNLN(hyper, options.seed)
    if options.pre_trained and not saved:
        utils.load_weights(network, options.pre_trained)
    loss = L1Loss(mixed_precision(network, options.amp_level, here.device, options.amp_dtype))
    plan = training.plan(options)
    folder = runs.open_run(options, here, Path(options.save_dir), run_name(options), folder=folder, saved=saved)
    trainer = Trainer(
        network,
        loss,
        stream,
        plan,
        here,
        folder,
        utils.describe(hyper, config.to_dict(options)),
        optimizer=adam(options, network.trainable_params()),
        validate=validate,
        checkpoint_folder=Path(options.ckpt_save_path) if options.ckpt_save_path else None,
    )
    if options.recompute:
        trainer.gradient_step = RecomputingStep(network, options.recompute, plan.gradient_clip, here.world_size)
    if saved:
        trainer.resume(saved, source)
    log.info(
        "CSNLN x%d, %s parameters; %d pictures; %d worker(s) on %s, %d patches each; run folder %s",
        *(hyper.scale, f"{count_parameters(network):,}", len(stream.pictures)),
        *(here.world_size, here.device, options.batch_size, folder),
    )
    return trainer.fit()


def run_name(options: TrainConfig) -> str:
    """What run folders are called, but for the time."""
    return options.name or f"{options.model.lower()}_x{options.hyper().scale}"


if __name__ == "__main__":
    runtime.run_main(main)
