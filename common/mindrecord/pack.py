"""Packs a folder of pictures into a MindRecord set: `pack(PackOptions(...))`.

One picture is in memory at a time. Its LR picture is read or made whole, and both are cut at matching places: an LR
patch is a part of the LR picture (as in the data of SRFlow), not a downsized HR patch, whose borders would differ.
"""

import collections
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from common import UserError
from common.atomic import sync
from common.images import Pair, find_pairs, find_pictures, read_pair, size_of
from common.mindrecord.manifest import (
    JOURNAL,
    Manifest,
    aside_path,
    data_names,
    describe_files,
    index_names,
    manifest_path,
    read_manifest,
    write_json,
    write_manifest,
)
from common.runtime import progress

COLUMNS = {
    "HR": {"type": "bytes"},
    "LR": {"type": "bytes"},
    "name": {"type": "string"},
    "index": {"type": "int32"},  # place in pack order, which is not MindSpore's order when there are shards
    "y": {"type": "int32"},  # upper left corner in the HR picture
    "x": {"type": "int32"},
    "height": {"type": "int32"},  # of HR; LR is smaller by the scale
    "width": {"type": "int32"},
}
BUFFER_BYTES = 64 << 20  # records held back until the page size is chosen
_PNG_LEVEL = 4  # half the time of level 6 for 4 % more bytes, on DIV2K
_BATCH_BYTES = 4 << 20  # per call of MindSpore's writer, which copies them several times
RECORD_OVERHEAD = 24  # MindRecord's: the lengths of HR, LR and both
_MAX_PAGE, _MAX_HEADER, _STEP = 256 << 20, 128 << 20, 4096


class Writer:
    """Takes patches one by one; memory stays below the buffer and one batch.

    Args:
        path: The set's name; MindSpore adds the shard's number.
        encoding: "png" or "raw".
        shards: Number of data files. Record i goes to file i % shards, but the last n % shards records go, in order,
            to files that MindSpore draws at random.
        bound: At least the bytes of all records to come.
        largest: At least the bytes of each record to come.
    """

    def __init__(self, path: Path, encoding: str, shards: int, bound: int, largest: int) -> None:
        if largest > _MAX_PAGE:
            raise UserError(f"a record may take {largest >> 20} MB, MindRecord holds 256 MB: cut it with --patch")
        self.path, self.encoding, self.shards, self.bound, self.largest = path, encoding, shards, bound, largest
        self.pack_id = uuid.uuid4().hex
        self.records = self.payload_bytes = self.pixel_bytes = 0
        self.content = hashlib.sha256()
        self._waiting: list[dict[str, Any]] = []
        self._sizes: list[int] = []
        self._held = 0
        self._file: Any = None

    def add(self, name: str, y: int, x: int, hr: np.ndarray, lr: np.ndarray) -> None:
        """Takes one record: `hr` (H, W, 3) and `lr` (H/scale, W/scale, 3) uint8, cut at (y, x) of the HR picture."""
        height, width = hr.shape[:2]
        record = {"HR": self._encode(hr), "LR": self._encode(lr), "name": name, "index": self.records}
        self._waiting.append({**record, "y": y, "x": x, "height": height, "width": width})
        payload = len(record["HR"]) + len(record["LR"])
        self._sizes.append(payload + RECORD_OVERHEAD)
        self._held += payload
        self.records += 1
        self.payload_bytes += payload
        self.pixel_bytes += hr.size + lr.size
        hash_record(self.content, name, hr, lr)
        if self._held >= BUFFER_BYTES:
            self._drain(last=False)

    def close(self) -> list[int]:
        """Writes what waits, and the index files; returns the number of records in each data file.

        Raises:
            UserError: There is nothing to write, or MindSpore cannot (disk full).
        """
        if self.records < self.shards:
            raise UserError(f"{self.records} records cannot fill {self.shards} shards: choose fewer --shards")
        self._drain(last=True)
        from mindspore.dataset import MindDataset

        try:
            self._file.commit()
            names = data_names(self.path, self.shards)
            counts = [MindDataset([str(self.path.with_name(name))]).get_dataset_size() for name in names]
        except RuntimeError as error:
            raise UserError(f"MindSpore cannot write {self.path.name}: {mindspore_reason(error)}") from None
        if sum(counts) != self.records:
            raise RuntimeError(f"MindSpore wrote {counts} records of {self.records}")
        return counts

    def _encode(self, rgb: np.ndarray) -> bytes:
        if self.encoding == "raw":
            return rgb.tobytes()
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        return cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL))[1].tobytes()

    def _drain(self, *, last: bool) -> None:
        if self._file is None:
            # The rest is expected to compress as well as what was seen.
            expected = None if last else self.bound * sum(self._sizes) / self.pixel_bytes
            self._file = self._open(expected)
        # A call with exactly one record per shard puts the first into the first file, and so on.
        step = self.shards if self.shards > 1 else _BATCH_BYTES * len(self._waiting) // max(self._held, 1) + 1
        whole = len(self._waiting) - (0 if last else len(self._waiting) % self.shards)
        try:
            for start in range(0, whole, step):
                self._file.write_raw_data(self._waiting[start : min(start + step, whole)])
        except RuntimeError as error:
            raise UserError(f"MindSpore cannot write {self.path.name}: {mindspore_reason(error)}") from None
        del self._waiting[:whole], self._sizes[:whole]
        self._held = sum(self._sizes)

    def _open(self, expected: float | None) -> Any:
        from mindspore.mindrecord import FileWriter

        page, header = page_and_header(
            self._sizes, self.shards, self.path.name, expected=expected, bound=self.bound, largest=self.largest
        )
        file = FileWriter(str(self.path), self.shards)
        file.set_page_size(page)
        file.set_header_size(header)
        file.add_schema(COLUMNS, f"common.mindrecord pack {self.pack_id}")
        file.add_index(["index"])
        return file


