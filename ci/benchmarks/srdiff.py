"""What is timed of SRDiff: x4 of the authors' size, at the sizes of shared/peers/bench_torch.py."""

from collections.abc import Callable

import numpy as np
from mindspore import ParameterTuple, Tensor

from common.training import Adam, GradientStep
from SRDiff.src.model.objective import NoiseLoss
from SRDiff.src.model.srdiff import PRESETS, SRDiffNet, count_parameters
from SRDiff.src.model_utils.graphs import prepare
from SRDiff.src.model_utils.options import TrainConfig
from SRDiff.src.model_utils.pictures import Chain, Sampler, Way
from SRDiff.src.model_utils.recipe import halvings, trained_part
from SRDiff.src.model_utils.util import Trained

HYPER = PRESETS["diffsr_df2k4x"]
INFER_SIDE, TRAIN_SIDE, TRAIN_BATCH = 40, 40, 4  # LR pixels
STEPS = 10  # of the chain's 100, all of which cost the same


def build(what: str, engine: str) -> tuple[Callable[[], float], dict]:
    """One step to be timed, and what it is.

    Args:
        what: infer (the encoder, and ten steps of the chain, with noise drawn anew) or train (the noise predictor's
            loss, its gradients, Adam; the encoder is fixed).
        engine: for infer, onnxruntime or mindspore.
    """
    network, rng, scale = SRDiffNet(HYPER), np.random.default_rng(0), HYPER.scale
    about = {"config": "x4, RRDB 8x32 fixed, U-Net 64 x 1-2-3-4", "parameters": count_parameters(network)}
    if what == "infer":
        encoder, predictor = one_way(network, INFER_SIDE**2)
        sampler = Sampler(Trained(prepare(network), "random weights", "random weights"), engine)
        lr = rng.integers(0, 256, (INFER_SIDE, INFER_SIDE, 3), np.uint8)
        size = f"LR {INFER_SIDE}x{INFER_SIDE}, {STEPS} of {HYPER.timesteps} steps"
        about |= {"size": size, "batch": 1, "gflop": 2 * (encoder + STEPS * predictor)}

        def upscale() -> float:
            chain = Chain(lr, sampler)
            return float(chain.image(chain.sample(chain.noise(0, "an image", 0), Way("ddpm", STEPS))).mean())

        return upscale, about

    options, shape = TrainConfig(), (TRAIN_BATCH, 3, TRAIN_SIDE * scale, TRAIN_SIDE * scale)
    parameters = ParameterTuple(trained_part(network, options).trainable_params())
    gradient_step = GradientStep(NoiseLoss(network), parameters)
    optimizer = Adam(parameters, (options.beta1, options.beta2))
    hr, lr_up = (rng.random(shape, np.float32) * 2 - 1 for _ in range(2))
    lr = rng.random((TRAIN_BATCH, 3, TRAIN_SIDE, TRAIN_SIDE), np.float32) * 2 - 1
    encoder, predictor = one_way(network, TRAIN_BATCH * TRAIN_SIDE**2)
    gflop = 2 * encoder + 6 * predictor  # the predictor with its gradients of the inputs and of the weights
    about |= {"size": f"LR {TRAIN_SIDE}x{TRAIN_SIDE}", "batch": TRAIN_BATCH, "gflop": gflop}

    def step() -> float:
        t = Tensor(rng.integers(HYPER.timesteps, size=TRAIN_BATCH).astype(np.int32))
        eps = rng.standard_normal(shape, np.float32)
        values, gradients, _, _ = gradient_step(Tensor([1.0, 0.0]), *map(Tensor, (hr, lr, lr_up)), t, Tensor(eps))
        loss = float(values[0])
        optimizer.step(gradients, options.lr)
        return loss

    return step, about


def one_way(network: SRDiffNet, lr_pixels: int) -> tuple[float, float]:
    """10^9 multiplications of the convolutions of the encoder, whose head is not run, and of the noise predictor.

    The features' projection, which sampling makes once and training at each step, is counted with the encoder.
    """
    encoder = predictor = 0.0
    for parameter in network.get_parameters():
        name, weights = parameter.name, int(np.prod(parameter.shape))
        if len(parameter.shape) != 4 or name.startswith(("rrdb.upconv", "rrdb.HRconv", "rrdb.conv_last")):
            continue
        if name.startswith(("rrdb.", "denoise_fn.cond_proj.")):
            encoder += weights * lr_pixels
        else:
            predictor += weights * lr_pixels * HYPER.scale**2 / 4 ** halvings(name, HYPER)
    return encoder * 1e-9, predictor * 1e-9
