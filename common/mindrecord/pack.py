"""Packs a folder of images into a MindRecord set: `pack(PackOptions(...))`.

One image is in memory at a time. Its LR image is read or made whole, and both are cut at matching places: an LR patch
is a part of the LR image (as in the data of SRFlow), not a downscaled HR patch, whose borders would differ.

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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common import UserError
from common.atomic import make_writable, sha256, sync
from common.images import Pair, find_pairs, find_pictures, read_pair
from common.mindrecord.manifest import Manifest, aside_path, file_names, manifest_path, read_manifest, write_manifest
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
    """What to pack and how; `python -m common.mindrecord pack --help` says more."""

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
    _check_options(options)
    pairs, scale = _find_pairs(options)
    if options.patch % scale or (options.stride or 0) % scale:
        raise UserError(f"--patch {options.patch} and --stride {options.stride} must be multiples of the scale {scale}")
    from mindspore import __version__ as mindspore_version

    folder = _folder_aside(options)
    try:
        records, pack_id = _Records(options, pairs, scale), uuid.uuid4().hex
        path, title = folder / options.output.name, f"common.mindrecord pack {pack_id}"
        shard_records = _write(records, path, options.shards, title)
        files = [folder / name for name in file_names(path, options.shards)]
        manifest = Manifest(
            pack_id=pack_id,
            encoding=options.encoding,
            scale=scale,
            patch=options.patch,
            records=records.count,
            shard_records=shard_records,
            lr_source="files" if options.lr else "imresize",
            payload_bytes=records.payload_bytes,
            content_sha256=records.content.hexdigest(),
            columns=COLUMNS,
            pictures=records.pictures,
            skipped=records.skipped,
            files={file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files},
            arguments={key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
            mindspore=mindspore_version,
        )
        _publish(folder, options.output, manifest)
    finally:
        if folder.exists():  # else another pack of the same set has taken over
            _remove_leftovers(options.output)
    return manifest


def hash_record(digest: Any, name: str, hr: np.ndarray, lr: np.ndarray) -> None:
    """Add a record's name, sizes and pixels to a hash."""
    for part in (name.encode(), f"\n{hr.shape}{lr.shape}\n".encode(), hr.tobytes(), lr.tobytes()):
        digest.update(part)


