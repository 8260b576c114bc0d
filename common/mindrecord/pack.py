"""Pack a folder of images into a MindRecord set: `pack(PackOptions(...))`, with one image in memory at a time.

An LR patch is a part of the LR image (as in the data of SRFlow), not a downscaled HR patch, whose borders would differ.
A set is written in a hidden folder and moved into place at the end, its manifest last: a killed pack leaves the old set
or none, and the next pack of the same set removes what it left.
"""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import logging
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common import UserError
from common.atomic import make_writable, sha256, sync
from common.images import Pair, find_images, find_pairs, read_pair
from common.mindrecord.manifest import (
    Manifest,
    aside_path,
    file_names,
    hash_record,
    manifest_path,
    mindspore_reason,
    read_manifest,
    write_manifest,
)
from common.runtime import progress

_NAMES = {"bytes": ("HR", "LR"), "string": ("name",), "int32": ("index", "y", "x", "height", "width")}
COLUMNS = {name: {"type": kind} for kind, names in _NAMES.items() for name in names}
BUFFER_BYTES = 64 << 20  # records held back until the page size is chosen
_BATCH_BYTES = 4 << 20  # per call of MindSpore's writer, which copies them several times
_PAGE, _HEADER = 64 << 20, 16 << 20  # of large sets; a record never lies across two pages
_OVERHEAD, _STEP = 24, 4096  # bytes that MindRecord adds to a record, and of which pages and headers are multiples
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 4)  # half the time of level 6 for 4 % more bytes, on DIV2K
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PackOptions:
    """Options of a pack; `python -m common.mindrecord pack --help` explains them."""

    hr: Path
    output: Path
    lr: Path | None = None  # None: made from HR by `imresize`
    scale: int | None = None  # None: 4 without `lr`, and what the first pair shows with it
    patch: int = 160  # 0: whole images
    stride: int | None = None  # None: side by side
    crops: int | None = None  # patches per image at random places, which depend on seed, image number and size alone
    seed: int = 0
    encoding: str = "png"  # or "raw"
    shards: int = 1
    on_error: str = "stop"  # or "skip", at an image that cannot be read


