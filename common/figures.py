"""Figures that eval.py measures, put together."""

from collections.abc import Sequence

from common.evaluation import Figure, lpips_figure


def with_lpips(figures: Sequence[Figure], weights: str) -> list[Figure]:
    """The figures, and LPIPS behind them.

    Args:
        weights: folder of LPIPS's; "" leaves it out.

    Raises:
        UserError: they are not there.
    """
    if not weights:
        return list(figures)
    from common.lpips import Lpips

    return [*figures, lpips_figure(Lpips.from_files(weights))]
