"""SRDiff's training samples: the networks' range, the upscaled LR patch, steps and noise; where LR lies beside."""

import numpy as np
import pytest

from ci.tests.specs import noise, write
from common import UserError
from common.images import imresize
from SRDiff.src.dataset.patches import from_network, to_network, upscaled


def test_upscaled_image_is_the_authors(goldens_dir):
    """Bit for bit, of 8 bits; and the same image in 16 bits and as floats."""
    with np.load(goldens_dir / "imresize.npz") as goldens:
        keys = [key for key in goldens.files if key.endswith("_img_lr_up_m1p1_hwc")]
        assert len(keys) == 3
        for key in keys:
            lr, wanted = goldens[key.replace("_up_m1p1_hwc", "_u8")], goldens[key].transpose(2, 0, 1)
            np.testing.assert_array_equal(upscaled(lr, 4), wanted)
            for same in (lr.astype(np.uint16) * 257, lr / 255, (lr / 255).astype(np.float32)):
                np.testing.assert_allclose(upscaled(same, 4), wanted, atol=2e-7)


def test_white_is_one_but_for_the_upscaled_image():
    for white in (np.full((5, 6, 3), 255, np.uint8), np.full((5, 6, 3), 65535, np.uint16), np.ones((5, 6, 3))):
        np.testing.assert_array_equal(to_network(white), np.ones((3, 5, 6), np.float32))
        np.testing.assert_allclose(upscaled(white, 2), np.full((3, 10, 12), 2 * 255 / 256 - 1), rtol=1e-6)
        np.testing.assert_array_equal(to_network(white * 0), -np.ones((3, 5, 6), np.float32))
    image = noise(4, 5)
    np.testing.assert_allclose(to_network(image), (image.astype(float) / 127.5 - 1).transpose(2, 0, 1), atol=1e-7)
    np.testing.assert_allclose(from_network(to_network(image)), image / 255, atol=1e-7)


def test_a_sample(begun, tmp_path):
    """What is upscaled is the LR patch; all steps alike, both ends among them; noise of its own, standard normal."""
    folder = write(tmp_path / "hr", {"a": noise(40, 40)})
    stream = begun("SRDiff", dataset_GT_path=folder, batch_size=100, timesteps=5).stream
    hr, lr, lr_up, t, eps = next(stream.batches(0, 1))
    for small, large in zip(lr[:5], lr_up, strict=False):
        patch = (small.transpose(1, 2, 0).astype(np.float64) + 1) / 2 * 255 / 256
        np.testing.assert_allclose(large.transpose(1, 2, 0), 2 * imresize(patch, 2) - 1, atol=1e-5)
    assert (t.dtype, t.shape, eps.shape) == (np.int32, (100,), hr.shape)
    counts = np.bincount(t)
    assert len(counts) == 5
    assert counts.min() > 8
    assert abs(eps.mean()) < 0.02
    assert abs(eps.std() - 1) < 0.02
    assert abs(np.mean(eps[:-1] * eps[1:])) < 0.02, "each sample has noise of its own"


def test_lr_lies_beside_hr_in_the_prepared_tree(begun, tmp_path):
    """LR is told from bicubic by its green; of several folders there is no one LR folder."""
    images = {}
    for number, place in enumerate(("div2k/train", "flickr2k/train", "div2k/val")):
        lr = imresize(noise(40, 40, seed=number), 1 / 2)
        lr[..., 1] = 7
        images |= {f"{place}/X1/image_000{number}": noise(40, 40, seed=number), f"{place}/X2/image_000{number}": lr}
    folder = write(tmp_path / "data", images)
    trainer = begun("SRDiff", dataset_GT_path=folder)
    assert [pair.name for pair in trainer.stream.images.pairs] == ["image_0000", "image_0001"]
    np.testing.assert_allclose(next(trainer.stream.batches(0, 1))[1][:, 1], 7 / 127.5 - 1, rtol=1e-6)
    with pytest.raises(UserError, match=r"--dataset_LQ_path is one folder, but HR is in .*div2k.*, .*flickr2k"):
        begun("SRDiff", dataset_GT_path=folder, dataset_LQ_path=folder)
