"""Rate along cosines, with restarts and warm-up; the authors' CosineAnnealingLR_Restart and BaseModel."""

import bisect
import math
from collections.abc import Callable, Sequence

from .warmup_multisteplr import ordered


def cosine_rate(
    base: float,
    periods: Sequence[int],
    minimum: float = 0.0,
    restarts: Sequence[int] = (),
    restart_weights: Sequence[float] = (),
    warmup: int = -1,
) -> Callable[[int], float]:
    """Step (from 0) -> rate: from `base` to `minimum` along half a cosine of periods[0] steps.

    Restart i begins at base times its weight and takes periods[i + 1] steps. Beyond its period the rate rises again, to
    base. Warm-up as in `multistep_rate`; the cosine then continues from where the warm-up ended.
    """
    begins, weights = ordered(restarts, restart_weights)

    def rate(step: int) -> float:
        if 0 < step < warmup:
            return base * step / warmup
        last = bisect.bisect_right(begins, step) - 1
        began, top = (begins[last], base * weights[last]) if last >= 0 else (0, base)
        period, since = periods[last + 1], step - began
        if 1 < warmup <= step and began < warmup:  # the piece of cosine in which the warm-up ended
            at_end = half_cosine((warmup - 1 - began) / period)
            top = minimum + (base * (warmup - 1) / warmup - minimum) / at_end
        return minimum + ((top if since <= period else base) - minimum) * half_cosine(since / period)

    return rate


def half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2
