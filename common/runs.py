"""The folder of a training run: made once, found again by `--resume`."""

import logging
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from common import UserError, __version__, checkpoint, config
from common.checkpoint import Checkpoint
from common.runtime import Runtime, make_run_folder, start_log

log = logging.getLogger(__name__)
T = TypeVar("T")
_held: dict[Path, IO[str]] = {}  # environment.txt of this process's runs: open until it ends, and so locked


def open_run(
    options: Any,
    here: Runtime,
    parent: Path,
    name: str,
    *,
    folder: Path | None = None,
    saved: Checkpoint | None = None,
    about: str = "",
) -> Path:
    """Open the folder of an accepted run: config.yaml, environment.txt, train.log (other workers get a path alone).

    Args:
        parent, name: where a new run is made, and what it is called.
        folder: of a run that is resumed: its log and environment.txt are continued. None makes a new one.
        saved: what the run is resumed from; options that have changed since are logged.
        about: what the log says of the run.

    Raises:
        UserError: the folder cannot be made or written.
    """
    if not here.is_main:
        return folder or parent / name
    new = folder is None
    folder = make_run_folder(parent, name) if new else folder
    try:
        file = occupy(folder)
        file.write(("" if new else "\nresumed\n") + describe_environment(here))
        file.flush()
    except OSError as error:
        raise UserError(f"cannot write {folder / 'environment.txt'}: {error.strerror}") from None
    config.save(options, folder / "config.yaml")
    start_log(folder / "train.log")
    for line in config.differences(saved.meta["config"], config.to_dict(options)) if saved else ():
        log.info("changed since the run was stopped: %s", line)
    log.info("%s; run folder %s", about, folder)
    return folder


def occupy(folder: Path) -> IO[str]:
    """Hold a run's folder until this process ends: two processes in it would mix their logs and checkpoints.

    Returns:
        environment.txt, to be appended to; its lock holds the folder.

    Raises:
        UserError: another process holds it.
        OSError: the file cannot be written.
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


def resumed(
    cls: type[T], argv: Sequence[str] | None, path: str, description: str, model: str
) -> tuple[T, Checkpoint, Path | None]:
    """What `--resume PATH` goes on with: the saved options with those on the command line over them.

    Args:
        path: a run's folder, or one of its checkpoints.
        model: what the checkpoint must hold.

    Returns:
        (options without their `resume`, checkpoint, the run's folder or None when only the file is left).

    Raises:
        UserError: no such run, or a checkpoint of something else.
    """
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
    # Whether a launcher starts this process is not the old run's to say: a job of several may go on as one.
    kept = {name: value for name, value in saved.meta["config"].items() if name != "run_distribute"}
    # Runs of before a typed size counted more than --model saved its unused default as well.
    own = {name: field.metadata.get("hyper") for name, field in cls.__dataclass_fields__.items()}
    hyper = saved.meta.get("hyper", {})
    kept = {name: value for name, value in kept.items() if hyper.get(own.get(name), value) == value}
    base = config.merge(cls(), kept, str(file))
    options = config.parse(cls, argv, description=description, base=base)
    # Not kept: a new run with `--config RUN/config.yaml` must not go on with an old one.
    return config.merge(options, {"resume": ""}, path), saved, _folder_of(file, saved)


def latest(parent: str, name: str) -> str:
    """Return the youngest run of exactly this name that can be resumed; "" when there is none, which a line says."""
    made = re.compile(re.escape(name) + r"-\d{8}-\d{6}(-\d+)?")  # as `make_run_folder` does
    found = [file for file in Path(parent).glob("*/ckpt/last.ckpt") if made.fullmatch(file.parent.parent.name)]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path))
    log.info("--resume auto: %s", found[-1].parent.parent if found else "nothing to go on with, a new run")
    return str(found[-1].parent.parent) if found else ""


def _folder_of(file: Path, saved: Checkpoint) -> Path | None:
    """The run that wrote a checkpoint: the folder above, or where the run was when it stopped."""
    places = [file.parent.parent if file.parent.name == "ckpt" else file.parent, Path(saved.meta.get("folder", ""))]
    return next((place for place in places if place.name and (place / "config.yaml").is_file()), None)


def describe_environment(here: Runtime) -> str:
    """Versions, machine, device, git revision and command line, for `environment.txt`."""
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
