"""What is measured while training goes on."""

from collections.abc import Iterator, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor

from common.images import to_uint8
from common.metrics import PROTOCOLS, lr_psnr
from common.training import Validation, digest_of, mean_psnr

from ..dataset.pictures import enlarged, from_network, to_network
from ..dataset.validation import Patch
from ..model.encoder import RRDBNet
from ..model.objective import NoiseLoss
from ..model.sampling import sample, to_image
from ..model.srdiff import Hyper, SRDiffNet
from .options import TrainConfig

NOISE = "minus noise loss"
LR_PSNR = "LR-PSNR"


def make_validation(patches: Sequence[Patch], options: TrainConfig, hyper: Hyper) -> Validation | None:
    """Network -> scores over (hr, lr) uint8 patches; None where there are none. The first chooses the best checkpoint.

    Of the noise predictor: its loss, negated, at `val_noises` steps evenly spread over the chain, and PSNR and LR-PSNR
    of pictures that are sampled in a few steps. Of the encoder: PSNR of its picture. All noise is the same each time.
    """
    if not patches:
        return None
    measure = (EncoderScores if options.stage == "rrdb" else NoiseScores)(patches, options, hyper)
    settings = options.seed, options.val_noises, options.loss_type
    return Validation(measure, digest_of((image for patch in patches for image in patch), *settings))


class EncoderScores:
    """PSNR of the encoder's own pictures."""

    def __init__(self, patches: Sequence[Patch], options: TrainConfig, hyper: Hyper) -> None:
        self.patches, self.options, self.hyper = patches, options, hyper
        self.convention = PROTOCOLS["srdiff"](hyper.scale)

    def __call__(self, encoder: RRDBNet) -> dict[str, float]:
        """Scores of this encoder."""
        return self.psnr([
            picture
            for chunk in self.chunks()
            for picture in encoder(Tensor(np.stack([to_network(lr) for _, lr in chunk]))).asnumpy()
        ])  # fmt: skip

    def chunks(self) -> Iterator[Sequence[Patch]]:
        """The patches in batches as large as in training."""
        for begin in range(0, len(self.patches), self.options.batch_size):
            yield self.patches[begin : begin + self.options.batch_size]

    def psnr(self, found: Sequence[np.ndarray]) -> dict[str, float]:
        """Means of PSNR and LR-PSNR of pictures (3, sh, sw) in [-1, 1], by the authors' protocol."""
        scores = []
        for picture, (hr, lr) in zip(found, self.patches, strict=True):
            sr = to_uint8(from_network(picture))
            of_lr = lr_psnr(sr, lr, self.hyper.scale, channels="rgb", crop=0, rounding="half_even")
            scores.append((self.convention.psnr(sr, hr), of_lr))
        means = map(mean_psnr, zip(*scores, strict=True))
        return dict(zip((self.convention.label("PSNR"), LR_PSNR), means, strict=True))


class NoiseScores(EncoderScores):
    """The noise predictor's loss, and PSNR of what is sampled with it."""

    def __call__(self, network: SRDiffNet) -> dict[str, float]:
        """Scores of this network."""
        rng = np.random.default_rng([self.options.seed, 3])
        losses, pictures = [], []
        for chunk in self.chunks():
            arrays = [(to_network(hr), to_network(lr), enlarged(lr, self.hyper.scale)) for hr, lr in chunk]
            hr_image, lr_image, lr_up = map(np.stack, zip(*arrays, strict=True))
            losses += [self.noise_loss(network, hr_image, lr_image, lr_up, rng)] * len(chunk)
            pictures.extend(self.sampled(network, lr_image, lr_up, rng))
        return {NOISE: -float(np.mean(losses)), **self.psnr(pictures)}

    def noise_loss(
        self,
        network: SRDiffNet,
        hr_image: np.ndarray,
        lr_image: np.ndarray,
        lr_up: np.ndarray,
        rng: np.random.Generator,
    ) -> float:
        """Mean over steps evenly spread."""
        options = self.options
        loss = NoiseLoss(network, squared=options.loss_type == "l2")
        pictures = [Tensor(array) for array in (hr_image, lr_image, lr_up)]
        found = []
        for share in (np.arange(options.val_noises) + 0.5) / options.val_noises:
            t = Tensor(np.full(len(hr_image), int(share * self.hyper.timesteps), np.int32))
            eps = Tensor(rng.standard_normal(hr_image.shape, np.float32))
            found.append(float(loss(*pictures, t, eps)[1]))
        return float(np.mean(found))

    def sampled(
        self, network: SRDiffNet, lr_image: np.ndarray, lr_up: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Pictures (N, 3, sh, sw) in [-1, 1], not clipped."""

        def draw() -> np.ndarray:
            return rng.standard_normal(lr_up.shape, np.float32)

        projected = network.denoise_fn.project(network.features(Tensor(lr_image)))

        def predict(x: np.ndarray, t: int) -> np.ndarray:
            step = Tensor(np.full(len(x), t), ms.int32)
            return network.denoise_fn(Tensor(x), step, projected).asnumpy()

        options, schedule = self.options, self.hyper.schedule()
        steps = min(options.val_steps, len(schedule))
        residual = sample(predict, schedule, draw(), draw, sampler=options.val_sampler, steps=steps)
        return to_image(residual, lr_up, self.hyper.res_rescale)
