"""A recipe's step counts on another number of pictures a step."""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


def step_counts(
    steps: int, *, epochs: int, batch_size: int, schedule_batch: int, world_size: int, pictures: int
) -> tuple[int, Callable[[int], int]]:
    """The length of a run, and what makes a count of the recipe one of the run.

    The recipe's counts are written for a batch of `schedule_batch` pictures (0: one worker's batch). With more pictures
    a step there are fewer steps, so that everything happens after as many pictures as in the recipe.

    Args:
        steps: the recipe's length.
        epochs: passes over the pictures that count instead of it; 0 for none.
        batch_size: pictures a step of one worker.
        pictures: in the data set, for the epochs.
    """
    global_batch = batch_size * world_size
    share = (schedule_batch or batch_size) / global_batch

    def scaled(count: int) -> int:
        return max(1, round(count * share))

    length = max(1, -(-epochs * pictures // global_batch)) if epochs else scaled(steps)
    if share != 1:
        log.info("%d pictures a step: the recipe's step counts times %.4g, %d steps", global_batch, share, length)
    return length, scaled
