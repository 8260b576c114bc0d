"""Options of SRDiff's programs.

Each program's configuration adds to what all models have (`common.config`) the network's options and its own; every
option is also a key of a YAML file (`--config FILE`). The network's and the recipe's bear the authors' names.
"""

import math
from dataclasses import asdict, replace
from typing import Any, ClassVar

from common import UserError
from common.config import StepOptions, asked, configuration, option

from ..model.sampling import SAMPLERS
from ..model.srdiff import PRESETS, Hyper

STAGES = ("diffusion", "rrdb")
AUTHORS = ("diffsr_df2k4x", "diffsr_celeb")  # of one scale each
OF_SCALE = {0: "diffsr_df2k4x", 2: "diffsr_df2k4x", 4: "diffsr_df2k4x", 8: "diffsr_celeb"}
UPDATES = {"diffusion": 400_000, "rrdb": 100_000}
DEMO_SCALE = 4  # of the weights that come with the repository

HR_FOLDER = option(
    "",
    "the folder that div2k_preprocess.py has filled, or one above several of them (data/ with div2k/ and flickr2k/); "
    "or a folder of HR pictures, or with DIV2K_train_HR/; several: A,B; or a .mindrecord with patches",
    aliases=("dir_data", "data_path", "dataroot_GT", "dataroot"),
)


@configuration
class NetworkOptions:
    """What is built: a named network, and what is to be different in it."""

    scale: int = option(0, "super resolution scale; default: the model's", aliases=("sr_scale",), choices=(0, 2, 4, 8))
    model: str = option(
        "", "a named network; default: the authors' of the scale, x4", choices=("", *PRESETS), presets=PRESETS
    )
    hidden_size: int = option(0, "channels of the U-Net's first level; 0: the model's", at_least=0, hyper="hidden_size")
    unet_dim_mults: tuple[int, ...] = option(
        (),
        "their multiples in each level, as 1,2,3,4; default: the model's",
        aliases=("dim_mults",),
        hyper="dim_mults",
    )
    rrdb_num_feat: int = option(0, "channels of the encoder; 0: the model's", at_least=0, hyper="rrdb_num_feat")
    rrdb_num_block: int = option(0, "blocks of the encoder; 0: the model's", at_least=0, hyper="rrdb_num_block")
    timesteps: int = option(0, "steps of the chain; 0: the model's, 100", at_least=0, hyper="timesteps")
    beta_schedule: str = option(
        "",
        "how the noise grows; default: the model's, cosine",
        choices=("", "cosine", "linear"),
        hyper="beta_schedule",
    )
    beta_s: float = option(0.0, "offset of the cosine schedule; 0: the model's, 0.008", at_least=0, hyper="beta_s")
    beta_end: float = option(
        0.0, "last but one noise of the linear schedule; 0: the model's, 0.02", at_least=0, below=1, hyper="beta_end"
    )
    res_rescale: float = option(
        0.0, "factor of the residual before it is clipped; 0: the model's, 2", at_least=0, hyper="res_rescale"
    )

    def hyper(self) -> Hyper:
        """The hyper-parameters that the options describe.

        Raises:
            UserError: a network that there cannot be.
        """
        if self.model in AUTHORS and self.scale not in (0, PRESETS[self.model].scale):
            raise UserError(f"{self.model} enlarges x{PRESETS[self.model].scale}, not x{self.scale}")
        return replace(PRESETS[self.model or OF_SCALE[self.scale]], **asked(self))

    def named(self, scale: int) -> dict[str, Any]:
        """Those that --model alone gives; the authors' are of one scale each."""
        return (
            {} if not self.model else asdict(PRESETS[self.model]) | ({} if self.model in AUTHORS else {"scale": scale})
        )


@configuration
class TrainConfig(NetworkOptions, StepOptions):
    """Options of train.py: the authors' values on DF2K."""

    epsilon: ClassVar[float] = 1e-8
    weight_decay: ClassVar[float] = 0.0
    amp_level: ClassVar[str] = "O0"
    amp_dtype: ClassVar[str] = "float16"
    loss_scale: ClassVar[float] = 1.0

    dataset_GT_path: str = HR_FOLDER  # noqa: N815
    val_GT_path: str = option(  # noqa: N815
        help="HR pictures to look at while training, or a .mindrecord; default: what belongs to the training pictures "
        "(val/, DIV2K_valid_HR/)"
    )
    batch_size: int = 64
    stage: str = option(
        "diffusion",
        "what is trained: the noise predictor, or before it the encoder (rrdb) by its head's L1 distance",
        choices=STAGES,
    )
    fix_rrdb: bool = option(True, "leave the encoder as it is; false: train it as well, with its own L1 distance added")
    random_rrdb: bool = option(False, "go on with an encoder that is neither trained nor to be (to try the machinery)")
    loss_type: str = option("l1", "distance of the noise from its prediction, or the mean square", choices=("l1", "l2"))
    rrdb_path: str = option(
        "",
        "trained encoder to start from: what --stage rrdb leaves, or the authors' file",
        aliases=("rrdb_ckpt", "train_pretrain_model_G", "pretrain_model_G"),
    )
    ckpt_path: str = option(
        help="weights to start from, of a whole network, or at --stage rrdb of an encoder (the run starts at step 0)",
        aliases=("checkpoint", "pre_trained"),
    )
    use_flip: bool = False
    use_rot: bool = option(False, "turn patches upside down and transpose them, each in half of the cases")
    max_updates: int = option(
        0,
        "optimizer steps, with the batch of one worker; default: the authors', 400,000, of stage rrdb 100,000",
        aliases=("niter",),
        at_least=0,
    )
    lr: float = 2e-4
    decay_steps: int = option(200_000, "steps after which the rate is halved, again and again; 0: never", at_least=0)
    gclip: float = option(
        help="largest norm of the gradient; 0: no clip (the authors' files say 10, which their code never applies)"
    )
    val_noises: int = option(
        8, "how many steps of the chain, evenly spread, the noise in each patch is predicted at", at_least=1
    )
    val_sampler: str = option("ddim", "how pictures are sampled then", choices=SAMPLERS)
    val_steps: int = option(10, "steps of the chain that are made for it; 0: all", at_least=0)
    seed: int = 10
    save_dir: str = "runs/SRDiff"
    name: str = option(help="name of the run; default: model, scale and stage")
    ckpt_save_max: int = 3

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
