"""IRN: the network in both directions, the quantisation, its learning rates, and the names at full size."""

import dataclasses
import re
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from IRN.src.graphs import Downscale, Upscale
from IRN.src.network.Invnet import BLOCKS_PER_LEVEL, COLORS, Hyper, InvRescaleNet, Quantization
from IRN.src.optim.adam_clip import adam
from IRN.src.options.options import TrainConfig
from IRN.src.recipe import learning_rate, make_loss

from .core import Golden
from .folder import Inventory
from .networks import by_name, clip_factor, gradient_function, load_state, renamed
from .registry import MODES, fixture, full_size, schedule

OPTIONS = {  # the manifest's name -> ours
    "scale": "scale",
    "block_num": "block_num",
    "gc": "growth",
    "init": "init",
    "lambda_fit_forw": "lambda_fit_forw",
    "lambda_rec_back": "lambda_rec_back",
    "lambda_ce_forw": "lambda_ce_forw",
    "lr_G": "lr",
    "weight_decay_G": "weight_decay",
    "gradient_clipping": "gclip",
}


@fixture("irn_x*.npz", modes=MODES)
def irn(golden: Golden) -> None:
    options = TrainConfig(**renamed(golden.config, OPTIONS))
    directions(golden, loaded(golden, options))
    inference_form(golden, loaded(golden, options))
    train(golden, loaded(golden, options), options)


def loaded(golden: Golden, options: TrainConfig) -> InvRescaleNet:
    network = InvRescaleNet(options.hyper())
    load_state(golden, network)
    return network


