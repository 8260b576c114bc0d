"""Train SRFlow: first its encoder, then the flow.

python SRFlow/train.py --opt SRFlow_DF2K_4X.yml --stage rrdb        # the encoder alone, by L1
python SRFlow/train.py --opt SRFlow_DF2K_4X.yml --rrdb_path runs/SRFlow/.../ckpt/best.ckpt
python SRFlow/train.py --dataset_GT_path DATA --model srflow_small  # DATA: HR images, DF2K, or X.mindrecord
python SRFlow/train.py --resume runs/SRFlow/srflow_x4-20261120-101500     # resume
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import UserError, config, runtime
from common.training import runs
from SRFlow.src.model_utils.device_adapter import get_device_id, workplace
from SRFlow.src.model_utils.options import TrainConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    run = runs.begin(config.parse(TrainConfig, argv, description=__doc__), argv, __doc__, "SRFlow")
    if run.saved and run.options.stage != run.saved.meta["stage"]:
        raise UserError(f"{run.source} is a run of --stage {run.saved.meta['stage']}, not {run.options.stage}")
    if not run.options.dataset_GT_path and not run.options.enable_modelarts:
        raise UserError("which images? type --dataset_GT_path FOLDER, or a .mindrecord")
    with workplace(run.options) as options:
        return train(run._replace(options=options))


def train(run: runs.Start) -> int:
    options = run.options
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)
    options.check_workers(here.world_size, "scripts/run_distribute_train_gpu.sh")

    from common.training import memory, mixed_precision
    from SRFlow.src.dataloader.init import first_batch, training_stream, validation_patches
    from SRFlow.src.model.SRFlowNet import count_parameters
    from SRFlow.src.model_utils import recipe, util

    hyper = options.hyper()
    stream = training_stream(options, hyper, here)
    patches = validation_patches(options, hyper) if here.is_main else None
    network = recipe.make_network(options, hyper, from_start=not run.saved)
    work = partial(recipe.step_work, network, options, hyper)
    is_low = memory.is_low("SRFlow", work, options, here)
    need = memory.checked("SRFlow", work(is_low), here, options, "--model srflow_small")
    plan = recipe.plan(options, hyper, here.world_size, len(stream.images))
    if options.stage == "flow" and not run.saved and not options.ckpt_path:
        log.info("setting the ActNorms from the first batch")
        recipe.initialise(network, options.quant, *first_batch(stream))
    # The flow's couplings compute in the precision of the encoder's features, all else in float32.
    mixed_precision(network if options.stage == "rrdb" else network.RRDB, options, here)
    name = options.data_name or Path(options.dataset_GT_path).resolve().name
    about = (
        f"SRFlow x{hyper.scale}, stage {options.stage}, {count_parameters(network):,} parameters; "
        f"{len(stream.images)} images of {name}; {here.world_size} worker(s) on {here.device}, "
        f"device {get_device_id()}, {options.batch_size} patches each{need}"
    )
    trainer = recipe.make_trainer(
        network,
        options,
        is_low,
        stream,
        plan,
        here,
        partial(run.open, here, about),
        util.describe(hyper, config.to_dict(options), options.stage),
        validate=recipe.make_validation(patches, options),
        checkpoint_folder=run.checkpoint_folder,
    )
    return run.fit(trainer)


if __name__ == "__main__":
    runtime.run_main(main)