def pack(options: PackOptions) -> Manifest:
    """Write a set; one that an earlier pack wrote there is replaced at the end."""
    options = dataclasses.replace(options, output=Path(os.path.abspath(options.output)))
    pairs, scale = _accepted(options)
    from mindspore import __version__ as mindspore_version

    manifest = Manifest(
        pack_id=uuid.uuid4().hex,
        encoding=options.encoding,
        scale=scale,
        patch=options.patch,
        lr_source="files" if options.lr else "imresize",
        columns=COLUMNS,
        arguments={key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        mindspore=mindspore_version,
    )
    folder, content = _folder_aside(options), hashlib.sha256()
    try:
        _write(_rows(pairs, options, manifest, content), folder / options.output.name, options.shards, manifest)
        for name in file_names(options.output, options.shards):
            manifest.files[name] = {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        manifest.content_sha256 = content.hexdigest()
        _publish(folder, options.output, manifest)
    finally:
        if folder.exists():  # else another pack of the same set has taken over
            _remove_leftovers(options.output)
    return manifest


def _accepted(options: PackOptions) -> tuple[list[Pair], int]:
    """Return the pairs to pack, and HR over LR; refuse options that contradict each other."""
    problems = {
        f"--patch {options.patch} is negative": options.patch < 0,
        f"--scale {options.scale} is not in 2 ... 16": options.scale is not None and not 2 <= options.scale <= 16,
        f"--stride {options.stride} is not positive": options.stride is not None and options.stride < 1,
        f"--crops {options.crops} is not positive": options.crops is not None and options.crops < 1,
        "--stride and --crops exclude each other": options.stride and options.crops,
        "--patch 0 packs whole images: leave out --stride and --crops": not options.patch
        and (options.stride or options.crops),
        f"--seed {options.seed} is negative": options.seed < 0,
        f"--shards {options.shards} is not in 1 ... 1000": not 1 <= options.shards <= 1000,
    }
    if found := [problem for problem, is_there in problems.items() if is_there]:
        raise UserError(found[0])
    hr, lr, scale = options.hr, options.lr, options.scale or (None if options.lr else 4)
    for folder in filter(None, (hr, lr)):
        find_images(folder)  # a wrong path is told as such
    for tried in (2, 3, 4, 8, 16) if scale is None else ():
        with contextlib.suppress(UserError):
            read_pair(find_pairs(hr, lr, tried)[0], tried)
            scale = scale or tried
    if scale is None:
        raise UserError(f"cannot tell the scale from the first image of {hr} and {lr}: say it with --scale")
    pairs = find_pairs(hr, lr, scale)
    if twice := [name for name, count in collections.Counter(pair.name for pair in pairs).items() if count > 1]:
        raise UserError(f"{len(twice)} names are not unique in {hr}, such as {twice[0]}: pack folder by folder")
    if options.patch % scale or (options.stride or 0) % scale:
        raise UserError(f"--patch {options.patch} and --stride {options.stride} must be multiples of the scale {scale}")
    return pairs, scale


def _rows(pairs: list[Pair], options: PackOptions, manifest: Manifest, content: Any) -> Iterator[dict[str, Any]]:
    """Make the rows to write, image by image; count them in the manifest and hash them."""
    patch, scale = options.patch, manifest.scale
    with progress(len(pairs), "pack", "image") as bar:
        for number, pair in enumerate(pairs):
            try:
                hr, lr = read_pair(pair, scale)
                size = f"{hr.shape[1]}x{hr.shape[0]}, cut to multiples of {scale}"
                small = f"{pair.hr} is smaller than a patch of {patch}: {size}"
                reason = small if min(hr.shape[:2]) < patch else ""
            except UserError as error:
                if options.on_error == "stop":
                    raise
                reason = str(error)
            if reason:
                manifest.skipped[pair.name] = reason
                _log.warning("skipped: %s", reason)
            else:
                for name, y, x, high, low in _cut(options, scale, number, pair.name, hr, lr):
                    hash_record(content, name, high, low)
                    row = {kind: _encoded(rgb, options.encoding) for kind, rgb in (("HR", high), ("LR", low))}
                    if (size := sum(map(len, row.values()))) > _PAGE - _OVERHEAD:
                        raise UserError(
                            f"{name} takes {size >> 20} MB, and a record may take 64 MB: cut it with --patch"
                        )
                    row |= {"name": name, "index": manifest.records, "y": y, "x": x}
                    yield {**row, "height": high.shape[0], "width": high.shape[1]}
                    manifest.pictures[pair.name] = manifest.pictures.get(pair.name, 0) + 1
                    manifest.payload_bytes += size
                    manifest.records += 1
            bar.update(1)
    if not manifest.pictures:
        first = next(iter(manifest.skipped.values()))
        raise UserError(f"all {len(pairs)} images of {options.hr} were skipped, the first: {first}")
    if manifest.records < options.shards:
        raise UserError(f"{manifest.records} records cannot fill {options.shards} shards: choose fewer --shards")


def _cut(
    options: PackOptions, scale: int, number: int, name: str, hr: np.ndarray, lr: np.ndarray
) -> Iterator[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Yield (name, y, x, HR patch, LR patch) of image `number`; the corner in HR pixels."""
    height, width = (options.patch // scale,) * 2 if options.patch else lr.shape[:2]  # all in LR pixels
    bottom, right, stride = len(lr) - height, lr.shape[1] - width, (options.stride or options.patch) // scale
    if options.crops:
        rng = np.random.default_rng([options.seed, number])
        corners = [(int(rng.integers(bottom + 1)), int(rng.integers(right + 1))) for _ in range(options.crops)]
    else:  # a grid that covers every pixel
        corners = itertools.product(*([*range(0, end, stride), end] if stride else [0] for end in (bottom, right)))
    for count, (y, x) in enumerate(corners):
        high = hr[y * scale : (y + height) * scale, x * scale : (x + width) * scale]
        title = f"{name}_{count:04d}" if options.patch else name
        yield title, y * scale, x * scale, high, lr[y : y + height, x : x + width]


def _encoded(rgb: np.ndarray, encoding: str) -> bytes:
    if encoding == "raw":
        return rgb.tobytes()
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _PNG)[1].tobytes()


def _write(rows: Iterator[dict[str, Any]], path: Path, shards: int, manifest: Manifest) -> None:
    """Write the data files and their indexes; note the number of records in each data file.

    Record i goes to file i % shards; the last n % shards ones go, in order, to files that MindSpore draws at random.
    """
    from mindspore.dataset import MindDataset
    from mindspore.mindrecord import FileWriter
    from mindspore.mindrecord.common.exceptions import MindRecordException

    first, sizes, page, header = [], [], _PAGE, _HEADER
    while sum(sizes) < BUFFER_BYTES and (row := next(rows, None)):
        first.append(row)
        sizes.append(len(row["HR"]) + len(row["LR"]) + _OVERHEAD)
    if sum(sizes) < BUFFER_BYTES:  # all records are here: one page for each file, filled exactly, and a header
        page = max(32 << 10, *(sum(sizes[shard::shards]) for shard in range(shards)))
        page += -page % _STEP
        lists = math.ceil(512 * (4 * sum(sizes) / shards / page + 4)) + shards * (len(path.name.encode()) + 16)
        header = (16 << 10) + lists + -lists % _STEP
    # A call with exactly one record per shard puts the first into the first file, and so on.
    step = shards if shards > 1 else _BATCH_BYTES * len(first) // sum(sizes) + 1
    rows = itertools.chain(first, rows)
    try:
        file = FileWriter(str(path), shards)
        file.set_page_size(page)
        file.set_header_size(header)
        file.add_schema(COLUMNS, f"common.mindrecord pack {manifest.pack_id}")
        file.add_index(["index"])
        while batch := list(itertools.islice(rows, step)):
            file.write_raw_data(batch)
        file.commit()
        names = file_names(path, shards)[:shards]
        manifest.shard_records = [MindDataset([str(path.with_name(name))]).get_dataset_size() for name in names]
    except (RuntimeError, MindRecordException) as error:
        raise UserError(f"MindSpore cannot write {path.name}: {mindspore_reason(error)}") from None


def _folder_aside(options: PackOptions) -> Path:
    """Make an empty folder to write in, beside the set's place; refuse to replace files that no pack wrote."""
    output, manifest = options.output, manifest_path(options.output)
    make_writable(output.parent)
    _remove_leftovers(output)
    own = {manifest.name, *read_manifest(output).files} if manifest.exists() else set()
    for name in (*file_names(output, options.shards), manifest.name):
        path = output.with_name(name)
        if path.is_dir() or (path.exists() and name not in own):
            raise UserError(f"{path} exists and is not from an earlier pack: move it away or choose another --output")
    aside_path(output).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=aside_path(output)))  # of its own, should the same set be packed twice at once


def _publish(folder: Path, output: Path, manifest: Manifest) -> None:
    """Move a set from its folder into place; a kill within leaves no set, and no index beside the data of another."""
    old, new = manifest_path(output), folder / manifest_path(output).name
    write_manifest(new, manifest)
    mode = (old if old.exists() else new).stat().st_mode & 0o777  # MindSpore leaves 0600
    for name in (*manifest.files, new.name):
        (folder / name).chmod(mode)
        sync(folder / name)
    if old.exists():
        stale = read_manifest(output).files
        old.replace(folder.parent / old.name)  # kept until the end: it tells `_remove_leftovers` what to remove
        for name in reversed(stale):  # indexes first: MindSpore opens no data without
            output.with_name(name).unlink(missing_ok=True)
    for name in manifest.files:
        (folder / name).replace(output.with_name(name))
    sync(output.parent)  # a power cut may not leave a manifest without its data
    new.replace(old)
    sync(output.parent)


def _remove_leftovers(output: Path) -> None:
    """Remove what a killed pack of the set left: its folder, and files in place without their manifest."""
    if not manifest_path(output).exists():
        for path in aside_path(output).rglob(manifest_path(output).name):
            for name in read_manifest(path.with_suffix("")).files:
                output.with_name(name).unlink(missing_ok=True)
    shutil.rmtree(aside_path(output), ignore_errors=True)
