"""The benchmarks (Set5, Set14, B100, Urban100), and any folder of images.

benchmark/Set5/HR/baby.png                 (or HR images directly in Set5/)
benchmark/Set5/LR_bicubic/X2/babyx2.png    (made by bicubic where there is no such folder)
"""

from pathlib import Path

from common.data import benchmark_pairs, find_place
from common.images import Pair


def find_benchmark(data_path: Path, name: str, scale: int) -> list[Pair]:
    return benchmark_pairs(find_place(name, data_path), scale)
