"""What is measured while training goes on."""

from collections.abc import Iterator

import numpy as np
from mindspore import Tensor

from common.images import to_uint8
from common.metrics import Convention
from common.training import Validation, digest_of, mean_psnr

from ..model.RRDBNet import RRDBNet
from ..model.SRFlow import NegativeLogLikelihood
from ..model.SRFlowNet import SRFlowNet, draw_latents
from .options import TrainConfig

LIKELIHOOD = "log-likelihood (bits per pixel)"


def make_validation(patches: tuple[np.ndarray, np.ndarray] | None, options: TrainConfig) -> Validation | None:
    """Network -> scores over (hr_image, lr_image) in [0, 1], NCHW; None where there are no pictures.

    Of the flow: the mean log-likelihood, with noise as in training, by which the best checkpoint is chosen; and for
    each heat the mean PSNR of its samples. Of the encoder: PSNR of its picture. Noise and latents are always the same.
    """
    if patches is None:
        return None
    hr_image, lr_image = patches
    convention = Convention("rgb", hr_image.shape[2] // lr_image.shape[2])

    def psnr(found: np.ndarray, hr: np.ndarray) -> list[float]:
        return [
            convention.psnr(to_uint8(one.transpose(1, 2, 0)), to_uint8(other.transpose(1, 2, 0)))
            for one, other in zip(found, hr, strict=True)
        ]

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for begin in range(0, len(hr_image), options.batch_size):
            yield hr_image[begin : begin + options.batch_size], lr_image[begin : begin + options.batch_size]

    def of_encoder(network: RRDBNet) -> dict[str, float]:
        found = [score for hr, lr in batches() for score in psnr(network(Tensor(lr)).asnumpy(), hr)]
        return {convention.label("PSNR"): mean_psnr(found)}

    def of_flow(network: SRFlowNet) -> dict[str, float]:
        likelihood = NegativeLogLikelihood(network, options.quant)
        rng, values = np.random.default_rng([options.seed, 3]), []
        scores = {heat: [] for heat in options.val_heats}
        for hr, lr in batches():
            noise = Tensor(rng.random(hr.shape, np.float32))
            values.extend(-likelihood.per_picture(Tensor(hr), Tensor(lr), noise).asnumpy())
            for heat, found in scores.items():
                for _ in range(options.val_samples if heat else 1):
                    latents = draw_latents(network.hyper, (len(lr), *lr.shape[2:]), heat, rng)
                    sample = network.sample([Tensor(latent) for latent in latents], Tensor(lr))
                    found.extend(psnr(sample.asnumpy(), hr))
        named = {f"{convention.label('PSNR')}, heat {heat:g}": mean_psnr(found) for heat, found in scores.items()}
        return {LIKELIHOOD: float(np.mean(values)), **named}

    measure = of_encoder if options.stage == "rrdb" else of_flow
    return Validation(measure, digest_of(patches, options.seed, options.quant))
