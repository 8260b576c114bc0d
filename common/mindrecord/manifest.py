"""What a packed set consists of, and whether its files are there and belong together.

A set `X.mindrecord` is data files (`X.mindrecord`, or `X.mindrecord0` ... when sharded), one index `.db` beside each,
and the manifest `X.mindrecord.json`. MindRecord itself has no checksum, and MindSpore opens an index over the data of
another pack without a word: it hands out garbage, then ends the process. Hence the manifest: a hash of every file, and
a pack id that is also written into the header of every data file.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import UserError
from common.atomic import sync

FORMAT, VERSION = "common.mindrecord", 1
JOURNAL = "journal.json"
_REMEDY = "copy the set anew, or delete it and pack again"


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


def sha256(path: Path, update: Callable[[int], object] = lambda count: None) -> str:
    """Hex digest of a file; `update` is told the bytes of each piece read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            update(len(piece))
    return digest.hexdigest()


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
    """Checks cheaply that the files of a set are there and belong together; `verify` reads every byte.

    Raises:
        UserError: A file is missing, of another size or of another pack, or a move was interrupted.
    """
    if (aside_path(output) / JOURNAL).exists():
        raise UserError(
            f"a pack of {output} was killed while it moved its files into place: "
            f"finish it with `python -m common.mindrecord repair {output}`"
        )
    manifest = read_manifest(output)
    for name, stated in manifest.files.items():
        path = output.with_name(name)
        if not path.is_file():
            raise UserError(f"{path} is missing, but {manifest_path(output).name} lists it: {_REMEDY}")
        found = path.stat().st_size
        if found != stated["bytes"]:
            raise UserError(f"{path} has {found} bytes, but {stated['bytes']} were packed: {_REMEDY}")
        if name.endswith(".db"):
            check_hash(path, stated["sha256"])
        elif manifest.pack_id.encode() not in _header(path):
            raise UserError(f"{path} is damaged or of another pack than {manifest_path(output).name}: {_REMEDY}")
    return manifest


def check_hash(path: Path, stated: str, update: Callable[[int], object] = lambda count: None) -> None:
    """Raises UserError when a file's bytes are not those that were packed."""
    if sha256(path, update) != stated:
        raise UserError(f"{path} is not as it was packed (its SHA-256 differs): {_REMEDY}")


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
