"""Train SRDiff: first its encoder, then the noise predictor.

python SRDiff/train.py --config SRDiff/configs/df2k_x4_rrdb.yaml --dataset_GT_path data    # the encoder, by L1
python SRDiff/train.py --config SRDiff/configs/df2k_x4.yaml --dataset_GT_path data --rrdb_path RUN/ckpt/best.ckpt
python SRDiff/train.py --dataset_GT_path DATA --model srdiff_small --fix_rrdb false   # both at once
python SRDiff/train.py --resume runs/SRDiff/diffsr_df2k4x_x4-20261120-101500          # resume
"""

from collections.abc import Sequence
from functools import partial

from common import UserError, config, runtime
from common.training import runs
from SRDiff.src.model_utils.options import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    run = runs.begin(config.parse(TrainConfig, argv, description=__doc__), argv, __doc__, "SRDiff")
    options = run.options
    if run.saved and options.stage != run.saved.meta["stage"]:
        raise UserError(f"{run.source} is a run of --stage {run.saved.meta['stage']}, not {options.stage}")
    if not options.dataset_GT_path:
        raise UserError("which images? type --dataset_GT_path FOLDER, or a .mindrecord")
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)
    options.check_workers(here.world_size, "scripts/run_distribute_train_gpu.sh")

    from common.training import memory, mixed_precision
    from SRDiff.src.dataset.patches import training_stream, validation_patches
    from SRDiff.src.model.srdiff import count_parameters
    from SRDiff.src.model_utils import recipe, util

    hyper = options.hyper()
    stream = training_stream(options, hyper, here)
    patches = validation_patches(options, hyper) if here.is_main else []
    network = recipe.make_network(options, hyper, from_start=not run.saved)
    need = memory.checked("SRDiff", recipe.step_work(network, options), here, options, "--model srdiff_small")
    mixed_precision(network, options, here)  # the chain and the loss, which are outside of it, stay float32
    parameters = count_parameters(recipe.trained_part(network, options))
    about = (
        f"SRDiff x{hyper.scale}, stage {options.stage}, {parameters:,} parameters; "
        f"{len(stream.images)} images of {options.data_name or options.dataset_GT_path}; "
        f"{here.world_size} worker(s) on {here.device}, {options.batch_size} patches each{need}"
    )
    trainer = recipe.make_trainer(
        network,
        options,
        stream,
        recipe.plan(options, here.world_size, len(stream.images)),
        here,
        partial(run.open, here, about),
        util.describe(hyper, config.to_dict(options), options.stage),
        validate=recipe.make_validation(patches, options, hyper),
        checkpoint_folder=run.checkpoint_folder,
    )
    return run.fit(trainer)


if __name__ == "__main__":
    runtime.run_main(main)
