"""How SRFlow is trained: the two stages' objectives, the plan of a run, and when the encoder joins in."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from common.checkpoint import load_into, trained
from common.images import to_uint8
from common.metrics import Convention
from common.training import (
    Adam,
    BlockStep,
    GradientStep,
    Plan,
    Repeated,
    Tape,
    Trainer,
    Validation,
    Value,
    digest_of,
    mean_psnr,
    memory,
    recipe,
)

from ..model.RRDBNet import RRDBNet, TrunkInBlocks, outside_trunk
from ..model.SRFlow import BATCHED, LikelihoodInBlocks, NegativeLogLikelihood
from ..model.SRFlowNet import Hyper, SRFlowNet, draw_latents
from ..scheduler.scheduler import multistep_rate
from .options import TrainConfig
from .util import ENCODER, load_weights, read_encoder

log = logging.getLogger(__name__)
LIKELIHOOD = "log-likelihood (bits per pixel)"
HEAD = ("RRDB.HRconv.", "RRDB.conv_last.")  # the flow reads no image from the encoder


class PixelLoss(nn.Cell):
    """(hr_image, lr_image) -> (L1 distance of the encoder's own image,): the stage before the flow."""

    def __init__(self, encoder: RRDBNet) -> None:
        super().__init__(auto_prefix=False)
        self.encoder = encoder

    def construct(self, hr_image: Tensor, lr_image: Tensor) -> tuple[Tensor]:
        return ((hr_image - self.encoder(lr_image)).abs().mean(),)


class PixelLossInBlocks:
    """`PixelLoss` block by block, for `BlockStep`."""

    def __init__(self, encoder: RRDBNet) -> None:
        def distance(x: Tensor, hr_image: Tensor) -> Tensor:
            return (hr_image - encoder.head(encoder.features(x))).abs().mean()

        self.trunk = TrunkInBlocks(encoder)
        self.distance = Repeated(distance, parameters=outside_trunk(encoder.trainable_params()))

    def __call__(self, tape: Tape, hr_image: Tensor, lr_image: Tensor) -> tuple[Value]:
        return (tape(self.distance, self.trunk(tape, lr_image)[-1], hr_image),)


def make_network(options: TrainConfig, hyper: Hyper, from_start: bool) -> SRFlowNet | RRDBNet:
    """Build what this stage trains, `from_start` of a run with the weights that the options name."""
    if options.stage == "rrdb":
        shape = hyper.num_features, hyper.num_blocks, hyper.growth, hyper.scale
        encoder = RRDBNet(*shape, np.random.default_rng(options.seed))
        for path in filter(None, (options.ckpt_path, options.rrdb_path) if from_start else ()):
            load_into(encoder, read_encoder(path), source=path)
        return encoder
    network = SRFlowNet(hyper, options.seed)
    if options.ckpt_path and from_start:
        with trained.starting_from(options.ckpt_path, options, network):
            load_weights(network, options.ckpt_path)
    if options.rrdb_path and from_start:
        weights = {ENCODER + name: array for name, array in read_encoder(options.rrdb_path).items()}
        load_into(network.RRDB, weights, source=options.rrdb_path)
    if from_start and not options.ckpt_path and not options.rrdb_path and not options.train_RRDB:
        log.warning(
            "the encoder begins untrained, so it is trained from the first step; better train it beforehand by "
            "--stage rrdb and name the result by --rrdb_path"
        )
    return network


def initialise(
    network: SRFlowNet, quant: float, hr_image: np.ndarray, lr_image: np.ndarray, *noise: np.ndarray
) -> None:
    """Set the ActNorms from a batch, as the flow will see it."""
    for uniform in noise:
        hr_image = hr_image + (uniform - np.float32(0.5)) / np.float32(quant)
    network.initialise(Tensor(hr_image), Tensor(lr_image))


def plan(options: TrainConfig, hyper: Hyper, world_size: int, images: int) -> Plan:
    """Return steps, rate and intervals of a run."""
    niter, scaled = recipe.step_counts(options.niter, options, world_size, images)
    falls = [scaled(step) for step in options.lr_steps] or [int(part * niter) for part in options.lr_steps_rel]
    rises = [int(part * niter) for part in options.lr_steps_inverse_rel]
    return recipe.plan(
        options,
        niter,
        multistep_rate(options.learning_rate(hyper.scale), falls, options.lr_gamma, rises),
        validate_every=scaled(options.test_every),
        keep_every=options.save_checkpoint_freq,
    )


def step_work(network: SRFlowNet | RRDBNet, options: TrainConfig, hyper: Hyper, is_low: bool) -> memory.Work:
    """Return convolutions and values of a training step, with the encoder, which is trained sooner or later."""
    pixels = options.batch_size * options.lr_patch(hyper) ** 2

    def area(name: str) -> float:
        if ".layers." in name:
            return pixels * hyper.scale**2 / 4 ** (level_of(name, hyper) + 1)
        if doublings := re.search(r"upconv(\d)", name):
            return pixels * 4 ** int(doublings[1])
        return pixels * (hyper.scale**2 if "HRconv" in name or "conv_last" in name else 1)

    parameters = network.trainable_params() if options.stage == "rrdb" else read_parameters(network)
    if not is_low:
        return memory.of_convolutions(parameters, area)
    kinds = [p for p in parameters if is_first(p.name, hyper)]
    dense = 3 * hyper.num_blocks * (hyper.num_features + 4 * hyper.growth)
    flow = sum(
        3 * hyper.steps * hyper.hidden_channels * hyper.scale**2 / 4**level for level in range(1, hyper.levels + 1)
    )
    weights = sum(p.size for p in parameters)
    return memory.of_convolutions(kinds, area, kept=pixels * (dense + flow), weights=weights)


def is_first(name: str, hyper: Hyper) -> bool:
    """Return whether a parameter is of the first block of its kind, or of the first batch of steps of its level."""
    if ".layers." in name:
        place, length = int(name.split(".")[2]), 3 + hyper.steps
        return (place if place <= length else (place - 1) % length) < 3 + BATCHED
    return not re.search(r"RRDB_trunk\.[1-9]|RDB[23]", name)


def level_of(name: str, hyper: Hyper) -> int:
    """Return a parameter's level: squeeze, two transition steps, the flow steps, and in the first a split."""
    place, length = int(name.split(".")[2]), 3 + hyper.steps
    return 0 if place <= length else 1 + (place - length - 1) // length


def release_step(options: TrainConfig, steps: int) -> int:
    """Return after how many steps the encoder is trained as well; an untrained one is from the start."""
    if options.train_RRDB:
        return 0
    if not options.ckpt_path and not options.rrdb_path:
        return 0
    return int(options.train_RRDB_delay * steps)


class StagedAdam:
    """Adam over the flow and, once `released` is set, over the encoder as well, whose moments begin then."""

    def __init__(
        self, flow: Sequence[Parameter], encoder: Sequence[Parameter], make: Callable[[Sequence[Parameter]], Adam]
    ) -> None:
        self.flow, self.encoder = make(flow), make(encoder)
        self.released = False

    @property
    def parameters(self) -> list[Parameter]:
        return self.flow.parameters + (self.encoder.parameters if self.released else [])

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        count = len(self.flow.parameters)
        self.flow.step(gradients[:count], learning_rate)
        if self.released:
            self.encoder.step(gradients[count:], learning_rate)

    def state(self) -> dict[str, np.ndarray]:
        encoder = self.encoder.state() if self.released else {}
        return self.flow.state() | {f"encoder.{name}": array for name, array in encoder.items()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state()`; KeyError when a moment is missing."""
        self.flow.load(arrays)
        encoder = {
            name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")
        }
        self.released = bool(encoder)
        if encoder:
            self.encoder.load(encoder)


class StagedStep:
    """The gradient step of the flow and, after `release` updates, of the encoder as well; compiled on first use."""

    def __init__(
        self, optimizer: StagedAdam, release: int, make: Callable[[Sequence[Parameter]], Callable[..., tuple]]
    ) -> None:
        self.optimizer, self.release, self.make = optimizer, release, make
        self.flow, self.both = make(optimizer.flow.parameters), None

    def __call__(self, *batch: Tensor) -> tuple:
        optimizer = self.optimizer
        optimizer.released = optimizer.released or optimizer.flow.steps >= self.release
        if optimizer.released and not self.both:
            log.info("the encoder is trained as well from step %d on", optimizer.flow.steps + 1)
            for parameter in optimizer.encoder.parameters:
                parameter.requires_grad = True
            self.both = self.make(optimizer.parameters)
        return (self.both or self.flow)(*batch)


def read_parameters(network: SRFlowNet) -> list[Parameter]:
    """Return those that the flow's likelihood depends on."""
    unread = (*HEAD, f"RRDB.upconv{network.RRDB.doublings}.", "flowUpsamplerNet.f.")
    return [parameter for parameter in network.get_parameters() if not parameter.name.startswith(unread)]


def make_trainer(
    network: SRFlowNet | RRDBNet, options: TrainConfig, is_low: bool, *run: Any, **settings: Any
) -> Trainer:
    """Return the trainer of the stage; what the flow does not read (the encoder's head) is never changed."""
    _, plan, here, *_ = run
    limits = plan.gradient_clip, here.world_size
    if options.stage == "rrdb":
        trained = network.trainable_params()
        settings |= {"step": BlockStep(PixelLossInBlocks(network), trained, *limits)} if is_low else {}
        return Trainer(network, PixelLoss(network), *run, optimizer=recipe.adam(options, trained), **settings)
    read = read_parameters(network)
    names = {parameter.name for parameter in read}
    for parameter in network.get_parameters():
        parameter.requires_grad = parameter.name in names
    encoder = [parameter for parameter in read if parameter.name.startswith(ENCODER)]
    flow = [parameter for parameter in read if not parameter.name.startswith(ENCODER)]
    optimizer = StagedAdam(flow, encoder, lambda parameters: recipe.adam(options, parameters))
    loss = NegativeLogLikelihood(network, options.quant)

    def step_by(parameters: Sequence[Parameter]) -> BlockStep | GradientStep:
        if is_low:
            return BlockStep(LikelihoodInBlocks(loss, parameters), parameters, *limits)
        return GradientStep(loss, ms.ParameterTuple(parameters), *limits)

    step = StagedStep(optimizer, release_step(options, plan.steps), step_by)
    trainer = Trainer(network, loss, *run, optimizer=optimizer, step=step, **settings)  # averages both
    for parameter in encoder:
        parameter.requires_grad = False  # until its release
    return trainer


def make_validation(patches: tuple[np.ndarray, np.ndarray] | None, options: TrainConfig) -> Validation | None:
    """Return network -> scores over (hr_image, lr_image) in [0, 1], NCHW; None where there are no images.

    Of the flow: the mean log-likelihood, with noise as in training, by which the best checkpoint is chosen; and for
    each heat the mean PSNR of its samples. Of the encoder: PSNR of its image. Noise and latents are always the same.
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
            values.extend(-likelihood.per_image(Tensor(hr), Tensor(lr), noise).asnumpy())
            for heat, found in scores.items():
                for _ in range(options.val_samples if heat else 1):
                    latents = draw_latents(network.hyper, (len(lr), *lr.shape[2:]), heat, rng)
                    sample = network.sample([Tensor(latent) for latent in latents], Tensor(lr))
                    found.extend(psnr(sample.asnumpy(), hr))
        named = {f"{convention.label('PSNR')}, heat {heat:g}": mean_psnr(found) for heat, found in scores.items()}
        return {LIKELIHOOD: float(np.mean(values)), **named}

    measure = of_encoder if options.stage == "rrdb" else of_flow
    return Validation(measure, digest_of(patches, options.seed, options.quant))
