"""Writes patches into MindRecord files that cost about their payload."""

import hashlib
import math
import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common import UserError
from common.mindrecord.manifest import data_names

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