def mindspore_reason(error: Exception) -> str:
    """Return the one line of a MindSpore error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.removeprefix("[ERROR]") for line in lines if line.startswith("[ERROR]")]
    return (told or lines or [type(error).__name__])[0].strip()


class _Records:
    """The rows to write, made image by image; counts and hashes what it has made."""

    def __init__(self, options: PackOptions, pairs: list[Pair], scale: int) -> None:
        self.options, self.pairs, self.scale = options, pairs, scale
        self.count = self.payload_bytes = 0
        self.content = hashlib.sha256()
        self.pictures: dict[str, int] = {}
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        patch = self.options.patch
        with progress(len(self.pairs), "pack", "image") as bar:
            for number, pair in enumerate(self.pairs):
                try:
                    hr, lr = read_pair(pair, self.scale)
                    size = f"{hr.shape[1]}x{hr.shape[0]}, cut to multiples of {self.scale}"
                    small = f"{pair.hr} is smaller than a patch of {patch}: {size}"
                    reason = small if min(hr.shape[:2]) < patch else ""
                except UserError as error:
                    if self.options.on_error == "stop":
                        raise
                    reason = str(error)
                if reason:
                    self.skipped[pair.name] = reason
                    _log.warning("skipped: %s", reason)
                else:
                    yield from self._cut(number, pair.name, hr, lr)
                bar.update(1)
        if not self.pictures:
            first = next(iter(self.skipped.values()))
            raise UserError(f"all {len(self.pairs)} images of {self.options.hr} were skipped, the first: {first}")
        if self.count < self.options.shards:
            raise UserError(f"{self.count} records cannot fill {self.options.shards} shards: choose fewer --shards")

    def _cut(self, number: int, name: str, hr: np.ndarray, lr: np.ndarray) -> Iterator[dict[str, Any]]:
        """Yield the rows of image `number`, the images uint8: `hr` (H, W, 3), `lr` (H/scale, W/scale, 3)."""
        options, scale = self.options, self.scale
        height, width = (options.patch // scale,) * 2 if options.patch else lr.shape[:2]  # all in LR pixels
        bottom, right, stride = len(lr) - height, lr.shape[1] - width, (options.stride or options.patch) // scale
        if options.crops:
            rng = np.random.default_rng([options.seed, number])
            corners = [(int(rng.integers(bottom + 1)), int(rng.integers(right + 1))) for _ in range(options.crops)]
        else:  # a grid that covers every pixel
            tops, lefts = ([*range(0, end, stride), end] if stride else [0] for end in (bottom, right))
            corners = [(y, x) for y in tops for x in lefts]
        for count, (y, x) in enumerate(corners):
            low = lr[y : y + height, x : x + width]
            high = hr[y * scale : (y + height) * scale, x * scale : (x + width) * scale]
            title = f"{name}_{count:04d}" if options.patch else name
            hash_record(self.content, title, high, low)
            row = {"HR": self._encoded(high), "LR": self._encoded(low), "name": title, "index": self.count}
            if (size := len(row["HR"]) + len(row["LR"])) > _PAGE - _OVERHEAD:
                raise UserError(f"{title} takes {size >> 20} MB, and a record may take 64 MB: cut it with --patch")
            self.payload_bytes += size
            self.count += 1
            yield {**row, "y": y * scale, "x": x * scale, "height": high.shape[0], "width": high.shape[1]}
        self.pictures[name] = len(corners)

    def _encoded(self, rgb: np.ndarray) -> bytes:
        if self.options.encoding == "raw":
            return rgb.tobytes()
        return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _PNG)[1].tobytes()


def _write(records: Iterable[dict[str, Any]], path: Path, shards: int, title: str) -> list[int]:
    """Write the data files and their indexes; return the number of records in each data file.

    Record i goes to file i % shards; the last n % shards ones go, in order, to files that MindSpore draws at random.
    """
    from mindspore.dataset import MindDataset
    from mindspore.mindrecord import FileWriter
    from mindspore.mindrecord.common.exceptions import MindRecordException

    rows, first, held, page, header = iter(records), [], 0, _PAGE, _HEADER
    for row in rows:
        first.append(row)
        held += len(row["HR"]) + len(row["LR"])
        if held >= BUFFER_BYTES:
            break
    else:  # all records are here: one page for each file, filled exactly, and a header that lists it
        sizes = [len(row["HR"]) + len(row["LR"]) + _OVERHEAD for row in first]
        page = max(32 << 10, *(sum(sizes[shard::shards]) for shard in range(shards)))
        page += -page % _STEP
        lists = math.ceil(512 * (4 * sum(sizes) / shards / page + 4)) + shards * (len(path.name.encode()) + 16)
        header = (16 << 10) + lists + -lists % _STEP
    # A call with exactly one record per shard puts the first into the first file, and so on.
    step = shards if shards > 1 else _BATCH_BYTES * len(first) // held + 1
    rows = itertools.chain(first, rows)
    try:
        file = FileWriter(str(path), shards)
        file.set_page_size(page)
        file.set_header_size(header)
        file.add_schema(COLUMNS, title)
        file.add_index(["index"])
        while batch := list(itertools.islice(rows, step)):
            file.write_raw_data(batch)
        file.commit()
        names = file_names(path, shards)[:shards]
        return [MindDataset([str(path.with_name(name))]).get_dataset_size() for name in names]
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


def _check_options(options: PackOptions) -> None:
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


def _find_pairs(options: PackOptions) -> tuple[list[Pair], int]:
    """Return the pairs to pack, and HR over LR."""
    for folder in filter(None, (options.hr, options.lr)):
        find_pictures(folder)  # a wrong path is told as such
    scale = options.scale or (_scale_of(options.hr, options.lr) if options.lr else 4)
    pairs = find_pairs(options.hr, options.lr, scale)
    if twice := [name for name, count in collections.Counter(pair.name for pair in pairs).items() if count > 1]:
        raise UserError(f"{len(twice)} names are not unique in {options.hr}, such as {twice[0]}: pack folder by folder")
    return pairs, scale


def _scale_of(hr: Path, lr: Path) -> int:
    for scale in (2, 3, 4, 8, 16):
        with contextlib.suppress(UserError):
            read_pair(find_pairs(hr, lr, scale)[0], scale)
            return scale
    raise UserError(f"cannot tell the scale from the first image of {hr} and {lr}: say it with --scale")
