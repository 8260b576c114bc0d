"""How SRDiff is trained: what is trained at each stage, with which loss, and the plan of a run."""

import logging
import re
from typing import Any

from mindspore import nn

from common import UserError
from common.checkpoint import trained
from common.training import Adam, Plan, Trainer, memory, recipe

from ..model.objective import EncoderLoss, NoiseLoss
from ..model.srdiff import Hyper, SRDiffNet
from .options import TrainConfig
from .util import load_encoder, load_weights

log = logging.getLogger(__name__)


def make_network(options: TrainConfig, hyper: Hyper, *, from_start: bool) -> SRDiffNet:
    """The whole network, with the weights that the options name.

    Args:
        from_start: no run goes on, so that those weights are read.

    Raises:
        UserError: weights that do not fit, or an encoder that is neither trained nor to be: the noise predictor would
            then be told nothing of the LR picture, the mistake that the authors were asked about most.
    """
    network = SRDiffNet(hyper, options.seed)
    if not from_start:
        return network
    if options.ckpt_path:
        with trained.starting_from(options.ckpt_path, options, network):
            (load_encoder if options.stage == "rrdb" else load_weights)(network, options.ckpt_path)
    if options.rrdb_path:
        load_encoder(network, options.rrdb_path)
    if options.stage == "diffusion" and not options.ckpt_path and not options.rrdb_path:
        if options.fix_rrdb and not options.random_rrdb:
            raise UserError(
                "the encoder is not trained: train it by --stage rrdb and name the result by --rrdb_path, or train it "
                "with the noise predictor by --fix_rrdb false (--random_rrdb true leaves it as it is)"
            )
        log.warning("the encoder begins untrained%s", " and stays so" if options.fix_rrdb else "")
    return network


def trained_part(network: SRDiffNet, options: TrainConfig) -> nn.Cell:
    """What a run saves: at stage rrdb the encoder, else all; a fixed encoder's parameters are not trained.

    The authors' code has the test of `fix_rrdb` upside down where it hands parameters to the optimizer: an encoder that
    is not fixed stays as it is, and a fixed one is handed over. Here the option means what it says.
    """
    if options.stage == "rrdb":
        return network.rrdb
    for parameter in network.rrdb.get_parameters():
        parameter.requires_grad = not options.fix_rrdb
    return network


def make_trainer(network: SRDiffNet, options: TrainConfig, *run: Any, **settings: Any) -> Trainer:
    """The trainer of the stage.

    Args:
        run, settings: what `common.training.Trainer` takes after the loss.
    """
    trained = trained_part(network, options)
    optimizer = Adam(trained.trainable_params(), (options.beta1, options.beta2))
    if options.stage == "rrdb":
        return Trainer(trained, EncoderLoss(network), *run, optimizer=optimizer, **settings)
    loss = NoiseLoss(network, squared=options.loss_type == "l2", joint=not options.fix_rrdb)
    return Trainer(trained, loss, *run, optimizer=optimizer, part_names=("noise", "encoder"), **settings)


def step_work(network: SRDiffNet, options: TrainConfig) -> memory.Work:
    """Return what a training step is made of; an encoder that is fixed works forwards only, and not its head."""
    hyper, alone = network.hyper, options.stage == "rrdb"
    pixels = options.batch_size * options.lr_patch(hyper) ** 2

    def area(name: str) -> float:
        if not name.startswith("rrdb."):
            return pixels * (1 if "cond_proj" in name else hyper.scale**2 / 4 ** halvings(name, hyper))
        doublings = re.search(r"upconv(\d)", name)
        if doublings or "HRconv" in name or "conv_last" in name:
            return pixels * alone * (4 ** int(doublings[1]) if doublings else hyper.scale**2)
        return pixels * (0.5 if options.fix_rrdb and not alone else 1)

    return memory.of_convolutions((network.rrdb if alone else network).get_parameters(), area)


def halvings(name: str, hyper: Hyper) -> int:
    """How often HR has been halved where a convolution of the U-Net has its results, of a transposed one its input."""
    words, last = name.split("."), len(hyper.dim_mults) - 1
    if words[1] == "downs":
        return int(words[2]) + (words[3] == "2")
    if words[1] == "ups":
        return last - int(words[2])
    return last if words[1].startswith("mid_block") else 0


def plan(options: TrainConfig, world_size: int, pictures: int) -> Plan:
    """Steps, rate and intervals of a run, see `common.training.step_counts`.

    Args:
        pictures: in the data set, for --epochs.
    """
    steps, scaled = recipe.step_counts(options.updates, options, world_size, pictures)
    return recipe.plan(
        options,
        steps,
        recipe.regular_rate(options.lr, scaled(options.decay_steps) if options.decay_steps else steps, 0.5),
        validate_every=scaled(options.test_every),
        keep_every=options.save_checkpoint_freq,
    )
