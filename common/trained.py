"""Which trained network a program takes: the demo weights when none is named, and none but what was asked for."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import UserError

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
