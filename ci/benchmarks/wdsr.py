"""What is timed of WDSR: WDSR-B x2, 32 blocks, 64 features, at the sizes of shared/peers/bench_torch.py."""

from collections.abc import Callable

import numpy as np
from mindspore import ParameterTuple, Tensor

from common.export import Graph, make_engine
from common.training import Adam, GradientStep, L1Loss
from WDSR.src.graphs import CHECK_SIZES, OUTPUTS, WDSRInference, ports
from WDSR.src.model import PRESETS, WDSR, count_parameters

HYPER = PRESETS["wdsr_b"]
INFER_SIDE, TRAIN_SIDE, TRAIN_BATCH = 128, 48, 16  # LR pixels


def build(what: str, engine: str) -> tuple[Callable[[], float], dict]:
    """One step to be timed, and what it is.

    Args:
        what: infer or train.
        engine: for infer, onnxruntime or mindspore.
    """
    network = WDSR(HYPER)
    weights = sum(int(np.prod(p.shape)) for p in network.trainable_params() if p.name.endswith("weight_v"))
    about = {"config": "x2, WDSR-B, 32 blocks, 64 features", "parameters": count_parameters(network)}
    rng = np.random.default_rng(0)
    if what == "infer":
        runner = make_engine(engine, Graph(WDSRInference(network), ports(HYPER), OUTPUTS, CHECK_SIZES))
        lr = (rng.random((1, 3, INFER_SIDE, INFER_SIDE)) * 255).astype(np.float32)
        about |= {"size": f"LR {INFER_SIDE}x{INFER_SIDE}", "batch": 1, "gflop": 2e-9 * weights * INFER_SIDE**2}
        return lambda: float(runner.run(lr).ravel()[0]), about

    parameters = ParameterTuple(network.trainable_params())
    gradient_step, optimizer = GradientStep(L1Loss(network), parameters), Adam(parameters)
    lr = (rng.random((TRAIN_BATCH, 3, TRAIN_SIDE, TRAIN_SIDE)) * 255).astype(np.float32)
    hr = (rng.random((TRAIN_BATCH, 3, 2 * TRAIN_SIDE, 2 * TRAIN_SIDE)) * 255).astype(np.float32)
    pixels = TRAIN_BATCH * TRAIN_SIDE**2
    # forward, gradient of the input, gradient of the weights
    about |= {"size": f"LR {TRAIN_SIDE}x{TRAIN_SIDE}", "batch": TRAIN_BATCH, "gflop": 6e-9 * weights * pixels}

    def step() -> float:
        values, gradients, _, _ = gradient_step(Tensor([1.0, 0.0]), Tensor(lr), Tensor(hr))
        loss = float(values[0])
        optimizer.step(gradients, 1e-4)
        return loss

    return step, about
