"""DIV2K: numbered images, several tracks of LR images, ranges for training and test."""

from common.data import find_numbered as find_div2k
from common.data import find_root, parse_ranges

__all__ = ["find_div2k", "find_root", "parse_ranges"]