def page_and_header(
    sizes: list[int], shards: int, name: str, *, expected: float | None, bound: int, largest: int
) -> tuple[int, int]:
    """Bytes of a MindRecord page and header that waste little.

    MindRecord writes whole pages (32 MB by default) after a header (16 MB). A record never lies across two blob pages,
    so the end of each is lost; and the page of names and numbers comes second and is lost nearly whole. Both are holes
    that cost no room on most disks, but in copies.

    Args:
        sizes: Bytes of the records so far, in pack order.
        shards: Number of data files.
        name: The data files' name; each header repeats it for each shard.
        expected: Bytes of all records, roughly. None when `sizes` are all: each file then gets one blob page, filled
            exactly. Otherwise candidates are tried on `sizes`: whole multiples of the largest record, and
            sqrt(file * record / 2), the best page when each loses half a record.
        bound: At least the bytes of all records: a header too small for the list of pages fails at the very end.
        largest: At least the bytes of each record.
    """
    if expected is None:
        bound, page = sum(sizes), max(sum(sizes[shard::shards]) for shard in range(shards))
        page = page if page <= _MAX_PAGE else max(sizes)
    else:
        in_file, top = expected / shards, max(sizes)
        half_lost = math.sqrt(in_file * sum(sizes) / len(sizes) / 2)
        multiples = range(1, min(math.ceil(2 * half_lost / top), 64) + 1)
        tries = [max(largest, half_lost), *(max(largest, k * top) for k in multiples)]
        page = min(tries, key=lambda page: page + in_file * _pages(sizes, page) * page / sum(sizes))
    page = min(math.ceil(max(page, 32 << 10) / _STEP) * _STEP, _MAX_PAGE)
    # Twice the pages that half filled ones would be, twice again for names and numbers, 512 bytes of JSON each.
    header = (16 << 10) + 512 * (4 * bound / shards / page + 4) + shards * (len(name.encode()) + 16)
    return page, min(math.ceil(header / _STEP) * _STEP, _MAX_HEADER)


def _pages(sizes: list[int], page: float) -> float:
    """Pages that records fill one after the other, the last one in part."""
    pages, filled = 0, 0.0
    for size in sizes:
        if filled + size > page:
            pages, filled = pages + 1, 0.0
        filled += size
    return pages + filled / page


def largest_record(height: int, width: int, scale: int, encoding: str) -> int:
    """At least the bytes of a record whose HR picture has this size."""
    pixels = 3 * height * width
    pixels += pixels // scale**2
    # Of incompressible pixels, a PNG is longer by a byte per line, 0.5 % and a constant.
    longer = pixels // 200 + 2 * height + 2048 if encoding == "png" else 0
    return pixels + longer + RECORD_OVERHEAD


def hash_record(digest: Any, name: str, hr: np.ndarray, lr: np.ndarray) -> None:
    """Adds a record's name, sizes and pixels to a hash."""
    digest.update(f"{name}\n{hr.shape}{lr.shape}\n".encode())
    digest.update(hr.tobytes())
    digest.update(lr.tobytes())


