"""The benchmarks (Set5, Set14, B100, Urban100), and any folder of pictures.

benchmark/Set5/HR/baby.png                 (or HR pictures directly in Set5/)
benchmark/Set5/LR_bicubic/X2/babyx2.png    (made by bicubic where there is no such folder)
"""

from pathlib import Path

from common.pairs import Pair
from common.picture_sets import benchmark_pairs, find_place

OTHER_NAMES = {"B100": "BSD100", "BSD100": "B100"}


def find_benchmark(data_path: Path, name: str, scale: int) -> list[Pair]:
    """The pairs of a set, looked for in `benchmark/`, in `data_path`, and as a path of its own.

    Raises:
        UserError: it is nowhere, or LR pictures that are missing in their folder.
    """
    names = [name, *([OTHER_NAMES[name]] if name in OTHER_NAMES else [])]
    places = [place for one in names for place in (data_path / "benchmark" / one, data_path / one, Path(one))]
    place = find_place(name, [*places, *([data_path] if data_path.name == name else [])])
    return benchmark_pairs(place, scale)
