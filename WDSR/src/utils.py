"""What train.py, eval.py, infer.py and export.py put together: rate, network from a checkpoint, upscaler."""

from collections.abc import Callable

import numpy as np
from mindspore import Tensor

from common.checkpoint import Checkpoint, ModelWeights, trained
from common.config import EvalOptions, InferOptions, TrainedOptions
from common.evaluation import Figure, lr_psnr_figure, psnr_figure, ssim_figure, with_lpips
from common.export import Port, make_engine, refuse_small, self_ensemble, tile_apply
from common.images import Pair
from common.training import Plan, Validation, memory, psnr_validation, recipe

from . import metrics
from .args import TrainConfig
from .data.common import Upscaler
from .model import ROOTS, WDSR, Hyper, hyper_of, to_ours

OUTPUTS = ["sr_image"]
CHECK_SIZES = [{"height": 24, "width": 32}, {"height": 37, "width": 29}]  # an export is compared at both
WHOLE, TILE = 512, 256  # LR pixels


def learning_rate(options: TrainConfig) -> Callable[[int], float]:
    """Step (from 0) -> rate. `--decay 200`: times gamma every 200 epochs; `20-25`: at these epochs; `cosine`: to zero.

    Raises:
        UserError: --decay is none of these.
    """
    epoch, base, gamma = options.test_every, options.lr, options.gamma
    if options.decay == "cosine":
        return recipe.cosine_rate(base, options.epochs * epoch)
    falls = [n * epoch for n in recipe.epochs_of(options.decay, "a number of epochs, epochs joined by - (20-25)")]
    return recipe.regular_rate(base, *falls, gamma) if len(falls) == 1 else recipe.falling_rate(base, falls, gamma)


def plan(options: TrainConfig) -> Plan:
    """Steps, rate and intervals of a run."""
    return recipe.plan_in_epochs(options, learning_rate(options))


def step_work(network: WDSR, options: TrainConfig) -> memory.Work:
    """Return what a training step is made of; all its convolutions are on LR pixels."""
    pixels = options.batch_size * options.lr_patch() ** 2
    return memory.of_convolutions(network.trainable_params(), lambda name: pixels)


def read(path: str) -> Checkpoint:
    """Read a file with a WDSR in it; another program's by our names.

    Raises:
        UserError: no such file, or another model's.
    """
    saved = trained.read(path, "WDSR", ROOTS)
    return saved if "hyper" in saved.meta else to_ours(saved.weights)


def hyper_of_file(saved: Checkpoint, path: str, options: TrainedOptions) -> Hyper:
    """Return what a checkpoint says of its network, or what its shapes tell."""
    return Hyper(**saved.meta["hyper"]) if "hyper" in saved.meta else hyper_of(saved, path, options.hyper())


WEIGHTS = ModelWeights("WDSR", WDSR, read, hyper_of_file, "the pictures will mean nothing")
describe, load_weights, load_network = WEIGHTS.describe, WEIGHTS.load_weights, WEIGHTS.load_network


def make_validation(pairs: list[Pair], hyper: Hyper) -> Validation | None:
    """Return network -> its mean PSNR-Y, eager, see `common.training.psnr_validation`."""

    def upscaler(network: WDSR) -> Upscaler:
        form = network.inference_form()
        form.set_train(False)
        return Upscaler(lambda batch: form(Tensor(batch)).asnumpy(), hyper)

    return psnr_validation(pairs, hyper.scale, metrics.benchmark(hyper.scale), upscaler)


def make_upscaler(
    network: WDSR, saved: Checkpoint, source: str, options: EvalOptions | InferOptions
) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Any picture -> its enlargement, by the folded network, in tiles where it is large.

    Args:
        source: file of the weights; the ONNX export is kept beside it.

    Returns:
        (function, name of what runs it); the function takes (h, w, 3) uint8 or uint16 and gives the same type.
    """
    hyper = network.hyper
    refuse_small(options.tile, hyper.receptive_radius)
    form = network.inference_form()
    engine = make_engine(
        options.engine,
        form,
        ports(hyper),
        OUTPUTS,
        sizes=CHECK_SIZES,
        cache=trained.cache_of(source),
        digest=trained.digest_of(hyper, saved),
    )
    upscale = Upscaler(engine.run, hyper)
    if options.self_ensemble:
        upscale = self_ensemble(upscale)

    def enlarge(picture: np.ndarray, progress: Callable | None = None) -> np.ndarray:
        whole = picture.shape[0] * picture.shape[1] <= WHOLE**2
        side = options.tile or (0 if whole else TILE + 2 * hyper.receptive_radius)
        return tile_apply(
            upscale,
            picture,
            scale=hyper.scale,
            tile=side,
            overlap=hyper.receptive_radius,
            out_dtype=picture.dtype,
            progress=progress,
        )

    return enlarge, engine.name


def ports(hyper: Hyper, batch_size: int = 1) -> list[Port]:
    """The input of the exported graph."""
    return [Port("lr_image", (batch_size, hyper.num_colors, "height", "width"), high=hyper.rgb_range)]


def figures(scale: int, crop: int, lpips_weights: str) -> list[Figure]:
    """What eval.py measures: the benchmarks' convention first, then the authors' on DIV2K.

    Args:
        crop: border left out of PSNR-Y and SSIM-Y; -1 takes the scale.
        lpips_weights: "" leaves LPIPS out.
    """
    benchmark = metrics.benchmark(scale, None if crop < 0 else crop)
    found = [psnr_figure(benchmark), ssim_figure(benchmark), psnr_figure(metrics.div2k(scale)), lr_psnr_figure(scale)]
    return with_lpips(found, lpips_weights)
