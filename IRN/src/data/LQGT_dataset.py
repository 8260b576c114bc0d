"""Training samples: an HR patch, the LR patch it should be rescaled to, and the z it is to come back from."""

import numpy as np

from common.data import BatchStream, random_patch, stack_nchw
from common.images import PairedPictures, to_float
from common.runtime import Runtime

from ..network.Invnet import Hyper
from ..options.options import TrainConfig
from .util import find_pictures, read_with_reference

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


class LQGTDataset:
    """The same crop and flips (see `random_patch`) of HR and LR, and a z of deviation `gaussian_scale`."""

    def __init__(
        self, hyper: Hyper, lr_patch: int, mirror: bool = True, turn: bool = True, gaussian_scale: float = 1.0
    ) -> None:
        self.hyper, self.lr_patch, self.mirror, self.turn = hyper, lr_patch, mirror, turn
        self.gaussian_scale = gaussian_scale

    def __call__(self, hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> Sample:
        """(hr uint8, lr float32) HWC -> patches (hr, lr, z), HWC float32, the first two in [0, 1]."""
        flips = {"mirror": self.mirror, "turn": self.turn}
        hr, lr = random_patch(hr, lr, self.lr_patch, self.hyper.scale, rng, **flips)
        z = rng.standard_normal((*lr.shape[:2], self.hyper.z_channels), np.float32)
        return to_float(hr), lr, z * np.float32(self.gaussian_scale)


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (hr_image, lr_reference, z), NCHW float32, for this worker."""
    pairs = find_pictures(options.dataset_GT_path, options.dataset_LQ_path, hyper.scale, "train")
    pictures = PairedPictures(pairs, hyper.scale, int(options.cache_gb * 2**30), read_with_reference)
    lr_patch = options.lr_patch(hyper.scale)
    pictures.drop_small(lr_patch)
    samples = LQGTDataset(hyper, lr_patch, options.use_flip, options.use_rot, options.gaussian_scale)
    return BatchStream(pictures, samples, stack_nchw, options.batch_size, options.seed, here.rank, here.world_size)
