"""Which trained network a program takes, and what its file says of itself: the demo weights, or one that is named."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from common import UserError, checkpoint
from common.checkpoint import Checkpoint

if TYPE_CHECKING:
    from mindspore import nn

log = logging.getLogger(__name__)
Network = TypeVar("Network", bound="nn.Cell")
Describe = Callable[[Any, Mapping[str, Any]], dict[str, Any]]


def describe(model: str, hyper: Any, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Args:
        hyper: a dataclass, from which the network can be built again; it has a scale.
        config: the options of the run.
        more: what else the model must know, such as the stage of its training.
    """
    return {"model": model, "scale": hyper.scale, **more, "hyper": asdict(hyper), "config": dict(config)}


def weights_of(network: "nn.Cell") -> dict[str, np.ndarray]:
    """All parameters by their names."""
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


def untrained(network: Network, describe: Describe, meaning: str) -> tuple[Network, Checkpoint, str]:
    """A network as it was built, where --random_weights asks for it: (network, its checkpoint, name of the source).

    Args:
        describe: (its hyper-parameters, options) -> what a checkpoint says of itself.
        meaning: what its pictures are, for the log.
    """
    log.warning("random weights: %s", meaning)
    return network, Checkpoint(weights_of(network), describe(network.hyper, {})), "random weights"


def demo_weights(folder: Path, scale: int, flag: str = "--ckpt_path") -> Path:
    """The weights that come with the repository.

    Args:
        folder: the model's.
        flag: names other weights.

    Raises:
        UserError: none for this scale.
    """
    found = sorted(folder.glob(f"*_x{scale}.ckpt"))
    if not found:
        raise UserError(f"no demo weights for x{scale} in {folder}: give {flag}, or try --random_weights")
    log.info("no checkpoint named: taking the demo weights %s", found[0])
    return found[0]


def read(path: str, model: str) -> Checkpoint:
    """A checkpoint of a model: ours, which says so, or the authors', which does not.

    Raises:
        UserError: no such file, or another model's.
    """
    saved = checkpoint.read(path)
    if saved.meta.get("model", model) != model:
        raise UserError(f"{path} holds {saved.meta['model']}, not {model}")
    return saved


def cache_of(source: str) -> Path | None:
    """Return the file of the weights, by which exports are cached; None where they are of no file."""
    return Path(source) if Path(source).is_file() else None


def digest_of(hyper: Any, saved: Checkpoint) -> str:
    """What tells the function of these weights, in a network of this shape, from all others.

    Args:
        hyper: a dataclass.
    """
    said = f"{checkpoint.digest(saved.weights)} {json.dumps(asdict(hyper))}"
    return hashlib.sha256(said.encode()).hexdigest()


def refuse_contradiction(source: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """The network flags that were given must agree with the checkpoint.

    Args:
        found: the checkpoint's hyper-parameters.
        asked: those that flags give, by the same names.

    Raises:
        UserError: they do not.
    """
    for key, value in found.items():
        if asked.get(key, value) != value:
            raise UserError(
                f"{source} has {key} {value}, not {asked[key]}: leave the flag out, or give another checkpoint"
            )
