"""Options of the programs that use a trained network: eval.py, infer.py and export.py."""

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
    configuration,
    did_you_mean,
    option,
)

from ..model.sampling import SAMPLERS
from .graphs import GRAPHS
from .options import HR_FOLDER, NetworkOptions
from .sampling import Way

FEW = 10  # steps that infer.py makes of the chain, where the sampler allows it
BLENDED_TILE = option(
    help="side of the tiles, in LR pixels, which are blended into one picture at each step of the chain; 0: whole "
    "pictures while they fit, tiles beyond"
)


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    """Options of eval.py."""

    dataset_GT_path: str = HR_FOLDER  # noqa: N815
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    data_name: str = DATA_NAME
    data_test: str = TEST_SETS
    tile: int = BLENDED_TILE
    sampler: tuple[str, ...] = option(
        ("ddpm",), "ways through the chain, as ddpm,ddim,dpm; each with each number of steps"
    )
    steps: tuple[int, ...] = option((0,), "steps that are made of the chain, as 100,20,10,5; 0: all")
    samples: int = option(1, FIGURES_OF_SAMPLES, aliases=("draws",), at_least=1)
    seed: int = RESULTS_SEED
    cut_to: int = option(
        8, "HR pictures are cut to sides that are multiples of it, 8 as the authors' (and of the scale)", at_least=1
    )
    crop: int = option(0, "border left out of PSNR-Y and SSIM-Y; 0 as the seed's, -1: the scale")
    output: str = option(help="folder for the tables and pictures; default: a new one under runs/SRDiff")
    name: str = RESULTS_NAME

    def __post_init__(self) -> None:
        """Refuse what is no way through the chain.

        Raises:
            UserError: an unknown one is named.
        """
        super().__post_init__()
        for sampler in self.sampler:
            if sampler not in SAMPLERS:
                raise UserError(
                    f"--sampler must be one of {', '.join(SAMPLERS)}, not {sampler!r}{did_you_mean(sampler, SAMPLERS)}"
                )

    def ways(self, timesteps: int) -> list[Way]:
        """What is measured, each once.

        Raises:
            UserError: more steps than the chain has.
        """
        counts = [count or timesteps for count in self.steps]
        if not self.sampler or not counts or not 1 <= min(counts) <= max(counts) <= timesteps:
            given = ",".join(map(str, self.steps))
            raise UserError(f"--steps are numbers from 1 to {timesteps}, the chain's, or 0 for all, not {given!r}")
        return list(dict.fromkeys(Way(sampler, count) for sampler in self.sampler for count in counts))


@configuration
class InferConfig(InferOptions, NetworkOptions):
    """Options of infer.py."""

    tile: int = BLENDED_TILE
    samples: int = option(1, "pictures to make of each, name_1, name_2 ..., and a sheet of them", at_least=1)
    seed: int = RESULTS_SEED
    sampler: str = option(
        "ddim",
        "way through the chain: ddpm, the paper's, takes all of its steps for the finest detail; ddim and dpm are made "
        "for few",
        choices=SAMPLERS,
    )
    steps: int | None = option(
        None, f"steps that are made of the chain; 0: all; default: {FEW} for ddim and dpm, all for ddpm", at_least=0
    )
    interpolate: bool = option(False, "make pictures between two samples of each picture, and a row of them")
    weight: tuple[float, ...] = option(
        (0.0, 0.25, 0.5, 0.75, 1.0), "share of the second sample in each of these pictures, as 0.3, or 0,0.5,1"
    )
    fuse: str = option(
        "", "HR picture of which a part (--box or --mask) is put into the given ones, which are then HR of its size"
    )
    box: tuple[int, ...] = option((), "that part: top,left,height,width in pixels")
    mask: str = option("", "that part: a picture, white where it is, black elsewhere", instead_of=("box",))
    t: int = option(
        -1,
        "step to which --interpolate and --fuse bring the pictures before they are made anew: the higher, the more is "
        "new; -1: half of the chain, as in the paper",
        at_least=-1,
    )
    suffix: str = option("", "added to each name; {scale} is put in; default: _x{scale}, of what is fused _fused")

    def way(self, timesteps: int) -> Way:
        """How the chain is run.

        Raises:
            UserError: it has not so many steps.
        """
        if self.steps is None:
            return Way(self.sampler, timesteps if self.sampler == "ddpm" else min(FEW, timesteps))
        if self.steps > timesteps:
            raise UserError(f"the chain has {timesteps} steps, not {self.steps}")
        return Way(self.sampler, self.steps or timesteps)

    def step(self, timesteps: int) -> int:
        """`t`.

        Raises:
            UserError: the chain has no such step.
        """
        step = timesteps // 2 if self.t < 0 else self.t
        if step >= timesteps:
            raise UserError(f"--t counts the chain's steps from 0 to {timesteps - 1}, there is no {step}")
        return step

    def check(self) -> None:
        """Whether the options go together.

        Raises:
            UserError: they do not.
        """
        if self.fuse and self.interpolate:
            raise UserError("--fuse and --interpolate are two different things: type one of them")
        if bool(self.fuse) != bool(self.box or self.mask) or (self.box and self.mask):
            raise UserError("--fuse PICTURE needs --box top,left,height,width or --mask PICTURE, and they need it")
        if self.box and (len(self.box) != 4 or min(self.box) < 0 or 0 in self.box[2:]):
            raise UserError(
                f"--box is top,left,height,width in pixels, as 40,60,32,32, not {','.join(map(str, self.box))}"
            )
        if self.interpolate and (not self.weight or not all(0 <= weight <= 1 for weight in self.weight)):
            raise UserError("--weight holds shares from 0 to 1")


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    """Options of export.py."""

    graph: str = option("both", "which graph to write", choices=("both", *GRAPHS))
    file_name: str = option("srdiff", "name of the files to write; _encoder or _predictor and the ending are added")
