"""Tiny trained-looking networks for tests, and what they compute, told by the training form rather than by a graph."""

import zlib

import mindspore as ms
import numpy as np
from mindspore import Tensor

from IRN.src.network.Invnet import Hyper, InvRescaleNet

TINY = Hyper(2, (1,), 4)


def make(seed: int = 3, last: float = 0.1) -> InvRescaleNet:
    """A network whose couplings do something, as far as they reach.

    Args:
        last: size of the last filters of each dense block, which begin as zeros; 0 leaves the Haar transform.
    """
    network, rng = InvRescaleNet(TINY, seed), np.random.default_rng(seed)
    for parameter in network.trainable_params():
        if "conv5" in parameter.name:
            parameter.set_data(Tensor(last * rng.standard_normal(parameter.shape), ms.float32))
        elif ".conv" in parameter.name:
            parameter.set_data(Tensor(6 * parameter.asnumpy()))
    return network


def normal_z(seed: int, name: str, draw: int, hyper: Hyper, height: int, width: int) -> np.ndarray:
    """The z that infer.py and eval.py promise for an image of this name."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode()), draw])
    return generator.standard_normal((1, 3 * hyper.scale**2 - 3, height, width), np.float32)


def down(network: InvRescaleNet, hr: np.ndarray) -> np.ndarray:
    """(sH, sW, 3) in [0, 1] -> (H, W, 3), not rounded."""
    output = network(Tensor(hr.transpose(2, 0, 1)[None].astype(np.float32)))
    return output.asnumpy()[0, :3].transpose(1, 2, 0)


def up(network: InvRescaleNet, lr: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(H, W, 3) in [0, 1] and z -> (sH, sW, 3), not rounded."""
    both = np.concatenate([lr.transpose(2, 0, 1)[None].astype(np.float32), z], 1)
    return network.inverse(Tensor(both))[0].asnumpy()[0].transpose(1, 2, 0)


def eight_bits(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def upscale(network: InvRescaleNet, lr: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3), 8 bit -> what infer.py upscale makes of it with --seed 7 and --gaussian_scale 0.5."""
    return up(network, lr / 255, 0.5 * normal_z(7, name, 0, network.hyper, *lr.shape[:2]))
