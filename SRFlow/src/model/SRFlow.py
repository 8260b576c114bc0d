"""SRFlow's training objective: the negative log-likelihood of the HR image (SRFlow, eq. 2 and 3)."""

import math
from collections.abc import Sequence

from mindspore import Parameter, Tensor, nn, ops

from common.layers import convolve
from common.training import Repeated, Row, Tape, Value

from .Flow import standard_normal_log_density
from .FlowAffineCouplingsAblation import couple, prepare
from .FlowStep import FlowStep, affine_maps, collect, total_logdet
from .FlowUpsamplerNet import PLAIN, FlowUpsamplerNet
from .RRDBNet import TrunkInBlocks, outside_trunk
from .SRFlowNet import SRFlowNet

BATCHED = 4  # flow steps that are prepared at once: of more the memory grows, of fewer the time
KINDS = 21  # of weights in a step: of ActNorm and 1x1 convolution 3, of both networks' three layers 3 each
ROW = 10  # tensors that a step is prepared as: map 2, injector 2, fAffine 6


class NegativeLogLikelihood(nn.Cell):
    """(hr_image, lr_image, uniform or none) -> (nll,), in bits per HR pixel (not per colour value), mean of the batch.

    It may be negative: it is a density's, of values in [0, 1]. Uniform noise of 1/quant keeps the flow from gaining
    from images having few values only; `quant` 0 adds none. The authors' code asks for 32 and then adds none.
    """

    def __init__(self, network: SRFlowNet, quant: float = 0.0) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.quant = network, quant

    def construct(self, hr_image: Tensor, lr_image: Tensor, uniform: Tensor | None = None) -> tuple[Tensor]:
        return (self.per_image(hr_image, lr_image, uniform).mean(),)

    def per_image(self, hr_image: Tensor, lr_image: Tensor, uniform: Tensor | None = None) -> Tensor:
        """(N,); hr_image (N, 3, sh, sw) and lr_image (N, 3, h, w) in [0, 1], uniform like hr_image in [0, 1)."""
        latents, logdet = self.network.forward(self.noisy(hr_image, uniform), lr_image)
        return self.bits(hr_image, logdet, *latents)

    def noisy(self, hr_image: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return the HR image with its noise."""
        return hr_image + (uniform - 0.5) / self.quant if self.quant > 0 else hr_image

    def bits(self, hr_image: Tensor, log_density: Tensor, *latents: Tensor) -> Tensor:
        """Return the result (N,) of log-determinant and latents."""
        pixels = hr_image.shape[2] * hr_image.shape[3]
        for latent in latents:
            log_density = log_density + standard_normal_log_density(latent)
        if self.quant > 0:  # the authors' constant; the noise's density would be counted once for each colour
            log_density = log_density - math.log(self.quant) * pixels
        return log_density / (-math.log(2) * pixels)


class LikelihoodInBlocks:
    """`NegativeLogLikelihood` block by block, for `common.training.BlockStep`.

    The blocks are the encoder's dense blocks; what prepares some flow steps, batched; and a step.

    Args:
        parameters: what is trained of the network.
    """

    def __init__(self, loss: NegativeLogLikelihood, parameters: Sequence[Parameter]) -> None:
        self.stack, self.flow, encoder = loss.network.hyper.stack, loss.network.flowUpsamplerNet, loss.network.RRDB
        flow, self.trunk = self.flow, TrunkInBlocks(encoder)
        logdets = flow.levels * (1 + -(-flow.steps // BATCHED)) + flow.splits

        def read(x: Tensor, *stacked: Tensor) -> Row:
            found = ()
            for condition in encoder.read(encoder.features(x), ops.concat(stacked, 1), flow.levels):
                found = (*found, *condition)
            return found

        def prepared(known: Row, own: Tensor, stacked: Tensor, *weights: Tensor) -> Row:
            count = len(weights) // KINDS
            kinds = [weights[place * count : (place + 1) * count] for place in range(KINDS)]
            layers = [kinds[place : place + 3] for place in range(0, KINDS, 3)]
            matrices, biases, of_maps = affine_maps(layers[0])
            injectors, affines, of_injectors, kept = prepare((layers[1:4], layers[4:]), (own, stacked), flow.eps, known)
            row = ()
            for k in range(count):
                row = (*row, matrices[k], biases[k], *injectors[k], *affines[k])
            return of_injectors, of_maps, *row, kept

        def step(z: Tensor, matrix: Tensor, bias: Tensor, shift: Tensor, scale: Tensor, *affine: Tensor) -> Row:
            return couple(convolve(z, matrix, bias), (shift, scale), affine, flow.eps)

        def noisy(hr_image: Tensor, *uniform: Tensor) -> Tensor:
            return loss.noisy(hr_image, *uniform)

        def bits(hr_image: Tensor, *row: Tensor) -> Tensor:
            total = 0.0
            for logdet in row[:logdets]:
                total = total + logdet
            return loss.bits(hr_image, total, *row[logdets:]).mean()

        self.read = Repeated(read, 2 * flow.levels, parameters=outside_trunk(parameters))
        self.prepared = {count: Repeated(prepared, 2 + ROW * count, keeps=True) for count in range(1, BATCHED + 1)}
        self.step, self.noisy = Repeated(step, 2), Repeated(noisy)
        self.total_logdet, self.bits = Repeated(total_logdet), Repeated(bits)
        self.levels = [level_in_blocks(flow, level) for level in range(flow.levels)]

    def __call__(self, tape: Tape, hr_image: Tensor, lr_image: Tensor, *uniform: Tensor) -> tuple[Value]:
        blocks, latents, logdets = self.trunk(tape, lr_image), [], []
        conditions = tape(self.read, blocks[-1], *(blocks[number] for number in self.stack))
        x = tape(self.noisy, hr_image, *uniform)
        for level, (enter, split) in enumerate(self.levels):
            x, logdet = tape(enter, x)
            logdets.append(logdet)
            steps = self.flow.level_steps(level)
            for first in range(0, len(steps), BATCHED):
                some, scales = steps[first : first + BATCHED], []
                condition = conditions[2 * level : 2 * level + 2]
                of_injectors, of_maps, *row = tape(self.prepared[len(some)], *condition, *weights_of(some))
                for place in range(0, len(row), ROW):
                    x, scale = tape(self.step, x, *row[place : place + ROW])
                    scales.append(scale)
                logdets.append(tape(self.total_logdet, x, of_injectors, of_maps, *scales))
            if split:
                x, latent, logdet = tape(split, x)
                latents.append(latent)
                logdets.append(logdet)
        return (tape(self.bits, hr_image, *logdets, *latents, x),)


def weights_of(steps: Sequence[FlowStep]) -> list[Parameter]:
    """Return those of each of `KINDS` kinds, one kind after the other."""
    maps, (of_features, of_affine) = collect(steps)
    return [weight for kinds in (maps, *of_features, *of_affine) for kind in kinds for weight in kind]


def level_in_blocks(flow: FlowUpsamplerNet, level: int) -> tuple[Repeated, Repeated | None]:
    """Return x -> (x, logdet), up to a level's steps, and of its split x -> (x, latent, logdet)."""

    def enter(x: Tensor) -> Row:
        return flow.enter(level, x)

    def split(x: Tensor) -> Row:
        (x, latent), logdet = flow.split(level).forward(x)
        return x, latent, logdet

    begin = flow.begin(level)
    own = [weight for place in range(begin, begin + PLAIN) for weight in flow.layers[place].trainable_params()]
    if level >= flow.splits:
        return Repeated(enter, 2, parameters=own), None
    return Repeated(enter, 2, parameters=own), Repeated(split, 3, parameters=flow.split(level).trainable_params())
