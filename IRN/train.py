"""Train IRN.

python IRN/train.py --scale 4 --dataset_GT_path DATA                # DATA: HR images, or holds DIV2K_train_HR/
python train.py -opt ./src/options/train/train_IRN_x4.yml --dataset_GT_path DATA
python IRN/train.py --resume runs/IRN/irn_x4-20261120-101500        # resume
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import UserError, config, runtime
from common.training import runs
from IRN.src.options.options import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    run = runs.begin(config.parse(TrainConfig, argv, description=__doc__), argv, __doc__, "IRN")
    options = run.options
    if not options.dataset_GT_path:
        raise UserError("which images? type --dataset_GT_path FOLDER")
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)
    options.check_workers(here.world_size, "scripts/run_distribute_train.sh")

    from common.training import BlockStep, Trainer, memory, mixed_precision
    from IRN.src import measuring, recipe
    from IRN.src.data.LQGT_dataset import training_stream
    from IRN.src.data.util import validation_images
    from IRN.src.network.Invnet import InvRescaleNet, count_parameters
    from IRN.src.network.net_with_loss import LossInBlocks
    from IRN.src.optim.adam_clip import adam
    from IRN.src.utils import util

    hyper = options.hyper()
    stream = training_stream(options, hyper, here)
    pairs = validation_images(options) if here.is_main else []
    validate = measuring.make_validation(pairs, hyper, options.seed)
    network = InvRescaleNet(hyper, options.seed)
    if options.ckpt_path and not run.saved:
        util.load_weights(network, options.ckpt_path, options)
    work = partial(recipe.step_work, network, options)
    is_low = memory.is_low("IRN", work, options, here)
    need = memory.checked("IRN", work(is_low), here, options, "--model irn_small")
    mixed_precision(network, options, here)  # the couplings and the loss, sums over an image, stay float32
    loss, weights = recipe.make_loss(network, options), network.trainable_params()
    plan = recipe.plan(options, here.world_size, len(stream.images))
    name = options.data_name or Path(options.dataset_GT_path).resolve().name
    about = (
        f"IRN x{hyper.scale}, {count_parameters(network):,} parameters; {len(stream.images)} images of {name}; "
        f"{here.world_size} worker(s) on {here.device}, {options.batch_size} patches each{need}"
    )
    trainer = Trainer(
        network,
        loss,
        stream,
        plan,
        here,
        partial(run.open, here, about),
        util.describe(hyper, config.to_dict(options)),
        optimizer=adam(network, options),
        step=BlockStep(LossInBlocks(loss), weights, plan.gradient_clip, here.world_size) if is_low else None,
        part_names=("fit", "ce", "rec"),
        validate=validate,
        checkpoint_folder=run.checkpoint_folder,
    )
    return run.fit(trainer)


if __name__ == "__main__":
    runtime.run_main(main)
