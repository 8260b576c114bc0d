"""Training data whose order is a function of the seed and the step alone.

Sample number j of a run (step k of a global batch of B takes j = k*B ... k*B + B-1) shows image
permutation(epoch)[j mod n] with the crop and flips drawn from a generator seeded with (seed, j). Nothing else is
random, so a resumed run sees what the uninterrupted one would have seen, and N workers that each take their slice of
every global batch see together what one worker would have seen alone.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from common import UserError

Patch = tuple[np.ndarray, np.ndarray]  # (hr, lr), uint8 HWC, lr smaller by the scale


class ImageSet(Protocol):
    """Anything that hands out (hr, lr, name) by number, uint8 HWC, lr smaller by the scale."""

    def __len__(self) -> int: ...

    def read(self, indices: Iterable[int]) -> Iterator[tuple[np.ndarray, np.ndarray, str]]: ...


def random_crop(hr: np.ndarray, lr: np.ndarray, lr_patch: int, scale: int, rng: np.random.Generator) -> Patch:
    """Cut a square of `lr_patch` LR pixels and the HR square above it."""
    height, width = lr.shape[:2]
    if min(height, width) < lr_patch:
        raise UserError(f"an LR image of {width}x{height} is smaller than the training patch of {lr_patch}x{lr_patch}")
    return _square(hr, lr, lr_patch, scale, rng.integers(height - lr_patch + 1), rng.integers(width - lr_patch + 1))


def middle_crop(hr: np.ndarray, lr: np.ndarray, lr_patch: int, scale: int) -> Patch:
    """Cut the square of `lr_patch` LR pixels in the middle, and the HR square above it; the image is as large."""
    return _square(hr, lr, lr_patch, scale, *((length - lr_patch) // 2 for length in lr.shape[:2]))


def _square(hr: np.ndarray, lr: np.ndarray, side: int, scale: int, top: int, left: int) -> Patch:
    bottom, right = top + side, left + side
    return hr[top * scale : bottom * scale, left * scale : right * scale], lr[top:bottom, left:right]


def random_flip(
    images: Sequence[np.ndarray], rng: np.random.Generator, *, mirror: bool = True, turn: bool = True
) -> list[np.ndarray]:
    """Flip all images alike (EDSR's augmentation): left-right, upside down and transposed, each in half the cases."""
    horizontal, vertical, transpose = (rng.random(3) < 0.5) & (mirror, turn, turn)
    flipped = []
    for image in images:
        image = image[:, ::-1] if horizontal else image
        image = image[::-1] if vertical else image
        flipped.append(image.transpose(1, 0, 2) if transpose else image)
    return flipped


def random_patch(
    hr: np.ndarray, lr: np.ndarray, lr_patch: int, scale: int, rng: np.random.Generator, **flips: bool
) -> list[np.ndarray]:
    """Return [hr, lr], cut and flipped alike."""
    return random_flip(random_crop(hr, lr, lr_patch, scale, rng), rng, **flips)


def to_nchw(images: Sequence[np.ndarray]) -> np.ndarray:
    """Stack HWC images of one size to (N, C, H, W) float32 with unchanged values."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), dtype=np.float32)


def stack_nchw(samples: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Turn samples of HWC arrays into their batches in the same order, as `to_nchw`."""
    return tuple(to_nchw(arrays) for arrays in zip(*samples, strict=True))


@dataclasses.dataclass
class BatchStream:
    images: ImageSet
    prepare: Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple]  # (hr, lr, rng) -> a training sample
    collate: Callable[[list[tuple]], tuple[np.ndarray, ...]]  # samples -> what the loss takes
    batch_size: int  # samples per worker and step
    seed: int
    rank: int = 0
    world_size: int = 1
    ahead: int = 4
    _shuffled: tuple[int, np.ndarray] = dataclasses.field(default=(-1, np.empty(0)), init=False, repr=False)

    @property
    def global_batch_size(self) -> int:
        return self.batch_size * self.world_size

    def sample_numbers(self, step: int) -> range:
        """Return the numbers, counted over the whole run, of the samples that this worker shows in `step` (from 0)."""
        first = step * self.global_batch_size + self.rank * self.batch_size
        return range(first, first + self.batch_size)

    def image_of(self, number: int) -> int:
        """Return the image that sample `number` is cut from: each once in every len(images) samples."""
        epoch, position = divmod(number, len(self.images))
        if self._shuffled[0] != epoch:
            self._shuffled = epoch, np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.images))
        return int(self._shuffled[1][position])

    def batches(self, first_step: int, last_step: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of steps first_step ... last_step - 1, made in order."""
        numbers, asked = itertools.tee(n for step in range(first_step, last_step) for n in self.sample_numbers(step))
        samples: list[tuple] = []
        read = self.images.read(self.image_of(number) for number in asked)
        for number, (hr, lr, name) in zip(numbers, read, strict=True):
            try:
                samples.append(self.prepare(hr, lr, np.random.default_rng([self.seed, 2, number])))
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            if len(samples) == self.batch_size:
                yield self.collate(samples)
                samples = []

    def prefetched(self, first_step: int, last_step: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield `batches`, made in a thread up to `ahead` batches before they are asked for."""
        batches, pool = self.batches(first_step, last_step), ThreadPoolExecutor(1, "batches")
        try:
            made = deque(pool.submit(next, batches, None) for _ in range(self.ahead))
            while (batch := made.popleft().result()) is not None:
                made.append(pool.submit(next, batches, None))
                yield batch
        finally:  # waits, or it would still read while another run uses the same images
            pool.shutdown(cancel_futures=True)
