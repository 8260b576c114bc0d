"""ci/sample: complete, small, made by our own bicubic, with a licence for each picture."""

import numpy as np
import pytest

from ci.make_sample import RACCOON, REGIONS, SCALES, read_source
from common.images.files import read_rgb
from common.images.resize import imresize

NUMBERS = range(1, 13)


@pytest.mark.parametrize("number", NUMBERS)
def test_pictures_fit_together(sample_dir, number):
    folder = sample_dir / "DIV2K"
    hr = read_rgb(folder / f"DIV2K_train_HR/{number:04d}.png")
    assert hr.shape[0] % 12 == 0
    assert hr.shape[1] % 12 == 0
    for scale in SCALES:
        lr = read_rgb(folder / f"DIV2K_train_LR_bicubic/X{scale}/{number:04d}x{scale}.png")
        assert np.array_equal(lr, imresize(hr, 1 / scale))


@pytest.mark.parametrize("number", [n for n in NUMBERS if REGIONS[n - 1].source != RACCOON])
def test_pictures_are_what_the_licences_say(sample_dir, number):
    pytest.importorskip("skimage")
    source, top, left, height, width = REGIONS[number - 1]
    photograph = read_source(source, sample_dir)
    picture = read_rgb(sample_dir / f"DIV2K/DIV2K_train_HR/{number:04d}.png")
    assert np.array_equal(picture, photograph[top : top + height, left : left + width])
