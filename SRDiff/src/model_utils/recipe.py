"""How SRDiff is trained: what is trained at each stage, with which loss, the plan of a run, and its validation."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from common import UserError
from common.checkpoint import trained
from common.data import Patch
from common.images import to_uint8
from common.metrics import PROTOCOLS, lr_psnr
from common.training import Adam, Plan, Trainer, Validation, digest_of, mean_psnr, memory, recipe

from ..dataset.patches import from_network, to_network, upscaled
from ..model.encoder import RRDBNet
from ..model.objective import EncoderLoss, NoiseLoss
from ..model.sampling import sample, to_image
from ..model.srdiff import Hyper, SRDiffNet
from .options import TrainConfig
from .util import load_encoder, load_weights

NOISE = "minus noise loss"
LR_PSNR = "LR-PSNR"
log = logging.getLogger(__name__)


def make_network(options: TrainConfig, hyper: Hyper, *, from_start: bool) -> SRDiffNet:
    """Build the whole network, `from_start` of a run with the weights that the options name."""
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
    """Return what a run saves: at stage rrdb the encoder, else all; a fixed encoder's parameters are not trained.

    The authors' code has the test of `fix_rrdb` upside down where it hands parameters to the optimizer: an encoder that
    is not fixed stays as it is, and a fixed one is handed over. Here the option means what it says.
    """
    if options.stage == "rrdb":
        return network.rrdb
    for parameter in network.rrdb.get_parameters():
        parameter.requires_grad = not options.fix_rrdb
    return network


def make_trainer(network: SRDiffNet, options: TrainConfig, *run: Any, **settings: Any) -> Trainer:
    trained = trained_part(network, options)
    optimizer = Adam(trained.trainable_params(), (options.beta1, options.beta2))
    if options.stage == "rrdb":
        return Trainer(trained, EncoderLoss(network), *run, optimizer=optimizer, **settings)
    loss = NoiseLoss(network, squared=options.loss_type == "l2", joint=not options.fix_rrdb)
    return Trainer(trained, loss, *run, optimizer=optimizer, part_names=("noise", "encoder"), **settings)


def step_work(network: SRDiffNet, options: TrainConfig) -> memory.Work:
    """Return convolutions and values of a training step; a fixed encoder runs forwards only, without its head."""
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
    """Return how often HR has been halved at a convolution of the U-Net (its results; a transposed one's input)."""
    words, last = name.split("."), len(hyper.dim_mults) - 1
    if words[1] == "downs":
        return int(words[2]) + (words[3] == "2")
    if words[1] == "ups":
        return last - int(words[2])
    return last if words[1].startswith("mid_block") else 0


def plan(options: TrainConfig, world_size: int, images: int) -> Plan:
    """Return steps, rate and intervals of a run."""
    steps, scaled = recipe.step_counts(options.updates, options, world_size, images)
    return recipe.plan(
        options,
        steps,
        recipe.regular_rate(options.lr, scaled(options.decay_steps) if options.decay_steps else steps, 0.5),
        validate_every=scaled(options.test_every),
        keep_every=options.save_checkpoint_freq,
    )


# ----------------------------------------------------------------------------------------------------------- validation


def make_validation(patches: Sequence[Patch], options: TrainConfig, hyper: Hyper) -> Validation | None:
    """Return network -> scores over (hr, lr) uint8 patches, the first of which chooses best.ckpt; None without patches.

    Of the noise predictor: its loss, negated, at `val_noises` steps evenly spread over the chain, and PSNR and LR-PSNR
    of images that are sampled in a few steps. Of the encoder: PSNR of its image. All noise is the same each time.
    """
    if not patches:
        return None
    convention, schedule = PROTOCOLS["srdiff"](hyper.scale), hyper.schedule()
    chunks = [patches[i : i + options.batch_size] for i in range(0, len(patches), options.batch_size)]
    shares = (np.arange(options.val_noises) + 0.5) / options.val_noises

    def psnr(found: Sequence[np.ndarray]) -> dict[str, float]:
        """Return mean PSNR and LR-PSNR of images (3, sh, sw) in [-1, 1], by the authors' protocol."""
        scores = []
        for image, (hr, lr) in zip(found, patches, strict=True):
            sr = to_uint8(from_network(image))
            of_lr = lr_psnr(sr, lr, hyper.scale, channels="rgb", crop=0, rounding="half_even")
            scores.append((convention.psnr(sr, hr), of_lr))
        means = map(mean_psnr, zip(*scores, strict=True))
        return dict(zip((convention.label("PSNR"), LR_PSNR), means, strict=True))

    def of_encoder(encoder: RRDBNet) -> dict[str, float]:
        inputs = (Tensor(np.stack([to_network(lr) for _, lr in chunk])) for chunk in chunks)
        return psnr([image for lr_image in inputs for image in encoder(lr_image).asnumpy()])

    def of_predictor(network: SRDiffNet) -> dict[str, float]:
        loss, rng = NoiseLoss(network, squared=options.loss_type == "l2"), np.random.default_rng([options.seed, 3])
        losses, images = [], []
        for chunk in chunks:
            arrays = [(to_network(hr), to_network(lr), upscaled(lr, hyper.scale)) for hr, lr in chunk]
            hr_image, lr_image, lr_up = map(np.stack, zip(*arrays, strict=True))
            found = []
            for t in (shares * hyper.timesteps).astype(np.int32):
                eps = Tensor(rng.standard_normal(hr_image.shape, np.float32))
                batch = *map(Tensor, (hr_image, lr_image, lr_up)), Tensor(np.full(len(chunk), t)), eps
                found.append(float(loss(*batch)[1]))
            losses += [float(np.mean(found))] * len(chunk)
            images.extend(sampled(network, lr_image, lr_up, rng))
        return {NOISE: -float(np.mean(losses)), **psnr(images)}

    def sampled(network: SRDiffNet, lr_image: np.ndarray, lr_up: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images (N, 3, sh, sw) in [-1, 1], not clipped."""
        projected = network.denoise_fn.project(network.features(Tensor(lr_image)))

        def draw() -> np.ndarray:
            return rng.standard_normal(lr_up.shape, np.float32)

        def predict(x: np.ndarray, t: int) -> np.ndarray:
            return network.denoise_fn(Tensor(x), Tensor(np.full(len(x), t), ms.int32), projected).asnumpy()

        steps = min(options.val_steps, len(schedule))
        residual = sample(predict, schedule, draw(), draw, sampler=options.val_sampler, steps=steps)
        return to_image(residual, lr_up, hyper.res_rescale)

    settings = options.seed, options.val_noises, options.loss_type
    digest = digest_of((image for patch in patches for image in patch), *settings)
    return Validation(of_encoder if options.stage == "rrdb" else of_predictor, digest)
