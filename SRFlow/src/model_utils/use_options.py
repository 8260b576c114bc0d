"""Options of the programs that use a trained network: eval.py, infer.py, export.py and train2test.py."""

from dataclasses import dataclass

from common import UserError
from common.config import (
    FIGURES_OF_SAMPLES,
    SEED_OF_RESULTS,
    TEST_SETS,
    BorderOptions,
    DeviceOptions,
    ExportOptions,
    InputOptions,
    NamingOptions,
    TableOptions,
    again,
    option,
)

from .options import DataOptions, EngineOptions, TrainedOptions, ValidationFolders

GRAPHS = ("decode", "encode")
HEAT = 0.9  # the authors'


@dataclass(frozen=True)
class EvalConfig(TableOptions, BorderOptions, EngineOptions, DataOptions, TrainedOptions):
    """Options of eval.py."""

    val_GT_path: str = option(  # noqa: N815
        "",
        "what is measured when dataset_GT_path is not given: the patches of a yml file's datasets.val",
        instead_of=("dataset_GT_path",),
    )
    val_LQ_path: str = again(ValidationFolders, "val_LQ_path")  # noqa: N815
    data_test: str = option("", TEST_SETS)
    protocol: str = option(
        "auto",
        "table: all figures of whole pictures; patches: the seed's lines, PSNR and SSIM of each patch and their means; "
        "auto: patches for a .mindrecord, else the table",
        choices=("auto", "table", "patches"),
    )
    heat: float = option(HEAT, "standard deviation of the latents", at_least=0)
    heats: tuple[float, ...] = option((), "several of them, as 0,0.5,0.9; default: heat alone", instead_of=("heat",))
    samples: int = option(1, FIGURES_OF_SAMPLES, aliases=("draws",), at_least=1)
    seed: int = option(10, SEED_OF_RESULTS, at_least=0, below=2**32)
    nll: bool = option(True, "measure the likelihood of the HR pictures as well")
    output: str = again(
        TableOptions, "output", help="folder for the tables and pictures; default: a new one under runs/SRFlow"
    )
    name: str = option("", "name of that new folder; default: the data sets and the scale")

    def all_heats(self) -> tuple[float, ...]:
        """The heats to measure, each once.

        Raises:
            UserError: one is negative.
        """
        heats = tuple(dict.fromkeys(self.heats or (self.heat,)))
        if min(heats) < 0:
            raise UserError(f"--heats are standard deviations, 0 or more, not {min(heats):g}")
        return heats


@dataclass(frozen=True)
class InferOptions(InputOptions, EngineOptions, TrainedOptions):
    """What all of infer.py's commands take."""


@dataclass(frozen=True)
class EnlargeConfig(NamingOptions, InferOptions):
    """Options of infer.py without a command: pictures are enlarged."""

    heat: float | None = option(
        None,
        "standard deviation of the latents; 0: no chance, and a smoother picture; default: the checkpoint's, else "
        f"{HEAT}",
        at_least=0,
    )
    samples: int = option(1, "pictures to make of each, name_1, name_2 ..., and a sheet of them", at_least=1)
    seed: int = option(10, SEED_OF_RESULTS, at_least=0, below=2**32)
    save_latents: bool = option(False, "write the latents of each sample as well, for infer.py interpolate")


@dataclass(frozen=True)
class EncodeConfig(InferOptions):
    """Options of infer.py encode."""

    lr: str = option("", "LR picture, or folder of LR pictures of the same names; default: MATLAB's bicubic of HR")


@dataclass(frozen=True)
class DecodeConfig(NamingOptions, InferOptions):
    """Options of infer.py decode."""

    input: str = again(
        InputOptions,
        "input",
        help="a file of latents (.npz), or a folder of them; --input may be left out, and several typed",
    )
    format: str = again(NamingOptions, "format", "png", help="of the results", choices=("png", "jpg", "bmp", "webp"))


@dataclass(frozen=True)
class InterpolateConfig(DecodeConfig):
    """Options of infer.py interpolate."""

    steps: int = option(5, "pictures to make, the two ends among them", at_least=2)


@dataclass(frozen=True)
class ExportConfig(ExportOptions, TrainedOptions):
    """Options of export.py."""

    graph: str = option("both", "which graph to write", choices=("both", *GRAPHS))
    file_name: str = option("srflow", "name of the files to write; _decode or _encode and the ending are added")


@dataclass(frozen=True)
class ConvertConfig(DeviceOptions):
    """Options of train2test.py."""

    train_path: str = option(
        "", "checkpoint that training wrote, or the authors' .pth", aliases=("ckpt_path", "checkpoint")
    )
    test_path: str = option("", "file to write: .ckpt or .safetensors")
