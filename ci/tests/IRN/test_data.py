"""IRN's training samples: a crop of the whole image's bicubic, neither rounded nor clipped, and z."""

import numpy as np
import pytest

from ci.tests.specs import noise, write
from common.images import imresize

PATCH = 24
FLIPS = [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]


@pytest.fixture
def stream(begun, tmp_path):
    """stream(image, options ...) -> the batches of a training on it."""

    def make(image, scale=2, **changes):
        levels = {"block_num": {4: "1,1", 8: "1,1,1"}.get(scale, 1), "growth": 1}
        folder = write(tmp_path / "hr", {"a": image})
        settings = {"patch_size": PATCH, "scale": scale, "dataset_GT_path": folder, **levels, **changes}
        return begun("IRN", **settings).stream

    return make


def flip(image, mirrored, upside_down, transposed):
    image = image[:, ::-1] if mirrored else image
    image = image[::-1] if upside_down else image
    return image.transpose(1, 0, 2) if transposed else image


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_sample_is_the_same_crop_of_hr_and_of_the_whole_images_bicubic(stream, scale):
    """Found again by comparing every place and all eight flips, of which each occurs."""
    image, side, seen = noise(96, 120), PATCH // scale, set()
    whole = imresize(image / 255, 1 / scale)
    hr, lr, z = (array.transpose(0, 2, 3, 1) for array in next(stream(image, scale, batch_size=48).batches(0, 1)))
    assert z.shape[1:] == (side, side, 3 * scale**2 - 3)
    for large, small in zip(hr, lr, strict=True):
        found = []
        for kind in FLIPS:
            mirrored, upside_down, transposed = kind
            corner = (-mirrored, -upside_down) if transposed else (-upside_down, -mirrored)  # of the crop
            for top, left in np.argwhere((image[::scale, ::scale] == np.round(large[corner] * 255)).all(2)) * scale:
                crop = image[top : top + PATCH, left : left + PATCH]
                if crop.shape == large.shape and np.array_equal(flip(crop, *kind), np.round(large * 255)):
                    found.append((top, left, kind))
        (place,) = found
        top, left, kind = place
        crop = whole[top // scale : top // scale + side, left // scale : left // scale + side]
        np.testing.assert_allclose(small, flip(crop, *kind), rtol=0, atol=1e-6)
        seen.add(place)
    assert len(seen) > 40
    assert {kind for *_, kind in seen} == set(FLIPS)


def test_reference_is_neither_rounded_nor_clipped(stream):
    """A white square on black overshoots."""
    image = np.zeros((PATCH, PATCH, 3), np.uint8)
    image[6:18, 6:18] = 255
    lr = next(stream(image).batches(0, 1))[1]
    assert lr.min() < -0.01
    assert lr.max() > 1.01


def test_z_is_standard_normal_and_a_function_of_seed_and_sample_number(stream):
    image = noise(40, 40)
    z = np.concatenate([batch[2] for batch in stream(image, batch_size=16).batches(0, 15)])
    assert z.shape == (240, 9, 12, 12)  # 311,040 values: their mean strays by 0.0018, their square's mean by 0.0025
    assert abs(z.mean()) < 0.008
    assert abs((z.astype(float) ** 2).mean() - 1) < 0.012
    assert abs((z.astype(float) ** 4).mean() - 3) < 0.1
    neighbours = [(z[1:] * z[:-1]).mean(), (z[:, 1:] * z[:, :-1]).mean(), (z[..., 1:] * z[..., :-1]).mean()]
    assert np.abs(neighbours).max() < 0.008, "samples, channels and pixels are independent"
    half = next(stream(image, batch_size=16, gaussian_scale=0.5).batches(0, 1))[2]
    np.testing.assert_array_equal(half, z[:16] * 0.5)
    found = next(stream(noise(40, 40, seed=1), use_flip=False, use_rot=False).batches(0, 1))[2]
    np.testing.assert_array_equal(found, z[: len(found)])
