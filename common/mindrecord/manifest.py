"""What a packed set consists of, and whether its files are there and belong together.

A set `X.mindrecord` is data files (`X.mindrecord`, or `X.mindrecord0` ... when sharded), one index `.db` beside each,
and the manifest `X.mindrecord.json`. MindRecord itself has no checksum: at a damaged file, or an index over the data of
another pack, MindSpore hands out garbage without a word, or ends the process. Hence the manifest: a hash of every file,
and a pack id that is also written into the header of every data file. All are looked at whenever a set is opened.
"""

import dataclasses
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from common import UserError
from common.atomic import sha256, sync

FORMAT, VERSION = "common.mindrecord", 1
JOURNAL = "journal.json"
TOLD_FROM = 10**9  # bytes: hashing them takes about a second
_REMEDY = "copy the set anew, or delete it and pack again"
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is known of a set.

    Attributes:
        pack_id: Random, also in the header of each data file: tells whether files belong together.
        patch: Side of the HR patches in pixels, 0 for whole pictures.
        shard_records: Records of each data file.
        lr_source: "imresize" (made here) or "files".
        payload_bytes: Length of all encoded HR and LR pictures.
        content_sha256: Over name and pixels of every record in order: equal for equal content, whatever the encoding.
        pictures: Records of each source picture, in pack order.
        skipped: Source pictures without a record, and why.
        files: Bytes and SHA-256 of each data and index file.
        arguments: What `pack` was called with.
    """

    pack_id: str
    encoding: str
    scale: int
    patch: int
    records: int
    shard_records: list[int]
    lr_source: str
    payload_bytes: int
    content_sha256: str
    columns: dict[str, dict[str, str]]
    pictures: dict[str, int]
    skipped: dict[str, str]
    files: dict[str, dict[str, Any]]
    arguments: dict[str, Any]
    mindspore: str
    version: int = VERSION

    @property
    def shards(self) -> int:
        """Number of data files."""
        return len(self.shard_records)


def manifest_path(output: Path) -> Path:
    """Where the manifest of a set lies."""
    return output.with_name(f"{output.name}.json")


def aside_path(output: Path) -> Path:
    """The hidden folder in which a set is written before it is moved into place."""
    return output.with_name(f".{output.name}.packing")


def data_names(output: Path, shards: int) -> list[str]:
    """The data files' names, as MindSpore's FileWriter chooses them."""
    width = len(str(shards - 1))
    return [output.name] if shards == 1 else [f"{output.name}{i:0{width}d}" for i in range(shards)]


def index_names(output: Path, shards: int) -> list[str]:
    """The index files' names."""
    return [f"{name}.db" for name in data_names(output, shards)]


def describe_files(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Bytes and SHA-256 of files, as the manifest keeps them."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes the manifest with a hash of itself, and makes it durable."""
    content = dataclasses.asdict(manifest)
    write_json(path, {"format": FORMAT, **content, "manifest_sha256": _json_digest(content)})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file atomically and makes it durable."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def read_manifest(output: Path) -> Manifest:
    """The manifest of the set `output`.

    Raises:
        UserError: It is missing, damaged, foreign, of a newer version, or of a set that was renamed.
    """
    path = manifest_path(output)
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"expected a packed set {output} with its manifest {path.name}: {_what_is(output)}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"the manifest {path} is damaged ({error}): {_REMEDY}") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not a manifest that `python -m common.mindrecord pack` wrote")
    if content.pop("manifest_sha256", None) != _json_digest(content):
        raise UserError(f"the manifest {path} is not as it was written: {_REMEDY}")
    if content["version"] > VERSION:
        raise UserError(f"{path} has version {content['version']}, this program reads up to {VERSION}: update it")
    manifest = Manifest(**content)
    if sorted(manifest.files) != sorted(data_names(output, manifest.shards) + index_names(output, manifest.shards)):
        raise UserError(f"{output} was packed as {next(iter(manifest.files))}: MindRecord files cannot be renamed")
    return manifest


def check_set(output: Path) -> Manifest:
    """Checks that the files of a set are there, belong together and are bit for bit as they were packed.

    Raises:
        UserError: A file is missing, damaged, of another size or of another pack, or a move was interrupted.
    """
    if (aside_path(output) / JOURNAL).exists():
        raise UserError(
            f"a pack of {output} was killed while it moved its files into place: "
            f"finish it with `python -m common.mindrecord repair {output}`"
        )
    manifest = read_manifest(output)
    try:
        for name, stated in manifest.files.items():
            _check_kind(output, manifest, output.with_name(name), stated["bytes"])
        size = sum(stated["bytes"] for stated in manifest.files.values())
        if size > TOLD_FROM:
            _log.info("hashing the %.1f GB of %s, to find damage before it is read", size / 1e9, output)
        for name, stated in manifest.files.items():
            if sha256(output.with_name(name)) != stated["sha256"]:
                raise UserError(f"{output.with_name(name)} is not as it was packed (its SHA-256 differs): {_REMEDY}")
    except OSError as error:
        raise UserError(f"cannot read {error.filename or output}: {error.strerror}") from None
    return manifest


def _check_kind(output: Path, manifest: Manifest, path: Path, size: int) -> None:
    """What can be said of a file of the set without reading all of it: a clearer reason than that its hash differs."""
    if not path.is_file():
        raise UserError(f"{path} is missing, but {manifest_path(output).name} lists it: {_REMEDY}")
    found = path.stat().st_size
    if found != size:
        raise UserError(f"{path} has {found} bytes, but {size} were packed: {_REMEDY}")
    if path.suffix != ".db" and manifest.pack_id.encode() not in _header(path):
        raise UserError(f"{path} is damaged or of another pack than {manifest_path(output).name}: {_REMEDY}")


def _what_is(output: Path) -> str:
    """Why there may be no manifest."""
    whole = output.with_name(output.name.rstrip("0123456789"))
    if whole.name and whole != output and manifest_path(whole).exists():
        return f"this is one shard of a set, open {whole}"
    if output.exists():
        return "there is none, so `python -m common.mindrecord pack` did not write this file, or it was copied alone"
    return "there is no such file"


def _header(path: Path) -> bytes:
    """The JSON header of a data file: eight bytes of length, then the text (128 MB at most)."""
    with path.open("rb") as file:
        return file.read(min(int.from_bytes(file.read(8), "little"), 128 << 20))


def _json_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
