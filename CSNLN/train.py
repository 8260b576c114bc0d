"""Train CSNLN.

python CSNLN/train.py                              # as default_config.yaml says: data_path, data_train, data_test
python CSNLN/train.py --data_path DATA --data_train BSD200+T91 --model csnln_small --batch_size 4 --patch_size 48
python CSNLN/train.py --resume runs/CSNLN/csnln_x2-20261120-101500     # go on after a stop
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import UserError, config, runtime
from common.checkpoint import trained
from common.training import runs
from CSNLN.src.config import TrainConfig, parse

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    runtime.start_log()
    options, saved, folder = parse(TrainConfig, argv, __doc__), None, None
    if source := runs.latest(options.save_dir, run_name(options)) if options.resume == "auto" else options.resume:
        options, saved, folder = runs.resumed(TrainConfig, argv, source, __doc__, "CSNLN")
    options = config.merge(options, {"resume": ""}, "train.py")  # or a new run with its config.yaml would go on with it
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)

    from common.training import L1Loss, Trainer, adam, memory, mixed_precision
    from CSNLN.src import training, utils
    from CSNLN.src.CSNLN import CSNLN, count_parameters
    from CSNLN.src.dataset import dataset, srdata
    from CSNLN.src.recomputing import RecomputingStep

    hyper = options.hyper()
    if options.recompute and options.batch_size % options.recompute:
        raise UserError(f"--batch_size {options.batch_size} must be a multiple of --recompute {options.recompute}")
    stream = dataset.training_stream(options, hyper, here)
    validate = training.make_validation(srdata.evaluation_pairs(options, hyper), hyper) if here.is_main else None
    network = CSNLN(hyper, options.seed)
    if options.pre_trained and not saved:
        with trained.starting_from(options.pre_trained, options, network):
            utils.load_weights(network, options.pre_trained)
    work = training.step_work(network, options)
    need = memory.checked("CSNLN", work, here, options, "--recompute 1, or --model csnln_small")
    loss = L1Loss(mixed_precision(network, options.amp_level, here.device, options.amp_dtype))
    plan = training.plan(options)
    about = (
        f"CSNLN x{hyper.scale}, {count_parameters(network):,} parameters; {len(stream.pictures)} pictures; "
        f"{here.world_size} worker(s) on {here.device}, {options.batch_size} patches each{need}"
    )
    where = Path(options.save_dir), run_name(options)
    opening = partial(runs.open_run, options, here, *where, folder=folder, saved=saved, about=about)
    trainer = Trainer(
        network,
        loss,
        stream,
        plan,
        here,
        opening,
        utils.describe(hyper, config.to_dict(options)),
        optimizer=adam(options, network.trainable_params()),
        validate=validate,
        checkpoint_folder=Path(options.ckpt_save_path) if options.ckpt_save_path else None,
    )
    if options.recompute:
        trainer.gradient_step = RecomputingStep(network, options.recompute, plan.gradient_clip, here.world_size)
    if saved:
        trainer.resume(saved, source)
    return trainer.fit()


def run_name(options: TrainConfig) -> str:
    """What run folders are called, but for the time."""
    return options.name or f"{options.model.lower()}_x{options.hyper().scale}"


if __name__ == "__main__":
    runtime.run_main(main)
