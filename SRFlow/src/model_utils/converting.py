"""A checkpoint of training -> the inference form of it, compared and timed."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from common import UserError, checkpoint
from common.checkpoint import trained
from common.images import imresize
from common.runtime import graph_mode

from ..model.folding import Arrays
from ..model.inference import Decode, Encode
from ..model.SRFlowNet import SRFlowNet, draw_latents
from . import util
from .trained import FORM, INFERENCE, from_network, load_trained, to_checkpoint
from .use_options import ExportConfig

TOLERANCE = 1e-4  # largest difference of the two forms, of the largest value
CHECK_CELLS = (4, 6)  # they are compared at this size; a cell is a square of `Hyper.lr_multiple` LR pixels
HEAT = 0.7


def convert(source: str, target: str) -> Iterator[str]:
    """Write `target` from `source`; yields what was found, a line each.

    Raises:
        UserError: not a checkpoint of training, or the two forms differ, or the file cannot be written.
    """
    if trained.read(source, util.MODEL).meta.get(FORM) == INFERENCE:
        raise UserError(f"{source} is in the inference form already")
    (network, saved, _), training_load = timed(lambda: util.load_network(ExportConfig(ckpt_path=source)))
    inference = from_network(network, saved, source)
    difference, training_run, inference_run = compare(network, inference.arrays)
    if not difference <= TOLERANCE:
        raise UserError(
            f"{source} is not converted: the two forms differ by {difference:.1e} of the largest value, and "
            f"{TOLERANCE:.0e} is allowed"
        )
    checkpoint.save(target, to_checkpoint(inference, saved))
    again, inference_load = timed(lambda: load_trained(ExportConfig(ckpt_path=target)))
    if checkpoint.digest(again.arrays) != checkpoint.digest(inference.arrays):
        raise UserError(f"{target} does not hold what was written: is the disk in order?")
    values = [sum(array.size for array in arrays.values()) for arrays in (saved.weights, inference.arrays)]
    yield f"converted {checkpoint.describe(source, saved.meta)}: both directions differ by {difference:.1e} at most"
    yield f"values: {values[1]:,} instead of {values[0]:,}"
    yield f"loaded in {inference_load:.1f} s instead of {training_load:.1f} s"
    yield f"{HEAT:g}-heat sample in MindSpore, {inference_run:.2f} s instead of {training_run:.2f} s"
    yield f"written to {target}"


def compare(network: SRFlowNet, arrays: Arrays) -> tuple[float, float, float]:
    """Both directions of both forms on one picture; a smooth one: on noise a trained flow multiplies rounding errors.

    Returns:
        (largest difference over the largest value, seconds of a sample in the form of training, and in the other).
    """
    hyper, rng = network.hyper, np.random.default_rng(0)
    height, width = (cells * hyper.lr_multiple for cells in CHECK_CELLS)
    picture = imresize(rng.random((3, 3, 3)), size=(height * hyper.scale, width * hyper.scale)).clip(0, 1)
    hr, lr = (Tensor(one.transpose(2, 0, 1)[None], ms.float32) for one in (picture, imresize(picture, 1 / hyper.scale)))
    latents = [Tensor(part) for part in draw_latents(hyper, (1, height, width), HEAT, rng)]
    decode, encode = Decode(arrays, hyper), Encode(arrays, hyper)
    with graph_mode(False):
        wanted, training_run = timed(lambda: network.sample(latents, lr).asnumpy(), repeat=2)
        found, inference_run = timed(lambda: decode(lr, *latents).asnumpy(), repeat=2)
        wanted_latents, wanted_logdet = network.forward(hr, lr)
        parts = encode(hr, lr)
    count = len(latents)
    logdet = sum(part.asnumpy().sum(dtype=np.float64) for part in parts[count:])
    pairs = [(one.asnumpy(), other.asnumpy()) for one, other in zip(parts[:count], wanted_latents, strict=True)]
    pairs += [(found, wanted), (np.array([logdet]), wanted_logdet.asnumpy())]
    differences = [relative(*pair) for pair in pairs]
    return float(np.max(differences)), training_run, inference_run


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference over the largest value; NaN where one is no number."""
    return float(np.abs(found.astype(np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def timed(work: Callable[[], Any], repeat: int = 1) -> tuple[Any, float]:
    """What the work gives, and the seconds of its last repetition."""
    seconds = 0.0
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
    return result, seconds
