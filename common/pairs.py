"""Pictures in folders, HR and LR paired by name, decoded when they are needed and kept while there is room."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError, images
from common.resize import imresize

log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """Paths of one picture; `lr` is None where the LR picture is to be made from the HR picture."""

    name: str
    hr: Path
    lr: Path | None


def find_pairs(hr_folder: Path, lr_folder: Path | None, scale: int) -> list[Pair]:
    """Pair the pictures of two folders by their place and name: `a/0001.png` with `a/0001x2.png` or `a/0001.png`.

    Args:
        lr_folder: None when the LR pictures are to be made by bicubic down-sampling.

    Raises:
        UserError: no pictures, HR pictures without their LR picture, or two pictures of one name.
    """
    hr_paths, lr_paths = _by_place(Path(hr_folder)), _by_place(Path(lr_folder)) if lr_folder else {}
    of_place = {place: lr_paths.get(f"{place}x{scale}") or lr_paths.get(place) for place in hr_paths}
    pairs = [Pair(path.stem, path, of_place[place]) for place, path in hr_paths.items()]
    missing = [pair.hr.name for pair in pairs if pair.lr is None]
    if lr_folder and missing:
        raise UserError(
            f"{len(missing)} of {len(pairs)} pictures of {hr_folder} have no x{scale} picture in {lr_folder}: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}"
        )
    return pairs


def _by_place(folder: Path) -> dict[str, Path]:
    """Pictures by their path below the folder without its ending; two endings of one name would leave a choice."""
    found: dict[str, Path] = {}
    for path in images.find_pictures(folder):
        inside = path.relative_to(folder if path != folder else folder.parent)
        place = inside.with_suffix("").as_posix()
        if place in found:
            raise UserError(f"{found[place]} and {path} have one name: remove one of them")
        found[place] = path
    return found


def read_pair(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(hr, lr) of one pair, uint8 HWC; HR is cut to a multiple of the scale.

    Raises:
        UserError: the sizes do not match, or HR is smaller than the scale.
    """
    hr = read_hr(pair.hr, scale)
    lr = imresize(hr, 1 / scale) if pair.lr is None else images.read_rgb(pair.lr)
    expected = (hr.shape[0] // scale, hr.shape[1] // scale)
    if lr.shape[:2] != expected:
        raise UserError(
            f"{pair.lr} is {lr.shape[1]}x{lr.shape[0]}, but x{scale} of {pair.hr} needs {expected[1]}x{expected[0]}"
        )
    return hr, lr


def read_hr(path: Path, scale: int) -> np.ndarray:
    """uint8 HWC, cut to a multiple of the scale.

    Raises:
        UserError: no picture, or one that is smaller than the scale.
    """
    hr = images.read_rgb(path)
    if min(hr.shape[:2]) < scale:
        raise UserError(f"{path} is {hr.shape[1]}x{hr.shape[0]}: x{scale} takes pictures of {scale}x{scale} or more")
    return images.modcrop(hr, scale)


class PairedPictures:
    """Pictures read from files, the latest kept decoded up to `cache_bytes`.

    Args:
        pairs: what to read.
        scale: HR over LR.
        cache_bytes: decoded bytes to keep; a set that fits is decoded once.
        load: reads one pair as (hr, lr); the default decodes the files.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        scale: int,
        cache_bytes: int = 2 * 2**30,
        load: Callable[[Pair, int], tuple[np.ndarray, np.ndarray]] = read_pair,
    ) -> None:
        self.pairs, self.scale, self.cache_bytes, self.load = list(pairs), scale, cache_bytes, load
        self._cache: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._cached = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def drop_small(self, lr_patch: int) -> None:
        """Leave out, and name, the pictures that are smaller than the training patch; their headers tell.

        Raises:
            UserError: none is large enough, or one cannot be read.
        """
        least = lr_patch * self.scale
        small = [pair for pair in self.pairs if min(images.size_of(pair.hr)) < least]
        if len(small) == len(self.pairs):
            raise UserError(f"every training picture is smaller than the patch of {least}x{least}: take a smaller one")
        if small:
            names = ", ".join(pair.name for pair in small[:5]) + (" ..." if len(small) > 5 else "")
            log.warning(
                "%d of %d pictures are smaller than the patch of %dx%d and left out: %s",
                len(small),
                len(self.pairs),
                least,
                least,
                names,
            )
            self.pairs = [pair for pair in self.pairs if pair not in small]

    def read(self, indices: Iterable[int]) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        for index in indices:
            yield (*self._get(int(index)), self.pairs[index].name)

    def _get(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        pictures = self.load(self.pairs[index], self.scale)
        self._cache[index] = pictures
        self._cached += sum(picture.nbytes for picture in pictures)
        while self._cached > self.cache_bytes and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._cached -= sum(picture.nbytes for picture in old)
        return pictures


def told_apart(title: str, pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs, each of another name.

    Raises:
        UserError: two pictures have one name.
    """
    pairs = list(pairs)
    names = [pair.name for pair in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two pictures of {title} are named {twice[0]}: results are told apart by name, rename one")
    return pairs
