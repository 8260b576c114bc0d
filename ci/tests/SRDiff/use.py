"""What the tests of the programs that use a trained network share: tiny networks in files, and pictures by NumPy."""

import zlib

import numpy as np
import pytest

from ci.tests.SRDiff import nets
from common.images.resize import imresize
from SRDiff.src.model.srdiff import Hyper
from SRDiff.src.model_utils.util import describe

USED = {
    4: Hyper(scale=4, dim_mults=(1, 1, 2, 2), **nets.SMALL),  # LR sides in twos, as the authors' network takes them
    8: Hyper(scale=8, dim_mults=(1, 2), **nets.SMALL),
}


@pytest.fixture(scope="session")
def used():
    """scale -> a tiny network, not to be changed."""
    return {scale: nets.make(hyper) for scale, hyper in USED.items()}


@pytest.fixture(scope="session")
def saved(used, tmp_path_factory):
    """scale -> checkpoint of that network; its exports are kept beside it, so each is made once for all tests."""
    folder = tmp_path_factory.getbasetemp() / "tiny_srdiff"
    folder.mkdir(exist_ok=True)
    found = {scale: folder / f"tiny_x{scale}.ckpt" for scale in USED}
    for scale, path in found.items():
        if not path.exists():
            nets.save(path, used[scale], describe(USED[scale], {}))
    return found


def picture(height, width, channels=3, dtype=np.uint8):
    """Noise: nothing about it is easy."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height, width, seed=1):
    """Like a photograph, so that a PSNR of it says something."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return imresize(coarse, 4)[:height, :width]


def promised_noise(name, shape, seed=1, number=0):
    """What infer.py's help promises for a picture of this name: calls give x_T, then the noise of each step."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    return lambda: rng.standard_normal((1, 3, *shape), np.float32).astype(np.float64)


def left_of(hyper):
    """What is left of x_0's power after each step of the cosine schedule."""
    position = np.linspace(0, hyper.timesteps + 1, hyper.timesteps + 1) / (hyper.timesteps + 1)
    left = np.cos((position + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.clip(1 - left[1:] / left[:-1], 0, 0.999))


class Chain:
    """The paper's chain in float64 for an LR picture (H, W, 3), 8 or 16 bit, continued by reflection."""

    def __init__(self, network, lr, padded):
        self.hyper, self.weights = network.hyper, nets.exact(network)
        self.unit = lr / np.iinfo(lr.dtype).max
        rest = [(0, wanted - found) for wanted, found in zip(padded, lr.shape[:2], strict=True)]
        image = (np.pad(self.unit, [*rest, (0, 0)], mode="reflect") * 2 - 1).transpose(2, 0, 1)[None]
        self.features = nets.read(nets.encode(self.weights, self.hyper, image)[0])
        self.left = left_of(self.hyper)
        self.size = tuple(side * self.hyper.scale for side in padded)

    def up(self):
        """(sH, sW, 3), enlarged as the authors do."""
        return imresize(self.unit * 255 / 256, self.hyper.scale) * 2 - 1

    def run(self, x, draw, first=None):
        """x at step `first` -> x_0, every step of the chain."""
        for t in range(self.hyper.timesteps - 1 if first is None else first, -1, -1):
            left, before = self.left[t], self.left[t - 1] if t else 1.0
            eps = nets.predict(self.weights, self.hyper, x, np.array([t]), self.features)
            start = ((x - np.sqrt(1 - left) * eps) / np.sqrt(left)).clip(-1, 1)
            if t == 0:
                return start
            beta = 1 - left / before
            mean = (np.sqrt(before) * beta * start + np.sqrt(1 - beta) * (1 - before) * x) / (1 - left)
            x = mean + np.sqrt(beta * (1 - before) / (1 - left)) * draw()
        raise AssertionError

    def sample(self, draw):
        """x_0 of the first noise."""
        return self.run(draw(), draw)

    def diffused(self, start, t, noise):
        """x_t."""
        return np.sqrt(self.left[t]) * start + np.sqrt(1 - self.left[t]) * noise

    def picture(self, start, dtype=np.uint8):
        """(sH, sW, 3)."""
        up = self.up()
        residual = start[0].transpose(1, 2, 0)[: up.shape[0], : up.shape[1]]
        unit = (residual.clip(-1, 1) / self.hyper.res_rescale + up + 1) / 2
        return np.rint(unit.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


def close(found, wanted):
    """Equal but for float32: a ten-thousandth of the range, and its rounding."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    error = np.abs(found.astype(int) - wanted.astype(int))
    assert error.max() <= np.iinfo(found.dtype).max // 10_000 + 1, (
        f"{error.max()} at {np.argwhere(error == error.max())}"
    )
