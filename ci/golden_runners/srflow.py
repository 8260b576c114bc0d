"""SRFlow: both directions, every layer, likelihood and training, ActNorm initialisation, rates, full-size networks."""

import math
from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from SRFlow.src.model.Flow import Condition, SqueezeLayer, joined, standard_normal_log_density
from SRFlow.src.model.FlowStep import FlowStep
from SRFlow.src.model.FlowUpsamplerNet import FlowUpsamplerNet
from SRFlow.src.model.Split import Split2d
from SRFlow.src.model.SRFlow import NegativeLogLikelihood
from SRFlow.src.model.SRFlowNet import PRESETS, Hyper, SRFlowNet, load_weights
from SRFlow.src.scheduler.scheduler import multistep_rate

from .core import Golden
from .folder import Inventory
from .networks import by_name, load_state, renamed, train
from .registry import MODES, fixture, full_size, schedule

OPTIONS = {  # the manifest's name -> ours
    "scale": "scale",
    "nf": "num_features",
    "nb": "num_blocks",
    "gc": "growth",
    "blocks": "stack",
    "L": "levels",
    "K": "steps",
    "hidden_channels": "hidden_channels",
    "eps": "eps",
}
LEVELS = ("fea_up2", "fea_up1", "fea_up0")  # what the authors call the features of the three levels, at scale 4


def build(golden: Golden) -> SRFlowNet:
    """The network with the fixture's weights; ActNorm parameters that it leaves out keep their zeros."""
    network = SRFlowNet(Hyper(**renamed(golden.config, OPTIONS)))
    unset = {p.name: p.asnumpy() for p in network.get_parameters() if ".actnorm." in p.name}
    load_weights(network, unset | golden.under("state/"), golden.name)
    return network


class Call(nn.Cell):
    """A method as a cell, so that graph mode compiles it as a whole.

    A tuple of tensors must be given as `ms.mutable`: graph mode takes another one for a constant, and compiles anew.
    """

    def __init__(self, owner: nn.Cell, method: str) -> None:
        super().__init__(auto_prefix=False)
        self.run = getattr(owner, method)

    def construct(self, *inputs: Any) -> Any:
        return self.run(*inputs)


def log_density(latents: Sequence[Tensor]) -> np.ndarray:
    """log N(latents; 0, 1) (N,), which the authors count among the log-determinants of a split."""
    values = [latent.asnumpy().astype(np.float64) for latent in latents]
    return sum(-0.5 * (x**2 + math.log(2 * math.pi)).sum((1, 2, 3)) for x in values)


# ------------------------------------------------------------------ the network


@fixture("srflow_[0-9]x.npz", modes=MODES)
def srflow(golden: Golden) -> None:
    network = build(golden)
    conditions = encoder(golden, network)
    directions(golden, network.flowUpsamplerNet, conditions)
    layers(golden, network.flowUpsamplerNet, conditions)
    likelihood(golden, network)
    network = build(golden)  # as it was before the steps above
    batch = Tensor(golden["in/hr"]), Tensor(golden["in/lr"])
    train(golden, network, NegativeLogLikelihood(network), batch, "nll_mean")


class Features(nn.Cell):
    """The conditions of the flow, as ours and as the authors have them; results of the blocks; the head."""

    def __init__(self, network: SRFlowNet) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor) -> tuple[Any, ...]:
        conditions, whole = self.network.conditions(lr_image), ()
        for condition in conditions:
            whole = (*whole, joined(condition))
        return conditions, whole, self.network.RRDB.trunk(lr_image)[0], self.network.RRDB(lr_image)


def encoder(golden: Golden, network: SRFlowNet) -> tuple[Condition, ...]:
    conditions, whole, blocks, image = Features(network)(Tensor(golden["in/lr"]))
    found = {f"rrdb_block_{number}": block for number, block in enumerate(blocks)} | {"rrdb_out": image}
    for name, (own, _), features in zip(LEVELS, conditions, whole, strict=True):
        found |= {f"rrdb_{name}": own, f"cond_{name}": features}
    golden.compare_all("mid/", found)
    return ms.mutable(conditions)


