"""The learning rate (the authors' MultiStepLR with steps back up)."""

import bisect
from collections.abc import Callable, Sequence


def multistep_rate(
    base: float, milestones: Sequence[int], gamma: float, inverse_milestones: Sequence[int] = ()
) -> Callable[[int], float]:
    """Step (from 0) -> rate: `base` times gamma at each milestone, divided by gamma at each inverse milestone.

    The authors turn the schedule before the optimizer, so that milestone m first acts on the m-th step, counted from 1.
    """
    down, up = sorted(milestones), sorted(inverse_milestones)

    def rate(step: int) -> float:
        return base * gamma ** (bisect.bisect_right(down, step + 1) - bisect.bisect_right(up, step + 1))

    return rate
