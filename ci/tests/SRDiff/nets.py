"""Tiny networks for tests, and what they compute, told by naive float64 NumPy out of the weights by their names."""

import zlib
from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ci.tests import naive
from ci.tests.naive import exact, layer
from common.images import imresize
from SRDiff.src.model.srdiff import Hyper, SRDiffNet

SMALL = {"hidden_size": 4, "rrdb_num_feat": 4, "rrdb_num_block": 2, "timesteps": 10}
TINY = {
    2: Hyper(scale=2, dim_mults=(1, 2), **SMALL),
    4: Hyper(scale=4, dim_mults=(1, 2), **SMALL),
    8: Hyper(scale=8, dim_mults=(1, 2, 2), **SMALL | {"rrdb_num_block": 5}),
}
USED = Hyper(scale=4, dim_mults=(1, 1, 2, 2), **SMALL)  # LR sides in twos, as the authors' network takes them
Weights = Mapping[str, np.ndarray]


def make(hyper: Hyper = USED) -> SRDiffNet:
    """A network at its beginning, but that the encoder's head draws a grey image, of which little is clipped."""
    network = SRDiffNet(hyper, seed=3)
    network.rrdb.conv_last.bias.set_data(Tensor(np.full(3, 0.5), ms.float32))
    return network


def random_image(height: int, width: int, count: int = 1, seed: int = 0) -> np.ndarray:
    """(count, 3, height, width) float32 in [-1, 1]."""
    return 2 * np.random.default_rng(seed).random((count, 3, height, width), np.float32) - 1


# ------------------------------------------------------------------ layers


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.logaddexp(0, x))


def mish_slope(x: np.ndarray) -> np.ndarray:
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t * t) * np.exp(-np.logaddexp(0, -x))


def transposed(x: np.ndarray, weights: Weights, name: str, scale: int) -> np.ndarray:
    """Each pixel lays down a filter of twice the scale; what lies beyond the borders is cut off."""
    filters, (n, _, height, width) = weights[f"{name}.weight"], x.shape
    assert filters.shape[2:] == (2 * scale, 2 * scale)
    canvas = np.zeros((n, filters.shape[1], (height + 1) * scale, (width + 1) * scale))
    for row, column in np.ndindex(height, width):
        here = canvas[:, :, row * scale : (row + 2) * scale, column * scale : (column + 2) * scale]
        here += np.einsum("nc,cohw->nohw", x[:, :, row, column], filters)
    cut = scale // 2
    return canvas[:, :, cut:-cut, cut:-cut] + weights[f"{name}.bias"].reshape(-1, 1, 1)


