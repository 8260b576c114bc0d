"""Training samples: an HR patch, its LR patch, and the noise that the HR patch is dequantised with."""

import numpy as np

from common.data import BatchStream, random_patch, stack_nchw, training_pictures
from common.images import Pair, to_float
from common.runtime import Runtime

from ..model.SRFlowNet import Hyper
from ..model_utils.options import TrainConfig
from .pictures import find_pictures, require_packed

Sample = tuple[np.ndarray, ...]


class PatchMaker:
    """Makes one training sample from a picture: the same crop and mirroring of HR and LR, and noise of its own.

    Args:
        scale: HR over LR.
        lr_patch: side of the LR patch.
        mirror: half of the patches are mirrored; the authors turn none.
        noise: whether the flow is trained with noise; the encoder is not.
    """

    def __init__(self, scale: int, lr_patch: int, mirror: bool = True, noise: bool = True) -> None:
        self.scale, self.lr_patch, self.mirror, self.noise = scale, lr_patch, mirror, noise

    def __call__(self, hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> Sample:
        """(hr, lr) uint8 HWC -> patches (hr, lr) float32 in [0, 1], and noise like hr, uniform in [0, 1)."""
        hr, lr = random_patch(hr, lr, self.lr_patch, self.scale, rng, mirror=self.mirror, turn=False)
        patches = to_float(hr), to_float(lr)
        return (*patches, rng.random(hr.shape, np.float32)) if self.noise else patches


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (hr_image, lr_image), NCHW float32, with noise when the flow is trained with it, for this worker.

    Raises:
        UserError: no pictures, or none that is as large as the patch.
    """
    lr_patch = options.lr_patch(hyper)
    require_packed(options.dataset_GT_path)

    def pairs() -> list[Pair]:
        return find_pictures(options.dataset_GT_path, options.dataset_LQ_path, hyper.scale, "train")

    pictures = training_pictures(options.dataset_GT_path, pairs, hyper.scale, lr_patch, options.cache_gb)
    noise = options.stage == "flow" and options.quant > 0
    samples = PatchMaker(hyper.scale, lr_patch, options.use_flip, noise)
    return BatchStream(pictures, samples, stack_nchw, options.batch_size, options.seed, here.rank, here.world_size)


def first_batch(stream: BatchStream) -> Sample:
    """What all workers together begin with, from which each of them sets the ActNorms alike."""
    whole = BatchStream(stream.pictures, stream.prepare, stream.collate, stream.global_batch_size, stream.seed)
    return next(whole.batches(0, 1))
