"""Options of training that models share; `common.options` holds those of other programs, too."""

from dataclasses import dataclass

from common.config import option


@dataclass(frozen=True)
class OptimizerOptions:
    """How the weights are changed: Adam."""

    lr: float = option(1e-4, "learning rate", aliases=("lr_G", "lr_init"), at_least=0)
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the mean squared gradient", at_least=0, below=1)
    gclip: float = option(0.0, "largest norm of the gradient; 0: no clip", aliases=("gradient_clipping",), at_least=0)
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )


@dataclass(frozen=True)
class AdamOptions(OptimizerOptions):
    """How the weights are changed: the rest of Adam."""

    epsilon: float = option(1e-8, "Adam's epsilon", at_least=0)
    weight_decay: float = option(0.0, "L2 coefficient, added to the gradient", at_least=0)


@dataclass(frozen=True)
class RunOptions:
    """The run: what a step is shown, what is looked at and kept, and where."""

    batch_size: int = option(16, "pictures per step, for each worker", at_least=1)
    patch_size: int = option(160, "side of the HR patch", aliases=("GT_size", "HR_size"), at_least=1)
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB", at_least=0)
    seed: int = option(
        1,
        "seed of all that is random, as the first weights, the crops and the order of the pictures",
        at_least=0,
        below=2**32,
    )
    run_distribute: bool | None = option(
        None, "join other workers; default: when a launcher started this process", aliases=("distribute",)
    )
    test_every: int = option(5000, "steps between two looks at test pictures", aliases=("val_freq",), at_least=1)
    test_pictures: int = option(10, "how many test pictures to look at; 0: all", aliases=("n_max",), at_least=0)
    log_every: int = option(100, "steps between two lines of the log", aliases=("print_freq",), at_least=1)
    no_memory_check: bool = option(False, "try a step even if its estimated memory (on CPU) is not free")
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)
    save_dir: str = option("runs", "where run folders are made", aliases=("save",))
    name: str = option("", "name of the run; default: model and scale")
    resume: str = option(
        "", "go on with a run: its folder, or its last.ckpt; auto: the last one of this name", aliases=("resume_state",)
    )
    ckpt_save_path: str = option(
        "", "path to save ckpt; default: ckpt/ in the run's folder", aliases=("ckpt_save_dir",)
    )
    ckpt_save_max: int = option(
        5,
        "how many numbered checkpoints to keep; older ones of this run are removed; 0: none",
        aliases=("keep_checkpoint_max",),
        at_least=0,
    )


@dataclass(frozen=True)
class StartOptions:
    """The run: where it starts."""

    ckpt_path: str = option(
        "",
        "weights to start from, ours or the authors' (the run starts at step 0); of another scale's what fits is taken",
        aliases=("checkpoint", "pre_trained", "pretrain_model_G"),
    )


@dataclass(frozen=True)
class EpochOptions:
    """How long it trains: in epochs of --test_every steps."""

    epochs: int = option(300, "number of epochs to train, each of --test_every steps", aliases=("epoches",), at_least=1)
    gamma: float = option(0.5, "factor of each fall of the rate", aliases=("lr_gamma",), at_least=0)
    ckpt_save_interval: int = option(
        10, "epochs between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    no_augment: bool = option(False, "do not use data augmentation (flips and quarter turns)")


@dataclass(frozen=True)
class StepOptions:
    """How long it trains: in steps of a batch."""

    epochs: int = option(
        0,
        "passes over the pictures, instead of a number of steps; 0: the number counts",
        aliases=("epoches",),
        at_least=0,
        instead_of=("niter", "max_updates"),
    )
    schedule_batch: int = option(
        0,
        "pictures per step that the numbers of steps are written for, those of the run, of the looks and of the rate: "
        "all are multiplied by schedule_batch / (batch_size * workers); 0: batch_size, so that 8 workers make an "
        "eighth of the steps",
        at_least=0,
    )
    save_checkpoint_freq: int = option(
        5000, "steps between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    use_flip: bool = option(True, "mirror half of the patches")
    device_num: int = option(0, "number of workers there must be; 0: any", at_least=0)


@dataclass(frozen=True)
class StepCount:
    """How long it trains: the number of steps."""

    niter: int = option(200_000, "optimizer steps, with the batch of one worker", aliases=("max_updates",), at_least=1)


@dataclass(frozen=True)
class EncoderStart:
    """The run: where its encoder starts."""

    rrdb_path: str = option(
        "",
        "trained encoder to start from: what --stage rrdb leaves, or the authors' file",
        aliases=("rrdb_ckpt", "train_pretrain_model_G", "pretrain_model_G"),
    )


@dataclass(frozen=True)
class ValidationFolders:
    """Which pictures: those to look at while training."""

    val_GT_path: str = option(  # noqa: N815
        "", "HR pictures to look at while training; default: what belongs to the training pictures"
    )
    val_LQ_path: str = option(  # noqa: N815
        "", "their LR pictures; default: what is beside HR, else MATLAB's bicubic"
    )
