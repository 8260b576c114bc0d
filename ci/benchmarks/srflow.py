"""What is timed of SRFlow: x4 of the authors' size, at the sizes of shared/peers/bench_torch.py."""

from collections.abc import Callable

import numpy as np
from mindspore import ParameterTuple, Tensor

from common.export import make_engine
from common.training import Adam, GradientStep
from SRFlow.src.model.SRFlow import NegativeLogLikelihood
from SRFlow.src.model.SRFlowNet import PRESETS, SRFlowNet, count_parameters, draw_latents
from SRFlow.src.model_utils.graphs import fold, graph_of, is_read
from SRFlow.src.model_utils.recipe import level_of, read_parameters

HYPER = PRESETS["SRFlow_DF2K_4X"]
INFER_SIDE, TRAIN_SIDE, TRAIN_BATCH = 40, 40, 2  # LR pixels
HEAT, RATE = 0.9, 2.5e-4


def build(what: str, engine: str) -> tuple[Callable[[], float], dict]:
    """One step to be timed, and what it is.

    Args:
        what: infer (the reverse pass, with latents drawn anew) or train (the likelihood, its gradients, Adam).
        engine: for infer, onnxruntime or mindspore.
    """
    network, rng = SRFlowNet(HYPER), np.random.default_rng(0)
    about = {"config": "x4, RRDB 23x64, L 3, K 16, hidden 64", "parameters": count_parameters(network)}
    if what == "infer":
        arrays = fold({parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}, HYPER)
        runner = make_engine(engine, graph_of(arrays, HYPER, "decode"))
        lr = rng.random((1, 3, INFER_SIDE, INFER_SIDE), np.float32)
        about |= {"size": f"LR {INFER_SIDE}x{INFER_SIDE}", "batch": 1, "gflop": 2 * one_way(network, INFER_SIDE**2)}
        return lambda: float(runner.run(lr, *draw_latents(HYPER, (1, INFER_SIDE, INFER_SIDE), HEAT, rng)).sum()), about

    hr_side = TRAIN_SIDE * HYPER.scale
    hr = rng.random((TRAIN_BATCH, 3, hr_side, hr_side), np.float32)
    lr = rng.random((TRAIN_BATCH, 3, TRAIN_SIDE, TRAIN_SIDE), np.float32)
    network.initialise(Tensor(hr[:1, :, :64, :64]), Tensor(lr[:1, :, :16, :16]))
    parameters = ParameterTuple(read_parameters(network))
    gradient_step, optimizer = GradientStep(NegativeLogLikelihood(network), parameters), Adam(parameters)
    gflop = 6 * one_way(network, TRAIN_BATCH * TRAIN_SIDE**2)
    about |= {"size": f"LR {TRAIN_SIDE}x{TRAIN_SIDE}", "batch": TRAIN_BATCH, "gflop": gflop}

    def step() -> float:
        values, gradients, _, _ = gradient_step(Tensor([1.0, 0.0]), Tensor(hr), Tensor(lr))
        loss = float(values[0])
        optimizer.step(gradients, RATE)
        return loss

    return step, about


def one_way(network: SRFlowNet, lr_pixels: int) -> float:
    """10^9 multiplications of the convolutions as the authors write them, in one direction.

    The inference form needs fewer: its rate, which is reckoned with this number, is higher than that of the arithmetic.
    """
    found = 0.0
    for parameter in network.get_parameters():
        name, weights = parameter.name, int(np.prod(parameter.shape))
        if name.startswith("RRDB.") and name.endswith("weight") and is_read(name, HYPER):
            found += weights * lr_pixels * (4 if "upconv" in name else 1)
        elif ".layers." in name and len(parameter.shape) == 4 and parameter.shape[0] > 1:
            found += weights * lr_pixels * HYPER.scale**2 / 4 ** (level_of(name, HYPER) + 1)
    return found * 1e-9
