"""What train.py, eval.py, infer.py and export.py put together: plan of a run, network from a checkpoint, figures."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mindspore import Tensor, ops

from common import UserError
from common.checkpoint import Checkpoint, ModelWeights, trained
from common.config import TrainedOptions
from common.data import validation_folders
from common.images import Pair, to_float, to_uint8
from common.metrics import Convention
from common.training import Plan, Validation, digest_of, mean_psnr, memory, recipe

from ..data.util import find_hr_folder, find_pictures, read_with_reference
from ..network.Invnet import COLORS, Hyper, InvBlockExp, InvRescaleNet
from ..network.net_with_loss import FIT_WEIGHT, IRNLoss
from ..network.official import ROOTS, hyper_of, refuse_other_transforms
from ..optim.warmup_cosine_annealing_lr import cosine_rate
from ..optim.warmup_multisteplr import multistep_rate
from ..options.options import TrainConfig

log = logging.getLogger(__name__)


def make_loss(network: InvRescaleNet, options: TrainConfig) -> IRNLoss:
    """The objective with the options' weights."""
    fit = options.lambda_fit_forw or FIT_WEIGHT[network.hyper.scale]
    weights = fit, options.lambda_rec_back, options.lambda_ce_forw
    return IRNLoss(network, *weights, options.pixel_criterion_forw, options.pixel_criterion_back)


def plan(options: TrainConfig, world_size: int, pictures: int) -> Plan:
    """Steps, rate and intervals of a run, see `common.training.step_counts`.

    Args:
        pictures: in the data set, for --epochs.
    """
    niter, scaled = recipe.step_counts(options.niter, options, world_size, pictures)
    return recipe.plan(
        options,
        niter,
        learning_rate(options, scaled, niter),
        validate_every=scaled(options.test_every),
        keep_every=options.save_checkpoint_freq,
    )


def step_work(network: InvRescaleNet, options: TrainConfig) -> memory.Work:
    """Return what a training step, down and up again, is made of."""
    level, areas = 0, {}
    for operation in network.operations:
        level += not isinstance(operation, InvBlockExp)
        squeezed = network.hyper.scale**2 if network.hyper.scale == 3 else 4**level
        areas |= {parameter.name: 1 / squeezed for parameter in operation.trainable_params()}
    pixels = options.batch_size * options.patch_size**2 / 2
    # Used twice; the compiler takes as long, and as much memory, for it as for four convolutions elsewhere.
    return memory.of_convolutions(network.trainable_params(), lambda name: pixels * areas[name], lambda name: 4)


def learning_rate(options: TrainConfig, scaled: Callable[[int], int], niter: int) -> Callable[[int], float]:
    """Step (from 0) -> rate.

    Raises:
        UserError: restarts without their weights or periods.
    """
    restarts = [scaled(step) for step in options.restarts]
    if options.restart_weights and len(options.restart_weights) != len(restarts):
        raise UserError(f"{len(restarts)} restarts need as many restart_weights, not {len(options.restart_weights)}")
    warmup = scaled(options.warmup_iter) if options.warmup_iter > 0 else -1
    if options.lr_scheme == "MultiStepLR":
        steps = [scaled(step) for step in options.lr_steps]
        return multistep_rate(options.lr, steps, options.lr_gamma, restarts, options.restart_weights, warmup)
    periods = [scaled(step) for step in options.T_period] or [niter]
    if len(periods) != len(restarts) + 1:
        raise UserError(f"{len(restarts)} restarts need {len(restarts) + 1} periods in T_period, not {len(periods)}")
    return cosine_rate(options.lr, periods, options.eta_min, restarts, options.restart_weights, warmup)


def read(path: str) -> Checkpoint:
    """A file with an IRN in it.

    Raises:
        UserError: no such file, another model's, or one with another transform than Haar's.
    """
    saved = trained.read(path, "IRN", ROOTS)
    refuse_other_transforms(saved.weights, path)
    return saved


def hyper_of_file(saved: Checkpoint, path: str, options: TrainedOptions) -> Hyper:
    """Return what a checkpoint says of its network, or what its names and shapes tell."""
    meta = saved.meta.get("hyper")
    return Hyper(**meta) if meta else hyper_of(saved.weights, path, options.hyper().clamp)


WEIGHTS = ModelWeights("IRN", InvRescaleNet, read, hyper_of_file, "the plain Haar transform, to which z is noise")
describe, load_weights, load_network = WEIGHTS.describe, WEIGHTS.load_weights, WEIGHTS.load_network


def validation_pictures(options: TrainConfig) -> list[Pair]:
    """Return the first --test_pictures of the validation images; none where there are none.

    Raises:
        UserError: images that were typed are not there, or LR images do not belong to them.
    """
    path, lr_path = validation_folders(options, beside)
    return find_pictures(path, lr_path, options.scale, "test")[: options.test_pictures or None] if path else []


def beside(training: str) -> str:
    """Return the DIV2K_valid_HR that belongs to training images; "" for none."""
    path = Path(training)
    found = find_hr_folder(training, "test")
    if found == find_hr_folder(training, "train"):
        found = find_hr_folder(str(path.parent), "test") if path.name.startswith("DIV2K_train") else path
    return str(found) if found.name.startswith("DIV2K_valid") else ""


def make_validation(pairs: list[Pair], hyper: Hyper, seed: int) -> Validation | None:
    """Mean PSNR of the restored picture (on Y and, as the authors log it, on RGB) and of the LR picture, with one z.

    None when there are no pictures. The pictures are decoded once.
    """
    if not pairs:
        return None
    pictures = [read_with_reference(pair, hyper.scale) for pair in pairs]
    of_y, of_rgb = Convention("y", hyper.scale), Convention("rgb", hyper.scale)

    def validate(network: InvRescaleNet) -> dict[str, float]:
        network.set_train(False)
        scores = []
        for number, (hr, reference) in enumerate(pictures):
            output = network(Tensor(to_float(hr).transpose(2, 0, 1)[None]))
            lr = to_uint8(output[0, :COLORS].asnumpy().transpose(1, 2, 0))
            z = draw_z([seed, number], hyper, lr.shape)
            restored = network.inverse(ops.concat((Tensor(to_float(lr).transpose(2, 0, 1)[None]), Tensor(z)), 1))[0]
            restored = to_uint8(restored.asnumpy()[0].transpose(1, 2, 0))
            scores.append((of_y.psnr(restored, hr), of_rgb.psnr(restored, hr), of_y.psnr(lr, to_uint8(reference))))
        names = of_y.label("PSNR"), of_rgb.label("PSNR"), "LR " + of_y.label("PSNR")
        return dict(zip(names, map(mean_psnr, zip(*scores, strict=True)), strict=True))

    return Validation(validate, digest_of((image for pair in pictures for image in pair), seed))


def draw_z(seed: list[int], hyper: Hyper, lr_shape: tuple[int, ...]) -> np.ndarray:
    """A standard normal z (1, 3 s^2 - 3, H, W) for an LR picture (H, W, 3); the seed decides it, not the device."""
    return np.random.default_rng(seed).standard_normal((1, hyper.z_channels, *lr_shape[:2]), np.float32)
