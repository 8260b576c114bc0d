"""Images in folders, HR and LR paired by name, decoded when they are needed and cached while there is room."""

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.images.files import find_images, read_rgb, size_of
from common.images.pixels import modcrop
from common.images.resize import imresize

log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """Paths of one image; `lr` is None where the LR image is to be made from the HR image."""

    name: str
    hr: Path
    lr: Path | None


class NoSuchSetError(UserError):
    """A data set is not there."""


def pairs_of(
    hr: Path, lr: Path | None, scale: int, track: str = "bicubic", numbers: Container[int] | None = None
) -> list[Pair]:
    """Return the pairs of a folder of HR images, and log whether LR is read (from where) or made by bicubic.

    Args:
        lr: folder of the LR images; None takes LR_bicubic/X4 beside HR or in a folder of any name,
            DIV2K_train_LR_bicubic/X4 beside DIV2K_train_HR, or X4 beside X1, in capital or small letters.
        track: how the LR images were made; only those by bicubic are made here where there are none.
    """
    place, x = Path(os.path.abspath(hr)), f"X{scale}"
    places = [(place, f"LR_{track}", x)]
    if place.name.upper() == "X1":
        places = [(place.parent, x)]
    elif f"_{place.name}".upper().endswith("_HR"):
        places = [(place.parent, f"{place.name[:-2]}LR_{track}", x), *places]
    lr = lr or next(filter(None, (folder_like(*one) for one in places)), None)
    if lr is None and track != "bicubic":
        raise UserError(f"no x{scale} images of the track {track}: expected {Path(*places[0])}")
    pairs = find_pairs(hr, lr, scale, numbers)
    if pairs:
        log.info("%d images of %s, LR %s", len(pairs), hr, f"read from {lr}" if lr else "made by bicubic")
    return pairs


def folder_like(parent: Path, *names: str) -> Path | None:
    """Return parent/name/..., each name as it is on the disk in capital or small letters; None where there is none."""
    for name in names:
        alike = [one for one in parent.glob("*") if one.name.upper() == name.upper() and one.is_dir()]
        if not alike:
            return None
        parent = parent / name if parent / name in alike else alike[0]
    return parent


def find_pairs(
    hr_folder: Path, lr_folder: Path | None, scale: int, numbers: Container[int] | None = None
) -> list[Pair]:
    """Pair the images of two folders by place and name, or those of these numbers; no LR folder: LR is made by bicubic.

    The x2 image of `0001` may be called 0001x2 or 0001, or as infer.py calls its results of both.
    """

    def names(name: str) -> list[str]:
        return [f"{name}x{scale}", name, f"{name}_x{scale}", f"{name}x{scale}_x{scale}"]

    lr_paths, pairs = _by_place(Path(lr_folder)) if lr_folder else {}, []
    for place, path in _by_place(Path(hr_folder)).items():
        in_lr = place.upper().startswith("LR_BICUBIC/")  # which is no HR image of a flat set
        if not in_lr and (numbers is None or (path.stem.isdecimal() and int(path.stem) in numbers)):
            pairs.append(Pair(path.stem, path, next(filter(None, map(lr_paths.get, names(place))), None)))
    missing = [pair for pair in pairs if pair.lr is None]
    if lr_folder and missing:
        named = ", ".join(pair.hr.name for pair in missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(
            f"{len(missing)} of {len(pairs)} images of {hr_folder} have no x{scale} image in {lr_folder}: {named}; "
            f"of {missing[0].hr.name} expected {', '.join(names(missing[0].name))}, the folder has "
            f"{', '.join(path.name for path in list(lr_paths.values())[:3])}"
        )
    return pairs


def _by_place(folder: Path) -> dict[str, Path]:
    """Return the images by their path below the folder without ending; two endings of one name would leave a choice."""
    found: dict[str, Path] = {}
    for path in find_images(folder):
        place = path.relative_to(folder if path != folder else folder.parent).with_suffix("").as_posix()
        if found.setdefault(place, path) != path:
            raise UserError(f"{found[place]} and {path} have one name: remove one of them")
    return found


def read_pair(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (hr, lr) of one pair, uint8 HWC, see `read_hr`."""
    hr = read_hr(pair.hr, scale)
    lr = imresize(hr, 1 / scale) if pair.lr is None else read_rgb(pair.lr)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if lr.shape[:2] != (height, width):
        raise UserError(f"{pair.lr} is {lr.shape[1]}x{lr.shape[0]}, but x{scale} of {pair.hr} needs {width}x{height}")
    return hr, lr


def read_hr(path: Path, scale: int) -> np.ndarray:
    """Read uint8 HWC, cut to a multiple of the scale; a gray file is one plane seen three times (`common.metrics`)."""
    hr = read_rgb(path, gray_as_plane=True)
    if min(hr.shape[:2]) < scale:
        raise UserError(f"{path} is {hr.shape[1]}x{hr.shape[0]}: x{scale} takes images of {scale}x{scale} or more")
    return modcrop(hr, scale)


class PairedImages:
    """Images read from files by `load`; the latest stay decoded, up to `cache_bytes`."""

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
        """Leave out, and name, the images that are smaller than the training patch; their headers tell."""
        least = lr_patch * self.scale
        small = [pair for pair in self.pairs if min(size_of(pair.hr)) < least]
        if len(small) == len(self.pairs):
            raise UserError(f"every training image is smaller than the patch of {least}x{least}: take a smaller one")
        if small:
            named = ", ".join(pair.name for pair in small[:5]) + (" ..." if len(small) > 5 else "")
            text = "%d of %d images are smaller than the patch of %dx%d and left out: %s"
            log.warning(text, len(small), len(self.pairs), least, least, named)
            self.pairs = [pair for pair in self.pairs if pair not in small]

    def read(self, indices: Iterable[int]) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        """Yield (hr, lr, name), uint8 HWC, in the order of `indices`."""
        for index in map(int, indices):
            if index not in self._cache:
                self._cache[index] = self.load(self.pairs[index], self.scale)
                self._cached += sum(image.nbytes for image in self._cache[index])
                while self._cached > self.cache_bytes and len(self._cache) > 1:
                    self._cached -= sum(image.nbytes for image in self._cache.popitem(last=False)[1])
            self._cache.move_to_end(index)
            yield (*self._cache[index], self.pairs[index].name)


def told_apart(title: str, pairs: Iterable[Pair]) -> list[Pair]:
    pairs = list(pairs)
    names = [pair.name for pair in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two images of {title} are named {twice[0]}: results are told apart by name, rename one")
    return pairs