class Layers(nn.Cell):
    """The whole network layer by layer, forwards or backwards: (results, log-determinants), in the order in which they
    come about."""

    def __init__(self, network: InvRescaleNet, backwards: bool = False) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.backwards = network, backwards

    def construct(self, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        results, logdets = (), ()
        count = len(self.network.operations)
        for place in range(count):
            if self.backwards:
                x, logdet = self.network.operations[count - 1 - place].inverse(x)
            else:
                x, logdet = self.network.operations[place].forward(x)
            results, logdets = (*results, x), (*logdets, logdet)
        return results, logdets


def directions(golden: Golden, network: InvRescaleNet) -> None:
    forward, inverse, quantise = Layers(network), Layers(network, backwards=True), Quantization()
    results, logdets = forward(Tensor(golden["in/hr"]))
    layers = {f"fwd_op{place}": result for place, result in enumerate(results)}
    layers |= {f"fwd_op{place}_jac": mean(logdet) for place, logdet in enumerate(logdets)}
    lr_and_z, logdet = results[-1], sum(logdets)
    lr_image, z = quantise(lr_and_z[:, :COLORS]), Tensor(golden["in/z"])
    results, logdets = inverse(ops.concat((lr_image, z), 1))
    layers |= {f"rev_op{place}": result for place, result in enumerate(results[::-1])}
    layers |= {f"rev_op{place}_jac": mean(logdet) for place, logdet in enumerate(logdets[::-1])}
    golden.compare_all("mid/", layers)
    found = {
        "fwd": lr_and_z,
        "fwd_jacobian": mean(logdet),
        "roundtrip_hr": inverse(lr_and_z)[0][-1],
        "lr_quant": lr_image,
        "rev": results[-1],
        "rev_jacobian": mean(sum(logdets)),
        "downscale": lr_image,
        "upscale_from_downscale": results[-1],
        "upscale_gaussian_scale_0": inverse(ops.concat((lr_image, ops.zeros_like(z)), 1))[0][-1],
    }
    golden.compare_all("out/", found)


def inference_form(golden: Golden, network: InvRescaleNet) -> None:
    downscale, upscale = Downscale(network), Upscale(network)
    lr_image, z = Quantization()(downscale(Tensor(golden["in/hr"]))), Tensor(golden["in/z"])
    restored, of_the_mean = upscale(lr_image, z), upscale(lr_image, ops.zeros_like(z))
    found = {"downscale": lr_image, "upscale_from_downscale": restored, "upscale_gaussian_scale_0": of_the_mean}
    for name, image in found.items():
        golden.compare(f"out/{name}", image, quantity="out/ of the inference form")


def train(golden: Golden, network: InvRescaleNet, options: TrainConfig) -> None:
    """Steps on one batch with a z each: the first one's losses and gradients, and what all of them lead to."""
    parameters, optimizer = network.trainable_params(), adam(network, options)
    step = gradient_function(golden, make_loss(network, options), parameters, options.gclip)
    losses, norms = [], []
    for number, z in enumerate(golden["in/z_steps"]):
        (total, *parts), gradients, norm = step(Tensor(golden["in/hr"]), Tensor(golden["in/lr_ref"]), Tensor(z))
        losses.append([float(part) for part in parts])
        norms.append(float(norm))
        if number == 0:
            names = ("forw_fit", "forw_ce", "back_rec")
            golden.compare_all("loss/", {"total": total, **dict(zip(names, parts, strict=True))})
            whole = [gradient / clip_factor(norms[0], options.gclip) for gradient in gradients]
            golden.compare_all("grad/", by_name(parameters, whole))
        optimizer.step(gradients, options.lr)
    golden.compare_all("adam/", {"losses_fit_ce_rec": losses, "grad_norm_before_clip": norms})
    golden.compare_all("after/", by_name(parameters, parameters))


def mean(logdet: Tensor) -> float:
    return float(logdet.asnumpy().mean(dtype=np.float64))


@fixture("irn_quantization.npz", modes=MODES)
def quantisation(golden: Golden) -> None:
    quantise, upstream = Quantization(), Tensor(golden["in/upstream_grad"])

    def weighted(x: Tensor) -> Tensor:
        return (quantise(x) * upstream).sum()

    golden.compare("out/quantized", quantise(Tensor(golden["in/x"])))
    golden.compare("out/grad_x", ms.grad(weighted)(Tensor(golden["in/x"])))


# ------------------------------------------------------------------ learning rates


SCHEDULES: dict[str, dict[str, Any]] = {  # what the authors' rates were made with
    "irn_official_multistep": {"lr_steps": (100_000, 200_000, 300_000, 400_000)},
    "irn_multistep_restarts": {
        "lr_steps": [begin + step for begin in (0, 25, 50, 75) for step in (5, 10, 15, 20, 24)],
        "restarts": (25, 50, 75), "restart_weights": (1.0, 0.5, 0.25),
    },
    "irn_cosine_no_restart": {"T_period": (40,)},
    "irn_cosine_restart_a": {"T_period": 4 * (25,), "restarts": (25, 50, 75), "restart_weights": (1.0, 1.0, 1.0)},
    "irn_cosine_restart_b": {
        "T_period": (20, 30, 40), "restarts": (20, 50), "restart_weights": (0.8, 0.5), "eta_min": 1e-6,
    },
    "irn_warmup10_cosine": {"warmup_iter": 10, "T_period": (40,)},
    "irn_warmup10_multistep": {"warmup_iter": 10, "lr_steps": (20, 30)},
}  # fmt: skip


def rates(golden: Golden, name: str) -> list[float]:
    scheme = "CosineAnnealingLR_Restart" if "cosine" in name else "MultiStepLR"
    steps, options = golden[f"{name}/k"], TrainConfig(lr=float(golden[f"{name}/lr"][0]), lr_scheme=scheme)
    rate = learning_rate(dataclasses.replace(options, **SCHEDULES[name]), int, int(steps[-1]))
    return [rate(int(step)) for step in steps]


for each in SCHEDULES:
    schedule(each)(rates)


# ------------------------------------------------------------------ full size


@full_size("irn_x*")
def full_size_network(inventory: Inventory) -> InvRescaleNet:
    scale = int(re.fullmatch(r"irn_x(\d)", inventory.name)[1])
    return InvRescaleNet(Hyper(scale, BLOCKS_PER_LEVEL[scale]))