def directions(golden: Golden, flow: FlowUpsamplerNet, conditions: Sequence[Condition]) -> None:
    forward, inverse = Call(flow, "forward"), Call(flow, "inverse")
    quant, pixels = golden.config["quant"], golden["in/hr"][0, 0].size
    latents, logdet = forward(Tensor(golden["in/hr"]), conditions)
    noise = (golden["in/uniform_noise"] - np.float32(0.5)) / np.float32(quant)
    noisy_latents, noisy_logdet = forward(Tensor(golden["in/hr"] + noise), conditions)
    restored, back = inverse(ms.mutable(latents), conditions)
    given = ms.mutable((Tensor(golden["in/eps_split"]), Tensor(golden["in/eps_z"])))
    zeros = ms.mutable(tuple(Tensor(0 * latent.asnumpy()) for latent in given))
    image, image_logdet = inverse(given, conditions)
    found = {
        "eps_split": latents[0],
        "eps_z": latents[1],
        "logdet": logdet.asnumpy() + log_density(latents[:1]),
        "z_with_noise": noisy_latents[1],
        "logdet_with_noise": noisy_logdet.asnumpy() + log_density(noisy_latents[:1]) - math.log(quant) * pixels,
        "roundtrip_hr": restored,
        "roundtrip_logdet": back.asnumpy() - log_density(latents[:1]),
        "sr_given_eps": image,
        "sr_given_eps_logdet": image_logdet.asnumpy() - log_density(given[:1]),
        "sr_heat0": inverse(zeros, conditions)[0],
    }
    golden.compare_all("out/", found)


def likelihood(golden: Golden, network: SRFlowNet) -> None:
    batch = [Tensor(golden[f"in/{name}"]) for name in ("hr", "lr", "uniform_noise")]
    noisy = NegativeLogLikelihood(network, golden.config["quant"])
    golden.compare("out/nll", Call(NegativeLogLikelihood(network), "per_image")(*batch[:2]))
    golden.compare("out/nll_with_noise", Call(noisy, "per_image")(*batch))


class Layers(nn.Cell):
    """The flow layer by layer: (results, log-determinants), in the order in which they come about.

    A split's result is what goes on in the flow.
    """

    def __init__(self, flow: FlowUpsamplerNet, backwards: bool = False) -> None:
        super().__init__(auto_prefix=False)
        self.layers, self.backwards = flow.layers, backwards
        squeezes = [isinstance(layer, SqueezeLayer) for layer in self.layers]
        self.levels = [int(level) for level in np.cumsum(squeezes) - 1]
        self.kinds = [layer_kind(layer) for layer in self.layers]

    def construct(self, x: Tensor, split_latent: Tensor, conditions: Sequence[Condition]) -> tuple[Any, ...]:
        results, logdets, latents = (), (), ()
        for number in range(len(self.kinds)):
            place = len(self.kinds) - 1 - number if self.backwards else number
            layer, kind, condition = self.layers[place], self.kinds[place], conditions[self.levels[place]]
            if kind == "split":
                if self.backwards:
                    x, logdet = layer.inverse(x, split_latent)
                else:
                    (x, latent), logdet = layer.forward(x)
                    latents = (*latents, latent)
            elif kind == "step":
                x, logdet = layer.inverse(x, condition) if self.backwards else layer.forward(x, condition)
            else:
                x, logdet = layer.inverse(x) if self.backwards else layer.forward(x)
            results, logdets = (*results, x), (*logdets, logdet)
        return results, logdets, latents


def layer_kind(layer: nn.Cell) -> str:
    return "split" if isinstance(layer, Split2d) else "step" if isinstance(layer, FlowStep) else "plain"


def layers(golden: Golden, flow: FlowUpsamplerNet, conditions: Sequence[Condition]) -> None:
    """Result of each layer and the sum of the log-determinants so far, both ways."""
    split_latent, latent = Tensor(golden["in/eps_split"]), Tensor(golden["in/eps_z"])
    forwards, backwards = Layers(flow), Layers(flow, backwards=True)
    results, logdets, latents = forwards(Tensor(golden["in/hr"]), split_latent, conditions)
    running, density, found = 0.0, log_density(latents), {}
    for place, kind in enumerate(forwards.kinds):
        running = running + logdets[place].asnumpy().astype(np.float64) + (density if kind == "split" else 0)
        found |= {f"enc_layer{place}": results[place], f"enc_layer{place}_logdet": running}
    results, logdets, _ = backwards(latent, split_latent, conditions)
    running, density = 0.0, log_density([split_latent])
    for number, kind in enumerate(reversed(backwards.kinds)):
        place = len(results) - 1 - number
        running = running + logdets[number].asnumpy().astype(np.float64) - (density if kind == "split" else 0)
        found |= {f"dec_layer{place}": results[number], f"dec_layer{place}_logdet": running}
    golden.compare_all("mid/", found)


# ------------------------------------------------------------------ its first batch


