"""Training data: images whose pixels say where they are from show what a batch is made of."""

import threading
import time

import numpy as np
import pytest

from common import UserError
from common.data.batches import BatchStream, middle_crop, random_crop, random_flip, to_nchw
from common.images.files import write_image
from common.images.pairs import Pair, PairedImages, find_pairs
from common.images.resize import imresize

SCALE, PATCH = 2, 6
HEIGHT, WIDTH = 40, 56  # of the LR images


def positions(height, width, number):
    """(height, width, 3) uint8 that holds row, column and `number`."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], -1).astype(np.uint8)


def paired_images(count, **settings):
    """In memory; the names are p0, p1 ..."""
    pairs = [Pair(f"p{number}", None, None) for number in range(count)]

    def load(pair, scale):
        number = int(pair.name[1:])
        return positions(HEIGHT * scale, WIDTH * scale, number), positions(HEIGHT, WIDTH, number)

    return PairedImages(pairs, SCALE, load=load, **settings)


def prepare(hr, lr, rng):
    return tuple(random_flip(random_crop(hr, lr, PATCH, SCALE, rng), rng))


def collate(samples):
    return tuple(to_nchw(column) for column in zip(*samples, strict=True))


def stream(count=5, batch_size=4, seed=3, **settings):
    return BatchStream(paired_images(count), prepare, collate, batch_size, seed, **settings)


def equal(batches, others):
    batches, others = list(batches), list(others)
    return len(batches) == len(others) and all(
        np.array_equal(array, other)
        for batch, pair in zip(batches, others, strict=True)
        for array, other in zip(batch, pair, strict=True)
    )


def test_order_is_a_function_of_seed_and_step():
    whole, reader = list(stream().batches(0, 12)), stream()
    assert equal(stream().prefetched(0, 12), whole), "the same again, by a thread"
    assert equal(stream().prefetched(7, 12), whole[7:]), "from step 7 on, without the steps before it"
    assert equal([*reader.batches(9, 10), *reader.batches(2, 3)], [whole[9], whole[2]]), "in any order"
    assert not equal(stream(seed=4).batches(0, 12), whole)
    assert not equal(whole[:5], whole[5:10]), "another crop and order in each epoch (5 batches show 5 images 4 times)"


@pytest.mark.parametrize(("count", "batch_size"), [(5, 4), (7, 3), (3, 8)])
def test_every_image_once_in_each_epoch(count, batch_size):
    steps = 3 * count
    shown = np.concatenate([batch[0][:, 2, 0, 0] for batch in stream(count, batch_size).batches(0, steps)]).astype(int)
    epochs = shown.reshape(-1, count)
    assert (np.sort(epochs, 1) == np.arange(count)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 1, "shuffled anew"


def test_crops_are_spread_over_the_whole_image():
    corners = np.concatenate([batch[1][:, :2].min((2, 3)) for batch in stream(batch_size=50).batches(0, 60)])
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [HEIGHT - PATCH, WIDTH - PATCH], "the last row and column, too"


@pytest.mark.parametrize(("patch", "top", "left"), [(7, 6, 11), (8, 6, 11), (20, 0, 5)])
def test_crop_of_the_middle(patch, top, left):
    hr_crop, lr_crop = middle_crop(positions(60, 90, 0), positions(20, 30, 0), patch, 3)
    assert (hr_crop.shape, lr_crop.shape) == ((3 * patch, 3 * patch, 3), (patch, patch, 3))
    assert (lr_crop[0, 0, :2].tolist(), hr_crop[0, 0, :2].tolist()) == ([top, left], [3 * top, 3 * left])


def batch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("problem", [UserError("no such image"), ValueError("a bug")])
def test_errors_in_the_thread_reach_the_caller(problem):
    def fails(hr, lr, rng):
        if hr[0, 0, 2] == 2:
            raise problem
        return prepare(hr, lr, rng)

    broken = stream()
    broken.prepare = fails
    with pytest.raises(type(problem), match=str(problem)) as raised:
        list(broken.prefetched(0, 5))
    assert isinstance(problem, ValueError) or str(raised.value) == "p2: no such image", "with the image's name"
    raised.value.__traceback__ = None
    del raised
    assert not batch_threads()


def test_prefetch_reads_no_further_than_ahead_and_ends_when_left():
    made, reader = [], stream(batch_size=1, ahead=3)
    reader.prepare = lambda *pair: made.append(1) or prepare(*pair)
    batches = reader.prefetched(0, 1000)
    next(batches)
    time.sleep(0.5)
    assert len(made) <= 1 + 3 + 1, "one taken, three waiting, one in the thread's hands"
    assert batch_threads()
    batches.close()
    assert not batch_threads()


def write_pairs(folder, names, lr_names=None, size=(24, 32)):
    for number, name in enumerate(names):
        hr = positions(*size, number)
        write_image(folder / "HR" / f"{name}.png", hr)
        if lr_names:
            write_image(folder / "LR" / f"{lr_names[number]}.png", imresize(hr, 1 / SCALE))
    return folder / "HR", folder / "LR"


@pytest.mark.parametrize("ending", ["x2", "", "_x2", "x2_x2"])
def test_pairs_by_name_in_natural_order(tmp_path, ending):
    """Also of names that infer.py writes; 2x2 is a name of its own, not the LR image of 2."""
    names = ["1", "10", "2x2", "9", "sub/1"]
    pairs = find_pairs(*write_pairs(tmp_path, names, [name + ending for name in names]), SCALE)
    where = [(str(pair.hr.relative_to(tmp_path / "HR")), str(pair.lr.relative_to(tmp_path / "LR"))) for pair in pairs]
    assert where == [(f"{name}.png", f"{name}{ending}.png") for name in ("1", "2x2", "9", "10", "sub/1")]
    assert [pair.name for pair in pairs] == ["1", "2x2", "9", "10", "1"]


def test_missing_lr_images(tmp_path):
    names = [str(number) for number in range(8)]
    folders = write_pairs(tmp_path, names, [f"{name}x2" for name in names])
    for name in names[1:]:
        (folders[1] / f"{name}x2.png").unlink()
    with pytest.raises(
        UserError, match=r"7 of 8 images .*: 1\.png, .*, 5\.png \.\.\.; .* expected 1x2, 1, .* has 0x2\.png"
    ):
        find_pairs(*folders, SCALE)


def test_two_images_of_one_name(tmp_path):
    hr, lr = write_pairs(tmp_path, ["a"], ["ax2"])
    write_image(lr / "ax2.bmp", positions(12, 16, 0))
    with pytest.raises(UserError, match=r"ax2\.bmp and .*ax2\.png have one name"):
        find_pairs(hr, lr, SCALE)


def test_image_smaller_than_the_patch(tmp_path):
    hr, _ = write_pairs(tmp_path, ["small"], size=(10, 40))
    reader = stream()
    reader.images = PairedImages(find_pairs(hr, None, SCALE), SCALE)
    with pytest.raises(UserError, match=r"^small: .* of 20x5 is smaller than the training patch of 6x6"):
        list(reader.batches(0, 1))


@pytest.mark.parametrize(
    ("bytes_kept", "order", "read"),
    [
        (3 * 125, "012012", "012"),
        (3 * 125, "0120300231", "01231"),  # 1 was used the longest ago
        (0, "454", "454"),
    ],
)
def test_cache_is_bounded_and_keeps_the_latest(bytes_kept, order, read):
    loads = []

    def load(pair, scale):
        loads.append(pair.name)
        return np.zeros((10, 10, 1), np.uint8), np.zeros((5, 5, 1), np.uint8)  # 125 bytes

    kept = PairedImages([Pair(str(n), None, None) for n in range(6)], 2, cache_bytes=bytes_kept, load=load)
    for _ in kept.read(map(int, order)):
        assert kept._cached <= max(bytes_kept, 125)
    assert "".join(loads) == read
