"""Options of SRDiff's programs; the network's and the recipe's have the authors' names."""

import math
from dataclasses import asdict, replace
from typing import Any, ClassVar

from common import UserError
from common.config import (
    DATA_NAME,
    FIGURES_OF_SAMPLES,
    LR_FOLDER,
    RESULTS_NAME,
    RESULTS_SEED,
    TEST_SETS,
    EvalOptions,
    ExportOptions,
    InferOptions,
    StepOptions,
    asked,
    configuration,
    did_you_mean,
    option,
)

from ..model.sampling import SAMPLERS, Way
from ..model.srdiff import PRESETS, Hyper

STAGES = ("diffusion", "rrdb")
AUTHORS = ("diffsr_df2k4x", "diffsr_celeb")  # of one scale each
OF_SCALE = {0: "diffsr_df2k4x", 2: "diffsr_df2k4x", 4: "diffsr_df2k4x", 8: "diffsr_celeb"}
UPDATES = {"diffusion": 400_000, "rrdb": 100_000}
DEMO_SCALE = 4  # of the weights that come with the repository

GRAPHS = ("encoder", "predictor")
FEW = 10  # steps that infer.py makes of the chain, where the sampler allows it
BLENDED_TILE = option(
    help="side of the tiles, in LR pixels, blended at each step of the chain; 0: whole images while they fit, "
    "else tiles"
)
HR_FOLDER = option(
    "",
    "folder written by div2k_preprocess.py, or its parent (data/ with div2k/ and flickr2k/); or a folder "
    "of HR images, or with DIV2K_train_HR/; several: A,B; or a .mindrecord with patches",
    aliases=("dir_data", "data_path", "dataroot_GT", "dataroot"),
)


@configuration
class NetworkOptions:
    """The network."""

    scale: int = option(0, "super resolution scale; default: the model's", aliases=("sr_scale",), choices=(0, 2, 4, 8))
    model: str = option(
        "", "network preset; default: the authors' of the scale, x4", choices=("", *PRESETS), presets=PRESETS
    )
    hidden_size: int = option(0, "channels of the U-Net's first level; 0: the model's", at_least=0, hyper="hidden_size")
    unet_dim_mults: tuple[int, ...] = option(
        (),
        "channel multiples of the U-Net's levels, as 1,2,3,4; default: the model's",
        aliases=("dim_mults",),
        hyper="dim_mults",
    )
    rrdb_num_feat: int = option(0, "channels of the encoder; 0: the model's", at_least=0, hyper="rrdb_num_feat")
    rrdb_num_block: int = option(0, "blocks of the encoder; 0: the model's", at_least=0, hyper="rrdb_num_block")
    timesteps: int = option(0, "steps of the diffusion chain; 0: the model's, 100", at_least=0, hyper="timesteps")
    beta_schedule: str = option(
        "",
        "noise schedule; default: the model's, cosine",
        choices=("", "cosine", "linear"),
        hyper="beta_schedule",
    )
    beta_s: float = option(0.0, "offset of the cosine schedule; 0: the model's, 0.008", at_least=0, hyper="beta_s")
    beta_end: float = option(
        0.0, "last beta of the linear schedule; 0: the model's, 0.02", at_least=0, below=1, hyper="beta_end"
    )
    res_rescale: float = option(
        0.0, "factor of the residual before clipping; 0: the model's, 2", at_least=0, hyper="res_rescale"
    )

    def hyper(self) -> Hyper:
        if self.model in AUTHORS and self.scale not in (0, PRESETS[self.model].scale):
            raise UserError(f"{self.model} upscales x{PRESETS[self.model].scale}, not x{self.scale}")
        return replace(PRESETS[self.model or OF_SCALE[self.scale]], **asked(self))

    def named(self, scale: int) -> dict[str, Any]:
        """Return those that --model alone gives; the authors' are of one scale each."""
        return (
            {} if not self.model else asdict(PRESETS[self.model]) | ({} if self.model in AUTHORS else {"scale": scale})
        )


