"""What is timed of CSNLN: x2 of the authors' size, at the sizes of shared/peers/bench_torch.py."""

from collections.abc import Callable

import numpy as np
from mindspore import ParameterTuple, Tensor

from common.runtime import graph_mode
from common.training import Adam, GradientStep, L1Loss
from CSNLN.src.config import LR_PATCH, MODELS, InferConfig, TrainConfig
from CSNLN.src.CSNLN import CSNLN, Hyper, count_parameters
from CSNLN.src.graphs import make_engine

HYPER = MODELS["CSNLN"]
SIDE, BATCH = LR_PATCH, 1  # LR pixels


def build(what: str, engine: str) -> tuple[Callable[[], float], dict]:
    """One step to be timed, and what it is.

    Args:
        what: infer or train.
        engine: for infer, onnxruntime or mindspore, which runs op by op as in eval.py and infer.py.
    """
    network, rng, scale = CSNLN(HYPER), np.random.default_rng(0), HYPER.scale
    about = {"config": "x2, 128 features, depth 12", "parameters": count_parameters(network)}
    about |= {"size": f"LR {SIDE}x{SIDE}", "batch": BATCH}
    lr = rng.random((BATCH, 3, SIDE, SIDE), np.float32)
    gflop = 2e-9 * multiplications(network, HYPER, SIDE**2)
    if what == "infer":
        runner = make_engine(engine, network, InferConfig().attention_memory * 2**20)

        def upscale() -> float:
            with graph_mode(False):
                return float(runner.run(lr).mean())

        return upscale, about | {"gflop": BATCH * gflop}

    parameters, options = ParameterTuple(network.trainable_params()), TrainConfig()
    gradient_step, optimizer = GradientStep(L1Loss(network), parameters), Adam(parameters)
    hr = rng.random((BATCH, 3, scale * SIDE, scale * SIDE), np.float32)

    def step() -> float:
        values, gradients, _, _ = gradient_step(Tensor([1.0, 0.0]), Tensor(lr), Tensor(hr))
        loss = float(values[0])
        optimizer.step(gradients, options.lr)
        return loss

    # forward, gradient of the inputs, gradient of the weights
    return step, about | {"gflop": 3 * BATCH * gflop}


def multiplications(network: CSNLN, hyper: Hyper, lr_pixels: int) -> float:
    """Of the convolutions and of the tables of weights of one image at x2, x3."""
    total, s2, channels = 0.0, hyper.scale**2, hyper.n_feats
    for parameter in network.get_parameters():
        name, weights = parameter.name, int(np.prod(parameter.shape))
        if len(parameter.shape) != 4:
            continue
        times = hyper.depth if name.startswith("SEM.") else 1
        on_hr = ".encoder." in name or name.startswith("tail.")
        on_reduced = ".conv_match_2." in name
        total += times * weights * lr_pixels * (s2 if on_hr else 1 / s2 if on_reduced else 1)
    in_scale = lr_pixels**2 * (channels // 2 + channels)
    cross_scale = lr_pixels**2 / s2 * (9 * channels // 2 + s2 * channels)
    return total + hyper.depth * (in_scale + cross_scale)
