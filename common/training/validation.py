"""Validation during training, by PSNR."""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.images import Pair, imresize, read_pair, to_float, to_uint8
from common.metrics import Convention

EXACT = 60.0  # dB, beyond which nobody sees a difference
log = logging.getLogger(__name__)
UpscaleFunction = Callable[[np.ndarray], np.ndarray]  # (h, w, 3) float32 in [0, 1] -> (h * scale, w * scale, 3)


@dataclasses.dataclass(frozen=True)
class Validation:
    """Network -> scores, the first of which decides the best checkpoint (higher is better)."""

    measure: Callable[[Any], Mapping[str, float]]
    on: str  # what is measured on: the scores of another validation are not compared

    def __call__(self, network: Any) -> Mapping[str, float]:
        return self.measure(network)

    def better(
        self, best: Mapping[str, Any] | None, scores: Mapping[str, float], step: int
    ) -> tuple[dict[str, Any] | None, str]:
        """Return (the new best, None if these scores are none; what the log says of it)."""
        name, score = next(iter(scores.items()))
        other = best and (best["name"], best.get("on", self.on)) != (name, self.on)
        # A score that is infinite would stay the best whatever follows.
        if not math.isfinite(score) or (best and not other and score <= best["score"] < math.inf):
            return None, ""
        note = f"; best.ckpt of step {best['step']} was chosen on other images" if other else ""
        return {"name": name, "score": score, "step": step, "on": self.on}, f" (best so far{note})"


def digest_of(images: Iterable[np.ndarray], *settings: object) -> str:
    """Return what tells a validation on these images with these settings from all others."""
    digest = hashlib.sha256(repr(settings).encode())
    for image in images:
        digest.update(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()[:16]


def psnr_validation(
    pairs: Sequence[Pair], scale: int, convention: Convention, upscaler: Callable[..., UpscaleFunction]
) -> Validation | None:
    """Return network -> its mean PSNR over pairs, decoded once, and log bicubic's; None without pairs.

    `upscaler`: network -> what upscales an image with the weights that it has now.
    """
    if not pairs:
        return None
    images = [read_pair(pair, scale) for pair in pairs]
    name = convention.label("PSNR")
    bicubic = mean_psnr([convention.psnr(imresize(lr, scale), hr) for hr, lr in images])
    log.info("%d validation images, bicubic: %s %.4f", len(images), name, bicubic)

    def validate(network: object) -> dict[str, float]:
        upscale = upscaler(network)
        return {name: mean_psnr([convention.psnr(to_uint8(upscale(to_float(lr))), hr) for hr, lr in images])}

    return Validation(validate, digest_of((image for pair in images for image in pair), name))


def mean_psnr(values: Sequence[float]) -> float:
    """Return the mean in dB; above `EXACT` values count as it, so that an exact image (inf) does not decide alone."""
    return float(np.mean(np.minimum(values, EXACT)))
