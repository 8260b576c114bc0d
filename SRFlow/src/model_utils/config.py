"""Where a configuration file is found, and what ModelArts (Huawei's cloud) tells a program."""

from dataclasses import dataclass
from pathlib import Path

from common.config import option

MODEL_FOLDER = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ModelArtsOptions:
    """Data and results in the cloud: ModelArts' storage (OBS); see `device_adapter.workplace`."""

    enable_modelarts: bool = option(False, "run as a ModelArts job: copy data from OBS and the run back to it")
    data_url: str = option("", "ModelArts: where the data set is, as obs://bucket/DF2K-4X")
    train_url: str = option("", "ModelArts: where the run folders go, as obs://bucket/runs")
    data_path: str = option("/cache/data", "ModelArts: folder of this machine that data_url is copied to")
    output_path: str = option("/cache/train", "ModelArts: folder of this machine whose content goes to train_url")


def find_config(path: str) -> Path:
    """The file itself, or the model folder's of that name: `SRFlow_DF2K_4X.yml` does from everywhere."""
    beside, ours = Path(path), MODEL_FOLDER / path
    return ours if not beside.exists() and ours.is_file() else beside
