"""The authors' weights by name: which key of theirs is which parameter of ours, and what network a file describes.

Two code bases published WDSR: ntire2018 (EDSR style: `head.0`, `body.<i>.body.<j>`, `tail.0`, `skip.0`; the names used
here) and ychfan's (one `body`: its first entry is the head, its last the tail).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from common import UserError

from .model import Hyper


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
        UserError: not a WDSR.
    """
    translate = official_names(weights) or (lambda name: name)
    shapes = {translate(name): array.shape for name, array in weights.items()}
    try:
        features, colors = shapes["head.0.weight_v"][:2]
        sub_pixels = shapes["tail.0.weight_v"][0]
        wide = shapes["body.0.body.0.weight_v"][0]
        blocks = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("body."))
        variant = "B" if shapes["body.0.body.0.weight_v"][2] == 1 else "A"
        linear = shapes["body.0.body.2.weight_v"][0] / features if variant == "B" else 0.8
    except (KeyError, IndexError, ValueError):
        some = ", ".join(sorted(weights)[:4])
        raise UserError(f"{source} is not a WDSR with weight normalisation: its keys are {some} ...") from None
    return replace(
        asked,
        variant=variant,
        scale=round((sub_pixels / colors) ** 0.5),
        num_features=features,
        num_blocks=blocks,
        expand=wide / features,
        # int(features * linear) must give the rank back: half a channel more than the rank does
        linear=(round(linear * features) + 0.5) / features if int(features * 0.8) != linear * features else 0.8,
        normalization="ychfan" if official_names(weights) else "ntire2018",
        num_colors=colors,
    )


def _ychfan_last(weights: Mapping[str, np.ndarray]) -> int | None:
    """Number of ychfan's tail entry in `body`; None for other files."""
    if "body.0.weight_v" not in weights:
        return None
    return max(int(name.split(".")[1]) for name in weights if re.fullmatch(r"body\.\d+\.weight_v", name))
