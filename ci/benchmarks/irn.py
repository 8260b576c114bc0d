"""What is timed of IRN: x4 of the authors' size, at the sizes of shared/peers/bench_torch.py."""

from collections.abc import Callable

import numpy as np
from mindspore import ParameterTuple, Tensor

from common.training import GradientStep
from IRN.src.graphs import DIRECTIONS, engine_of
from IRN.src.network.Invnet import Hyper, InvRescaleNet, count_parameters
from IRN.src.optim.adam_clip import adam
from IRN.src.options.options import TrainConfig
from IRN.src.recipe import make_loss

HYPER = Hyper(scale=4, block_num=(8, 8))
INFER_SIDE, TRAIN_SIDE, TRAIN_BATCH = 512, 144, 4  # HR pixels


def build(what: str, engine: str) -> tuple[Callable[[], float], dict]:
    """One step to be timed, and what it is.

    Args:
        what: infer (down, to 8 bits, and up again) or train.
        engine: for infer, onnxruntime or mindspore.
    """
    network, rng = InvRescaleNet(HYPER), np.random.default_rng(0)
    about = {"config": "x4, 8 blocks per level, growth 32", "parameters": count_parameters(network)}
    if what == "infer":
        down, up = (engine_of(network, direction, engine) for direction in DIRECTIONS)
        hr = rng.random((1, 3, INFER_SIDE, INFER_SIDE), np.float32)
        lr_side = INFER_SIDE // HYPER.scale
        z = rng.standard_normal((1, HYPER.z_channels, lr_side, lr_side), np.float32)
        about |= {"size": f"HR {INFER_SIDE}x{INFER_SIDE}", "batch": 1, "gflop": 2 * one_way(network, INFER_SIDE**2)}
        return lambda: float(up.run(np.round(down.run(hr).clip(0, 1) * 255) / 255, z).ravel()[0]), about

    options = TrainConfig()
    gradient_step = GradientStep(make_loss(network, options), ParameterTuple(network.trainable_params()), options.gclip)
    optimizer = adam(network, options)
    hr = rng.random((TRAIN_BATCH, 3, TRAIN_SIDE, TRAIN_SIDE), np.float32)
    lr_side = TRAIN_SIDE // HYPER.scale
    lr = rng.random((TRAIN_BATCH, 3, lr_side, lr_side), np.float32)
    z = rng.standard_normal((TRAIN_BATCH, HYPER.z_channels, lr_side, lr_side), np.float32)
    # down and up, each with its gradients of the inputs and of the weights
    gflop = 6 * one_way(network, TRAIN_BATCH * TRAIN_SIDE**2)
    about |= {"size": f"HR {TRAIN_SIDE}x{TRAIN_SIDE}", "batch": TRAIN_BATCH, "gflop": gflop}

    def step() -> float:
        values, gradients, _, _ = gradient_step(Tensor([1.0, 0.0]), Tensor(hr), Tensor(lr), Tensor(z))
        loss = float(values[0])
        optimizer.step(gradients, options.lr)
        return loss

    return step, about


def one_way(network: InvRescaleNet, hr_pixels: int) -> float:
    """10^9 operations of the couplings, down or up."""
    level, found = 0, 0
    for operation in network.operations:
        weights = sum(int(np.prod(p.shape)) for p in operation.trainable_params() if len(p.shape) == 4)
        level += not weights
        found += 2 * weights * hr_pixels // 4**level
    return found * 1e-9
