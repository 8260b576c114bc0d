"""Which trained network a program takes: the demo weights when none is named, and none but what was asked for."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import UserError, checkpoint
from common.checkpoint import Checkpoint

log = logging.getLogger(__name__)


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
