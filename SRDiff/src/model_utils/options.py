"""Options of SRDiff's programs.

Each program's configuration is put together from the groups below; every option is also a key of a YAML file
(`--config FILE`). The network's and the recipe's bear the authors' names.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from common import UserError
from common.config import option
from common.options import DeviceOptions

from ..model.sampling import SAMPLERS
from ..model.srdiff import PRESETS, Hyper

STAGES = ("diffusion", "rrdb")
AUTHORS = ("diffsr_df2k4x", "diffsr_celeb")  # of one scale each
OF_SCALE = {0: "diffsr_df2k4x", 2: "diffsr_df2k4x", 4: "diffsr_df2k4x", 8: "diffsr_celeb"}
UPDATES = {"diffusion": 400_000, "rrdb": 100_000}
DEMO_SCALE = 4  # of the weights that come with the repository


@dataclass(frozen=True)
class NetworkOptions:
    """What is built: a named network, and what is to be different in it."""

    CONFIG_FLAGS: ClassVar[tuple[str, ...]] = ("--config", "--config_path")

    scale: int = option(
        0, "factor of the enlargement; default: the model's", choices=(0, 2, 4, 8), aliases=("sr_scale",)
    )
    model: str = option("", "a named network; default: the authors' of the scale, x4", choices=("", *PRESETS))
    hidden_size: int = option(0, "channels of the U-Net's first level; 0: the model's", at_least=0)
    unet_dim_mults: tuple[int, ...] = option(
        (), "their multiples in each level, as 1,2,3,4; default: the model's", aliases=("dim_mults",)
    )
    rrdb_num_feat: int = option(0, "channels of the encoder; 0: the model's", at_least=0)
    rrdb_num_block: int = option(0, "blocks of the encoder; 0: the model's", at_least=0)
    timesteps: int = option(0, "steps of the chain; 0: the model's, 100", at_least=0)
    beta_schedule: str = option(
        "", "how the noise grows; default: the model's, cosine", choices=("", "cosine", "linear")
    )
    beta_s: float = option(0.0, "offset of the cosine schedule; 0: the model's, 0.008", at_least=0)
    beta_end: float = option(
        0.0, "last but one noise of the linear schedule; 0: the model's, 0.02", at_least=0, below=1
    )
    res_rescale: float = option(0.0, "factor of the residual before it is clipped; 0: the model's, 2", at_least=0)

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe.

        Raises:
            UserError: a network that there cannot be.
        """
        if self.model in AUTHORS and self.scale not in (0, PRESETS[self.model].scale):
            raise UserError(f"{self.model} enlarges x{PRESETS[self.model].scale}, not x{self.scale}")
        return replace(PRESETS[self.model or OF_SCALE[self.scale]], **self.asked())

    def asked(self) -> dict[str, Any]:
        """The hyper-parameters that options of their own give."""
        given = {
            "scale": self.scale,
            "hidden_size": self.hidden_size,
            "dim_mults": self.unet_dim_mults,
            "rrdb_num_feat": self.rrdb_num_feat,
            "rrdb_num_block": self.rrdb_num_block,
            "timesteps": self.timesteps,
            "beta_schedule": self.beta_schedule,
            "beta_s": self.beta_s,
            "beta_end": self.beta_end,
            "res_rescale": self.res_rescale,
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True)
class DataOptions:
    """Which pictures."""

    dataset_GT_path: str = option(  # noqa: N815  (the spelling of IRN and SRFlow)
        "",
        "the folder that div2k_preprocess.py has filled, or one above several of them (data/ with div2k/ and "
        "flickr2k/); or a folder of HR pictures, or with DIV2K_train_HR/; several: A,B; or a .mindrecord with patches",
        aliases=("dataroot_GT", "dataroot", "dir_data"),
    )
    dataset_LQ_path: str = option(  # noqa: N815
        "",
        "folder of LR pictures; default: what lies beside HR (X4/, DIV2K_train_LR_bicubic/X4), else MATLAB's bicubic",
        aliases=("dataroot_LR", "dataroot_LQ"),
    )
    data_name: str = option("", "name of the data set, for the log and the tables; default: the folder's")


@dataclass(frozen=True)
class TrainedOptions(NetworkOptions, DeviceOptions):
    """Which trained network. The checkpoint says what it is; a network flag that contradicts it is refused."""

    scale: int = option(
        0, "factor of the enlargement; default: the checkpoint's", choices=(0, 2, 4, 8), aliases=("sr_scale",)
    )
    ckpt_path: str = option(
        "",
        "trained weights: .ckpt, .safetensors, or the authors' file; default: the demo weights (x4)",
        aliases=("checkpoint_path", "ckpt_file", "checkpoint"),
    )
    random_weights: bool = option(False, "go on without trained weights (to try the machinery)")


