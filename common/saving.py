"""The checkpoint files of a training run: last.ckpt to go on from, best.ckpt, and numbered ones; and time to save."""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from common import UserError, atomic, checkpoint
from common.checkpoint import Checkpoint

log = logging.getLogger(__name__)
T = TypeVar("T")


class RunFiles:
    """The checkpoints in `folder`/ckpt, a link where they are wanted elsewhere.

    Args:
        folder: the run's folder.
        elsewhere: where the files are to stand instead; None for the run's folder.
        keep: how many numbered files are kept; the oldest goes first.
    """

    def __init__(self, folder: Path, elsewhere: Path | None = None, keep: int = 5) -> None:
        self.folder, self.elsewhere, self.keep = folder / "ckpt", elsewhere, keep

    @property
    def last(self) -> Path:
        """What a stopped run goes on from."""
        return self.folder / "last.ckpt"

    def open(self) -> None:
        """Make the folder; a resumed run keeps what is in it, except the half written files of kills.

        Raises:
            UserError: it cannot be made.
        """
        try:
            if self.elsewhere and not self.folder.exists():
                self.folder.symlink_to(self.elsewhere.resolve(), target_is_directory=True)
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {error.filename or self.folder}: {error.strerror}") from None
        for folder in (self.folder.parent, self.folder):
            atomic.remove_leftovers(folder)

    def save(self, name: str, content: Checkpoint) -> None:
        """Write one file, whole or not at all.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        checkpoint.save(self.folder / name, content)

    def save_numbered(self, step: int, content: Checkpoint) -> None:
        """Write step_NNNNNNN.ckpt and remove the oldest numbered files beyond `keep`."""
        self.save(f"step_{step:07d}.ckpt", content)
        by_age = sorted(self.folder.glob("step_*.ckpt"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        for old in by_age[: -self.keep]:
            old.unlink()

    def tell(self, best: Mapping[str, Any] | None, meta: Mapping[str, Any]) -> None:
        """Log where the best weights of a run that has ended are (the last ones of one not validated), what is next."""
        file = self.folder / "best.ckpt" if best else self.last
        said = "best: {name} {score:.4f} at step {step}, in".format(**best) if best else "done; the weights are in"
        program, flag = ("train.py", "--rrdb_path") if meta.get("stage") == "rrdb" else ("eval.py", "--checkpoint")
        program = os.path.relpath(Path(__file__).parents[1] / meta["model"] / program)
        command = shlex.join(["python", program, flag, str(file), "--dir_data", "FOLDER"])
        log.info("%s %s; next: %s", said, file, command)

    def last_good(self) -> str:
        """For a message: where the last good weights are."""
        return str(self.last) if self.last.exists() else "none (no step was saved yet)"


def claim(folder: Path | None, new: bool) -> None:
    """Make the folder that a run's checkpoints are wanted in.

    Args:
        folder: None for the run's own.
        new: the run is no resumed one, so that the files of another run would be in danger.

    Raises:
        UserError: it cannot be made, or holds the checkpoints of another run.
    """
    if not folder:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {folder}: {error.strerror}") from None
    found = [file.name for name in ("last.ckpt", "best.ckpt", "step_*.ckpt") for file in sorted(folder.glob(name))]
    if new and found:
        raise UserError(
            f"{folder} holds checkpoints of another run ({', '.join(found[:3])}): choose another --ckpt_save_path, or "
            "resume that run by --resume"
        )


def forewarned(batches: Iterator[T]) -> Iterator[tuple[T, UserError | None]]:
    """Each batch with the error that stands in the place of the next one, None where all is well.

    Of several workers one may know of an error that the others do not meet. A batch ahead it can still tell them, and
    all stop after the same step and save; if it left instead, the others would wait for it.

    Raises:
        UserError: of the first batch, which is read at once.
    """

    def pairs(batch: T | None) -> Iterator[tuple[T, UserError | None]]:
        error = None
        while batch is not None:
            try:
                following = next(batches, None)
            except UserError as caught:
                following, error = None, caught
            yield batch, error
            batch = following

    return pairs(next(batches, None))