@fixture("srflow_actnorm_init*.npz", modes=MODES)
def first_batch(golden: Golden) -> None:
    network, batch = build(golden), (Tensor(golden["in/hr"]), Tensor(golden["in/lr"]))
    flipped = [Tensor(np.ascontiguousarray(image.asnumpy()[:, :, ::-1])) for image in batch]
    nll = Call(NegativeLogLikelihood(network), "per_image")
    golden.compare("out/nll_eval_mode_uninitialised", nll(*batch))
    network.initialise(*batch)
    golden.compare("out/nll_first_training_forward", nll(*batch))
    golden.compare("out/z_first_training_forward", Call(network, "forward")(*batch)[0][-1])
    network.initialise(*flipped)
    golden.compare("out/nll_second_forward_flipped_batch", nll(*flipped))
    golden.compare_all("after/", network.parameters_dict())


# ------------------------------------------------------------------ its layers


class Parts(nn.Cell):
    def __init__(self, channels: int, condition: int, hidden_channels: int, eps: float = 1e-4) -> None:
        super().__init__()
        self.flowstep = FlowStep(channels, condition, hidden_channels, eps, np.random.default_rng(0))
        self.split = Split2d(channels)


@fixture("srflow_parts*.npz", modes=MODES)
def parts(golden: Golden) -> None:
    config = golden.config
    owner = Parts(config["C"], config["cond"], config["hidden"])
    load_state(golden, owner)
    step, invconv, split, squeeze = owner.flowstep, owner.flowstep.invconv, owner.split, SqueezeLayer()
    z, features, eps = Tensor(golden["in/z"]), Tensor(golden["in/ft"]), Tensor(golden["in/eps"])
    condition = ms.mutable((features[:, :1], features[:, 1:]))  # any two parts that are joined in this order
    y, logdet = Call(step, "forward")(z, condition)
    back, back_logdet = Call(step, "inverse")(z, condition)
    turned, turned_logdet = Call(invconv, "forward")(z)
    (z1, latent), split_logdet = Call(split, "forward")(z)
    joined_again, joined_logdet = Call(split, "inverse")(z1, eps)
    squeezed = Call(squeeze, "forward")(Tensor(golden["in/squeeze"]))[0]
    found = {
        "flowstep_forward": y,
        "flowstep_logdet": logdet,
        "flowstep_reverse": back,
        "flowstep_reverse_logdet": back_logdet,
        "invconv_forward": turned,
        "invconv_logdet": turned_logdet,
        "invconv_reverse": Call(invconv, "inverse")(z)[0],
        "split_z1": z1,
        "split_eps": latent,
        "split_logdet": split_logdet.asnumpy() + log_density([latent]),
        "split_reverse_given_eps": joined_again,
        "split_reverse_logdet": joined_logdet.asnumpy() - log_density([eps]),
        "squeeze2d": squeezed,
        "unsqueeze2d_of_squeezed": Call(squeeze, "inverse")(squeezed)[0],
        "gaussian_logp_standard": standard_normal_log_density(z),
    }
    golden.compare_all("out/", found)
    step_gradients(golden, step, z, features)


def step_gradients(golden: Golden, step: FlowStep, z: Tensor, features: Tensor) -> None:
    """Of sum(y^2) plus the sum of the log-determinants, by what goes in and by the step's parameters."""

    def objective(z: Tensor, features: Tensor) -> Tensor:
        y, logdet = step.forward(z, (features[:, :1], features[:, 1:]))
        return logdet.sum() + (y * y).sum()

    parameters = step.trainable_params()
    of_inputs, of_parameters = ms.grad(objective, (0, 1), ms.ParameterTuple(parameters))(z, features)
    inputs = dict(zip(("flowstep_input", "flowstep_ft"), of_inputs, strict=True))
    golden.compare_all("grad/", inputs | by_name(parameters, of_parameters))


# ------------------------------------------------------------------ learning rates


SCHEDULES = {  # steps at which the rate is halved, and doubled
    "srflow_official_df2k_4x": ((100_000, 150_000, 180_000, 190_000), ()),
    "srflow_with_inverse_steps": ((10, 20, 30), (15, 25)),
}


def rates(golden: Golden, name: str) -> list[float]:
    """The rates after k turns of the authors' scheduler, which is turned before each step."""
    down, up = SCHEDULES[name]
    rate = multistep_rate(float(golden[f"{name}/lr"][0]), down, 0.5, up)
    return [rate(int(turn) - 1) for turn in golden[f"{name}/k"]]


for each in SCHEDULES:
    schedule(each)(rates)


# ------------------------------------------------------------------ full size


@full_size("srflow_*")
def full_size_network(inventory: Inventory) -> SRFlowNet:
    return SRFlowNet(PRESETS[inventory.name.removeprefix("srflow_")])
