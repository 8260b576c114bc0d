"""Files that are either the old one or the new one, whole: a killed run leaves no half of anything."""

import errno
import hashlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common import UserError

log = logging.getLogger(__name__)
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp(\.[^.]*)?")  # the names that `replacing` chooses


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `path`, which becomes `path` when the block ends without an error.

    The file and then its folder are synced to the disk; a symbolic link keeps pointing where it does; missing
    parent folders are made. When the block raises, the temporary file is removed and `path` is what it was. A new file
    has the rights that the umask leaves, one that is replaced keeps its own.
    """
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "a file is where its folder should be", str(path.parent)) from None
    # The last suffix is kept, since some writers (OpenCV, MindSpore) choose the format by it or add their own. The stem
    # is cut: a name may have 255 bytes, and those of eCryptfs 143.
    temporary = path.with_name(f".{path.stem[:20]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
        mode = stat.S_IMODE((path if path.exists() else temporary).stat().st_mode)
        temporary.chmod(mode | stat.S_IWUSR)  # what only its owner may read is not shown while it is written
        yield temporary
        temporary.chmod(mode)  # also where the writer chose another: MindSpore takes 0400
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)  # what failed to be written, for the message
        raise
    with suppress(OSError):  # some network folders cannot be synced, and the file is in its place
        sync(path.parent)  # the new name itself must outlive a power cut


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes have left in a folder, in which no other process writes."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
                log.info("removed %s, left by a process that was killed while it wrote", path)


def sha256(path: Path) -> str:
    """Return the hexadecimal digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or the renames and removals in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_writable(folder: Path) -> None:
    """Make sure that the folder can be made and written; what had to be made for that is removed again."""
    places = (folder, *folder.parents)
    if file := next(filter(Path.is_file, places), None):
        which = "it" if file == folder else file
        raise UserError(f"cannot write to {folder}: {which} is a file, where a folder is needed")
    new = [place for place in places if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in new:
            place.rmdir()  # the first result makes it anew; a mistake found before that leaves nothing
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None
    if folder.exists() and not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: permission denied")


def refuse_path(name: str, option: str) -> None:
    """Refuse what leads to another folder where a file name, or a part of one, is wanted."""
    if os.path.basename(name) != name or name in (os.curdir, os.pardir):
        raise UserError(f"{option} must be a part of a file name, not a path: {name!r}")
