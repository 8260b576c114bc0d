"""SRDiff: schedules, both networks, the objective and training, a whole chain with given noise, names at full size."""

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from common.checkpoint import load_into
from common.training import Adam
from SRDiff.src.model.objective import NoiseLoss, to_residual
from SRDiff.src.model.sampling import sample, to_image
from SRDiff.src.model.schedule import make_schedule
from SRDiff.src.model.srdiff import PRESETS, Hyper, SRDiffNet
from SRDiff.src.model_utils.official import CONSTANTS, network_weights
from SRDiff.src.model_utils.options import TrainConfig
from SRDiff.src.model_utils.recipe import plan

from .core import Golden
from .folder import Inventory
from .networks import by_name, gradient_function
from .registry import MODES, fixture, full_size, schedule

NAMED = ("hidden_size", "rrdb_num_feat", "rrdb_num_block", "res_rescale")  # in the manifest as in `Hyper`
CHAIN = ("timesteps", "beta_schedule", "beta_s", "beta_end")


@fixture("srdiff_schedules.npz")
def schedules(golden: Golden) -> None:
    for steps in golden.config["T"]:
        for kind in ("cosine", "linear"):
            made = make_schedule(kind, steps, golden.config["beta_s"], golden.config["beta_end"])
            for name in CONSTANTS:
                golden.compare(f"out/{kind}_T{steps}/{name}", getattr(made, name).astype(np.float32))
        betas = make_schedule("cosine", steps, golden.config["beta_s"]).betas
        golden.compare(f"out/cosine_T{steps}_float64_betas", betas)


@fixture("srdiff_4x.npz", modes=MODES)
def srdiff(golden: Golden) -> None:
    network = loaded(golden)
    layers(golden, network)
    one_step(golden, network)
    chain(golden, network)
    train(golden, network)


def hyper_of(golden: Golden) -> Hyper:
    known = {name: golden.config[name] for name in NAMED + CHAIN}
    multiples = tuple(int(multiple) for multiple in golden.config["unet_dim_mults"].split("|"))
    return Hyper(scale=golden.config["sr_scale"], dim_mults=multiples, **known)


def loaded(golden: Golden) -> SRDiffNet:
    """A network with the fixture's weights; the constants of the chain are compared, not taken over."""
    network = SRDiffNet(hyper_of(golden))
    load_into(network, network_weights(golden.under("state/"), network.hyper, golden.name), source=golden.name)
    return network


class Layers(nn.Cell):
    """(lr_image, x, t) -> the results that the fixture has, in its order, and eps."""

    def __init__(self, network: SRDiffNet) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor, x: Tensor, t: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        unet = self.network.denoise_fn
        features = self.network.rrdb.features(lr_image)
        projected = unet.project(self.network.features(lr_image))
        positions = unet.embed(t)
        time, skips, found = unet.mlp(positions), (), ()
        beginning = (positions, time, projected)
        for level, (first, second, down) in enumerate(unet.downs):
            x = second(first(x, time), time)
            found = (*found, x)
            if level == 0:
                x = x + projected
            skips = (*skips, x)
            x = down(x)
            found = (*found, x)
        x = unet.mid_block1(x, time)
        found = (*found, x)
        x = unet.mid_block2(x, time)
        found = (*found, x)
        for level, (first, second, up) in enumerate(unet.ups):
            x = second(first(ms.ops.concat((x, skips[-1 - level]), 1), time), time)
            found = (*found, x)
            x = up(x)
            found = (*found, x)
        return features, (self.network.rrdb.head(features[-1]),), beginning, found, (unet.final_conv(x),)


def layers(golden: Golden, network: SRDiffNet) -> None:
    levels = len(network.hyper.dim_mults)
    names = [f"unet_down{level}_{part}" for level in range(levels) for part in (1, 2)]
    names += ["unet_mid_block1", "unet_mid_block2"]
    names += [f"unet_up{level}_{part}" for level in range(levels - 1) for part in (1, 2)]
    t = golden["in/t"][0]
    features, head, beginning, found, (eps,) = Layers(network)(
        Tensor(golden["in/img_lr"]), Tensor(noised(golden, network, t)), Tensor(t.astype(np.int32))
    )
    known: dict[str, Any] = {f"rrdb_fea{number}": feature for number, feature in enumerate(features)}
    known |= {"rrdb_out": head[0]}
    known |= dict(zip(("unet_time_pos_emb", "unet_time_mlp", "unet_cond_proj"), beginning, strict=True))
    known |= dict(zip(names, found, strict=True))
    known |= {"img2res": start_of(golden, network)}
    known |= {"q_sample": noised(golden, network, t), "q_sample_t_minus_1": noised(golden, network, t - 1)}
    golden.compare_all("mid/", known)
    golden.compare("out/eps_theta", eps)


def start_of(golden: Golden, network: SRDiffNet) -> np.ndarray:
    hr_image, lr_up = Tensor(golden["in/img_hr"]), Tensor(golden["in/img_lr_up"])
    return to_residual(hr_image, lr_up, network.hyper.res_rescale).asnumpy()


