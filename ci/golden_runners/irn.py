"""IRN: the network in both directions, the quantisation, its learning rates, and the names at full size."""

import itertools
import math
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
    """Both directions and every layer with their log-determinants, both halves of the network, and training."""
    options = TrainConfig(**renamed(golden.config, OPTIONS))
    directions(golden, loaded(golden, options))
    inference_form(golden, loaded(golden, options))
    train(golden, loaded(golden, options), options)


def loaded(golden: Golden, options: TrainConfig) -> InvRescaleNet:
    """A network of its own with the fixture's weights."""
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
    """Forwards, and backwards from four inputs; the authors' log-determinants are means over the images."""
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
    """Downscaling and upscaling as eval, infer and export have them: two networks."""
    downscale, upscale = Downscale(network), Upscale(network)
    lr_image, z = Quantization()(downscale(Tensor(golden["in/hr"]))), Tensor(golden["in/z"])
    restored, of_the_mean = upscale(lr_image, z), upscale(lr_image, ops.zeros_like(z))
    found = {"downscale": lr_image, "upscale_from_downscale": restored, "upscale_gaussian_scale_0": of_the_mean}
    for name, picture in found.items():
        golden.compare(f"out/{name}", picture, quantity="out/ of the inference form")


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
    """Over the images."""
    return float(logdet.asnumpy().mean(dtype=np.float64))


@fixture("irn_quantization.npz", modes=MODES)
def quantisation(golden: Golden) -> None:
    """Values, and the gradient that passes."""
    quantise, upstream = Quantization(), Tensor(golden["in/upstream_grad"])

    def weighted(x: Tensor) -> Tensor:
        return (quantise(x) * upstream).sum()

    golden.compare("out/quantized", quantise(Tensor(golden["in/x"])))
    golden.compare("out/grad_x", ms.grad(weighted)(Tensor(golden["in/x"])))


# ------------------------------------------------------------------ learning rates


@schedule("irn_*")
def rates(golden: Golden, name: str) -> list[float]:
    """The rates after k steps.

    The parameters of a schedule are in no file. The name tells its kind; all else is read off the rates: the base rate
    is that of step 0 and the warm-up what rises in proportion to the step. See `read_multistep` and `read_cosine`.
    """
    steps, wanted = golden[f"{name}/k"], golden[f"{name}/lr"]
    warmup = read_warmup(steps, wanted)
    read = read_cosine if "cosine" in name else read_multistep
    options = TrainConfig(lr=float(wanted[0]), warmup_iter=warmup, **read(steps, wanted, max(warmup - 1, 0)))
    rate = learning_rate(options, int, int(steps[-1]))
    return [rate(int(step)) for step in steps]


def read_warmup(steps: np.ndarray, wanted: np.ndarray) -> int:
    """Length of the warm-up, whose rates are base * step / length; -1 for none."""
    if len(wanted) < 2 or wanted[1] >= wanted[0]:
        return -1
    length = round(wanted[0] * steps[1] / wanted[1])
    rising = (steps > 0) & (steps < length)
    return length if length > 1 and np.allclose(wanted[rising], wanted[0] * steps[rising] / length, rtol=1e-9) else -1


def read_multistep(steps: np.ndarray, wanted: np.ndarray, begin: int) -> dict[str, Any]:
    """gamma is the smallest fall, a larger one is several milestones at once; where the rate rises is a restart.

    Args:
        begin: step from which on the scheme counts.
    """
    ratios = wanted[1:] / wanted[:-1]
    ratios[steps[1:] <= begin] = 1
    falls, rises = np.flatnonzero(ratios < 1) + 1, np.flatnonzero(ratios > 1) + 1
    gamma = float(ratios[falls - 1].max(initial=0)) or 1.0
    times = [round(math.log(ratios[fall - 1]) / math.log(gamma)) for fall in falls]
    return {
        "lr_scheme": "MultiStepLR",
        "lr_steps": tuple(np.repeat(steps[falls], times).tolist()),
        "lr_gamma": gamma,
        "restarts": tuple(steps[rises].tolist()),
        "restart_weights": tuple((wanted[rises] / wanted[0]).tolist()),
    }


def read_cosine(steps: np.ndarray, wanted: np.ndarray, begin: int) -> dict[str, Any]:
    """Restarts are peaks that the rate jumps to; each stretch up to its lowest rate is a piece of a half cosine.

    Args:
        begin: as in `read_multistep`.
    """
    if not np.array_equal(steps, np.arange(len(steps))):
        raise ValueError("a cosine is read off the rates of all steps from 0")
    before, at, after = wanted[begin:-2], wanted[begin + 1 : -1], wanted[begin + 2 :]
    jumps = (at > after) & (after > before) & (at - before > 2 * (at - after))
    restarts = (np.flatnonzero(jumps) + begin + 1).tolist()
    halves = [
        read_half_cosine(wanted[first:last], first == begin and begin)
        for first, last in itertools.pairwise([begin, *restarts, len(wanted)])
    ]
    return {
        "lr_scheme": "CosineAnnealingLR_Restart",
        "T_period": tuple(period for period, _ in halves),
        "eta_min": halves[-1][1],
        "restarts": tuple(restarts),
        "restart_weights": tuple((wanted[restarts] / wanted[0]).tolist()),
    }


def read_half_cosine(wanted: np.ndarray, since: int) -> tuple[int, float]:
    """(period, minimum) of minimum + amplitude * (1 + cos(pi * step / period)), the first rate's step being `since`.

    The second difference of such rates is their distance from the middle, times 2 cos(pi / period) - 2.
    """
    rising = np.flatnonzero(np.diff(wanted) > 0)
    falling = wanted[: rising[0] + 1] if len(rising) else wanted
    slope = np.polyfit(falling[1:-1], np.diff(falling, 2), 1)[0]
    period = round(math.pi / math.acos(1 + slope / 2))
    first, last = (1 + math.cos(math.pi * step / period) for step in (since, since + len(falling) - 1))
    return period, max(0.0, float(falling[-1] - (falling[0] - falling[-1]) / (first - last) * last))


# ------------------------------------------------------------------ full size


@full_size("irn_x*")
def full_size_network(inventory: Inventory) -> InvRescaleNet:
    """The authors' network of the scale that the name tells: irn_x4."""
    scale = int(re.fullmatch(r"irn_x(\d)", inventory.name)[1])
    return InvRescaleNet(Hyper(scale, BLOCKS_PER_LEVEL[scale]))
