"""Where a configuration file is found."""

from pathlib import Path

MODEL_FOLDER = Path(__file__).resolve().parents[2]


def find_config(path: str) -> Path:
    """The file itself, or the model folder's of that name: `SRFlow_DF2K_4X.yml` does from everywhere."""
    beside, ours = Path(path), MODEL_FOLDER / path
    return ours if not beside.exists() and ours.is_file() else beside
