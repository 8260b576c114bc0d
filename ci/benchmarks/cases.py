"""The timed steps of each model: networks of the authors' size, at the sizes of the PyTorch peers' bench_torch.py.

Each function returns (one step to be timed, which returns a number of its result; the image's size; the batch; what
the network is; its number of parameters). `what` is infer or train; `engine` is onnxruntime or mindspore; training is
block by block with "mindspore", and one graph with any other name.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, Tensor, nn

from common.export import Graph, make_engine
from common.training import Adam, BlockStep, GradientStep, L1Loss
from CSNLN.src import graphs as csnln_graphs
from CSNLN.src.config import LR_PATCH, MODELS, InferConfig
from CSNLN.src.CSNLN import CSNLN
from CSNLN.src.CSNLN import count_parameters as csnln_parameters
from CSNLN.src.recomputing import LossInCells
from IRN.src.graphs import DIRECTIONS, engine_of
from IRN.src.network import Invnet
from IRN.src.network.net_with_loss import LossInBlocks as IRNLoss
from IRN.src.optim.adam_clip import adam
from IRN.src.options.options import TrainConfig as IRNConfig
from IRN.src.recipe import make_loss
from SRDiff.src.model import srdiff as diffusion
from SRDiff.src.model.objective import NoiseLoss
from SRDiff.src.model_utils.graphs import prepare
from SRDiff.src.model_utils.inference import Chain, Sampler, Way
from SRDiff.src.model_utils.options import TrainConfig as SRDiffConfig
from SRDiff.src.model_utils.recipe import trained_part
from SRDiff.src.model_utils.util import Trained
from SRFlow.src.model.SRFlow import LikelihoodInBlocks, NegativeLogLikelihood
from SRFlow.src.model.SRFlowNet import PRESETS as SRFLOW
from SRFlow.src.model.SRFlowNet import SRFlowNet, draw_latents
from SRFlow.src.model.SRFlowNet import count_parameters as srflow_parameters
from SRFlow.src.model_utils.graphs import fold, graph_of
from SRFlow.src.model_utils.recipe import read_parameters
from WDSR.src import graphs as wdsr_graphs
from WDSR.src import model as wide
from WDSR.src.recipe import LossInBlocks as WDSRLoss


class Case(NamedTuple):
    """A step, and what a row says of it."""

    step: Callable[[], float]
    size: str
    batch: int
    config: str
    parameters: int


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def images(batch: int, *sides: int, white: float = 1.0) -> list[np.ndarray]:
    """(batch, 3, side, side) for each side, in [0, white]."""
    source = rng()
    return [np.float32(white) * source.random((batch, 3, side, side), np.float32) for side in sides]


def training(loss: Callable, parameters: Sequence, batch: Callable, rate: float, update=None, clip=0.0) -> Callable:
    """The step of training: gradients on what `batch` gives, block by block as on CPU where they can be, and Adam."""
    parameters = ParameterTuple(parameters)
    kind = GradientStep if isinstance(loss, nn.Cell) else BlockStep
    gradient_step, optimizer = kind(loss, parameters, clip), update or Adam(parameters)

    def step() -> float:
        values, gradients, _, _ = gradient_step(Tensor([1.0, 0.0], ms.float32), *map(Tensor, batch()))
        found = float(values[0])
        optimizer.step(gradients, rate)
        return found

    return step


def wdsr(what: str, engine: str) -> Case:
    hyper, side, batch = wide.PRESETS["wdsr_b"], 128 if what == "infer" else 48, 1 if what == "infer" else 16
    network = wide.WDSR(hyper)
    if what == "infer":
        form, ports = wdsr_graphs.WDSRInference(network), wdsr_graphs.ports(hyper)
        runner = make_engine(engine, Graph(form, ports, wdsr_graphs.OUTPUTS, wdsr_graphs.CHECK_SIZES))
        (lr,) = images(1, side, white=255)
        step = lambda: float(runner.run(lr).ravel()[0])  # noqa: E731
    else:
        pair = images(batch, side, 2 * side, white=255)
        loss = (WDSRLoss if engine == "mindspore" else L1Loss)(network)
        step = training(loss, network.trainable_params(), lambda: pair, 1e-4)
    config = "x2, WDSR-B, 32 blocks, 64 features"
    return Case(step, f"LR {side}x{side}", batch, config, wide.count_parameters(network))


def irn(what: str, engine: str) -> Case:
    """x4; inference goes down, to 8 bits, and up again."""
    network = Invnet.InvRescaleNet(Invnet.Hyper(scale=4, block_num=(8, 8)))
    side, batch = (512, 1) if what == "infer" else (144, 4)  # HR pixels
    hr, lr = images(batch, side, side // 4)
    z = rng().standard_normal((batch, network.hyper.z_channels, side // 4, side // 4), np.float32)
    if what == "infer":
        down, up = (engine_of(network, direction, engine) for direction in DIRECTIONS)
        step = lambda: float(up.run(np.round(down.run(hr).clip(0, 1) * 255) / 255, z).ravel()[0])  # noqa: E731
    else:
        options, parameters = IRNConfig(), network.trainable_params()
        loss, optimizer = make_loss(network, options), adam(network, options)
        loss = IRNLoss(loss) if engine == "mindspore" else loss
        step = training(loss, parameters, lambda: (hr, lr, z), options.lr, optimizer, options.gclip)
    config = "x4, 8 blocks per level, growth 32"
    return Case(step, f"HR {side}x{side}", batch, config, Invnet.count_parameters(network))


def srflow(what: str, engine: str) -> Case:
    """x4; the reverse pass with latents drawn anew, or the likelihood."""
    hyper, side, batch = SRFLOW["SRFlow_DF2K_4X"], 40, 1 if what == "infer" else 2
    network, source = SRFlowNet(hyper), rng()
    lr, hr = images(batch, side, side * hyper.scale)
    if what == "infer":
        arrays = fold({parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}, hyper)
        runner = make_engine(engine, graph_of(arrays, hyper, "decode"))
        step = lambda: float(runner.run(lr, *draw_latents(hyper, (1, side, side), 0.9, source)).sum())  # noqa: E731
    else:
        network.initialise(Tensor(hr[:1, :, :64, :64]), Tensor(lr[:1, :, :16, :16]))
        parameters, loss = read_parameters(network), NegativeLogLikelihood(network)
        loss = LikelihoodInBlocks(loss, parameters) if engine == "mindspore" else loss
        step = training(loss, parameters, lambda: (hr, lr), 2.5e-4)
    config = "x4, RRDB 23x64, L 3, K 16, hidden 64"
    return Case(step, f"LR {side}x{side}", batch, config, srflow_parameters(network))


def srdiff(what: str, engine: str) -> Case:
    """x4; the encoder and ten of the chain's 100 steps, or the noise predictor's loss with a fixed encoder."""
    hyper, side, batch, source = diffusion.PRESETS["diffsr_df2k4x"], 40, 1 if what == "infer" else 4, rng()
    network, size = diffusion.SRDiffNet(hyper), f"LR {side}x{side}"
    if what == "infer":
        sampler = Sampler(Trained(prepare(network), "random weights", "random weights"), engine)
        lr, size = source.integers(0, 256, (side, side, 3), np.uint8), f"{size}, 10 of {hyper.timesteps} steps"

        def step() -> float:
            chain = Chain(lr, sampler)
            return float(chain.image(chain.sample(chain.noise(0, "an image", 0), Way("ddpm", 10))).mean())

    else:
        lr, hr, lr_up = (2 * array - 1 for array in images(batch, side, side * hyper.scale, side * hyper.scale))

        def noisy() -> tuple[np.ndarray, ...]:
            t = source.integers(hyper.timesteps, size=batch).astype(np.int32)
            return hr, lr, lr_up, t, source.standard_normal(hr.shape, np.float32)

        options = SRDiffConfig()
        parameters = ParameterTuple(trained_part(network, options).trainable_params())
        optimizer = Adam(parameters, (options.beta1, options.beta2))
        step = training(NoiseLoss(network), parameters, noisy, options.lr, optimizer)
    config = "x4, RRDB 8x32 fixed, U-Net 64 x 1-2-3-4"
    return Case(step, size, batch, config, diffusion.count_parameters(network))


def csnln(what: str, engine: str) -> Case:
    network = CSNLN(MODELS["CSNLN"])
    lr, hr = images(1, LR_PATCH, 2 * LR_PATCH)
    if what == "infer":
        runner = csnln_graphs.make_engine(engine, network, InferConfig().attention_memory * 2**20)
        step = lambda: float(runner.run(lr).mean())  # noqa: E731
    else:
        loss = (LossInCells if engine == "mindspore" else L1Loss)(network)
        step = training(loss, network.trainable_params(), lambda: (lr, hr), 1e-4)
    config = "x2, 128 features, depth 12"
    return Case(step, f"LR {LR_PATCH}x{LR_PATCH}", 1, config, csnln_parameters(network))
