"""Training samples: an HR patch, its LR patch, and for the noise predictor a step of the chain and its noise."""

from collections.abc import Sequence

import numpy as np

from common.data import BatchStream, random_patch, training_pictures
from common.images import Pair
from common.runtime import Runtime

from ..model.srdiff import Hyper
from ..model_utils.options import TrainConfig
from .folders import find_pictures
from .pictures import enlarged, to_network

Sample = tuple[np.ndarray, ...]


class PatchMaker:
    """Makes one training sample from a picture. All chance comes from the sample's own generator.

    Args:
        scale: HR over LR.
        lr_patch: side of the LR patch.
        mirror, turn: whether patches are mirrored; whether they are turned upside down and transposed.
        timesteps: of the chain; 0 when the encoder alone is trained.
    """

    def __init__(
        self, scale: int, lr_patch: int, *, mirror: bool = False, turn: bool = False, timesteps: int = 0
    ) -> None:
        self.scale, self.lr_patch, self.mirror, self.turn, self.timesteps = scale, lr_patch, mirror, turn, timesteps

    def __call__(self, hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> Sample:
        """(hr, lr) uint8 HWC -> (hr, lr), or (hr, lr, lr_up, t, eps); patches (3, H, W) in [-1, 1], t from 0."""
        hr, lr = random_patch(hr, lr, self.lr_patch, self.scale, rng, mirror=self.mirror, turn=self.turn)
        patches = to_network(hr), to_network(lr)
        if not self.timesteps:
            return patches
        t = np.int32(rng.integers(self.timesteps))
        return (*patches, enlarged(lr, self.scale), t, rng.standard_normal(patches[0].shape, np.float32))


def collate(samples: Sequence[Sample]) -> Sample:
    """Samples -> what the losses take: the pictures (N, 3, H, W) float32, t (N,) int32."""
    return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """The batches of this worker, for the stage that is trained.

    Raises:
        UserError: no pictures, or none that is as large as the patch.
    """
    lr_patch = options.lr_patch(hyper)

    def pairs() -> list[Pair]:
        return find_pictures(options.dataset_GT_path, options.dataset_LQ_path, hyper.scale, "train")

    pictures = training_pictures(options.dataset_GT_path, pairs, hyper.scale, lr_patch, options.cache_gb)
    timesteps = hyper.timesteps if options.stage == "diffusion" else 0
    samples = PatchMaker(hyper.scale, lr_patch, mirror=options.use_flip, turn=options.use_rot, timesteps=timesteps)
    return BatchStream(pictures, samples, collate, options.batch_size, options.seed, here.rank, here.world_size)
