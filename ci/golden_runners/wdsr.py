"""WDSR: the network, its learning rates, and the names of its full-size networks."""

import re

from mindspore import Tensor, nn, ops

from common.training import L1Loss
from WDSR.src.args import TrainConfig
from WDSR.src.common import WeightNormConv2d
from WDSR.src.graphs import WDSRInference
from WDSR.src.model import EXPANSION, WDSR, Hyper
from WDSR.src.recipe import learning_rate

from .core import Golden
from .folder import Inventory
from .networks import load_state, rates_by_epoch, renamed, train
from .registry import MODES, fixture, full_size, schedule

OPTIONS = {  # the manifest's name -> ours
    "scale": "scale",
    "n_resblocks": "num_blocks",
    "n_feats": "num_features",
    "n_colors": "num_colors",
    "res_scale": "res_scale",
    "rgb_range": "rgb_range",
    "rgb_mean": "rgb_mean",
    "expand": "expand",
    "linear": "linear",
}
STEPS_PER_EPOCH = 3


@fixture("wdsr_b_x*.npz", modes=MODES)
def wdsr_b(golden: Golden) -> None:
    network = WDSR(Hyper(variant="B", **renamed(golden.config, OPTIONS)))
    load_state(golden, network)
    lr_image, hr_image = Tensor(golden["in/lr"]), Tensor(golden["in/hr"])
    golden.compare("out/sr", network(lr_image))
    golden.compare("out/sr", WDSRInference(network)(lr_image), quantity="out/ of the folded form")
    golden.compare_all("mid/", intermediates(network, lr_image))
    train(golden, network, L1Loss(network), (lr_image, hr_image))


class Layers(nn.Cell):
    """The network's forward pass, giving (head, block 0, block 1 ..., tail, skip) before the pixel shuffle."""

    def __init__(self, network: WDSR) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor) -> tuple[Tensor, ...]:
        x = (lr_image - self.network.shift) / self.network.width
        features = self.network.head(x)
        found = (features,)
        for block in self.network.body:
            features = block(features)
            found = (*found, features)
        return (*found, self.network.tail(features), self.network.skip(x))


def intermediates(network: WDSR, lr_image: Tensor) -> dict[str, Tensor]:
    """Results of the layers; the authors shuffle tail and skip apart, we shuffle their sum."""
    blocks = [f"body{number}" for number in range(len(network.body))]
    found = dict(zip(("head", *blocks, "tail_conv", "skip_conv"), Layers(network)(lr_image), strict=True))
    for name in ("tail", "skip"):
        found[f"{name}_pixelshuffled"] = ops.pixel_shuffle(found[f"{name}_conv"], network.hyper.scale)
    for name in ("head", "tail", "skip"):
        found[f"effective_weight_{name}"] = getattr(network, name)[0].effective_weight()
    for block, cell in zip(blocks, network.body, strict=True):
        for place, layer in enumerate(cell.body):
            if isinstance(layer, WeightNormConv2d):
                found[f"effective_weight_{block}_conv{place}"] = layer.effective_weight()
    return found


SCHEDULES = {  # --decay, --gamma, epochs that it is ahead: ntire2018's scheduler is turned before the first
    "wdsr_ychfan_multistep": ("20-25", 0.2, 0),
    "wdsr_yjn_step200_of_300": ("200", 0.5, 1),
}


def rates(golden: Golden, name: str) -> list[float]:
    """The rates of `--decay`, at the first and, as a check, at the last step of each epoch."""
    decay, gamma, ahead = SCHEDULES[name]
    base = float(golden[f"{name}/lr"][0])
    options = TrainConfig(test_every=STEPS_PER_EPOCH, lr=base, decay=decay, gamma=gamma)
    first_steps = [(epoch + ahead) * STEPS_PER_EPOCH for epoch in golden[f"{name}/k"].tolist()]
    return rates_by_epoch(learning_rate(options), first_steps, STEPS_PER_EPOCH)


for each in SCHEDULES:
    schedule(each)(rates)


@full_size("wdsr_*")
def full_size_network(inventory: Inventory) -> WDSR:
    variant, blocks, features, scale = re.fullmatch(
        r"wdsr_([ab])_(\d+)blocks_(\d+)feats_x(\d)", inventory.name
    ).groups()
    variant = variant.upper()
    sizes = {"num_blocks": int(blocks), "num_features": int(features), "scale": int(scale)}
    return WDSR(Hyper(variant=variant, expand=EXPANSION[variant], **sizes))
