"""How IRN is trained: its objective, the rate, the plan of a run, and the memory of a step."""

from collections.abc import Callable

from common import UserError
from common.training import Plan, memory, recipe

from .network.Invnet import InvRescaleNet, count_parameters, levels_of
from .network.net_with_loss import FIT_WEIGHT, IRNLoss
from .optim.warmup_cosine_annealing_lr import cosine_rate
from .optim.warmup_multisteplr import multistep_rate
from .options.options import TrainConfig


def make_loss(network: InvRescaleNet, options: TrainConfig) -> IRNLoss:
    fit = options.lambda_fit_forw or FIT_WEIGHT[network.hyper.scale]
    weights = fit, options.lambda_rec_back, options.lambda_ce_forw
    return IRNLoss(network, *weights, options.pixel_criterion_forw, options.pixel_criterion_back)


def plan(options: TrainConfig, world_size: int, images: int) -> Plan:
    """Return steps, rate and intervals of a run."""
    niter, scaled = recipe.step_counts(options.niter, options, world_size, images)
    return recipe.plan(
        options,
        niter,
        learning_rate(options, scaled, niter),
        validate_every=scaled(options.test_every),
        keep_every=options.save_checkpoint_freq,
    )


def step_work(network: InvRescaleNet, options: TrainConfig, is_low: bool) -> memory.Work:
    areas, kinds, kept = {}, [], 0
    for level, (_, couplings) in enumerate(levels_of(network), 1):
        squeezed = network.hyper.scale**2 if network.hyper.scale == 3 else 4**level
        weights = [parameter for coupling in couplings for parameter in coupling.trainable_params()]
        areas |= {parameter.name: 1 / squeezed for parameter in weights}
        kinds += couplings[0].trainable_params()
        channels = 12 * network.hyper.growth + 4 * couplings[0].G.conv5.weight.shape[0]
        kept += 2 * len(couplings) * channels / squeezed
    pixels = options.batch_size * options.patch_size**2 / 2
    if is_low:
        sizes = {"kept": 2 * pixels * kept, "weights": count_parameters(network)}
        return memory.of_convolutions(kinds, lambda name: 2 * pixels * areas[name], **sizes)
    # Used twice; the compiler takes as long, and as much memory, for it as for four convolutions elsewhere.
    return memory.of_convolutions(network.trainable_params(), lambda name: pixels * areas.get(name, 0), lambda name: 4)


def learning_rate(options: TrainConfig, scaled: Callable[[int], int], niter: int) -> Callable[[int], float]:
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
