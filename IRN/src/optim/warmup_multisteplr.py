"""Rate that falls at milestones, with restarts and warm-up; the authors' MultiStepLR_Restart and BaseModel."""

import bisect
from collections.abc import Callable, Sequence


def multistep_rate(
    base: float,
    milestones: Sequence[int],
    gamma: float,
    restarts: Sequence[int] = (),
    restart_weights: Sequence[float] = (),
    warmup: int = -1,
) -> Callable[[int], float]:
    """Step (from 0) -> rate: `base` times gamma at each milestone.

    At a restart the rate is base times its weight, and only later milestones count. During warm-up it is step / warmup
    of base, but base itself at step 0; then it stays at the last of these fractions, as it does with the authors.
    """
    drops = sorted(milestones)
    begins, weights = ordered(restarts, restart_weights)

    def rate(step: int) -> float:
        if 0 < step < warmup:
            return base * step / warmup
        begin, start = (warmup - 1, base * (warmup - 1) / warmup) if 1 < warmup <= step else (0, base)
        last = bisect.bisect_right(begins, step) - 1
        if last >= 0 and begins[last] >= max(warmup, 0):
            begin, start = begins[last], base * weights[last]
        return start * gamma ** (bisect.bisect_right(drops, step) - bisect.bisect_right(drops, begin))

    return rate


def ordered(restarts: Sequence[int], weights: Sequence[float]) -> tuple[list[int], list[float]]:
    """Sort restarts by their step, each with its weight, 1 where none is given."""
    pairs = sorted(zip(restarts, weights or [1.0] * len(restarts), strict=True))
    return [step for step, _ in pairs], [weight for _, weight in pairs]
