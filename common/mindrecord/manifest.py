"""The files of a packed set, and whether they are bit for bit as they were packed.

A set `X.mindrecord` is data files (`X.mindrecord`, or `X.mindrecord0` ... when sharded), one index `.db` beside each,
and the manifest `X.mindrecord.json`, which comes last: without it there is no set. At damaged files MindSpore returns
garbage or ends the process, so the manifest holds the SHA-256 of every file, compared whenever a set is opened.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError
from common.atomic import replacing, sha256

FORMAT, VERSION = "common.mindrecord", 1
_REMEDY = "copy the set anew, or delete it and pack again"


@dataclasses.dataclass(kw_only=True)
class Manifest:
    """Description of a packed set; packing fills it in."""

    pack_id: str  # random, also in the header of each data file
    encoding: str  # "png" or "raw"
    scale: int
    patch: int  # side of the HR patches in pixels, 0 for whole images
    records: int = 0
    shard_records: list[int] = dataclasses.field(default_factory=list)  # of each data file
    lr_source: str  # "imresize" (made here) or "files"
    payload_bytes: int = 0  # of all encoded HR and LR images
    content_sha256: str = ""  # over name and pixels of every record in order: equal for equal content in any encoding
    columns: dict[str, dict[str, str]]
    pictures: dict[str, int] = dataclasses.field(default_factory=dict)  # records of each source image, in pack order
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)  # source images without a record, and why
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # bytes, SHA-256: data, then indexes
    arguments: dict[str, Any]  # of `pack`
    mindspore: str
    version: int = VERSION


def manifest_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.json")


def set_exists(output: str | Path) -> bool:
    """Return whether there is a file of this name, or the manifest of a sharded set, which has none."""
    return Path(output).exists() or manifest_path(Path(output)).exists()


def aside_path(output: Path) -> Path:
    """Return the hidden folder in which a set is written before it is moved into place."""
    return output.with_name(f".{output.name}.packing")


def file_names(output: Path, shards: int) -> list[str]:
    """Return the names of the data files, as MindSpore's FileWriter chooses them, then those of their indexes."""
    data = [f"{output.name}{i:0{len(str(shards - 1))}d}" for i in range(shards)] if shards > 1 else [output.name]
    return [*data, *(f"{name}.db" for name in data)]


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest with a hash of itself."""
    content = dataclasses.asdict(manifest)
    text = json.dumps({"format": FORMAT, **content, "manifest_sha256": _digest(content)}, indent=1)
    with replacing(path) as temporary:
        temporary.write_text(f"{text}\n", "utf-8")


def read_manifest(output: Path) -> Manifest:
    """Return the manifest of the set `output`; refuse one that is damaged, foreign, newer, or of a renamed set."""
    path = manifest_path(output)
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        whole = output.with_name(output.name.rstrip("0123456789"))
        if whole.name and whole != output and manifest_path(whole).exists():
            why = f"this is one shard of a set, open {whole}"
        elif aside_path(output).exists():
            why = "its pack is still running or was killed, in which case pack it again"
        elif output.exists():
            why = "there is none, so `python -m common.mindrecord pack` did not write this file, or it was copied alone"
        else:
            why = "there is no such file"
        raise UserError(f"expected a packed set {output} with its manifest {path.name}: {why}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"the manifest {path} is damaged ({error}): {_REMEDY}") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not a manifest that `python -m common.mindrecord pack` wrote")
    if content.pop("manifest_sha256", None) != _digest(content):
        raise UserError(f"the manifest {path} is not as it was written: {_REMEDY}")
    if content["version"] > VERSION:
        raise UserError(f"{path} has version {content['version']}, this program reads up to {VERSION}: update it")
    manifest = Manifest(**content)
    if sorted(manifest.files) != sorted(file_names(output, len(manifest.shard_records))):
        raise UserError(f"{output} was packed as {next(iter(manifest.files))}: MindRecord files cannot be renamed")
    return manifest


def check_set(output: Path) -> Manifest:
    """Compare the files of a set with its manifest, and return it; refuse one that is missing, cut or changed."""
    manifest = read_manifest(output)
    files = {output.with_name(name): stated for name, stated in manifest.files.items()}
    for path, stated in files.items():
        if not path.is_file():
            raise UserError(f"{path} is missing, but {manifest_path(output).name} lists it: {_REMEDY}")
        if (found := path.stat().st_size) != stated["bytes"]:
            raise UserError(f"{path} has {found} bytes, but {stated['bytes']} were packed: {_REMEDY}")
        if sha256(path) != stated["sha256"]:
            raise UserError(f"{path} is not as it was packed (its SHA-256 differs): {_REMEDY}")
    return manifest


def hash_record(digest: Any, name: str, hr: np.ndarray, lr: np.ndarray) -> None:
    for part in (name.encode(), f"\n{hr.shape}{lr.shape}\n".encode(), hr.tobytes(), lr.tobytes()):
        digest.update(part)


def mindspore_reason(error: Exception) -> str:
    """Return the one line of a MindSpore error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.removeprefix("[ERROR]") for line in lines if line.startswith("[ERROR]")]
    return (told or lines or [type(error).__name__])[0].strip()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
