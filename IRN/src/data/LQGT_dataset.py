"""Training samples: an HR patch, the LR patch it should be rescaled to, and the z it is to come back from."""

import numpy as np

from common.data import BatchStream, random_patch, stack_nchw
from common.images import PairedImages, to_float
from common.runtime import Runtime

from ..network.Invnet import Hyper
from ..options.options import TrainConfig
from .util import find_images, read_with_reference


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (hr_image, lr_reference, z), NCHW float32, for this worker."""
    pairs = find_images(options.dataset_GT_path, options.dataset_LQ_path, hyper.scale, "train")
    images = PairedImages(pairs, hyper.scale, int(options.cache_gb * 2**30), read_with_reference)
    lr_patch = options.lr_patch(hyper.scale)
    images.drop_small(lr_patch)

    def sample(hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(hr uint8, lr float32) HWC -> patches (hr, lr, z), HWC float32, the first two in [0, 1]."""
        flips = {"mirror": options.use_flip, "turn": options.use_rot}
        hr, lr = random_patch(hr, lr, lr_patch, hyper.scale, rng, **flips)
        z = rng.standard_normal((*lr.shape[:2], hyper.z_channels), np.float32)
        return to_float(hr), lr, z * np.float32(options.gaussian_scale)

    return BatchStream(images, sample, stack_nchw, options.batch_size, options.seed, here.rank, here.world_size)
