"""Where a program works: on this machine, or in a ModelArts job with its data and results in the cloud's storage."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from common import UserError

from . import moxing_adapter
from .config import PATHS
from .local_adapter import get_device_id
from .options import TrainConfig

__all__ = ["get_device_id", "workplace"]


@contextlib.contextmanager
def workplace(options: TrainConfig) -> Iterator[TrainConfig]:
    """Yield the options with paths of this machine.

    As a ModelArts job the data set is copied to `data_path`, below which relative paths then are, and the run folders
    from `output_path` to `train_url` in the end, also after a failure.
    """
    if not options.enable_modelarts:
        yield options
        return
    if not options.data_url or not options.train_url:
        raise UserError("--enable_modelarts needs --data_url (data set) and --train_url (place of the run folders)")
    moxing_adapter.sync_data(options.data_url, options.data_path)
    changes = {name: str(Path(options.data_path) / path) for name in PATHS if (path := getattr(options, name))}
    changes.setdefault("dataset_GT_path", options.data_path)
    try:
        yield replace(options, save_dir=options.output_path, **changes)
    finally:
        moxing_adapter.send_results(options.output_path, options.train_url)
