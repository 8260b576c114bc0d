"""Cut a data set into the images that SRDiff is trained and measured on.

    python div2k_preprocess.py --root DIV2K --dataset div2k --output data/div2k
    python div2k_preprocess.py --root Flickr2K --dataset flickr2k --output data/flickr2k

ROOT holds the data set as it was unpacked: DIV2K_train_HR/, DIV2K_valid_HR/, Flickr2K_HR/, or a benchmark's HR/ (Set5,
Set14, Urban100, BSD100). LR images are taken from beside it (DIV2K_train_LR_bicubic/X4, LR_bicubic/X4 ...); where
there are none they are made by MATLAB's bicubic. What comes of it:

    train/X1/image_0000.png ...     crops of 320x320 that cover each training image; the last of a row or column is
    train/X4/image_0000.png ...     moved inwards. The LR crops are cut from the LR images.
    val/X1, val/X4                  validation images and benchmarks, uncropped

Started again, it continues where it was stopped: every file is written whole or not at all, and whole files are kept.
"""

import hashlib
import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from common import UserError, config
from common.atomic import replacing
from common.config import option
from common.images import SUFFIXES, Pair, pairs_of, read_pair, size_of, write_image
from common.runtime import progress, run_main, start_log

log = logging.getLogger(__name__)
SETTINGS = ".div2k_preprocess.json"  # in the output folder: what the files there were made of
HR_FOLDERS = {  # of each data set and split, as its archive unpacks, seen from ROOT or from a folder above it
    "div2k": {
        "train": ("DIV2K_train_HR", "DIV2K/DIV2K_train_HR"),
        "val": ("DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR"),
    },
    "flickr2k": {"train": ("Flickr2K_HR", "Flickr2K/Flickr2K_HR", "Flickr2K", ".")},
    "set5": {"val": ("Set5/HR", "Set5", "HR", ".")},
    "set14": {"val": ("Set14/HR", "Set14", "HR", ".")},
    "urban100": {"val": ("Urban100/HR", "Urban100", "HR", ".")},
    "bsd100": {"val": ("BSD100/HR", "B100/HR", "BSDS100/HR", "BSD100", "B100", "BSDS100", "HR", ".")},
}
PNG_END = b"IEND\xaeB`\x82"  # closes every whole PNG file


@dataclass(frozen=True)
class PreprocessOptions:
    root: str = option("", "folder of the data set")
    dataset: str = option("", "which data set it is", choices=tuple(HR_FOLDERS))
    output: str = option("", "folder for train/ and val/, as data/div2k")
    scale: int = option(4, "HR over LR", choices=(2, 4, 8))
    crop_size: int = option(320, "side of the HR crops of training images", aliases=("crop-size",), at_least=1)
    num_workers: int = option(
        0, "processes that work at the same time; 0: one for each core", aliases=("num-workers",), at_least=0
    )


