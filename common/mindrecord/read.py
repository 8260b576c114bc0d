"""Reads packed sets: by record number, as a MindSpore dataset, whole for `verify`, and back into images."""

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import UserError
from common.atomic import refuse_path
from common.images import write_image
from common.mindrecord.manifest import Manifest, check_set, file_names, hash_record, mindspore_reason, set_exists
from common.runtime import progress

log = logging.getLogger(__name__)
_CHUNK = 1024  # records asked of MindSpore at a time: an endless iterator of indices can be followed


class PatchRecords:
    """The records of a set by number, their place in pack order; what `common.data.BatchStream` takes as images."""

    def __init__(self, path: str | Path) -> None:
        self.manifest = check_set(Path(path))
        self.path = Path(path).absolute()
        self.scale = self.manifest.scale
        # Record i is in shard i % shards; those after the last full round are in the shards that have one more.
        # MindSpore counts shard by shard.
        counts = self.manifest.shard_records
        rounds, starts = len(self) // len(counts), [0, *itertools.accumulate(counts)]
        shards = [*range(len(counts))] * rounds + [shard for shard, count in enumerate(counts) if count > rounds]
        self._rows = [starts[shard] + index // len(counts) for index, shard in enumerate(shards)]

    def __len__(self) -> int:
        return self.manifest.records

    def dataset(self, indices: Sequence[int] | None = None) -> Any:
        """Return a MindSpore dataset in the order of `indices`: HR, LR (uint8 (H, W, 3) RGB), name and index."""
        from mindspore.dataset import MindDataset, SubsetSampler, vision

        indices = range(len(self)) if indices is None else indices
        if wrong := [index for index in indices if not 0 <= index < len(self)]:  # MindSpore would return another record
            raise UserError(f"record {wrong[0]} asked for, but the set has 0 ... {len(self) - 1}")
        rows, scale, raw = [self._rows[index] for index in indices], self.scale, self.manifest.encoding == "raw"
        columns = ["HR", "LR", "name", "index", *(("height", "width") if raw else ())]
        first = str(self.path.with_name(file_names(self.path, len(self.manifest.shard_records))[0]))
        # One worker: with more, MindSpore does not promise the order.
        dataset = MindDataset(first, columns_list=columns, sampler=SubsetSampler(rows), num_parallel_workers=1)

        def shape(hr: np.ndarray, lr: np.ndarray, *size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            height, width = (number.item() for number in size)
            # They come as one NumPy string: item() would cut off zeros (black pixels) at its end, a view does not.
            lr = lr.view(np.uint8).reshape(height // scale, width // scale, 3)
            return hr.view(np.uint8).reshape(height, width, 3), lr

        if raw:
            return dataset.map(shape, ["HR", "LR", "height", "width"], ["HR", "LR"], num_parallel_workers=1)
        for column in ("HR", "LR"):
            dataset = dataset.map(vision.Decode(), column, num_parallel_workers=1)
        return dataset

    def read(self, indices: Iterable[int] | None = None) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        """Yield (hr, lr, name) in the order of `indices`, which may repeat and never end; uint8 (H, W, 3) RGB."""
        rest = iter(range(len(self)) if indices is None else indices)
        # MindSpore's sampler refuses more indices than there are records.
        while chunk := list(itertools.islice(rest, min(_CHUNK, len(self)))):
            rows = self.dataset(chunk).create_dict_iterator(num_epochs=1, output_numpy=True)
            try:
                for wanted, row in zip(chunk, rows, strict=True):
                    if row["index"].item() != wanted:  # should another MindSpore count the records differently
                        raise UserError(f"{self.path} gave record {row['index'].item()} for {wanted}: run `verify`")
                    yield row["HR"], row["LR"], str(row["name"])
            except (RuntimeError, ValueError) as error:
                raise UserError(f"{self.path} cannot be read, run `verify`: {mindspore_reason(error)}") from None


def open_patches(path: str | Path, scale: int, patch: int = 0) -> PatchRecords:
    """Open a set to train on or to evaluate with, from which HR patches of side `patch` will be cut (0: none)."""
    if not set_exists(path):
        raise UserError(f"{path} is not there: python -m common.mindrecord makes such sets")
    records = PatchRecords(path)
    if records.scale != scale:
        raise UserError(f"{path} was packed for x{records.scale}, not x{scale}")
    if 0 < records.manifest.patch < patch:
        raise UserError(f"{path} holds patches of {records.manifest.patch}, smaller than --patch_size {patch}")
    log.info("%d images or patches of %s, LR read from it", len(records), path)
    return records


def verify(path: str | Path) -> Manifest:
    """Read all records, and compare their names, sizes and pixels with what was packed."""
    records, content = PatchRecords(path), hashlib.sha256()
    with progress(len(records), "read", "record") as bar:
        for hr, lr, name in records.read():
            hash_record(content, name, hr, lr)
            bar.update(1)
    if content.hexdigest() != records.manifest.content_sha256:
        raise UserError(f"{path} does not hold the images that were packed: pack again")
    return records.manifest


def unpack(path: str | Path, output: str | Path) -> int:
    """Write every record as `output`/HR/name.png and `output`/LR/name.png; return their number."""
    records, folders = PatchRecords(path), [Path(output) / kind for kind in ("HR", "LR")]
    for folder in folders:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is not empty: choose another --output")
    with progress(len(records), "unpack", "record") as bar:
        for *images, name in records.read():
            refuse_path(name, "the name of a record")
            for folder, image in zip(folders, images, strict=True):
                write_image(folder / f"{name}.png", image)
            bar.update(1)
    return len(records)
