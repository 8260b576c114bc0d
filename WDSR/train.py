"""Train WDSR.

python WDSR/train.py --dir_data DATA --scale 2                      # DATA holds DIV2K/
python WDSR/train.py --dir_data DATA --data_train BSD200+T91 --data_test Set5 --model wdsr_b_small --epochs 40
python WDSR/train.py --resume runs/WDSR/wdsr_x2-20261120-101500     # resume
"""

from collections.abc import Sequence
from functools import partial

from common import config, runtime
from common.training import runs
from WDSR.src.args import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(TrainConfig, argv, description=__doc__)
    if options.test_only:
        return test_only(options)
    run = runs.begin(options, argv, __doc__, "WDSR")
    options = run.options
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)

    from common.training import BlockStep, L1Loss, Trainer, adam, memory, mixed_precision
    from WDSR.src import measuring, recipe, utils
    from WDSR.src.data import srdata
    from WDSR.src.model import WDSR, count_parameters

    hyper = options.hyper()
    stream = srdata.training_stream(options, hyper, here)
    validate = measuring.make_validation(srdata.evaluation_pairs(options, hyper), hyper) if here.is_main else None
    network = WDSR(hyper, options.seed)
    if options.ckpt_path and not run.saved:
        utils.load_weights(network, options.ckpt_path, options)
    work = partial(recipe.step_work, network, options)
    is_low = memory.is_low("WDSR", work, options, here)
    need = memory.checked("WDSR", work(is_low), here, options, "--model wdsr_b_small")
    loss = L1Loss(mixed_precision(network, options, here))
    plan, weights = recipe.plan(options), network.trainable_params()
    about = (
        f"WDSR-{hyper.variant} x{hyper.scale}, {count_parameters(network):,} parameters; "
        f"{len(stream.images)} images; "
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
        optimizer=adam(options, weights),
        step=BlockStep(recipe.LossInBlocks(network), weights, plan.gradient_clip, here.world_size) if is_low else None,
        validate=validate,
        checkpoint_folder=run.checkpoint_folder,
    )
    return run.fit(trainer)


def test_only(options: TrainConfig) -> int:
    """Run eval.py with the options that the two share and that were given."""
    from WDSR import eval as evaluation
    from WDSR.src.args import EvalConfig

    found, shared = EvalConfig(), [key for key in config.to_dict(options) if key in EvalConfig.__dataclass_fields__]
    said = {key: origin.source for key in shared if (origin := config.origin(options, key))}
    for source in sorted(set(said.values()), key=config.COMMAND_LINE.__eq__):
        values = {key: getattr(options, key) for key in said if said[key] == source}
        found = config.merge(found, values, source)
    return evaluation.run(found)


if __name__ == "__main__":
    runtime.run_main(main)
