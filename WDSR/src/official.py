"""Other programs' files: the authors' and ports of them, by our names; they do not say what network they are of.

ntire2018 (the challenge code, EDSR style) has our names: `head.0`, `body.<i>.body.<j>`, `tail.0`, `skip.0`. Ports of it
(yjn870, delldu) say `body.<i>.module.<j>`. ychfan has one `body`: its first entry is the head, its last the tail.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from common.checkpoint import Checkpoint, CheckpointError, trained

from .model import EXPANSION, WDSR, Hyper

ROOTS = ("head", "body", "tail", "skip")
NAMES = (
    (r"^(body\.\d+)\.[a-z_]+\.(?=\d)", r"\1.body."),
    (r"^(head|tail|skip)\.(?!\d)", r"\1.0."),
    (r"parametrizations\.weight\.original0$", "weight_g"),  # of torch.nn.utils.parametrizations.weight_norm
    (r"parametrizations\.weight\.original1$", "weight_v"),
)
"""Other programs' names -> ours."""


def read(path: str) -> Checkpoint:
    saved = trained.read(path, "WDSR", ROOTS)
    if "hyper" not in saved.meta:
        return to_ours(saved.weights)
    return replace(saved, weights=to_ours(saved.weights).weights) if saved.meta.get("names") == "official" else saved


def to_official(network: WDSR) -> dict[str, np.ndarray]:
    """Return the weights by the authors' names: ntire2018's are ours, ychfan's network has one `body`."""
    weights = trained.weights_of(network)
    if network.hyper.normalization != "ychfan":
        return weights
    places = {"head.0": "body.0", "tail.0": f"body.{network.hyper.num_blocks + 1}"}
    places |= {f"body.{block}": f"body.{block + 1}" for block in range(network.hyper.num_blocks)}
    root = re.compile(r"^(\w+\.\d+)")
    return {root.sub(lambda match: places.get(match[1], match[1]), name): array for name, array in weights.items()}


def to_ours(weights: Mapping[str, np.ndarray]) -> Checkpoint:
    """Return another program's weights by our names, weight-normalised; the metadata say ychfan's `normalization`."""
    found: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        if name.endswith(".weight") and array.ndim == 4:
            length = np.sqrt((array * array).sum((1, 2, 3), keepdims=True))
            found[name + "_g"], found[name + "_v"] = length, np.where(length, array, 1)  # a filter of zeros: 0 * v
        else:
            found[name] = array
    ends = [int(match[1]) for name in found if (match := re.fullmatch(r"body\.(\d+)\.weight_v", name))]
    if 0 not in ends:
        return Checkpoint(found)
    cells = {0: "head.0", max(ends): "tail.0"}

    def translate(match: re.Match) -> str:
        place = int(match[1])
        return cells.get(place, f"body.{place - 1}") + "."

    translated = {re.sub(r"^body\.(\d+)\.", translate, name): array for name, array in found.items()}
    return Checkpoint(translated, {"normalization": "ychfan"})


def hyper_of(saved: Checkpoint, source: str, asked: Hyper) -> Hyper:
    """Return the network that a file without hyper-parameters describes, read off its shapes in `to_ours`' form.

    What shapes do not tell (res_scale, rgb_range, rgb_mean, and normalization where no names do) is taken from `asked`.
    CheckpointError for no WDSR.
    """
    weights = saved.weights
    shapes = {name: array.shape for name, array in weights.items()}
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
        raise CheckpointError(f"{source} is no WDSR: it has {some} ..., not {error}") from None
    except (IndexError, ValueError, ZeroDivisionError):
        raise CheckpointError(f"{source} is no WDSR: its filters are not (out, in, height, width)") from None
    if colors not in (1, 3):
        raise CheckpointError(f"{source} is a WDSR for {colors} channels: 1 (luma) or 3 (RGB) can be used")
    return replace(
        asked,
        variant=variant,
        scale=scale,
        num_features=features,
        num_blocks=1 + max(places),
        expand=_ratio(wide, features, EXPANSION[variant]),
        linear=_ratio(low_rank, features, asked.linear) if variant == "B" else asked.linear,
        normalization=saved.meta.get("normalization", asked.normalization),
        num_colors=colors,
    )


def _ratio(channels: int, features: int, usual: float) -> float:
    """Return what `int(features * ratio)` gives `channels` for; the quotient itself may be truncated to one less."""
    candidates = (usual, channels / features, (channels + 0.5) / features)
    return next(ratio for ratio in candidates if int(features * ratio) == channels)
