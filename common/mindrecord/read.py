"""Reads packed sets: by record number, as a MindSpore dataset, whole for `verify`, and back into pictures."""

import collections
import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError
from common.images import write_picture
from common.mindrecord.manifest import Manifest, check_set, data_names
from common.mindrecord.pack import hash_record, mindspore_reason
from common.runtime import progress

log = logging.getLogger(__name__)
_CHUNK = 1024  # records asked of MindSpore at a time: an endless iterator of indices can be followed


class PatchRecords:
    """The records of a set by number; what `common.data.BatchStream` takes as pictures.

    Attributes:
        manifest: What is known of the set.
        scale: HR over LR.

    Raises:
        UserError: The set is incomplete, mixed or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.manifest = check_set(Path(path))
        self.path = Path(path).absolute()
        self.scale = self.manifest.scale

    def __len__(self) -> int:
        return self.manifest.records

    def read(self, indices: Iterable[int] | None = None) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        """Yields (hr, lr, name) of the records asked for, in that order; the pictures are uint8 (H, W, 3) RGB.

        Args:
            indices: Places in pack order, as many and as often as you like; None reads all.

        Raises:
            UserError: An index is out of range, or a record cannot be read.
        """
        rest = iter(range(len(self)) if indices is None else indices)
        # MindSpore's sampler refuses more indices than there are records.
        while chunk := list(itertools.islice(rest, min(_CHUNK, len(self)))):
            rows = _dataset(self.path, self.manifest, chunk).create_dict_iterator(num_epochs=1, output_numpy=True)
            try:
                for wanted, row in zip(chunk, rows, strict=True):
                    if row["index"].item() != wanted:
                        raise UserError(f"{self.path} gave record {row['index'].item()} for {wanted}: run `verify`")
                    yield row["HR"], row["LR"], str(row["name"])
            except (RuntimeError, ValueError) as error:
                raise UserError(f"{self.path} cannot be read, run `verify`: {mindspore_reason(error)}") from None


def open_patches(path: str | Path, scale: int, patch: int = 0) -> PatchRecords:
    """A set to train on or to measure with.

    Args:
        patch: side of the HR patches that will be cut from its records; 0 for none.

    Raises:
        UserError: it is not there, damaged, of another scale, or its records are smaller than the patch.
    """
    if not Path(path).exists():
        raise UserError(f"{path} is not there: python -m common.mindrecord makes such sets")
    records = PatchRecords(path)
    if records.scale != scale:
        raise UserError(f"{path} was packed for x{records.scale}, not x{scale}")
    if 0 < records.manifest.patch < patch:
        raise UserError(f"{path} holds patches of {records.manifest.patch}, smaller than --patch_size {patch}")
    log.info("%d images or patches of %s, LR read from it", len(records), path)
    return records


def open_dataset(path: str | Path, indices: Sequence[int] | None = None) -> Any:
    """A MindSpore dataset with the columns HR, LR (uint8 (H, W, 3) RGB), name and index.

    Args:
        path: The set that `pack` wrote.
        indices: Places in pack order, at most as many as there are records; None gives all. The dataset keeps
            their order.

    Raises:
        UserError: The set is incomplete, mixed or damaged, or an index is out of range.
    """
    manifest = check_set(Path(path))
    return _dataset(Path(path), manifest, range(manifest.records) if indices is None else indices)


def verify(path: str | Path) -> Manifest:
    """Beyond the hashes that every opening checks, reads all records: their names, sizes and pixels.

    Raises:
        UserError: What is wrong, with the file's name.
    """
    records = PatchRecords(path)
    manifest = records.manifest
    content, pictures = hashlib.sha256(), collections.Counter()
    with progress(manifest.records, "read", "record") as bar:
        for hr, lr, name in records.read():
            height, width = (manifest.patch,) * 2 if manifest.patch else hr.shape[:2]
            if hr.shape != (height, width, 3) or lr.shape != (height // manifest.scale, width // manifest.scale, 3):
                raise UserError(f"{path}: record {name} has shapes {hr.shape} and {lr.shape}, not x{manifest.scale}")
            hash_record(content, name, hr, lr)
            pictures[name.rpartition("_")[0] if manifest.patch else name] += 1
            bar.update(1)
    if content.hexdigest() != manifest.content_sha256 or pictures != manifest.pictures:
        raise UserError(f"{path} does not hold the pictures that were packed: pack again")
    return manifest


def unpack(path: str | Path, output: str | Path) -> int:
    """Writes every record as `output`/HR/name.png and `output`/LR/name.png; returns their number.

    Raises:
        UserError: The folders are not empty, a record's name leads out of them, or the set cannot be read.
    """
    records, folders = PatchRecords(path), [Path(output) / kind for kind in ("HR", "LR")]
    for folder in folders:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is not empty: choose another --output")
    with progress(len(records), "unpack", "record") as bar:
        for hr, lr, name in records.read():
            for folder, picture in zip(folders, (hr, lr), strict=True):
                target = folder / f"{name}.png"
                if Path(name).name != name or name in ("", ".", ".."):
                    raise UserError(f"the record name {name!r} leads out of {folder}: nothing more was written")
                write_picture(target, picture)
            bar.update(1)
    return len(records)


def _dataset(path: Path, manifest: Manifest, indices: Sequence[int]) -> Any:
    from mindspore.dataset import MindDataset, SubsetSampler, vision

    rows = _rows(manifest, indices)
    raw = manifest.encoding == "raw"
    columns = ["HR", "LR", "name", "index", *(("height", "width") if raw else ())]
    first = str(path.with_name(data_names(path, manifest.shards)[0]))
    # One worker: with more, MindSpore does not promise the order.
    dataset = MindDataset(first, columns_list=columns, sampler=SubsetSampler(rows), num_parallel_workers=1)
    if not raw:
        for column in ("HR", "LR"):
            dataset = dataset.map(vision.Decode(), column, num_parallel_workers=1)
        return dataset

    def shape(hr: np.ndarray, lr: np.ndarray, height: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = height.item(), width.item()
        # They come as one NumPy string: item() would cut off zeros (black pixels) at its end, a view does not.
        lr_shape = (height // manifest.scale, width // manifest.scale, 3)
        return hr.view(np.uint8).reshape(height, width, 3), lr.view(np.uint8).reshape(lr_shape)

    return dataset.map(shape, ["HR", "LR", "height", "width"], ["HR", "LR"], num_parallel_workers=1)


def _rows(manifest: Manifest, indices: Sequence[int]) -> list[int]:
    """MindSpore's numbers of records, which it counts shard by shard.

    Record i is in shard i % shards; the records after the last full round are in the shards that have one more.
    """
    count, shards = manifest.records, manifest.shards
    if len(indices) > count:
        raise UserError(f"{len(indices)} indices given, but MindSpore takes at most one per record ({count})")
    wrong = [index for index in indices if not 0 <= index < count]
    if wrong:  # MindSpore would hand out some other record
        raise UserError(f"record {wrong[0]} asked for, but the set has 0 ... {count - 1}")
    starts = [0, *itertools.accumulate(manifest.shard_records)]
    rounds = count // shards
    longer = [shard for shard in range(shards) if manifest.shard_records[shard] > rounds]
    rows = []
    for index in indices:
        row, place = divmod(int(index), shards)
        rows.append(starts[place if row < rounds else longer[place]] + row)
    return rows