def dense(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


# ------------------------------------------------------------------ the encoder


def encode(weights: Weights, hyper: Hyper, lr_image: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """All features, and the head's image."""
    blocks, sizes, head = naive.encoder((lr_image.astype(np.float64) + 1) / 2, weights, "rrdb", 0)
    return [*blocks[1:], sizes[0]], head.clip(0, 1) * 2 - 1


def read(features: list[np.ndarray]) -> np.ndarray:
    """The third, the sixth ..."""
    return np.concatenate([x for number, x in enumerate(features, 1) if number % 3 == 0], 1)


# ------------------------------------------------------------------ the noise predictor


def block(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return mish(layer(x, weights, f"{name}.block.1", "reflect"))


def residual(x: np.ndarray, time: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    own = f"denoise_fn.{name}"
    found = block(x, weights, f"{own}.block1") + dense(mish(time), weights, f"{own}.mlp.1")[:, :, None, None]
    found = block(found, weights, f"{own}.block2")
    return found + (layer(x, weights, f"{own}.res_conv") if f"{own}.res_conv.weight" in weights else x)


def predict(weights: Weights, hyper: Hyper, x: np.ndarray, t: np.ndarray, features: np.ndarray) -> np.ndarray:
    """eps of x_t, by what the U-Net reads of the features."""
    half, levels = hyper.hidden_size // 2, len(hyper.dim_mults)
    angles = np.asarray(t, np.float64)[:, None] / 10_000 ** (np.arange(half) / (half - 1))
    time = dense(np.concatenate((np.sin(angles), np.cos(angles)), 1), weights, "denoise_fn.mlp.0")
    time = dense(mish(time), weights, "denoise_fn.mlp.2")
    x, skips = x.astype(np.float64), []
    for level in range(levels):
        x = residual(residual(x, time, weights, f"downs.{level}.0"), time, weights, f"downs.{level}.1")
        if level == 0:
            x = x + transposed(features, weights, "denoise_fn.cond_proj", hyper.scale)
        skips.append(x)
        if level < levels - 1:
            x = layer(x, weights, f"denoise_fn.downs.{level}.2.conv.1", "reflect", 2)
    x = residual(residual(x, time, weights, "mid_block1"), time, weights, "mid_block2")
    for level in range(levels - 1):
        x = np.concatenate((x, skips.pop()), 1)
        x = residual(residual(x, time, weights, f"ups.{level}.0"), time, weights, f"ups.{level}.1")
        x = transposed(x, weights, f"denoise_fn.ups.{level}.2.conv.0", 2)
    return layer(block(x, weights, "denoise_fn.final_conv.0"), weights, "denoise_fn.final_conv.1")


# ------------------------------------------------------------------ what is trained


def losses(weights: Weights, hyper: Hyper, batch: tuple, *, squared: bool = False) -> tuple[float, float]:
    """(distance of eps from its prediction, L1 distance of the encoder's image from HR)."""
    hr_image, lr_image, lr_up, t, eps = batch
    left = hyper.schedule().alphas_cumprod[t].reshape(-1, 1, 1, 1)
    start = ((hr_image.astype(np.float64) - lr_up) * hyper.res_rescale).clip(-1, 1)
    x = np.sqrt(left) * start + np.sqrt(1 - left) * eps
    features, head = encode(weights, hyper, lr_image)
    error = predict(weights, hyper, x, t, read(features)) - eps
    return float((error**2 if squared else np.abs(error)).mean()), float(np.abs(head - hr_image).mean())


# ------------------------------------------------------------------ what the programs make of it


def promised_noise(name, shape, seed=1, number=0):
    """What infer.py's help promises for an image of this name: calls give x_T, then the noise of each step."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    return lambda: rng.standard_normal((1, 3, *shape), np.float32).astype(np.float64)


def left_of(hyper):
    """What is left of x_0's power after each step of the cosine schedule."""
    position = np.linspace(0, hyper.timesteps + 1, hyper.timesteps + 1) / (hyper.timesteps + 1)
    left = np.cos((position + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.clip(1 - left[1:] / left[:-1], 0, 0.999))


class Chain:
    """The paper's chain in float64 for an LR image (H, W, 3), 8 or 16 bit, padded by reflection."""

    def __init__(self, network, lr, padded):
        self.hyper, self.weights = network.hyper, exact(network)
        self.unit = lr / np.iinfo(lr.dtype).max
        rest = [(0, wanted - found) for wanted, found in zip(padded, lr.shape[:2], strict=True)]
        image = (np.pad(self.unit, [*rest, (0, 0)], mode="reflect") * 2 - 1).transpose(2, 0, 1)[None]
        self.features = read(encode(self.weights, self.hyper, image)[0])
        self.left = left_of(self.hyper)
        self.size = tuple(side * self.hyper.scale for side in padded)

    def up(self):
        """(sH, sW, 3), upscaled as the authors do."""
        return imresize(self.unit * 255 / 256, self.hyper.scale) * 2 - 1

    def run(self, x, draw, first=None):
        """x at step `first` -> x_0, every step of the chain."""
        for t in range(self.hyper.timesteps - 1 if first is None else first, -1, -1):
            left, before = self.left[t], self.left[t - 1] if t else 1.0
            eps = predict(self.weights, self.hyper, x, np.array([t]), self.features)
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

    def image(self, start):
        """x_0 -> (sH, sW, 3), 1.0 is white, not clipped."""
        up = self.up()
        residual = start[0].transpose(1, 2, 0)[: up.shape[0], : up.shape[1]]
        return (residual.clip(-1, 1) / self.hyper.res_rescale + up + 1) / 2


def upscale(network: SRDiffNet, lr: np.ndarray, name: str, number: int = 0) -> np.ndarray:
    """(H, W, 3), 8 or 16 bit -> sample of this number of infer.py with --seed 7 and --sampler ddpm, 1.0 is white."""
    multiple = network.hyper.hr_multiple // network.hyper.scale or 1
    chain = Chain(network, lr, [side + -side % multiple for side in lr.shape[:2]])
    return chain.image(chain.sample(promised_noise(name, chain.size, 7, number)))