@configuration
class TrainConfig(NetworkOptions, StepOptions):
    epsilon: ClassVar[float] = 1e-8
    weight_decay: ClassVar[float] = 0.0
    memory: ClassVar[str] = "full"

    dataset_GT_path: str = HR_FOLDER  # noqa: N815
    val_GT_path: str = option(  # noqa: N815
        help="HR images for validation, or a .mindrecord; default: those of the training set (val/, DIV2K_valid_HR/)"
    )
    batch_size: int = 64
    stage: str = option(
        "diffusion",
        "what to train: the noise predictor, or first the encoder (rrdb) with an L1 loss",
        choices=STAGES,
    )
    fix_rrdb: bool = option(True, "keep the encoder fixed; false: train it too, with its own L1 loss added")
    random_rrdb: bool = option(False, "use an untrained encoder and keep it fixed (for trials)")
    loss_type: str = option("l1", "loss of the predicted noise: l1, or l2, the mean square", choices=("l1", "l2"))
    rrdb_path: str = option(
        "",
        "trained encoder: the result of --stage rrdb, or the authors' file",
        aliases=("rrdb_ckpt", "train_pretrain_model_G", "pretrain_model_G"),
    )
    ckpt_path: str = option(
        help="initial weights of the whole network, or with --stage rrdb of the encoder (a new run from step 0)",
        aliases=("checkpoint", "pre_trained"),
    )
    use_flip: bool = False
    use_rot: bool = option(False, "flip patches vertically and transpose them, each in half of the cases")
    max_updates: int = option(
        0,
        "optimizer steps, with the batch of one worker; default: the authors', 400,000, of stage rrdb 100,000",
        aliases=("niter",),
        at_least=0,
    )
    lr: float = 2e-4
    decay_steps: int = option(200_000, "halve the learning rate every so many steps; 0: never", at_least=0)
    gclip: float = option(
        help="largest gradient norm; 0: no clipping (the authors' files say 10, which their code never applies)"
    )
    val_noises: int = option(8, "steps of the chain, evenly spread, at which validation predicts the noise", at_least=1)
    val_sampler: str = option("ddim", "sampler of the validation images", choices=SAMPLERS)
    val_steps: int = option(10, "sampling steps of the validation images; 0: all", at_least=0)
    seed: int = 10
    save_dir: str = "runs/SRDiff"
    name: str = option(help="name of the run; default: model, scale and stage")
    ckpt_save_max: int = 3

    @property
    def updates(self) -> int:
        return self.max_updates or UPDATES[self.stage]

    def run_name(self) -> str:
        stage = "" if self.stage == "diffusion" else f"_{self.stage}"
        return self.name or f"{self.model or 'srdiff'}_x{self.hyper().scale}{stage}"

    def lr_patch(self, hyper: Hyper) -> int:
        return self.lr_side(hyper.scale, math.lcm(hyper.scale, hyper.hr_multiple))


# ----------------------------------------------------------------------------------------------------- trained networks


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    dataset_GT_path: str = HR_FOLDER  # noqa: N815
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    data_name: str = DATA_NAME
    data_test: str = TEST_SETS
    tile: int = BLENDED_TILE
    sampler: tuple[str, ...] = option(("ddpm",), "samplers, as ddpm,ddim,dpm; each with each number of steps")
    steps: tuple[int, ...] = option((0,), "sampling steps, as 100,20,10,5; 0: all")
    samples: int = option(1, FIGURES_OF_SAMPLES, aliases=("draws",), at_least=1)
    seed: int = RESULTS_SEED
    cut_to: int = option(8, "crop HR images to multiples of this (and of the scale); 8 as the authors do", at_least=1)
    crop: int = option(0, "border to crop for PSNR-Y and SSIM-Y, in pixels; 0 as in the original, -1: the scale")
    output: str = option(help="folder for the tables and images; default: a new one under runs/SRDiff")
    name: str = RESULTS_NAME

    def __post_init__(self) -> None:
        super().__post_init__()
        for sampler in self.sampler:
            if sampler not in SAMPLERS:
                raise UserError(
                    f"--sampler must be one of {', '.join(SAMPLERS)}, not {sampler!r}{did_you_mean(sampler, SAMPLERS)}"
                )

    def ways(self, timesteps: int) -> list[Way]:
        counts = [count or timesteps for count in self.steps]
        if not self.sampler or not counts or not 1 <= min(counts) <= max(counts) <= timesteps:
            given = ",".join(map(str, self.steps))
            raise UserError(f"--steps are numbers from 1 to {timesteps}, the chain's, or 0 for all, not {given!r}")
        return list(dict.fromkeys(Way(sampler, count) for sampler in self.sampler for count in counts))


