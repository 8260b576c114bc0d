"""Train WDSR.

python WDSR/train.py --dir_data DATA --scale 2                      # DATA holds DIV2K/
python WDSR/train.py --dir_data DATA --data_train BSD200+T91 --data_test Set5 --model wdsr_b_small --epochs 40
python WDSR/train.py --resume runs/WDSR/wdsr_x2-20261120-101500     # go on after a stop
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import config, runs, runtime
from WDSR.src.args import TrainConfig

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, or with --test_only evaluate; returns the exit code."""
    runtime.start_log()
    options, saved, folder = config.parse(TrainConfig, argv, description=__doc__), None, None
    if options.test_only:
        return test_only(options)
    if source := runs.latest(options.save_dir, run_name(options)) if options.resume == "auto" else options.resume:
        options, saved, folder = runs.resumed(TrainConfig, argv, source, __doc__, "WDSR")
    options = replace(options, resume="")  # or a new run with its config.yaml would go on with it
    here = runtime.start(options.device_target, seed=options.seed, distribute=options.run_distribute)

    from common.gradient import mixed_precision
    from common.losses import L1Loss
    from common.recipe import adam
    from common.training import Trainer
    from WDSR.src import utils
    from WDSR.src.data import srdata
    from WDSR.src.model import WDSR, count_parameters

    hyper = options.hyper()
    stream = srdata.training_stream(options, hyper, here)
    typed = config.typed(TrainConfig, argv)
    validate = utils.make_validation(srdata.evaluation_pairs(options, hyper, typed), hyper) if here.is_main else None
    network = WDSR(hyper, options.seed)
    if options.ckpt_path and not saved:
        utils.load_weights(network, options.ckpt_path)
    loss = L1Loss(mixed_precision(network, options.amp_level, here.device, options.amp_dtype))
    plan = utils.plan(options)
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
    if saved:
        trainer.resume(saved, source)
    log.info(
        "WDSR-%s x%d, %s parameters; %d pictures; %d worker(s) on %s, %d patches each; run folder %s",
        *(hyper.variant, hyper.scale, f"{count_parameters(network):,}", len(stream.pictures)),
        *(here.world_size, here.device, options.batch_size, folder),
    )
    return trainer.fit()


def run_name(options: TrainConfig) -> str:
    """What run folders are called, but for the time."""
    return options.name or f"{options.model.lower()}_x{options.hyper().scale}"


def test_only(options: TrainConfig) -> int:
    """What --test_only does: eval.py with the options that the two share and that were given."""
    from WDSR import eval as evaluation
    from WDSR.src.args import EvalConfig

    plain = config.to_dict(TrainConfig())
    given = {key: value for key, value in config.to_dict(options).items() if value != plain[key]}
    shared = {key: value for key, value in given.items() if key in EvalConfig.__dataclass_fields__}
    return evaluation.run(config.merge(EvalConfig(), shared, "train.py"))


if __name__ == "__main__":
    runtime.run_main(main)
