"""How SRFlow is trained: the two stages' objectives, the plan of a run, and when the encoder joins in."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from common.checkpoint import Checkpoint, load_into, trained
from common.training import Adam, GradientStep, MovingAverage, Plan, Trainer, memory, recipe

from ..model.RRDBNet import RRDBNet
from ..model.SRFlow import NegativeLogLikelihood
from ..model.SRFlowNet import Hyper, SRFlowNet
from ..scheduler.scheduler import multistep_rate
from .options import TrainConfig
from .util import ENCODER, load_weights, read_encoder

log = logging.getLogger(__name__)
HEAD = ("RRDB.HRconv.", "RRDB.conv_last.")  # the flow reads no picture from the encoder


class PixelLoss(nn.Cell):
    """(hr_image, lr_image) -> (mean absolute difference of the encoder's own picture,): the stage before the flow."""

    def __init__(self, encoder: RRDBNet) -> None:
        super().__init__(auto_prefix=False)
        self.encoder = encoder

    def construct(self, hr_image: Tensor, lr_image: Tensor) -> tuple[Tensor]:
        return ((hr_image - self.encoder(lr_image)).abs().mean(),)


def make_network(options: TrainConfig, hyper: Hyper, from_start: bool) -> SRFlowNet | RRDBNet:
    """What is trained at this stage.

    Args:
        from_start: no run goes on, so that the weights which the options name are read.

    Raises:
        UserError: weights that do not fit.
    """
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


def plan(options: TrainConfig, hyper: Hyper, world_size: int, pictures: int) -> Plan:
    """Steps, rate and intervals of a run, see `common.training.step_counts`.

    Args:
        pictures: in the data set, for --epochs.
    """
    niter, scaled = recipe.step_counts(options.niter, options, world_size, pictures)
    falls = [scaled(step) for step in options.lr_steps] or [int(part * niter) for part in options.lr_steps_rel]
    rises = [int(part * niter) for part in options.lr_steps_inverse_rel]
    return recipe.plan(
        options,
        niter,
        multistep_rate(options.learning_rate(hyper.scale), falls, options.lr_gamma, rises),
        validate_every=scaled(options.test_every),
        keep_every=options.save_checkpoint_freq,
    )


def step_work(network: SRFlowNet | RRDBNet, options: TrainConfig, hyper: Hyper) -> memory.Work:
    """Return what a training step is made of, with the encoder, which is trained sooner or later."""
    pixels = options.batch_size * options.lr_patch(hyper) ** 2

    def area(name: str) -> float:
        if ".layers." in name:
            return pixels * hyper.scale**2 / 4 ** (level_of(name, hyper) + 1)
        if doublings := re.search(r"upconv(\d)", name):
            return pixels * 4 ** int(doublings[1])
        return pixels * (hyper.scale**2 if "HRconv" in name or "conv_last" in name else 1)

    parameters = network.trainable_params() if options.stage == "rrdb" else read_parameters(network)
    return memory.of_convolutions(parameters, area)


def level_of(name: str, hyper: Hyper) -> int:
    """Of a parameter of the flow; a level has a squeeze, two transition steps and the flow steps, the first a split."""
    place, length = int(name.split(".")[2]), 3 + hyper.steps
    return 0 if place <= length else 1 + (place - length - 1) // length


def release_step(options: TrainConfig, steps: int) -> int:
    """Number of steps after which the encoder is trained as well.

    An untrained encoder is trained from the start: there is nothing in it to keep.
    """
    if options.train_RRDB:
        return 0
    if not options.ckpt_path and not options.rrdb_path:
        return 0
    return int(options.train_RRDB_delay * steps)


class StagedAdam:
    """Adam over the flow and, from their release on, over the encoder's parameters, whose moments begin then.

    Args:
        flow, encoder: the parameters.
        make: parameters -> optimizer.
    """

    def __init__(
        self, flow: Sequence[Parameter], encoder: Sequence[Parameter], make: Callable[[Sequence[Parameter]], Adam]
    ) -> None:
        self.flow, self.encoder = make(flow), make(encoder)
        self.released = False

    @property
    def parameters(self) -> list[Parameter]:
        """What is trained now."""
        return self.flow.parameters + (self.encoder.parameters if self.released else [])

    def step(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        """One update; `gradients` in the order of `parameters`."""
        count = len(self.flow.parameters)
        self.flow.step(gradients[:count], learning_rate)
        if self.released:
            self.encoder.step(gradients[count:], learning_rate)

    def state(self) -> dict[str, np.ndarray]:
        """Moments and step counts, as `load` takes them; the encoder's once it is released."""
        encoder = self.encoder.state() if self.released else {}
        return self.flow.state() | {f"encoder.{name}": array for name, array in encoder.items()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from `state()`, with the encoder released if it was.

        Raises:
            KeyError: a moment is missing.
        """
        self.flow.load(arrays)
        encoder = {
            name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")
        }
        self.released = bool(encoder)
        if encoder:
            self.encoder.load(encoder)


class FlowTrainer(Trainer):
    """Trains the flow with the encoder as it is, and both after `release` steps; each has its own compiled step.

    What the flow does not read (the encoder's head and what nothing reads at all) is never changed.

    Args:
        release: steps after which the encoder is trained as well.
    """

    def __init__(
        self, network: SRFlowNet, loss: nn.Cell, *run: Any, options: TrainConfig, release: int, **settings: Any
    ) -> None:
        parameters = read_parameters(network)
        encoder = [parameter for parameter in parameters if parameter.name.startswith(ENCODER)]
        flow = [parameter for parameter in parameters if not parameter.name.startswith(ENCODER)]
        trained = {parameter.name for parameter in flow}
        for parameter in network.get_parameters():
            parameter.requires_grad = parameter.name in trained
        optimizer = StagedAdam(flow, encoder, lambda parameters: recipe.adam(options, parameters))
        super().__init__(network, loss, *run, optimizer=optimizer, **settings)
        self.loss, self.release = loss, release
        self.average = MovingAverage(parameters, self.plan.ema_decay)

    def train_step(self, batch: tuple[np.ndarray, ...]) -> tuple[list[float], float]:
        """One step, the encoder's release before it when its time has come."""
        if self.step >= self.release and not self.optimizer.released:
            self.optimizer.released = True
            self._train_encoder()
        return super().train_step(batch)

    def resume(self, saved: Checkpoint, source: str) -> None:
        """As Trainer's; an encoder that was released stays so."""
        super().resume(saved, source)
        if self.optimizer.released:
            self._train_encoder()

    def _train_encoder(self) -> None:
        log.info("the encoder is trained as well from step %d on", self.step + 1)
        for parameter in self.optimizer.parameters:
            parameter.requires_grad = True
        parameters = ms.ParameterTuple(self.optimizer.parameters)
        self.gradient_step = GradientStep(self.loss, parameters, self.plan.gradient_clip, self.here.world_size)


def read_parameters(network: SRFlowNet) -> list[Parameter]:
    """Those that the flow's likelihood depends on."""
    unread = (*HEAD, f"RRDB.upconv{network.RRDB.doublings}.", "flowUpsamplerNet.f.")
    return [parameter for parameter in network.get_parameters() if not parameter.name.startswith(unread)]


def make_trainer(network: SRFlowNet | RRDBNet, options: TrainConfig, *run: Any, **settings: Any) -> Trainer:
    """The trainer of the stage.

    Args:
        run, settings: what `common.training.Trainer` takes after the loss.
    """
    if options.stage == "rrdb":
        optimizer = recipe.adam(options, network.trainable_params())
        return Trainer(network, PixelLoss(network), *run, optimizer=optimizer, **settings)
    loss = NegativeLogLikelihood(network, options.quant)
    return FlowTrainer(network, loss, *run, options=options, release=release_step(options, run[1].steps), **settings)
