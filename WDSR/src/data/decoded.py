"""`--ext sep`: decoded images in files that are mapped instead of read, so that a patch costs only its own pixels."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common import UserError
from common.atomic import replacing, sha256
from common.images import Pair, read_pair

log = logging.getLogger(__name__)


class DecodedFiles:
    """`read_pair` through .npy files in a `_decoded` folder beside that of the HR images, and a file of their SHA-256.

    What is missing, older than its image or not as it was written is made again, when a pair is first asked for.
    """

    def __init__(self) -> None:
        self._whole: set[Path] = set()

    def __call__(self, pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
        stamp = f"{pair.hr.stat().st_mtime_ns}-{pair.lr and pair.lr.stat().st_mtime_ns}-{scale}-{pair.lr}"
        stem = f"{pair.name}x{scale}-{hashlib.sha256(os.fsencode(stamp)).hexdigest()[:8]}"
        folder = pair.hr.parent.with_name(pair.hr.parent.name + "_decoded")
        hr, lr, sums = (folder / f"{stem}{rest}" for rest in ("-hr.npy", "-lr.npy", ".sha256"))
        if sums not in self._whole:
            if not _are_whole(sums, (hr, lr)):
                for path, image in zip((hr, lr), read_pair(pair, scale), strict=True):
                    _write(path, lambda file, image=image: np.save(file, image))
                _write(sums, lambda file: file.write_bytes(_sums((hr, lr))))
            self._whole.add(sums)
        try:
            return np.load(hr, mmap_mode="r"), np.load(lr, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{hr} or {lr.name} changed while it was in use ({error}): start again") from None


def _are_whole(sums: Path, paths: Sequence[Path]) -> bool:
    try:
        if sums.read_bytes() == _sums(paths):
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("%s: %s", error.filename or sums, error.strerror)
    log.warning("%s is not as it was written: its images are decoded again", sums.with_suffix(""))
    return False


def _sums(paths: Sequence[Path]) -> bytes:
    return b"".join(f"{sha256(path)}  ".encode() + os.fsencode(path.name) + b"\n" for path in paths)


def _write(path: Path, save: Callable[[Path], object]) -> None:
    try:
        with replacing(path) as temporary:
            save(temporary)
    except OSError as error:
        raise UserError(f"--ext sep cannot write {path} ({error.strerror}); --ext img needs no space") from None
