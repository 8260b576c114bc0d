"""Which images are trained and tested on, and the order of the batches."""

from common.data.batches import BatchStream, ImageSet, Patch, random_patch, stack_nchw, to_nchw
from common.data.div2k import find_numbered, find_root, parse_ranges
from common.data.sets import (
    RECORDS,
    ImagePair,
    benchmark_pairs,
    existing_folder,
    find_place,
    hr_inside,
    images_of,
    lr_folder,
    named_sets,
    packed_set,
    split_names,
    stem_of,
    training_images,
    validation_folders,
    validation_pairs,
)