class Job(NamedTuple):
    """One image to cut: HR of `size`, a multiple of the scale, into crops of side `crop`, 0 for the whole image.

    `first` is its first crop's number; X1/ and X4/ are made in `folder`.
    """

    pair: Pair
    size: tuple[int, int]
    folder: Path
    first: int
    scale: int
    crop: int

    def crops(self) -> Iterator[tuple[int, int, int]]:
        """(number, top, left) of each HR crop, row by row."""
        tops, lefts = (starts(length, self.crop) for length in self.size)
        places = ((top, left) for top in tops for left in lefts)
        yield from ((number, *place) for number, place in enumerate(places, self.first))

    def files(self) -> Iterator[tuple[Path, int, int, int, tuple[int, int]]]:
        """Yield the path of each crop, 1 or the scale, and its top, left and (height, width)."""
        shape = [min(length, self.crop or length) for length in self.size]
        for number, *corner in self.crops():
            for factor in (1, self.scale):
                path = self.folder / f"X{factor}" / f"image_{number:04d}.png"
                top, left, height, width = (length // factor for length in (*corner, *shape))
                yield path, factor, top, left, (height, width)


def main(argv: Sequence[str] | None = None) -> int:
    start_log()
    options = config.parse(PreprocessOptions, argv, description=__doc__)
    if not options.root or not options.dataset or not options.output:
        raise UserError("type --root FOLDER --dataset div2k --output data/div2k (--help tells more)")
    if options.crop_size % options.scale:
        raise UserError(f"--crop-size {options.crop_size} must be a multiple of --scale {options.scale}")
    output = Path(options.output)
    splits = {split: plan(options, folder, split) for split, folder in source_folders(options).items()}
    keep_settings(output, options, splits)
    for split, jobs in splits.items():
        for path in (output / split).glob("X*/.image_*.tmp.png"):  # of a run that was killed
            path.unlink(missing_ok=True)
        written = run(jobs, f"{options.dataset} {split}", options.num_workers or os.cpu_count() or 1)
        pairs = sum(1 for job in jobs for _ in job.crops())
        print(f"{output / split}: {pairs} pairs of {len(jobs)} images, {written} written now")  # noqa: T201
    return 0


def source_folders(options: PreprocessOptions) -> dict[str, Path]:
    root, wanted, found = Path(options.root), HR_FOLDERS[options.dataset], {}
    if not root.is_dir():
        raise UserError(f"--root is not a folder: {root}")
    for split, names in wanted.items():
        for folder in filter(Path.is_dir, map(root.joinpath, names)):
            if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
                found[split] = folder
                break
    if not found:
        names = (name for names in wanted.values() for name in names if name != ".")
        raise UserError(f"no images of {options.dataset} in {root}: expected {', '.join(names)}")
    for split in wanted.keys() - found:
        log.warning("%s has no %s: %s is left out", root, wanted[split][0], split)
    return found


def plan(options: PreprocessOptions, folder: Path, split: str) -> list[Job]:
    jobs, first = [], 0
    for pair in pairs_of(folder, None, options.scale):
        size = size_of(pair.hr)
        if min(size) < options.scale:
            raise UserError(f"{pair.hr} is smaller than {options.scale} pixels")
        height, width = (length - length % options.scale for length in size)
        crop = options.crop_size if split == "train" else 0
        jobs.append(Job(pair, (height, width), Path(options.output) / split, first, options.scale, crop))
        first += sum(1 for _ in jobs[-1].crops())
    return jobs


def keep_settings(output: Path, options: PreprocessOptions, splits: dict[str, list[Job]]) -> None:
    """Write down what the output is made of, or refuse an output that was begun in another way."""
    settings = {"dataset": options.dataset, "scale": options.scale, "crop_size": options.crop_size}
    for split, jobs in splits.items():
        sources = "".join(f"{job.pair.name} {job.size} {job.pair.lr is None}\n" for job in jobs)
        digest = hashlib.sha256(sources.encode(errors="surrogateescape")).hexdigest()
        settings[split] = f"{len(jobs)} images, {digest[:12]}"
    file = output / SETTINGS
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not found and any(output.glob("*/X*/*")):
            raise UserError(f"{output} holds images that were made in another way: choose another --output")
        differing = [
            f"{key} {found[key]}, not {settings[key]}" for key in settings.keys() & found if found[key] != settings[key]
        ]
        if differing:
            raise UserError(f"{output} was made with {'; '.join(sorted(differing))}: choose another --output")
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(found | settings, indent=1), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file}: {getattr(error, 'strerror', None) or error}") from None


# ------------------------------------------------------------------------------------------- several images at a time


def starts(length: int, crop: int) -> list[int]:
    """Return where the crops of an axis begin: side by side, the last moved inwards; one for 0 or what is shorter."""
    if not 0 < crop < length:
        return [0]
    return [*range(0, length - crop, crop), length - crop]


def run(jobs: Sequence[Job], title: str, workers: int) -> int:
    """Do the jobs in several processes; returns the number of files written."""
    # Ctrl-C is left to this process; the others finish the image that they are at.
    ignoring = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    pool = ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), **ignoring)
    written = 0
    try:
        with progress(len(jobs), title, "image") as bar:
            futures = [pool.submit(cut, job) for job in jobs]
            for done, future in enumerate(as_completed(futures), 1):
                written += future.result()
                bar.update(1)
                if done * 10 // len(jobs) > (done - 1) * 10 // len(jobs):  # ten lines, where there is no bar
                    log.info("%s: %d of %d images", title, done, len(jobs), extra={"bar": True})
    except BrokenProcessPool:
        raise UserError("a process was killed, perhaps for want of memory: try fewer --num_workers") from None
    finally:
        pool.shutdown(cancel_futures=True)
    return written


def cut(job: Job) -> int:
    """Write the files of one image that are not there yet; returns their number."""
    missing = [file for file in job.files() if not is_whole(file[0], file[-1])]
    if missing:
        images = dict(zip((1, job.scale), read_pair(job.pair, job.scale), strict=True))
        for path, factor, top, left, (height, width) in missing:
            write_image(path, images[factor][top : top + height, left : left + width])
    return len(missing)


def is_whole(path: Path, shape: tuple[int, int]) -> bool:
    try:
        if not path.exists() or size_of(path) != shape:
            return False
    except UserError:
        return False
    with path.open("rb") as file:
        file.seek(-len(PNG_END), os.SEEK_END)
        return file.read() == PNG_END


if __name__ == "__main__":
    run_main(main)