def mindspore_reason(error: Exception) -> str:
    """The one line of a MindSpore error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.removeprefix("[ERROR]") for line in lines if line.startswith("[ERROR]")]
    return (told or lines or [type(error).__name__])[0].strip()


_LOCK = "common.mindrecord.lock"
_FORBIDDEN = set("\\/:*?\"<>|`&;'")  # MindRecord refuses them in a file's name


def check_output(output: Path, shards: int) -> None:
    """Raises UserError when a set cannot be written as `output`, or would replace files that no pack of ours wrote."""
    if set(output.name) & _FORBIDDEN or output.name.strip() != output.name or not output.name:
        raise UserError(
            f"MindRecord refuses the name {output.name!r}: avoid \\ / : * ? \" < > | ` & ; ' and outer blanks"
        )
    owned = _owned(output)
    for name in [*data_names(output, shards), *index_names(output, shards), manifest_path(output).name]:
        path = output.with_name(name)
        if path.is_dir() or (path.exists() and name not in owned):
            raise UserError(f"{path} exists and is not from an earlier pack: move it away or choose another --output")


@contextlib.contextmanager
def aside_folder(output: Path) -> Iterator[Path]:
    """An empty folder to write the set in; what a killed pack left in it is finished or removed first.

    It is removed at the end, unless the move into place was interrupted. The lock in it dies with its process, so a
    folder that was left is told from one in use, in containers too.

    Raises:
        UserError: Another process packs the same set, or the folder is not ours or cannot be made.
    """
    aside = aside_path(output)
    with _locked(aside, output):
        if (aside / JOURNAL).exists():
            publish(output)
        _empty(aside)
        try:
            yield aside
        finally:
            if not (aside / JOURNAL).exists():
                with contextlib.suppress(OSError):
                    _empty(aside)
                    (aside / _LOCK).unlink()  # last: without it the folder would not be known as ours
                    aside.rmdir()


def seal(output: Path, manifest: Manifest) -> None:
    """Makes the new set in the aside folder durable and leaves the journal: from here on it only has to be moved."""
    aside = aside_path(output)
    write_manifest(aside / manifest_path(output).name, manifest)
    old, new = manifest_path(output), aside / manifest_path(output).name
    mode = (old if old.exists() else new).stat().st_mode & 0o777
    for name in (*manifest.files, new.name):
        (aside / name).chmod(mode)  # as the old set or the umask has it; MindSpore leaves 0600
        with (aside / name).open("rb") as file:
            os.fsync(file.fileno())
    stale = sorted(_owned(output) - set(manifest.files) - {manifest_path(output).name})
    write_json(aside / JOURNAL, {"shards": manifest.shards, "stale": stale})


def publish(output: Path) -> None:
    """Moves a sealed set into place; called again after a kill, it does what is left to do."""
    aside = aside_path(output)
    journal = json.loads((aside / JOURNAL).read_text("utf-8"))
    data, index = data_names(output, journal["shards"]), index_names(output, journal["shards"])
    pending = [name for name in (*data, manifest_path(output).name, *index) if (aside / name).exists()]
    # An index whose successor still waits aside is the old one.
    for name in [name for name in (*journal["stale"], *pending) if name.endswith(".db")] + journal["stale"]:
        output.with_name(name).unlink(missing_ok=True)
    sync(output.parent)
    for name in pending:
        (aside / name).replace(output.with_name(name))
    sync(output.parent)
    _empty(aside)


def repair(output: Path) -> bool:
    """Finishes the move of a killed pack and removes what it left; returns whether there was anything to do."""
    if not aside_path(output).is_dir():
        return False
    with aside_folder(output):
        return True


def _owned(output: Path) -> set[str]:
    """Names of the files that an earlier pack of the same set wrote."""
    if not manifest_path(output).exists():
        return set()
    return {*read_manifest(output).files, manifest_path(output).name}


@contextlib.contextmanager
def _locked(aside: Path, output: Path) -> Iterator[None]:
    with _open_lock(aside) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = os.path.samestat(os.fstat(lock.fileno()), (aside / _LOCK).stat())
        except (BlockingIOError, FileNotFoundError):
            free = False  # held, or its folder was removed by the pack that held it
        if not free:
            raise UserError(f"another process is packing {output} right now: wait for it or choose another --output")
        yield


def _open_lock(aside: Path) -> IO[str]:
    try:
        aside.mkdir(parents=True, exist_ok=True)
        if any(aside.iterdir()) and not (aside / _LOCK).is_file():
            raise UserError(f"{aside} is in the way and was not made by this command: move it away")
        return (aside / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"cannot write in {aside.parent}: {error.strerror}") from None


def _empty(folder: Path) -> None:
    """Removes all but the lock, the journal first: a half removed set must not be taken for a whole one."""
    (folder / JOURNAL).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


ENCODINGS = ("png", "raw")
ON_ERROR = ("stop", "skip")
_SCALES = (2, 3, 4, 8, 16)  # tried when the LR pictures' scale is not given
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PackOptions:
    """What to pack and how.

    Attributes:
        hr: Folder of HR pictures (or one picture).
        output: The set to write; a set that an earlier pack wrote there is replaced.
        lr: Folder of LR pictures, `0001x4.png` or `0001.png` for `0001.png`; None makes them by `imresize`.
        scale: HR over LR; None means 4 without `lr`, and what the first pair shows with it.
        patch: Side of the HR patches in pixels; 0 packs whole pictures.
        stride: A patch every `stride` HR pixels, the last ones moved back to end at the picture's edge; None means
            side by side.
        crops: Instead of that grid: this many patches per picture at random places.
        seed: Of the random places; they depend on nothing else but a picture's number and size.
        encoding: "png", or "raw" (uint8, faster to read, larger).
        shards: Number of data files.
        on_error: "stop" at a picture that cannot be read, or "skip" it and say so.
    """

    hr: Path
    output: Path
    lr: Path | None = None
    scale: int | None = None
    patch: int = 160
    stride: int | None = None
    crops: int | None = None
    seed: int = 0
    encoding: str = "png"
    shards: int = 1
    on_error: str = "stop"


def pack(options: PackOptions) -> Manifest:
    """Writes a set; a killed or failed pack leaves the one that was there.

    Raises:
        UserError: Bad options, unreadable pictures, no record at all, or MindSpore cannot write (disk full).
    """
    _check_options(options)
    options = dataclasses.replace(options, output=Path(os.path.abspath(options.output)))
    check_output(options.output, options.shards)
    pairs, scale = _find_pairs(options)
    if options.patch % scale or (options.stride or 0) % scale:
        raise UserError(f"--patch {options.patch} and --stride {options.stride} must be multiples of the scale {scale}")
    pictures: dict[str, int] = {}
    skipped: dict[str, str] = {}
    with aside_folder(options.output) as aside, progress(len(pairs), "pack", "picture") as bar:
        bound, largest = _sizes_to_come(pairs, options, scale)
        writer = Writer(aside / options.output.name, options.encoding, options.shards, bound, largest)
        for number, pair in enumerate(pairs):
            try:
                hr, lr = _read(pair, scale, options.patch)
            except UserError as reason:
                if options.on_error == "stop" and not isinstance(reason, _TooSmallError):
                    raise
                skipped[pair.name] = str(reason)
                _log.warning("skipped: %s", reason)
            else:
                pictures[pair.name] = _add_picture(writer, pair.name, hr, lr, options, number)
            bar.update(1)
        if not pictures:
            raise UserError(
                f"all {len(pairs)} pictures of {options.hr} were skipped, the first: {skipped[pairs[0].name]}"
            )
        shard_records = writer.close()
        manifest = _manifest(options, writer, shard_records, scale, pictures, skipped)
        seal(options.output, manifest)
        publish(options.output)
    return manifest


def positions(
    height: int, width: int, patch: int, *, stride: int | None, crops: int | None, rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """(y, x) of the patches of a picture, all lengths in LR pixels; `patch` is not 0. The grid covers every pixel."""
    if crops is None:
        tops, lefts = ([*range(0, side - patch, stride or patch), side - patch] for side in (height, width))
        yield from ((y, x) for y in tops for x in lefts)
    else:
        for _ in range(crops):
            yield int(rng.integers(height - patch + 1)), int(rng.integers(width - patch + 1))


class _TooSmallError(UserError):
    """The picture is smaller than a patch."""


def _check_options(options: PackOptions) -> None:
    whole = options.patch == 0
    problems = {
        f"--patch {options.patch} is negative": options.patch < 0,
        f"--scale {options.scale} is not in 2 ... 16": options.scale is not None and not 2 <= options.scale <= 16,
        f"--stride {options.stride} is not positive": options.stride is not None and options.stride < 1,
        f"--crops {options.crops} is not positive": options.crops is not None and options.crops < 1,
        "--stride and --crops exclude each other": options.stride is not None and options.crops is not None,
        "--patch 0 packs whole pictures: leave out --stride and --crops": whole
        and bool(options.stride or options.crops),
        f"--seed {options.seed} is negative": options.seed < 0,
        f"--shards {options.shards} is not in 1 ... 1000": not 1 <= options.shards <= 1000,
        f"--encoding {options.encoding} is none of {', '.join(ENCODINGS)}": options.encoding not in ENCODINGS,
        f"--on_error {options.on_error} is none of {', '.join(ON_ERROR)}": options.on_error not in ON_ERROR,
    }
    for problem, found in problems.items():
        if found:
            raise UserError(problem)


def _find_pairs(options: PackOptions) -> tuple[list[Pair], int]:
    for folder in filter(None, (options.hr, options.lr)):
        find_pictures(folder)  # a wrong path is told as such
    scale = options.scale or (None if options.lr else 4)
    for tried in (scale,) if scale else _SCALES:
        try:
            pairs = find_pairs(options.hr, options.lr, tried)
            if scale is None:
                read_pair(pairs[0], tried)
        except UserError:
            if scale is not None:
                raise
            continue
        try:
            "".join(pair.name for pair in pairs).encode()
        except UnicodeEncodeError:
            raise UserError(f"a file name in {options.hr} is not UTF-8, which MindRecord needs: rename it") from None
        twice = [name for name, count in collections.Counter(pair.name for pair in pairs).items() if count > 1]
        if twice:
            raise UserError(
                f"{len(twice)} names are not unique in {options.hr}, such as {twice[0]}: pack folder by folder"
            )
        return pairs, tried
    raise UserError(
        f"cannot tell the scale from the first picture of {options.hr} and {options.lr}: say it with --scale"
    )


def _sizes_to_come(pairs: list[Pair], options: PackOptions, scale: int) -> tuple[int, int]:
    """Upper bounds of the bytes of all records and of the largest, from the pictures' headers alone."""
    rng, bound, largest = np.random.default_rng(0), 0, 0
    for pair in pairs:
        try:
            height, width = size_of(pair.hr)
        except UserError:
            continue  # reported when its turn comes
        count = 1
        if options.patch:
            if min(height, width) < options.patch:
                continue
            count = sum(1 for _ in _places(height // scale, width // scale, scale, options, rng))
            height = width = options.patch
        record = largest_record(max(height, width), min(height, width), scale, options.encoding)
        bound, largest = bound + count * record, max(largest, record)
    return bound, largest


def _places(
    height: int, width: int, scale: int, options: PackOptions, rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """`positions` with the patch and stride of the options; the arguments are LR pixels."""
    stride = options.stride // scale if options.stride else None
    return positions(height, width, options.patch // scale, stride=stride, crops=options.crops, rng=rng)


def _read(pair: Pair, scale: int, patch: int) -> tuple[np.ndarray, np.ndarray]:
    hr, lr = read_pair(pair, scale)
    if min(hr.shape[:2]) < patch:
        raise _TooSmallError(
            f"{pair.hr} is smaller than a patch of {patch}: {hr.shape[1]}x{hr.shape[0]}, cut to multiples of {scale}"
        )
    return hr, lr


def _add_picture(writer: Writer, name: str, hr: np.ndarray, lr: np.ndarray, options: PackOptions, number: int) -> int:
    """Writes the records of picture `number` and returns how many there are."""
    if options.patch == 0:
        writer.add(name, 0, 0, hr, lr)
        return 1
    scale, count = hr.shape[0] // lr.shape[0], 0
    side = options.patch // scale
    for y, x in _places(*lr.shape[:2], scale, options, np.random.default_rng([options.seed, number])):
        hr_patch = hr[y * scale : (y + side) * scale, x * scale : (x + side) * scale]
        writer.add(f"{name}_{count:04d}", y * scale, x * scale, hr_patch, lr[y : y + side, x : x + side])
        count += 1
    return count


def _manifest(
    options: PackOptions,
    writer: Writer,
    shard_records: list[int],
    scale: int,
    pictures: dict[str, int],
    skipped: dict[str, str],
) -> Manifest:
    from mindspore import __version__ as mindspore_version

    names = data_names(options.output, options.shards) + index_names(options.output, options.shards)
    arguments = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    return Manifest(
        pack_id=writer.pack_id,
        encoding=options.encoding,
        scale=scale,
        patch=options.patch,
        records=writer.records,
        shard_records=shard_records,
        lr_source="files" if options.lr else "imresize",
        payload_bytes=writer.payload_bytes,
        content_sha256=writer.content.hexdigest(),
        columns=COLUMNS,
        pictures=pictures,
        skipped=skipped,
        files=describe_files(writer.path.parent, names),
        arguments=arguments,
        mindspore=mindspore_version,
    )