@configuration
class InferConfig(InferOptions, NetworkOptions):
    tile: int = BLENDED_TILE
    samples: int = option(1, "samples of each image, name_1, name_2 ..., with a contact sheet", at_least=1)
    seed: int = RESULTS_SEED
    sampler: str = option(
        "ddim",
        "sampler: ddpm, the paper's, takes all steps, for the finest detail; ddim and dpm need few",
        choices=SAMPLERS,
    )
    steps: int | None = option(
        None, f"sampling steps; 0: all; default: {FEW} for ddim and dpm, all for ddpm", at_least=0
    )
    interpolate: bool = option(False, "interpolate between two samples of each image, with a strip of the results")
    weight: tuple[float, ...] = option(
        (0.0, 0.25, 0.5, 0.75, 1.0), "share of the second sample, as 0.3, or 0,0.5,1 for several images"
    )
    fuse: str = option(
        "", "HR image whose part (--box or --mask) is fused into the given images, which are HR of the same size"
    )
    box: tuple[int, ...] = option((), "with --fuse: the part, as top,left,height,width in pixels")
    mask: str = option("", "with --fuse: the part, as an image, white inside and black elsewhere", instead_of=("box",))
    t: int = option(
        -1,
        "step of the chain to which --interpolate and --fuse add noise before denoising: the higher, the "
        "more is new; -1: half of the chain, as in the paper",
        at_least=-1,
    )
    suffix: str = option("", "suffix of each name; {scale} is replaced; default: _x{scale}, with --fuse _fused")

    def way(self, timesteps: int) -> Way:
        if self.steps is None:
            return Way(self.sampler, timesteps if self.sampler == "ddpm" else min(FEW, timesteps))
        if self.steps > timesteps:
            raise UserError(f"the chain has {timesteps} steps, not {self.steps}")
        return Way(self.sampler, self.steps or timesteps)

    def step(self, timesteps: int) -> int:
        step = timesteps // 2 if self.t < 0 else self.t
        if step >= timesteps:
            raise UserError(f"--t counts the chain's steps from 0 to {timesteps - 1}, there is no {step}")
        return step

    def check(self) -> None:
        if self.fuse and self.interpolate:
            raise UserError("--fuse and --interpolate are two different things: type one of them")
        if bool(self.fuse) != bool(self.box or self.mask) or (self.box and self.mask):
            raise UserError("--fuse IMAGE needs --box top,left,height,width or --mask IMAGE, and they need it")
        if self.box and (len(self.box) != 4 or min(self.box) < 0 or 0 in self.box[2:]):
            raise UserError(
                f"--box is top,left,height,width in pixels, as 40,60,32,32, not {','.join(map(str, self.box))}"
            )
        if self.interpolate and (not self.weight or not all(0 <= weight <= 1 for weight in self.weight)):
            raise UserError("--weight holds shares from 0 to 1")


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    graph: str = option("both", "graph to export", choices=("both", *GRAPHS))
    file_name: str = option("srdiff", "output file name; _encoder or _predictor and the extension are appended")
