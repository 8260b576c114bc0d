"""Images: files, pixels, MATLAB's resize, LR-HR pairs, comparison strips."""

from common.images.files import (
    SUFFIXES,
    WRITTEN,
    DecodedImage,
    check_writable,
    find_images,
    read_image,
    read_rgb,
    size_of,
    write_image,
)
from common.images.pairs import (
    NoSuchSetError,
    Pair,
    PairedImages,
    find_pairs,
    folder_like,
    pairs_of,
    read_hr,
    read_pair,
    told_apart,
)
from common.images.pixels import (
    BT601,
    modcrop,
    reduce_to_8_bit,
    rgb_to_y,
    rgb_to_ycbcr,
    to_float,
    to_uint8,
    to_uint16,
    ycbcr_to_rgb,
)
from common.images.resize import Rounding, imresize
from common.images.strip import comparison_strip, grid

# The names until November 2026, which scripts outside the repository import.
read_picture, write_picture, find_pictures = read_image, write_image, find_images
