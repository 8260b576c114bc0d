"""DIV2K: numbered images, of which ranges are trained and tested on."""

from functools import partial

from common.data import div2k, find_root
from common.data import find_numbered as find_div2k

__all__ = ["find_div2k", "find_root", "parse_ranges"]
parse_ranges = partial(div2k.parse_ranges, example="1-800/801-810")
