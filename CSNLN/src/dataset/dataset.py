"""The training set: images, patches, and the order in which they are shown."""

import numpy as np

from common.data import BatchStream, random_patch, split_names, stack_nchw, training_images
from common.images import Pair
from common.runtime import Runtime

from ..config import TrainConfig
from ..CSNLN import Hyper
from .div2k import parse_ranges
from .srdata import data_folder, find_set

Images = tuple[np.ndarray, np.ndarray]


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (lr_image, hr_image), (N, 3, H, W) float32 in [0, 1], for this worker.

    `--data_train` names sets joined by +, or one packed .mindrecord.
    """
    root, names = data_folder(options.data_path), options.data_train
    lr_patch, augment = options.lr_patch(), not options.no_augment

    def pairs() -> list[Pair]:
        numbers, sets = parse_ranges(options.data_range)[0], split_names(names, root).values()
        return [pair for name in sets for pair in find_set(root, name, numbers, hyper.scale)]

    def sample(hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> Images:
        hr, lr = random_patch(hr, lr, lr_patch, hyper.scale, rng, mirror=augment, turn=augment)
        return lr, hr

    def collate(samples: list[Images]) -> Images:
        lr_image, hr_image = stack_nchw(samples)
        return lr_image / np.float32(255), hr_image / np.float32(255)

    path = str(root / names) if (root / names).exists() else names
    images = training_images(path, pairs, hyper.scale, lr_patch, options.cache_gb)
    return BatchStream(images, sample, collate, options.batch_size, options.seed, here.rank, here.world_size)
