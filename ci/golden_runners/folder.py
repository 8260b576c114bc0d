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
    if not folder.is_dir():
        raise UserError(f"--goldens must be a folder with a manifest.json, {folder} is none")
    entries = _manifest(folder)
    named = sorted(name for name in entries if name.startswith(prefix))
    stray = sorted(path.name for path in folder.glob(f"{prefix}*.npz") if path.name not in entries)
    if stray:
        raise UserError(f"{folder / stray[0]} is not listed in manifest.json: add its entry, or move the file away")
    lists = sorted(path for path in (folder / KEYS).glob("*.json") if path.name.startswith(prefix))
    if not named and not lists:
        some = ", ".join(sorted(entries)[:5])
        raise UserError(f"no file in {folder} begins with {prefix!r} (--only): it has {some or 'none'} ...")
    for name in named:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing, manifest.json lists it")
    return [_fixture(folder / name, entries[name]) for name in named], [_inventory(path) for path in lists]


def _manifest(folder: Path) -> dict[str, dict]:
    path = folder / "manifest.json"
    content = _json(path) if path.is_file() else None
    if content is None:
        raise UserError(f"{path} is missing: --goldens must name a folder that has one")
    entries = content.get("files") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise UserError(f'{path} must hold {{"files": {{name: entry}}}}')
    return entries


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _fixture(path: Path, entry: Mapping[str, Any]) -> Fixture:
    config, tolerance = entry.get("config"), entry.get("expected_tolerance")
    if not isinstance(config, dict) or not isinstance(tolerance, dict):
        raise UserError(f"manifest.json's entry of {path.name} must hold config and expected_tolerance")
    arrays = _arrays(path)
    absent = [key for key in entry.get("keys", ()) if key not in arrays]
    if absent:
        raise UserError(f"{path} lacks {len(absent)} arrays that manifest.json lists: {', '.join(absent[:5])}")
    return Fixture(path.name, arrays, config, tolerance)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged or no .npz file: {' '.join(str(error).split())[:200]}") from None


def _inventory(path: Path) -> Inventory:
    content = _json(path)
    try:
        shapes = {name: tuple(shape) for name, shape in content["state_dict"].items()}
        fixed = frozenset([*content.get("buffers", ()), *content.get("requires_grad_false", ())])
        return Inventory(path.stem, shapes, fixed, int(content["trainable_parameters"]), content)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{path} must hold state_dict and trainable_parameters") from None
