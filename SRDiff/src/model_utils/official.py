"""The authors' files: our names and shapes, and the constants of the chain, which are only compared; no metadata."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.checkpoint import CheckpointError, weights_of

from ..model.schedule import Schedule, make_schedule
from ..model.srdiff import Hyper, SRDiffNet

CONSTANTS = tuple(vars(Schedule(np.array([0.5]))))  # they have the names of its attributes
OF_ENCODER = "conv_first", "RRDB_trunk", "trunk_conv", "upconv1", "upconv2", "upconv3", "HRconv", "conv_last"
ROOTS = ("rrdb", "denoise_fn", *OF_ENCODER)  # the latter in a file with the encoder alone
ENCODER, PREDICTOR = "rrdb.", "denoise_fn."  # open the names of the two networks' parameters
BLOCK = re.compile(r"rrdb\.RRDB_trunk\.(\d+)\.RDB1\.conv1\.weight")
LEVEL = re.compile(r"denoise_fn\.downs\.(\d+)\.0\.block1\.block\.1\.weight")
CLOSE = 1e-5  # relative; they are float32 in the files
UNSEEN = ("timesteps", "beta_schedule", "beta_s", "beta_end", "res_rescale")  # what no shape tells


def hyper_of(weights: Mapping[str, np.ndarray], source: str, asked: Mapping[str, Any] | None = None) -> Hyper:
    """Return the network that a file without metadata describes, read off its names, shapes and constants.

    Of what the user asks for count what the file cannot tell: `res_rescale`, what shapes the schedule, and the number
    of steps where there are no constants. CheckpointError for no SRDiff, or one half of it.
    """
    refuse_half(weights, source)
    blocks = [name for name in weights if BLOCK.fullmatch(name)]
    levels = {int(match[1]): name for name in weights if (match := LEVEL.fullmatch(name))}
    widths = [side(weights, levels[level], 0, source) for level in sorted(levels)]
    hidden_size = max(1, side(weights, f"{PREDICTOR}mlp.0.weight", 1, source))
    given = {name: value for name, value in (asked or {}).items() if name in UNSEEN}
    if "betas" in weights:
        given["timesteps"] = weights["betas"].size
        given.setdefault("beta_schedule", kind_of(weights["betas"], given))
    return Hyper(
        scale=side(weights, f"{PREDICTOR}cond_proj.weight", 3, source) // 2,
        hidden_size=hidden_size,
        dim_mults=tuple(width // hidden_size for width in widths),
        rrdb_num_feat=side(weights, f"{ENCODER}conv_first.weight", 0, source),
        rrdb_num_block=len(blocks),
        **given,
    )


def network_weights(weights: Mapping[str, np.ndarray], hyper: Hyper, source: str) -> dict[str, np.ndarray]:
    """Return the weights without the constants of the chain; those that are there must be the network's.

    CheckpointError where they are not, for no SRDiff, or for one half of it.
    """
    refuse_half(weights, source)
    for name, wanted in vars(hyper.schedule()).items():
        if name in weights and not same(weights[name], wanted):
            raise CheckpointError(
                f"{source} was trained with another chain: its {name} are not those of {hyper.timesteps} steps of the "
                f"{hyper.beta_schedule} schedule (beta_s {hyper.beta_s}, beta_end {hyper.beta_end}): type the "
                "--timesteps, --beta_schedule, --beta_s and --beta_end that it was trained with"
            )
    return {name: array for name, array in weights.items() if name not in CONSTANTS}


def to_official(network: SRDiffNet) -> dict[str, np.ndarray]:
    """Return all arrays of the authors' files: the constants of the chain and the weights."""
    made = network.hyper.schedule()
    return {name: getattr(made, name) for name in CONSTANTS} | weights_of(network)


def encoder_weights(weights: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Return the encoder's weights by their names in a whole network, out of one or of a file of the encoder alone."""
    inside = {name: array for name, array in weights.items() if name.startswith(ENCODER)}
    if not inside and "conv_first.weight" in weights:
        inside = {ENCODER + name: array for name, array in weights.items()}
    if not inside:
        raise CheckpointError(
            f"{source} has no encoder in it (neither {ENCODER}* nor conv_first.*): {first_of(weights)}"
        )
    return inside


def refuse_half(weights: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse a file without encoder or noise predictor: an encoder that was not loaded would give noise."""
    encoder, predictor = (any(name.startswith(part) for name in weights) for part in (ENCODER, PREDICTOR))
    if encoder and predictor:
        return
    if predictor:
        raise CheckpointError(
            f"{source} has a noise predictor, but no encoder ({ENCODER}*) in it: with an untrained one it would draw "
            "noise; use the file of the whole network"
        )
    if encoder or "conv_first.weight" in weights:
        raise CheckpointError(
            f"{source} holds the encoder alone, no noise predictor ({PREDICTOR}*): train one with --rrdb_path {source}"
        )
    raise CheckpointError(f"{source} is no SRDiff: {first_of(weights)}")


def kind_of(betas: np.ndarray, given: Mapping[str, Any]) -> str:
    """Return the schedule that gives these; cosine if none does, which `network_weights` will then refuse."""
    settings = {name: given[name] for name in ("beta_s", "beta_end") if name in given}
    kinds = ("cosine", "linear")
    return next((kind for kind in kinds if same(betas, make_schedule(kind, betas.size, **settings).betas)), kinds[0])


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and np.allclose(found, wanted, rtol=CLOSE, atol=0)


def side(weights: Mapping[str, np.ndarray], name: str, axis: int, source: str) -> int:
    if name not in weights or weights[name].ndim <= axis:
        raise CheckpointError(f"{source} is no SRDiff: its {name} is missing or misshapen")
    return weights[name].shape[axis]


def first_of(weights: Mapping[str, np.ndarray]) -> str:
    return f"it has {', '.join(sorted(weights)[:4])} ..."
