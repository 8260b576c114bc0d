"""CSNLN: the two attentions alone, the network, its rates, chop and self-ensemble, and the names of the full size."""

import re

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from common.export import self_ensemble
from common.training import L1Loss
from CSNLN.src.attention import CrossScaleAttention, NonLocalAttention, neighbourhoods, reduced
from CSNLN.src.config import TrainConfig
from CSNLN.src.CSNLN import CSNLN, Hyper
from CSNLN.src.dataset.common import Upscaler
from CSNLN.src.inference import chopped
from CSNLN.src.official import official_name
from CSNLN.src.recipe import learning_rate

from .core import NOT_COMPARED, Golden
from .folder import Inventory
from .networks import by_name, gradient_function, load_state, rates_by_epoch, train
from .registry import GRAPH, MODES, fixture, full_size, schedule

CHOP_SHAVE, CHOP_LEAST = 2, 3600
STEPS_PER_EPOCH = 3


@fixture("csnln_x*.npz", modes=MODES)
def csnln(golden: Golden) -> None:
    hyper = Hyper(**{key: golden.config[key] for key in ("scale", "n_feats", "depth")})
    network = CSNLN(hyper)
    load_state(golden, network, official_name)
    lr_image, hr_image = Tensor(golden["in/lr"]), Tensor(golden["in/hr"])
    golden.compare("out/sr", network(lr_image))
    golden.compare_all("mid/", intermediates(network, lr_image))
    compare_images(golden, Upscaler(lambda batch: network(Tensor(batch)).asnumpy(), hyper))
    train(golden, network, L1Loss(network), (lr_image, hr_image))


def compare_images(golden: Golden, upscale: Upscaler) -> None:
    """The results for whole images, height and width first here, channels first in the fixture.

    Op by op, as in validation: in graph mode each size of a tile would be compiled.
    """
    if golden.mode == GRAPH:
        for name in golden.under("out/"):
            if name != "sr":
                golden.set_aside(f"out/{name}", NOT_COMPARED, "compared in PyNative mode")
        return
    sizes = {"minsize3600": CHOP_LEAST, "minsize_recursive": golden.config.get("rec_min")}
    for name, least in sizes.items():
        if f"out/chop_shave2_{name}" in golden.arrays:
            upscale_in_parts = chopped(upscale, golden.config["scale"], CHOP_SHAVE, least)
            image = golden["in/chop_lr"][0].transpose(1, 2, 0)
            golden.compare(f"out/chop_shave2_{name}", upscale_in_parts(image).transpose(2, 0, 1)[None])
    ensemble = self_ensemble(upscale)(golden["in/lr"][0].transpose(1, 2, 0))
    golden.compare("out/self_ensemble_x8", ensemble.transpose(2, 0, 1)[None])


class Layers(nn.Cell):
    """The network's forward pass, giving (head, then of each cell: both attentions, fusion, both results)."""

    def __init__(self, network: CSNLN) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor) -> tuple[Tensor, ...]:
        x = self.network.head(self.network.sub_mean(lr_image))
        found = (x,)
        for _ in range(self.network.depth):
            fusion = self.network.SEM.multi_source_projection
            found = (*found, fusion.down_attention(x), fusion.up_attention(x), fusion(x))
            x, estimate = self.network.SEM(x)
            found = (*found, x, estimate)
        return found


def intermediates(network: CSNLN, lr_image: Tensor) -> dict[str, Tensor]:
    of_cell = (
        "in_scale_attention_call{}",
        "cross_scale_attention_call{}",
        "multi_source_projection_call{}",
        "SEM_call{}_0",
        "SEM_call{}_1",
    )
    names = ["head_call0", *(name.format(number) for number in range(network.depth) for name in of_cell)]
    return dict(zip(names, Layers(network)(lr_image), strict=True))


@fixture("csnln_inscale_attention.npz", modes=MODES)
def inscale_attention(golden: Golden) -> None:
    attend(golden, NonLocalAttention(golden.config["channel"], np.random.default_rng(0)))


@fixture("csnln_crossscale_attention_s*.npz", modes=MODES)
def crossscale_attention(golden: Golden) -> None:
    """The cross-scale attention: what is compared, result and gradients; the second image is black."""
    scale = golden.config["scale"]
    attention = CrossScaleAttention(golden.config["channel"], scale, np.random.default_rng(0))
    attend(golden, attention)
    x = Tensor(golden["in/x"])
    small = reduced(x, scale)
    golden.compare("mid/ref_bilinear", small)
    golden.compare("mid/match_input", attention.conv_match_1(x))
    golden.compare("mid/ref_embedded", attention.conv_match_2(small))
    golden.compare("mid/embed_w", attention.conv_assembly(x))
    patches = neighbourhoods(attention.conv_match_2(small)).asnumpy()
    golden.compare("mid/ref_patches", colour_first(patches, 1))
    squares = neighbourhoods(ops.pixel_unshuffle(attention.conv_assembly(x), scale)).asnumpy()
    golden.compare("mid/raw_patches", colour_first(squares, scale))


def colour_first(patches: np.ndarray, scale: int) -> np.ndarray:
    """3x3 squares of scale x scale pixels, each (channel, row, column) -> patches (N, channel row column, place)."""
    n, _, h, w = patches.shape
    parts = patches.reshape(n, 3, 3, -1, scale, scale, h * w)
    return parts.transpose(0, 3, 1, 4, 2, 5, 6).reshape(n, -1, h * w)


def attend(golden: Golden, attention: nn.Cell) -> None:
    load_state(golden, attention, official_name)
    x, upstream = Tensor(golden["in/x"]), Tensor(golden["in/upstream_grad"])
    golden.compare("out/y", attention(x))
    probe = Probe(attention, golden["in/x"])
    parameters = [*attention.trainable_params(), probe.x]
    found = by_name(parameters, gradient_function(golden, probe, parameters)(upstream)[1])
    golden.compare_all("grad/", {name.removeprefix("attention."): value for name, value in found.items()})


class Probe(nn.Cell):
    """The sum of a layer's results times the gradient from above; x is a weight, so that it has a gradient, too."""

    def __init__(self, layer: nn.Cell, x: np.ndarray) -> None:
        super().__init__(auto_prefix=False)
        self.layer = layer
        self.x = Parameter(Tensor(x), name="x")

    def construct(self, upstream: Tensor) -> tuple[Tensor]:
        return ((self.layer(self.x) * upstream).sum(),)


@schedule("csnln_decay_*")
def rates(golden: Golden, name: str) -> list[float]:
    """The rates of `--decay`, which the name tells, at the first and, as a check, at the last step of each epoch."""
    epochs, wanted = golden[f"{name}/k"].tolist(), golden[f"{name}/lr"]
    decay = name.removeprefix("csnln_decay_").replace("_", "-")
    rate = learning_rate(TrainConfig(test_every=STEPS_PER_EPOCH, lr=float(wanted[0]), decay=decay))
    return rates_by_epoch(rate, [epoch * STEPS_PER_EPOCH for epoch in epochs], STEPS_PER_EPOCH)


@full_size("csnln_x*")
def full_size_network(inventory: Inventory) -> CSNLN:
    return CSNLN(Hyper(scale=int(re.fullmatch(r"csnln_x(\d)", inventory.name)[1])))
