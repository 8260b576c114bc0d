"""The folder of a training run: made once, found again by `--resume`."""

import dataclasses
import datetime
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from common import UserError, __version__, checkpoint, config
from common.checkpoint import Checkpoint
from common.runtime import Runtime, start_log

log = logging.getLogger(__name__)
T = TypeVar("T")
_held: list[IO[str]] = []  # open until the process ends, and with them their locks


def open_run(
    options: Any,
    here: Runtime,
    parent: Path,
    name: str,
    *,
    folder: Path | None = None,
    saved: Checkpoint | None = None,
) -> Path:
    """The run's folder with config.yaml, environment.txt and train.log (main worker; others get a path alone).

    Args:
        parent, name: where a new run is made, and what it is called.
        folder: of a run that goes on: its log and environment.txt are continued. None makes a new one.
        saved: what the run goes on from; options that have changed since are logged.

    Raises:
        UserError: the folder cannot be made or written.
    """
    if not here.is_main:
        return folder or parent / name
    new = folder is None
    folder = make_run_folder(parent, name) if new else folder
    occupy(folder)
    config.save(dataclasses.replace(options, resume=""), folder / "config.yaml")  # for a like run, not for this one
    try:
        with open(folder / "environment.txt", "a", encoding="utf-8") as file:
            file.write(("" if new else "\nresumed\n") + describe_environment(here))
    except OSError as error:
        raise UserError(f"cannot write {folder / 'environment.txt'}: {error.strerror}") from None
    start_log(folder / "train.log")
    for line in config.differences(saved.meta["config"], config.to_dict(options)) if saved else ():
        log.info("changed since the run was stopped: %s", line)
    return folder


def occupy(folder: Path) -> None:
    """Hold a run's folder until this process ends: two processes in it would mix their logs and checkpoints.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        _held.append(open(folder / ".lock", "w"))  # noqa: SIM115  (closed by the end of the process)
        fcntl.flock(_held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{folder} is in use: another process trains in it") from None
    except OSError as error:
        raise UserError(f"cannot write {folder / '.lock'}: {error.strerror}") from None


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
        raise UserError(f"{checkpoint.describe(file, saved.meta)} cannot be resumed here: expected a {model}")
    if not {"config", "counters", "step"} <= set(saved.meta):
        raise UserError(f"{file} was not written by a training run: start from its weights with --ckpt_path {file}")
    base = config.merge(cls(), saved.meta["config"], str(file))
    options = config.parse(cls, argv, description=description, base=base)
    # Not kept: a new run with `--config RUN/config.yaml` must not go on with an old one.
    return config.merge(options, {"resume": ""}, path), saved, _folder_of(file, saved)


def _folder_of(file: Path, saved: Checkpoint) -> Path | None:
    """The run that wrote a checkpoint: the folder above, or where the run was when it stopped."""
    places = [file.parent.parent if file.parent.name == "ckpt" else file.parent, Path(saved.meta.get("folder", ""))]
    return next((place for place in places if place.name and (place / "config.yaml").is_file()), None)


def make_run_folder(parent: Path, name: str) -> Path:
    """A new folder `parent/name-YYYYmmdd-HHMMSS` (with -2, -3 ... when taken); nothing is ever overwritten."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for count in range(1, 1000):
        folder = parent / (f"{name}-{stamp}" + (f"-{count}" if count > 1 else ""))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot make the run folder {folder}: {error.strerror}") from None
    raise UserError(f"{parent} already holds a thousand runs named {name}-{stamp}")


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
