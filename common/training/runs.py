"""The folder of a training run: made once, found again by `--resume`."""

import logging
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from common import UserError, __version__, atomic, checkpoint, config
from common.checkpoint import Checkpoint
from common.runtime import Runtime, make_run_folder, start_log

log = logging.getLogger(__name__)
T = TypeVar("T")


class RunFiles:
    """The checkpoints in `folder`/ckpt, a link where they are wanted `elsewhere`; `keep` numbered ones are kept."""

    def __init__(self, folder: Path, elsewhere: Path | None = None, keep: int = 5) -> None:
        self.folder, self.elsewhere, self.keep = folder / "ckpt", elsewhere, keep
        self.last = self.folder / "last.ckpt"

    def open(self) -> None:
        """Make the folder; a resumed run keeps what is in it, except the half written files of kills."""
        try:
            if self.elsewhere and not self.folder.exists():
                self.folder.symlink_to(self.elsewhere.resolve(), target_is_directory=True)
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {error.filename or self.folder}: {error.strerror}") from None
        for folder in (self.folder.parent, self.folder):
            atomic.remove_leftovers(folder)

    def save(self, name: str, content: Checkpoint) -> None:
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
        program = os.path.relpath(Path(__file__).parents[2] / meta["model"] / program)
        command = shlex.join(["python", program, flag, str(file), "--dir_data", "FOLDER"])
        log.info("%s %s; next: %s", said, file, command)


def claim(folder: Path | None, new: bool) -> None:
    """Make the folder that a run's checkpoints are wanted in, if any; a `new` run must not meet another one's."""
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
    """Yield each batch with the error that was raised instead of the next one, or None.

    Of several workers one may know of an error that the others do not meet: a batch ahead it can still tell them, so
    that all stop after the same step and save.
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


_held: dict[Path, IO[str]] = {}  # environment.txt of this process's runs: open until it ends, and so locked


def occupy(folder: Path) -> IO[str]:
    """Hold a run's folder, which two processes would mix up, until this one ends.

    Returns environment.txt, whose lock it is, to be appended to; raises OSError where it cannot be written.
    """
    path = folder.resolve() / "environment.txt"
    if path not in _held:
        file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  (closed by the end of the process)
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UserError(f"{folder} is in use: another process trains in it") from None
        except (ImportError, OSError):  # Windows and some network folders have no locks
            pass
        _held[path] = file
    return _held[path]


class Start(NamedTuple):
    """Options of a training; of a resumed one also the checkpoint, its path, the run's folder (None: it is gone)."""

    options: Any
    saved: Checkpoint | None = None
    source: str = ""
    folder: Path | None = None

    def open(self, here: Runtime, about: str) -> Path:
        """Open an accepted run's config.yaml, environment.txt and train.log; other workers get a path alone."""
        parent, name = Path(self.options.save_dir), self.options.run_name()
        if not here.is_main:
            return self.folder or parent / name
        folder = self.folder or make_run_folder(parent, name)
        try:
            file = occupy(folder)
            file.write(("\nresumed\n" if self.folder else "") + describe_environment(here))
            file.flush()
        except OSError as error:
            raise UserError(f"cannot write {folder / 'environment.txt'}: {error.strerror}") from None
        config.save(self.options, folder / "config.yaml")
        start_log(folder / "train.log")
        for line in config.differences(self.saved.meta["config"], config.to_dict(self.options)) if self.saved else ():
            log.info("changed since the run was stopped: %s", line)
        log.info("%s; run folder %s", about, folder)
        return folder

    @property
    def checkpoint_folder(self) -> Path | None:
        return Path(self.options.ckpt_save_path) if self.options.ckpt_save_path else None

    def fit(self, trainer: Any) -> int:
        if self.saved:
            trainer.resume(self.saved, self.source)
        return trainer.fit()


def begin(options: Any, argv: Sequence[str] | None, description: str, model: str) -> Start:
    """Resume the run that `--resume` of the parsed options names, or begin a new one.

    A run is named by its folder or one of its checkpoints; its options come under those of the command line.
    """
    cls, path = type(options), options.resume
    if path == "auto":
        path = latest(options.save_dir, options.run_name())
    if not path:
        return Start(config.merge(options, {"resume": ""}, "train.py"))
    file, saved = _read_run(path, model)
    base = config.merge(cls(), _kept_options(saved, cls), str(file))
    options = config.parse(cls, argv, description=description, base=base)
    # --resume is not kept: a new run with `--config RUN/config.yaml` must not resume an old one.
    return Start(config.merge(options, {"resume": ""}, path), saved, path, _folder_of(file, saved))


def _read_run(path: str, model: str) -> tuple[Path, Checkpoint]:
    """Return the file of a run's checkpoint, named by itself or by the run's folder, and what it holds."""
    file = Path(path)
    if file.is_dir():
        file = next((f for f in (file / "ckpt" / "last.ckpt", file / "last.ckpt") if f.exists()), None)
        if file is None:
            raise UserError(f"nothing to resume in {path}: expected {Path(path) / 'ckpt' / 'last.ckpt'}")
    saved = checkpoint.read(file)
    if saved.meta.get("model", model) != model:
        raise UserError(f"{checkpoint.describe(file, saved.meta)} cannot be resumed here: expected {model}")
    if not {"config", "counters", "step"} <= set(saved.meta):
        raise UserError(f"{file} was not written by a training run: start from its weights with --ckpt_path {file}")
    return file, saved


def _kept_options(saved: Checkpoint, cls: type) -> dict[str, Any]:
    # Whether a launcher starts this process is not the old run's to say: a job of several may be resumed by one.
    kept = {name: value for name, value in saved.meta["config"].items() if name != "run_distribute"}
    # Runs of before a typed size counted more than --model saved its unused default as well.
    own = {name: field.metadata.get("hyper") for name, field in cls.__dataclass_fields__.items()}
    hyper = saved.meta.get("hyper", {})
    return {name: value for name, value in kept.items() if hyper.get(own.get(name), value) == value}


def _folder_of(file: Path, saved: Checkpoint) -> Path | None:
    """Return the run that wrote a checkpoint: the folder above, or where the run was when it stopped."""
    places = [file.parent.parent if file.parent.name == "ckpt" else file.parent, Path(saved.meta.get("folder", ""))]
    return next((place for place in places if place.name and (place / "config.yaml").is_file()), None)


def latest(parent: str, name: str) -> str:
    """Return the youngest run of exactly this name that can be resumed; "" when there is none, which a line says."""
    made = re.compile(re.escape(name) + r"-\d{8}-\d{6}(-\d+)?")  # as `make_run_folder` does
    found = [file for file in Path(parent).glob("*/ckpt/last.ckpt") if made.fullmatch(file.parent.parent.name)]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path))
    log.info("--resume auto: %s", found[-1].parent.parent if found else "nothing to resume, a new run")
    return str(found[-1].parent.parent) if found else ""


def describe_environment(here: Runtime) -> str:
    """Return versions, machine, device, git revision and command line, for `environment.txt`."""
    import mindspore
    import numpy

    lines = {
        "command": shlex.join([sys.executable, *sys.argv]),
        "folder": os.getcwd(),
        "zoo": f"{__version__} ({_git_revision()})",
        "mindspore": mindspore.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "device": f"{here.device}, {here.world_size} worker(s)",
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA"),
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def _git_revision() -> str:
    command: Sequence[str] = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "no git"
