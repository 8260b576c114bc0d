"""How a new packed set takes the place of an old one.

A set is written aside, in the hidden folder `.X.mindrecord.packing/` beside it and under its final names (a MindRecord
file cannot be renamed, but it can be moved). Until it is whole and on disk, nothing of the old set is touched: a pack
killed up to then leaves the old set as it was.

Several files cannot be renamed in one step, so a journal is left first and then: the old `.db` goes, data and manifest
move, the new `.db` moves last. Without a `.db` MindSpore refuses to open, so at no instant does a reader see new data
through an old index. A pack killed between two renames has lost nothing: `check_set` says so, and `repair` or the next
pack does the renames that are left.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from common import UserError
from common.atomic import sync
from common.mindrecord.manifest import (
    JOURNAL,
    Manifest,
    aside_path,
    data_names,
    index_names,
    manifest_path,
    read_manifest,
    write_json,
    write_manifest,
)

_LOCK = "common.mindrecord.lock"
_FORBIDDEN = set("\\/:*?\"<>|`&;'")  # MindRecord refuses them in a file's name


def check_output(output: Path, shards: int) -> None:
    """Raises UserError when a set cannot be written as `output`, or would replace files that no pack of ours wrote."""
    if set(output.name) & _FORBIDDEN or output.name.strip() != output.name or not output.name:
        raise UserError(
            f"MindRecord refuses the name {output.name!r}: avoid \\ / : * ? \" < > | ` & ; ' and outer blanks"
        )
    owned = _owned(output)
    for name in [*data_names(output, shards), *index_names(output, shards), manifest_path(output).name]:
        path = output.with_name(name)
        if path.is_dir() or (path.exists() and name not in owned):
            raise UserError(f"{path} exists and is not from an earlier pack: move it away or choose another --output")


@contextlib.contextmanager
def aside_folder(output: Path) -> Iterator[Path]:
    """An empty folder to write the set in; what a killed pack left in it is finished or removed first.

    It is removed at the end, unless the move into place was interrupted. The lock in it dies with its process, so a
    folder that was left is told from one in use, in containers too.

    Raises:
        UserError: Another process packs the same set, or the folder is not ours or cannot be made.
    """
    aside = aside_path(output)
    with _locked(aside, output):
        if (aside / JOURNAL).exists():
            publish(output)
        _empty(aside)
        try:
            yield aside
        finally:
            if not (aside / JOURNAL).exists():
                with contextlib.suppress(OSError):
                    _empty(aside)
                    (aside / _LOCK).unlink()  # last: without it the folder would not be known as ours
                    aside.rmdir()


def seal(output: Path, manifest: Manifest) -> None:
    """Makes the new set in the aside folder durable and leaves the journal: from here on it only has to be moved."""
    aside = aside_path(output)
    write_manifest(aside / manifest_path(output).name, manifest)
    old, new = manifest_path(output), aside / manifest_path(output).name
    mode = (old if old.exists() else new).stat().st_mode & 0o777
    for name in (*manifest.files, new.name):
        (aside / name).chmod(mode)  # as the old set or the umask has it; MindSpore leaves 0600
        with (aside / name).open("rb") as file:
            os.fsync(file.fileno())
    stale = sorted(_owned(output) - set(manifest.files) - {manifest_path(output).name})
    write_json(aside / JOURNAL, {"shards": manifest.shards, "stale": stale})


def publish(output: Path) -> None:
    """Moves a sealed set into place; called again after a kill, it does what is left to do."""
    aside = aside_path(output)
    journal = json.loads((aside / JOURNAL).read_text("utf-8"))
    data, index = data_names(output, journal["shards"]), index_names(output, journal["shards"])
    pending = [name for name in (*data, manifest_path(output).name, *index) if (aside / name).exists()]
    # An index whose successor still waits aside is the old one.
    for name in [name for name in (*journal["stale"], *pending) if name.endswith(".db")] + journal["stale"]:
        output.with_name(name).unlink(missing_ok=True)
    sync(output.parent)
    for name in pending:
        (aside / name).replace(output.with_name(name))
    sync(output.parent)
    _empty(aside)


def repair(output: Path) -> bool:
    """Finishes the move of a killed pack and removes what it left; returns whether there was anything to do."""
    if not aside_path(output).is_dir():
        return False
    with aside_folder(output):
        return True


def _owned(output: Path) -> set[str]:
    """Names of the files that an earlier pack of the same set wrote."""
    if not manifest_path(output).exists():
        return set()
    return {*read_manifest(output).files, manifest_path(output).name}


@contextlib.contextmanager
def _locked(aside: Path, output: Path) -> Iterator[None]:
    with _open_lock(aside) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = os.path.samestat(os.fstat(lock.fileno()), (aside / _LOCK).stat())
        except (BlockingIOError, FileNotFoundError):
            free = False  # held, or its folder was removed by the pack that held it
        if not free:
            raise UserError(f"another process is packing {output} right now: wait for it or choose another --output")
        yield


def _open_lock(aside: Path) -> IO[str]:
    try:
        aside.mkdir(parents=True, exist_ok=True)
        if any(aside.iterdir()) and not (aside / _LOCK).is_file():
            raise UserError(f"{aside} is in the way and was not made by this command: move it away")
        return (aside / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"cannot write in {aside.parent}: {error.strerror}") from None


def _empty(folder: Path) -> None:
    """Removes all but the lock, the journal first: a half removed set must not be taken for a whole one."""
    (folder / JOURNAL).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
