"""Train IRN.

python IRN/train.py --scale 4 --dataset_GT_path DATA                # DATA: HR pictures, or holds DIV2K_train_HR/
python train.py -opt ./src/options/train/train_IRN_x4.yml --dataset_GT_path DATA
python IRN/train.py --resume runs/IRN/irn_x4-20261120-101500        # go on after a stop
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import UserError, config, runtime
from common.checkpoint import trained
from common.training import runs
from IRN.src.options.options import TrainConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    runtime.start_log()
    options, saved, folder = config.parse(TrainConfig, argv, description=__doc__), None, None
    if source := runs.latest(options.save_dir, run_name(options)) if options.resume == "auto" else options.resume:
        options, saved, folder = runs.resumed(TrainConfig, argv, source, __doc__, "IRN")
    options = config.merge(options, {"resume": ""}, "train.py")  # or a new run with its config.yaml would go on with it
    if not options.dataset_GT_path:
        raise UserError("which pictures? type --dataset_GT_path FOLDER")
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)
    options.check_workers(here.world_size, "scripts/run_distribute_train.sh")

    from common.training import Trainer, memory, mixed_precision
    from IRN.src.data.LQGT_dataset import training_stream
    from IRN.src.network.Invnet import InvRescaleNet, count_parameters
    from IRN.src.optim.adam_clip import adam
    from IRN.src.utils import util

    hyper = options.hyper()
    stream = training_stream(options, hyper, here)
    pairs = util.validation_pictures(options) if here.is_main else []
    validate = util.make_validation(pairs, hyper, options.seed)
    network = InvRescaleNet(hyper, options.seed)
    if options.ckpt_path and not saved:
        with trained.starting_from(options.ckpt_path, options, network):
            util.load_weights(network, options.ckpt_path)
    need = memory.checked("IRN", util.step_work(network, options), here, options, "--model irn_small")
    loss = mixed_precision(util.make_loss(network, options), options.amp_level, here.device, options.amp_dtype)
    plan = util.plan(options, here.world_size, len(stream.pictures))
    name = options.data_name or Path(options.dataset_GT_path).resolve().name
    about = (
        f"IRN x{hyper.scale}, {count_parameters(network):,} parameters; {len(stream.pictures)} pictures of {name}; "
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
        util.describe(hyper, config.to_dict(options)),
        optimizer=adam(network, options),
        part_names=("fit", "ce", "rec"),
        validate=validate,
        checkpoint_folder=Path(options.ckpt_save_path) if options.ckpt_save_path else None,
    )
    if saved:
        trainer.resume(saved, source)
    return trainer.fit()


def run_name(options: TrainConfig) -> str:
    """What run folders are called, but for the time."""
    return options.name or f"{options.model.lower()}_x{options.hyper().scale}"


if __name__ == "__main__":
    runtime.run_main(main)
