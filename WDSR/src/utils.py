"""What train.py, eval.py, infer.py and export.py put together: loss, rate, network from a checkpoint, upscaler."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError, checkpoint, trained
from common.checkpoint import Checkpoint
from common.engine import make_engine
from common.evaluation import Figure, lpips_figure, lr_psnr_figure, psnr_figure, ssim_figure
from common.export import Port
from common.pairs import Pair, read_pair
from common.pixels import to_float, to_uint8
from common.resize import imresize
from common.tiling import self_ensemble, tile_apply
from common.training import Plan

from . import metrics
from .args import EngineOptions, TrainConfig, TrainedOptions
from .data.common import Upscaler
from .model import WDSR, Hyper, hyper_of, official_names

log = logging.getLogger(__name__)
OUTPUTS = ["sr_image"]
CHECK_SIZES = [{"height": 24, "width": 32}, {"height": 37, "width": 29}]  # an export is compared at both
WHOLE, TILE = 512, 256  # LR pixels
DEMO_WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


class L1Loss(nn.Cell):
    """Mean absolute difference, in grey levels of the network's range."""

    def __init__(self, network: WDSR) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, lr_image: Tensor, hr_image: Tensor) -> tuple[Tensor]:
        return (ops.abs(self.network(lr_image) - hr_image).mean(),)


def learning_rate(config: TrainConfig) -> Callable[[int], float]:
    """Step (from 0) -> rate. `--decay 200`: times gamma every 200 epochs; `20-25`: at these epochs; `cosine`: to zero.

    Raises:
        UserError: --decay is none of these.
    """
    steps_per_epoch, base, gamma = config.test_every, config.lr, config.gamma
    if config.decay == "cosine":
        total = config.epochs * steps_per_epoch
        return lambda step: base * 0.5 * (1 + math.cos(math.pi * min(step / total, 1)))
    words = config.decay.split("-")
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise UserError(
            f"--decay must be a number of epochs, epochs joined by - (20-25), or cosine, not {config.decay!r}"
        )
    epochs = [int(word) for word in words]
    if len(epochs) == 1:
        return lambda step: base * gamma ** (step // steps_per_epoch // epochs[0])
    return lambda step: base * gamma ** sum(step // steps_per_epoch >= epoch for epoch in epochs)


def plan(options: TrainConfig) -> Plan:
    """Steps, rate and intervals of a run; the options count in epochs of --test_every steps."""
    return Plan(
        steps=options.epochs * options.test_every,
        learning_rate=learning_rate(options),
        gradient_clip=options.gclip,
        ema_decay=options.ema,
        log_every=options.log_every,
        validate_every=options.test_every,
        save_every=options.save_every,
        keep_every=options.ckpt_save_interval * options.test_every,
        keep_at_most=options.ckpt_save_max,
        loss_scale=options.loss_scale if options.amp_level != "O0" else 1.0,
    )


def load_weights(network: WDSR, path: str) -> None:
    """Put the weights of a checkpoint, ours or the authors', into a network of the same shape."""
    weights = trained.read(path, "WDSR").weights
    checkpoint.load_into(network, weights, source=path, names=official_names(weights))


def describe(hyper: Hyper, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {"model": "WDSR", "scale": hyper.scale, "hyper": asdict(hyper), "config": dict(config)}


def load_network(options: TrainedOptions) -> tuple[WDSR, Checkpoint, str]:
    """The network that a checkpoint holds, rebuilt from what the file says; without one, the demo weights.

    Returns:
        (network, checkpoint, name of the source).

    Raises:
        UserError: no such file, not WDSR, not the network that was asked for, or weights that do not fit.
    """
    if options.random_weights and not options.ckpt_path:
        network = WDSR(options.hyper())
        log.warning("random weights: the pictures will mean nothing")
        weights = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
        return network, Checkpoint(weights, describe(network.hyper, {})), "random weights"
    source = options.ckpt_path or str(trained.demo_weights(DEMO_WEIGHTS, options.chosen_scale()))
    saved = trained.read(source, "WDSR")
    hyper = Hyper(**saved.meta["hyper"]) if "hyper" in saved.meta else hyper_of(saved.weights, source, options.hyper())
    refuse_contradiction(options, hyper, source)
    network = WDSR(hyper)
    checkpoint.load_into(network, saved.weights, source=source, names=official_names(saved.weights))
    return network, saved, source


def refuse_contradiction(options: TrainedOptions, hyper: Hyper, source: str) -> None:
    """A network flag that was given must agree with the checkpoint.

    Raises:
        UserError: it does not.
    """
    asked, plain = asdict(options.hyper()), asdict(type(options)().hyper())
    given = {key: asked[key] for key in asked if asked[key] != plain[key] or (key == "scale" and options.scale)}
    trained.refuse_contradiction(source, asdict(hyper), given)


def make_validation(pairs: list[Pair], hyper: Hyper) -> Callable[[WDSR], dict[str, float]]:
    """Mean PSNR-Y of the network, eager, over some pairs; these are decoded once."""
    pictures = [read_pair(pair, hyper.scale) for pair in pairs]
    convention = metrics.benchmark(hyper.scale)

    bicubic = np.mean([convention.psnr(imresize(lr, hyper.scale), hr) for hr, lr in pictures])
    log.info("%d test pictures, bicubic: %s %.4f", len(pictures), convention.label("PSNR"), bicubic)

    def validate(network: WDSR) -> dict[str, float]:
        form = network.inference_form()
        form.set_train(False)
        upscale = Upscaler(lambda batch: form(Tensor(batch)).asnumpy(), hyper)
        scores = [convention.psnr(to_uint8(upscale(to_float(lr))), hr) for hr, lr in pictures]
        return {convention.label("PSNR"): float(np.mean(scores))}

    return validate


def make_upscaler(
    network: WDSR, saved: Checkpoint, source: str, options: EngineOptions
) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Any picture -> its enlargement, by the folded network, in tiles where it is large.

    Args:
        source: file of the weights; the ONNX export is kept beside it.

    Returns:
        (function, name of what runs it); the function takes (h, w, 3) uint8 or uint16 and gives the same type.
    """
    hyper = network.hyper
    if 0 < options.tile <= 2 * hyper.receptive_radius:
        least = 2 * hyper.receptive_radius + 1
        raise UserError(
            f"--tile {options.tile} is smaller than what this network sees: take {least} or more, better twice it"
        )
    form = network.inference_form()
    engine = make_engine(
        options.engine,
        form,
        ports(hyper),
        OUTPUTS,
        sizes=CHECK_SIZES,
        cache=source if Path(source).is_file() else None,
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
    if lpips_weights:
        from common.lpips import Lpips

        found.append(lpips_figure(Lpips.from_files(lpips_weights)))
    return found
