"""Packs a folder of pictures into a MindRecord set: `pack(PackOptions(...))`.

One picture is in memory at a time. Its LR picture is read or made whole, and both are cut at matching places: an LR
patch is a part of the LR picture (as in the data of SRFlow), not a downsized HR patch, whose borders would differ.
"""

import collections
import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common import UserError
from common.images import find_pictures, size_of
from common.mindrecord.manifest import Manifest, data_names, describe_files, index_names
from common.mindrecord.move import aside_folder, check_output, publish, seal
from common.mindrecord.writer import COLUMNS, Writer, largest_record
from common.pairs import Pair, find_pairs, read_pair
from common.runtime import progress

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
