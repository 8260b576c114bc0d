"""The authors' weights by name: which key of theirs is which parameter of ours, and what network a file describes.

Two code bases published WDSR: ntire2018 (EDSR style: `head.0`, `body.<i>.body.<j>`, `tail.0`, `skip.0`; the names used
here) and ychfan's (one `body`: its first entry is the head, its last the tail).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from common.checkpoint import CheckpointError

from .model import EXPANSION, Hyper

PARTS = "(?:bias|weight_g|weight_v)"  # of a convolution with weight normalisation


def official_names(weights: Mapping[str, np.ndarray]) -> Callable[[str], str] | None:
    """A translation of file names into ours, or None when they are ours already."""
    last = _ychfan_last(weights)
    if last is None:
        return None

    def translate(name: str) -> str:
        match = re.fullmatch(r"body\.(\d+)\.(.+)", name)
        if not match:
            return name
        place, rest = int(match[1]), match[2]
        if place == 0:
            return f"head.0.{rest}"
        return f"tail.0.{rest}" if place == last else f"body.{place - 1}.{rest}"

    return translate


def hyper_of(weights: Mapping[str, np.ndarray], source: str, asked: Hyper) -> Hyper:
    """The network that a file without metadata describes, read off its shapes.

    What shapes do not tell (res_scale, rgb_range, rgb_mean) is taken from `asked`.

    Raises:
        CheckpointError: not a WDSR.
    """
    translate = official_names(weights) or (lambda name: name)
    shapes = {translate(name): array.shape for name, array in weights.items()}
    places = [int(match[1]) for name in shapes if (match := re.fullmatch(r"body\.(\d+)\.body\.0\.weight_v", name))]
    try:
        features, colors, *_ = shapes["head.0.weight_v"]
        sub_pixels = shapes["tail.0.weight_v"][0]
        wide, _, side, _ = shapes["body.0.body.0.weight_v"]
        variant = "B" if side == 1 else "A"
        low_rank = shapes["body.0.body.2.weight_v"][0]
        scale = round((sub_pixels / colors) ** 0.5)
    except KeyError as error:
        some = ", ".join(sorted(weights)[:4])
        raise CheckpointError(
            f"{source} is no WDSR with weight normalisation: it has {some} ..., not {error}"
        ) from None
    except (IndexError, ValueError, ZeroDivisionError):
        raise CheckpointError(f"{source} is no WDSR: its filters are not (out, in, height, width)") from None
    return replace(
        asked,
        variant=variant,
        scale=scale,
        num_features=features,
        num_blocks=1 + max(places),
        expand=_ratio(wide, features, EXPANSION[variant]),
        linear=_ratio(low_rank, features, asked.linear) if variant == "B" else asked.linear,
        normalization="ychfan" if official_names(weights) else "ntire2018",
        num_colors=colors,
    )


def _ratio(channels: int, features: int, usual: float) -> float:
    """What `int(features * ratio)` gives `channels` back for; the quotient itself may be truncated to one less."""
    candidates = (usual, channels / features, (channels + 0.5) / features)
    return next(ratio for ratio in candidates if int(features * ratio) == channels)


def _ychfan_last(weights: Mapping[str, np.ndarray]) -> int | None:
    """Number of ychfan's tail entry in `body`; None for other files."""
    places = [int(match[1]) for name in weights if (match := re.fullmatch(rf"body\.(\d+)\.{PARTS}", name))]
    return max(places, default=None)