@dataclass(frozen=True)
class RecipeOptions:
    """How SRDiff is trained: the authors' values on DF2K."""

    stage: str = option(
        "diffusion",
        "what is trained: the noise predictor, or before it the encoder (rrdb) by its head's L1 distance",
        choices=STAGES,
    )
    fix_rrdb: bool = option(True, "leave the encoder as it is; false: train it as well, with its own L1 distance added")
    random_rrdb: bool = option(False, "go on with an encoder that is neither trained nor to be (to try the machinery)")
    loss_type: str = option("l1", "distance of the noise from its prediction, or the mean square", choices=("l1", "l2"))
    batch_size: int = option(64, "pictures per step, for each worker", at_least=1)
    patch_size: int = option(160, "side of the HR patch", at_least=1)
    use_flip: bool = option(False, "mirror half of the patches")
    use_rot: bool = option(False, "turn patches upside down and transpose them, half of them each")
    max_updates: int = option(
        0,
        "optimizer steps, with the batch of one worker; 0: the authors', 400,000, of stage rrdb 100,000",
        aliases=("niter",),
        at_least=0,
    )
    epochs: int = option(0, "passes over the pictures, instead of max_updates; 0: max_updates counts", at_least=0)
    lr: float = option(2e-4, "learning rate", at_least=0)
    decay_steps: int = option(200_000, "steps after which the rate is halved, again and again; 0: never", at_least=0)
    schedule_batch: int = option(
        0,
        "pictures per step that max_updates, decay_steps and test_every are written for: all are multiplied by "
        "schedule_batch / (batch_size * workers); 0: batch_size, so that 8 workers make an eighth of the steps",
        at_least=0,
    )
    beta1: float = option(0.9, "Adam's decay of the mean gradient", at_least=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the mean squared gradient", at_least=0, below=1)
    gclip: float = option(
        0.0,
        "largest norm of the gradient; 0: no clip (the authors' files say 10, which their code never applies)",
        aliases=("gradient_clipping",),
        at_least=0,
    )
    ema: float = option(
        0.0, "decay of a moving average of the weights, which is then tested and saved; 0: none", at_least=0, below=1
    )


@dataclass(frozen=True)
class TrainConfig(RecipeOptions, DataOptions, NetworkOptions, DeviceOptions):
    """Options of train.py."""

    val_GT_path: str = option(  # noqa: N815
        "",
        "HR pictures, or a .mindrecord, to look at while training; default: what belongs to the training pictures "
        "(val/, DIV2K_valid_HR/)",
    )
    val_LQ_path: str = option(  # noqa: N815
        "", "their LR pictures; default: what lies beside HR, else MATLAB's bicubic"
    )
    test_every: int = option(5000, "steps between two looks", at_least=1)
    test_pictures: int = option(10, "how many patches to look at; 0: all", at_least=0)
    val_noises: int = option(
        8, "how many steps of the chain, evenly spread, the noise in each patch is predicted at", at_least=1
    )
    val_sampler: str = option("ddim", "how pictures are sampled then", choices=SAMPLERS)
    val_steps: int = option(10, "steps of the chain that are made for it; 0: all", at_least=0)
    cache_gb: float = option(4.0, "memory for decoded pictures, in GiB", at_least=0)
    seed: int = option(10, "seed of the first filters, the crops, the noise and the order of the pictures", at_least=0)
    device_num: int = option(0, "number of workers there must be; 0: any", at_least=0)
    run_distribute: bool | None = option(None, "join other workers; default: when a launcher started this process")
    save_dir: str = option("runs/SRDiff", "where run folders are made")
    name: str = option("", "name of the run; default: model, scale and stage")
    ckpt_path: str = option(
        "", "checkpoint of a whole network, or at --stage rrdb of an encoder, to start from (its weights alone)"
    )
    rrdb_path: str = option(
        "", "trained encoder to start from: what --stage rrdb leaves, or the authors' file", aliases=("rrdb_ckpt",)
    )
    ckpt_save_path: str = option("", "path to save ckpt; default: ckpt/ in the run's folder")
    save_checkpoint_freq: int = option(
        5000, "steps between two numbered checkpoints; last.ckpt and best.ckpt come besides; 0: none", at_least=0
    )
    ckpt_save_max: int = option(3, "how many of them to keep; older ones of this run are removed", at_least=0)
    resume: str = option("", "go on with a run: its folder, or its last.ckpt; auto: the last one of this name")
    log_every: int = option(100, "steps between two lines of the log", at_least=1)
    save_every: int = option(250, "steps between two writings of last.ckpt", at_least=1)

    @property
    def updates(self) -> int:
        """Steps of the whole run, as the recipe is written."""
        return self.max_updates or UPDATES[self.stage]

    def lr_patch(self, hyper: Hyper) -> int:
        """Side of the LR patch.

        Raises:
            UserError: the U-Net cannot halve the HR patch as often as it has levels.
        """
        multiple = math.lcm(hyper.scale, hyper.hr_multiple)
        if self.patch_size % multiple:
            raise UserError(f"--patch_size {self.patch_size} (HR pixels) must be a multiple of {multiple}")
        return self.patch_size // hyper.scale
