"""Options of the programs that use a trained network: eval.py, infer.py, export.py and train2test.py."""

from typing import ClassVar

from common import UserError
from common.config import (
    ANY_FORMAT,
    DATA_NAME,
    DEVICE_TARGET,
    FIGURES_OF_SAMPLES,
    HR_FOLDER,
    LR_FOLDER,
    RESULTS_NAME,
    RESULTS_SEED,
    TEST_SETS,
    EvalOptions,
    ExportOptions,
    InferOptions,
    configuration,
    option,
)

from .options import HR_ALIASES, NetworkOptions

GRAPHS = ("decode", "encode")
HEAT = 0.9  # the authors'
LATENTS = option(help="a file of latents (.npz), or a folder of them; --input may be left out, and several typed")


@configuration
class EvalConfig(EvalOptions, NetworkOptions):
    """Options of eval.py."""

    dataset_GT_path: str = option("", HR_FOLDER.metadata["help"], aliases=HR_ALIASES)  # noqa: N815
    dataset_LQ_path: str = LR_FOLDER  # noqa: N815
    data_name: str = DATA_NAME
    data_test: str = TEST_SETS
    val_GT_path: str = option(  # noqa: N815
        "",
        "what is measured when dataset_GT_path is not given: the patches of a yml file's datasets.val",
        instead_of=("dataset_GT_path",),
    )
    val_LQ_path: str = option("", "their LR pictures; default: what is beside HR, else MATLAB's bicubic")  # noqa: N815
    protocol: str = option(
        "auto",
        "table: all figures of whole pictures; patches: the seed's lines, PSNR and SSIM of each patch and their means; "
        "auto: patches for a .mindrecord, else the table",
        choices=("auto", "table", "patches"),
    )
    heat: float = option(HEAT, "standard deviation of the latents", at_least=0)
    heats: tuple[float, ...] = option((), "several of them, as 0,0.5,0.9; default: heat alone", instead_of=("heat",))
    samples: int = option(1, FIGURES_OF_SAMPLES, aliases=("draws",), at_least=1)
    seed: int = RESULTS_SEED
    nll: bool = option(True, "measure the likelihood of the HR pictures as well")
    output: str = option(help="folder for the tables and pictures; default: a new one under runs/SRFlow")
    name: str = RESULTS_NAME

    def all_heats(self) -> tuple[float, ...]:
        """The heats to measure, each once.

        Raises:
            UserError: one is negative.
        """
        heats = tuple(dict.fromkeys(self.heats or (self.heat,)))
        if min(heats) < 0:
            raise UserError(f"--heats are standard deviations, 0 or more, not {min(heats):g}")
        return heats


@configuration
class EnlargeConfig(InferOptions, NetworkOptions):
    """Options of infer.py without a command: pictures are enlarged."""

    heat: float | None = option(
        None,
        "standard deviation of the latents; 0: no chance, and a smoother picture; default: the checkpoint's, else "
        f"{HEAT}",
        at_least=0,
    )
    samples: int = option(1, "pictures to make of each, name_1, name_2 ..., and a sheet of them", at_least=1)
    seed: int = RESULTS_SEED
    save_latents: bool = option(False, "write the latents of each sample as well, for infer.py interpolate")


@configuration
class EncodeConfig(InferOptions, NetworkOptions):
    """Options of infer.py encode."""

    suffix: ClassVar[str] = ""
    format: ClassVar[str] = ""
    lr: str = option("", "LR picture, or folder of LR pictures of the same names; default: MATLAB's bicubic of HR")


@configuration
class DecodeConfig(InferOptions, NetworkOptions):
    """Options of infer.py decode."""

    input: str = LATENTS
    format: str = ANY_FORMAT


@configuration
class InterpolateConfig(InferOptions, NetworkOptions):
    """Options of infer.py interpolate."""

    input: str = LATENTS
    format: str = ANY_FORMAT
    steps: int = option(5, "pictures to make, the two ends among them", at_least=2)


@configuration
class ExportConfig(ExportOptions, NetworkOptions):
    """Options of export.py."""

    graph: str = option("both", "which graph to write", choices=("both", *GRAPHS))
    file_name: str = option("srflow", "name of the files to write; _decode or _encode and the ending are added")


@configuration
class ConvertConfig:
    """Options of train2test.py."""

    train_path: str = option(
        "", "checkpoint that training wrote, or the authors' .pth", aliases=("ckpt_path", "checkpoint")
    )
    test_path: str = option("", "file to write: .ckpt or .safetensors")
    device_target: str = DEVICE_TARGET
