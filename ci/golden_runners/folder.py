"""Reading a goldens folder; whatever makes it unusable is one sentence."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common import UserError

KEYS = "full_size_keys"


class Fixture(NamedTuple):
    """A .npz file with what the manifest says of it."""

    name: str
    arrays: dict[str, np.ndarray]
    config: dict[str, Any]
    tolerance: dict[str, Any]


class Inventory(NamedTuple):
    """Names and shapes of a full-size network."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    fixed: frozenset[str]  # those of the names that are not trained; ours may keep such values elsewhere
    trainable: int  # number of trained values
    details: dict[str, Any]  # the whole file


def read_folder(folder: Path, prefix: str) -> tuple[list[Fixture], list[Inventory]]:
    """Everything in the folder whose file name begins with the prefix.

    Raises:
        UserError: no folder, manifest or file that the manifest lists; a damaged one; nothing with this prefix.
    """
    try:
        entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"--goldens must be a folder whose manifest.json lists its files: {error!r}") from None
    stray = sorted(path.name for path in folder.glob(f"{prefix}*.npz") if path.name not in entries)
    if stray:
        raise UserError(f"{folder / stray[0]} is not listed in manifest.json: add its entry, or move the file away")
    fixtures = [_fixture(folder / name, entries[name]) for name in sorted(entries) if name.startswith(prefix)]
    inventories = [_inventory(path) for path in sorted((folder / KEYS).glob(f"{prefix}*.json"))]
    if not fixtures and not inventories:
        some = ", ".join(sorted(entries)[:5])
        raise UserError(f"no file in {folder} begins with {prefix!r} (--only): it has {some or 'none'} ...")
    return fixtures, inventories


def _fixture(path: Path, entry: Mapping[str, Any]) -> Fixture:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is missing or damaged: {' '.join(str(error).split())[:200]}") from None
    absent = [key for key in entry.get("keys", ()) if key not in arrays]
    if absent:
        raise UserError(f"{path} lacks {len(absent)} arrays that manifest.json lists: {', '.join(absent[:5])}")
    return Fixture(path.name, arrays, entry["config"], entry["expected_tolerance"])


def _inventory(path: Path) -> Inventory:
    content = json.loads(path.read_text(encoding="utf-8"))
    shapes = {name: tuple(shape) for name, shape in content["state_dict"].items()}
    fixed = frozenset([*content.get("buffers", ()), *content.get("requires_grad_false", ())])
    return Inventory(path.stem, shapes, fixed, content["trainable_parameters"], content)
