"""Tiny networks for tests, and what they compute, told by naive float64 NumPy: one tap, one channel after the other."""

import zlib

import numpy as np
from mindspore import Tensor, nn

from ci.tests import naive
from ci.tests.naive import convolution, shaken, values
from common.runtime import graph_mode
from SRFlow.src.model.Flow import SqueezeLayer
from SRFlow.src.model.FlowActNorms import ActNorm2d
from SRFlow.src.model.FlowStep import FlowStep
from SRFlow.src.model.InvertibleConv1x1 import InvertibleConv1x1
from SRFlow.src.model.Split import Split2d
from SRFlow.src.model.SRFlowNet import Hyper, SRFlowNet

SMALL = {"num_features": 4, "num_blocks": 2, "growth": 2, "stack": (0, 1), "steps": 1, "hidden_channels": 4}
TINY = {
    2: Hyper(scale=2, levels=2, **SMALL),
    4: Hyper(scale=4, levels=3, **SMALL),
    8: Hyper(scale=8, levels=4, **SMALL),
}


def make(hyper: Hyper = TINY[4], size: float = 0.1, seed: int = 3) -> SRFlowNet:
    """A trained-looking network."""
    return shaken(SRFlowNet(hyper, seed), size)


def promised_latents(hyper: Hyper, name: str, heat: float, seed: int, number: int, size: tuple[int, int]) -> list:
    """What infer.py's help promises for an image of this name."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    return [np.float32(heat) * rng.standard_normal((1, *shape), np.float32) for shape in hyper.latent_shapes(*size)]


def upscale(network: SRFlowNet, lr: np.ndarray, name: str, number: int = 0) -> np.ndarray:
    """(H, W, 3), 8 or 16 bit -> sample of this number of infer.py with --seed 7 and --heat 0.7; 1.0 is white.

    By the form of training, eagerly, of the image with reflection padding, cut back.
    """
    hyper, unit = network.hyper, lr / np.iinfo(lr.dtype).max
    unit = np.pad(unit, [*((0, -side % hyper.lr_multiple) for side in lr.shape[:2]), (0, 0)], mode="reflect")
    latents = promised_latents(hyper, name, 0.7, 7, number, unit.shape[:2])
    image = Tensor(unit.transpose(2, 0, 1)[None].astype(np.float32))
    with graph_mode(False):
        found = network.sample([Tensor(latent) for latent in latents], image).asnumpy()[0].transpose(1, 2, 0)
    return found[: hyper.scale * lr.shape[0], : hyper.scale * lr.shape[1]]


# ------------------------------------------------------------------ the encoder


def encode(network: SRFlowNet, lr_image: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """What the levels read, from the largest size, and the head's image."""
    (_, *blocks), found, head = naive.encoder(lr_image, naive.exact(network), "RRDB", -1)
    x, scale, sizes = found[0], network.hyper.scale, {2**number: features for number, features in enumerate(found)}
    h, w = x.shape[2:]
    sizes[0.5] = x.reshape(*x.shape[:2], h // 2, 2, w // 2, 2).mean((3, 5)) if h % 2 == w % 2 == 0 else None
    stacked, conditions = np.concatenate([blocks[number] for number in network.hyper.stack], 1), []
    for level in range(1, network.hyper.levels + 1):
        own = sizes[scale / 2**level]
        rows, columns = (np.arange(size) * side // size for size, side in zip(own.shape[2:], (h, w), strict=True))
        conditions.append(np.concatenate((own, stacked[:, :, rows][:, :, :, columns]), 1))
    return conditions, head


# ------------------------------------------------------------------ the flow


def actnorm(x: np.ndarray, cell: ActNorm2d) -> np.ndarray:
    return (x + values(cell.bias)) * np.exp(values(cell.logs))


def mixed(x: np.ndarray, cell: InvertibleConv1x1) -> np.ndarray:
    return np.einsum("oc,nchw->nohw", values(cell.weight), x)


def zeros_layer(x: np.ndarray, cell: nn.Cell) -> tuple[np.ndarray, np.ndarray]:
    """Conv2dZeros: outputs 0, 2, 4 ... and 1, 3, 5 ..."""
    result = convolution(x, values(cell.weight), values(cell.bias)) * np.exp(3 * values(cell.logs))
    return result[:, 0::2], result[:, 1::2]


def conditioner(x: np.ndarray, cell: nn.Cell) -> tuple[np.ndarray, np.ndarray]:
    for hidden in (cell[0], cell[2]):
        x = np.maximum(actnorm(convolution(x, values(hidden.weight)), hidden.actnorm), 0)
    return zeros_layer(x, cell[4])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def coupled(z: np.ndarray, cell: nn.Cell, condition: np.ndarray) -> np.ndarray:
    shift, logit = conditioner(condition, cell.fFeatures)
    z = (z + shift) * (sigmoid(logit + 2) + cell.eps)
    half = z.shape[1] // 2
    shift, logit = conditioner(np.concatenate((z[:, :half], condition), 1), cell.fAffine)
    return np.concatenate((z[:, :half], (z[:, half:] + shift) * (sigmoid(logit + 2) + cell.eps)), 1)


def squeezed(x: np.ndarray) -> np.ndarray:
    """Channel 4c + 2i + j is the pixel in row i and column j of each square of channel c."""
    result = np.empty((len(x), 4 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2))
    for channel, row, column in np.ndindex(x.shape[1], 2, 2):
        result[:, 4 * channel + 2 * row + column] = x[:, channel, row::2, column::2]
    return result


def split(z: np.ndarray, cell: Split2d) -> tuple[np.ndarray, np.ndarray]:
    z1, z2 = np.split(z, 2, 1)
    mean, logs = zeros_layer(z1, cell.conv)
    return z1, (z2 - mean) / np.exp(logs)


def forward(cell: nn.Cell, x: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
    """Any layer forwards; a split's two results one after the other in the channels."""
    if isinstance(cell, SqueezeLayer):
        return squeezed(x)
    if isinstance(cell, ActNorm2d):
        return actnorm(x, cell)
    if isinstance(cell, InvertibleConv1x1):
        return mixed(x, cell)
    if isinstance(cell, Split2d):
        return np.concatenate(split(x, cell), 1)
    x = mixed(actnorm(x, cell.actnorm), cell.invconv)
    return coupled(x, cell.affine, condition) if isinstance(cell, FlowStep) else x


def latents(network: SRFlowNet, hr_image: np.ndarray, conditions: list[np.ndarray]) -> list[np.ndarray]:
    """The whole flow forwards."""
    x, level, found = hr_image.astype(np.float64), -1, []
    for cell in network.flowUpsamplerNet.layers:
        level += isinstance(cell, SqueezeLayer)
        if isinstance(cell, Split2d):
            x, latent = split(x, cell)
            found.append(latent)
        else:
            x = forward(cell, x, conditions[level])
    return [*found, x]