def noised(golden: Golden, network: SRDiffNet, t: np.ndarray) -> np.ndarray:
    """x_t of each image at its own step; at step -1, before the first noise, x_0 itself."""
    made, start, eps = network.hyper.schedule(), start_of(golden, network), golden["in/noise"][0]
    return np.stack([made.q_sample(start[n], step, eps[n]) if step >= 0 else start[n] for n, step in enumerate(t)])


def one_step(golden: Golden, network: SRDiffNet) -> None:
    made, t = network.hyper.schedule(), golden["in/t"][0]
    x, eps = noised(golden, network, t), golden["out/eps_theta"]
    starts, results = [], []
    for n, step in enumerate(t):
        starts.append(made.predict_start(x[n], step, eps[n]))
        mean = made.posterior_mean(starts[-1].clip(-1, 1), x[n], step)
        noise = np.float32(made.posterior_deviation(step)) * golden["in/p_sample_noise_step0"][n]
        results.append(mean + noise)
    golden.compare("out/predict_start_from_noise", np.stack(starts))
    golden.compare("out/p_sample_x0_pred", np.stack(starts).clip(-1, 1))
    golden.compare("out/p_sample", np.stack(results))
    golden.compare("out/res2img", to_image(np.stack(results), golden["in/img_lr_up"], network.hyper.res_rescale))


def chain(golden: Golden, network: SRDiffNet) -> None:
    first, *noises = golden["in/sample_noise"]
    lr_image, lr_up = golden["in/img_lr"][:1], golden["in/img_lr_up"][:1]
    rescale, seen = network.hyper.res_rescale, []

    def predict(x: np.ndarray, t: int) -> np.ndarray:
        return network(Tensor(x), Tensor([t], ms.int32), Tensor(lr_image)).asnumpy()

    draws = iter(noises)
    result = sample(
        predict,
        network.hyper.schedule(),
        first,
        lambda: next(draws),
        seen=lambda t, x, start: seen.append((to_image(x, lr_up, rescale), to_image(start, lr_up, rescale))),
    )
    kept = golden.set_aside("mid/sample_kept_iterations")
    states, guesses = (np.stack(images) for images in zip(*(seen[k] for k in kept), strict=True))
    golden.compare_all("mid/sample_", {"img": states, "x_recon": guesses})
    golden.compare("out/sample_sr", to_image(result, lr_up, rescale))
    golden.compare("out/sample_rrdb_out", network.rrdb(Tensor(lr_image)))


def train(golden: Golden, network: SRDiffNet) -> None:
    """Both objectives and their gradients on the first batch; then steps of the U-Net alone, each on its own batch."""
    squared = golden.config["loss_type"] == "l2"
    joint = NoiseLoss(network, squared=squared, joint=True)
    everything = network.trainable_params()
    values, gradients, _ = gradient_function(golden, joint, everything)(*batch(golden, 0))
    golden.compare("loss/joint_q", values[1])
    golden.compare("loss/joint_aux_l1", values[2])
    golden.compare_all("grad/joint/", by_name(everything, gradients))

    parameters = [parameter for parameter in everything if parameter.name.startswith("denoise_fn.")]
    step = gradient_function(golden, NoiseLoss(network, squared=squared), parameters)
    values, gradients, _ = step(*batch(golden, 0))
    golden.compare("loss/q", values[0])
    golden.compare_all("grad/", by_name(parameters, gradients))
    adam, losses = Adam(parameters), []
    for number in range(1, 1 + len(golden["adam/loss"])):
        values, gradients, _ = step(*batch(golden, number))
        losses.append(float(values[0].asnumpy()))
        adam.step(gradients, golden.config["lr"])
    golden.compare("adam/loss", losses)
    golden.compare_all("after/", by_name(parameters, parameters))


def batch(golden: Golden, number: int) -> list[Tensor]:
    images = [Tensor(golden[f"in/{name}"]) for name in ("img_hr", "img_lr", "img_lr_up")]
    return [*images, Tensor(golden["in/t"][number].astype(np.int32)), Tensor(golden["in/noise"][number])]


@schedule("srdiff_*")
def rates(golden: Golden, name: str) -> list[float]:
    """The rates of --decay_steps, which is the step of the first fall; the base rate is that of step 0."""
    steps, wanted = golden[f"{name}/k"].tolist(), golden[f"{name}/lr"]
    first_fall = steps[np.flatnonzero(np.diff(wanted))[0] + 1]
    made = plan(TrainConfig(lr=float(wanted[0]), decay_steps=first_fall), world_size=1, images=1)
    return [made.learning_rate(step) for step in steps]


@full_size("srdiff_diffsr_*")
def full_size_network(inventory: Inventory) -> SRDiffNet:
    """The authors' network that the name tells; the one with an encoder of 64 features and 17 blocks, too."""
    name = inventory.name.removeprefix("srdiff_")
    if name.endswith("_rrdb64x17"):
        return SRDiffNet(Hyper(rrdb_num_feat=64, rrdb_num_block=17))
    return SRDiffNet(PRESETS[name])
