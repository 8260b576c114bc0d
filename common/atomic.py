"""Files that are either the old one or the new one, whole: a killed run leaves no half of anything."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common import UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `path`, which becomes `path` when the block ends without an error.

    The file and then its folder are synced to the disk; a symbolic link keeps pointing where it does; missing
    parent folders are made. When the block raises, the temporary file is removed and `path` is what it was.

    Raises:
        OSError: the disk is full, the folder cannot be written, `path` is a folder.
    """
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "a file is where its folder should be", str(path.parent)) from None
    # The last suffix is kept, since some writers (OpenCV, MindSpore) choose the format by it or add their own.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp gives 0600, MindSpore 0400; others may want to read the file
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # some network folders cannot be synced, and the file is in its place
        sync(path.parent)  # the new name itself must outlive a power cut


def sync(path: Path) -> None:
    """Waits until a file, or the renames and removals in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_writable(folder: Path) -> None:
    """Make sure that the folder can be made and written; what had to be made for that is removed again.

    Raises:
        UserError: it cannot.
    """
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in new:
            place.rmdir()  # the first result makes it anew; a mistake found before that leaves nothing
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None
    if folder.exists() and not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: permission denied")
