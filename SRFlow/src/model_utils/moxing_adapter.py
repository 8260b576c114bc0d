"""ModelArts: copies data from the cloud's storage (OBS) before a job, and its results back, by the package moxing."""

import logging
from pathlib import Path
from typing import Any

from common import UserError

from .local_adapter import get_rank_id

log = logging.getLogger(__name__)
COPIED = ".copied"  # in a folder that has been copied completely: its source


def moxing_file() -> Any:
    try:
        import moxing
    except ImportError:
        raise UserError(
            "--enable_modelarts needs the package moxing, which only ModelArts' machines have: leave it out elsewhere"
        ) from None
    return moxing.file


def sync_data(source: str, target: str) -> None:
    """Copy a folder of OBS to this machine, once for all its workers; the others wait meanwhile."""
    import fcntl

    file, folder, mark = moxing_file(), Path(target), Path(target, COPIED)
    folder.mkdir(parents=True, exist_ok=True)
    with open(f"{folder.absolute()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text(encoding="utf-8") != source:
            copy(file, source, target)
            mark.write_text(source, encoding="utf-8")


def send_results(source: str, target: str) -> None:
    if get_rank_id() == 0 and Path(source).is_dir():
        copy(moxing_file(), source, target)


def copy(file: Any, source: str, target: str) -> None:
    log.info("copying %s to %s", source, target)
    try:
        file.copy_parallel(source, target)
    except Exception as error:  # moxing has no common class for its errors
        raise UserError(f"cannot copy {source} to {target}: {' '.join(str(error).split())}") from error
