"""Checkpoints: read, built into networks, brought into the inference form, and converted to it (train2test.py)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor

from common import UserError, checkpoint
from common.checkpoint import Checkpoint, ModelWeights, cache_of, digest_of, trained, weights_of
from common.config import TrainedOptions
from common.images import imresize
from common.runtime import graph_mode

from ..model.SRFlowNet import Hyper, SRFlowNet, draw_latents
from ..model.SRFlowNet import load_weights as put_weights
from . import official
from .graphs import Arrays, Decode, Encode, fold
from .options import DEMO_SCALE, ExportConfig

MODEL = "SRFlow"
DEMO_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
ENCODER = "RRDB."  # opens the names of the encoder's parameters in a whole network
FORM, INFERENCE = "form", "inference"  # what the metadata of a converted checkpoint say
TOLERANCE = 1e-4  # largest difference of the two forms, of the largest value
CHECK_CELLS = (4, 6)  # they are compared at this size; a cell is a square of `Hyper.lr_multiple` LR pixels
HEAT = 0.7  # of the sample that is compared


def load_weights(network: SRFlowNet, path: str) -> None:
    put_weights(network, read(path).weights, path)


def hyper_of(saved: Checkpoint, source: str, options: TrainedOptions) -> Hyper:
    meta = saved.meta.get("hyper")
    hyper = Hyper(**meta) if meta else official.hyper_of(saved.weights, source, options.stack, options.eps)
    return replace(hyper, bound=options.bound or hyper.bound)


def read(path: str) -> Checkpoint:
    if not Path(path).exists():
        raise UserError(
            f"checkpoint not found: {path}: python SRFlow/train2test.py makes one of a trained run; or type "
            f"--checkpoint with the authors' file, or with the demo weights {DEMO_WEIGHTS}/srflow_small_x4.ckpt"
        )
    saved = trained.read(path, MODEL, official.ROOTS)
    if saved.meta.get("stage", "flow") != "flow":
        raise UserError(f"{path} holds the encoder alone (--stage rrdb): train the flow with --rrdb_path {path}")
    return saved


def read_encoder(path: str) -> dict[str, np.ndarray]:
    """The encoder's weights, by their names in `RRDBNet`: of a file that holds it alone, or in a whole network."""
    weights = trained.read(path, MODEL, official.ROOTS).weights
    inside = {name.removeprefix(ENCODER): array for name, array in weights.items() if name.startswith(ENCODER)}
    return inside or dict(weights)


def put_trained(network: SRFlowNet, saved: Checkpoint, source: str) -> None:
    """Put what a file holds into the network that it describes; the inference form has not all of it."""
    if saved.meta.get(FORM) == INFERENCE:
        raise UserError(f"{source} is in the inference form: take the checkpoint that it was converted from")
    put_weights(network, saved.weights, source)


WEIGHTS = ModelWeights(
    MODEL,
    SRFlowNet,
    read,
    hyper_of,
    "the flow turns latents into noise",
    put=put_trained,
    stage="flow",
    demo_scale=DEMO_SCALE,
)
describe, load_network, find = WEIGHTS.describe, WEIGHTS.load_network, WEIGHTS.find


# --------------------------------------------------------------------------------------------------- the inference form


class Trained(NamedTuple):
    """A trained network, ready for inference.

    Attributes:
        hyper: its shape.
        arrays: its weights as `graphs.fold` leaves them.
        source: name of the file.
        digest: tells the function of these weights from all others; that of a converted checkpoint is its original's.
        heat: what its file recommends for samples of it, if it does.
        network: None where the file holds the inference form alone.
    """

    hyper: Hyper
    arrays: dict[str, np.ndarray]
    source: str
    digest: str
    heat: float | None = None
    network: SRFlowNet | None = None

    @property
    def cache(self) -> Path | None:
        return cache_of(self.source)


def load_trained(options: TrainedOptions) -> Trained:
    """Load a checkpoint of either kind; without one, the demo weights."""
    if options.random_weights and not options.ckpt_path:
        return from_network(*load_network(options))
    saved, hyper, source = find(options)
    if saved.meta.get(FORM) == INFERENCE:
        return Trained(hyper, saved.weights, source, saved.meta["digest"], saved.meta.get("heat"))
    network = SRFlowNet(hyper)
    put_weights(network, saved.weights, source)
    return from_network(network, saved, source)


def from_network(network: SRFlowNet, saved: Checkpoint, source: str) -> Trained:
    """What is folded of a network whose weights are those of `saved`."""
    hyper = network.hyper
    try:
        arrays = fold(weights_of(network), hyper)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    return Trained(hyper, arrays, source, digest_of(hyper, saved), saved.meta.get("heat"), network)


def to_checkpoint(trained: Trained, saved: Checkpoint) -> Checkpoint:
    """The inference form of the checkpoint that `trained` came from."""
    kept = {key: saved.meta[key] for key in ("step", "epoch", "heat", "config") if key in saved.meta}
    meta = {**kept, **describe(trained.hyper, saved.meta.get("config", {}))}
    return Checkpoint(trained.arrays, {**meta, FORM: INFERENCE, "digest": trained.digest})


def convert(source: str, target: str) -> Iterator[str]:
    """Write `target` from `source`; yields what was found, a line each."""
    if trained.read(source, MODEL).meta.get(FORM) == INFERENCE:
        raise UserError(f"{source} is in the inference form already")
    (network, saved, _), training_load = timed(lambda: load_network(ExportConfig(ckpt_path=source)))
    inference = from_network(network, saved, source)
    difference, training_run, inference_run = compare(network, inference.arrays)
    if not difference <= TOLERANCE:
        raise UserError(
            f"{source} is not converted: the two forms differ by {difference:.1e} of the largest value, and "
            f"{TOLERANCE:.0e} is allowed"
        )
    checkpoint.save(target, to_checkpoint(inference, saved))
    _, inference_load = timed(lambda: load_trained(ExportConfig(ckpt_path=target)))
    values = [sum(array.size for array in arrays.values()) for arrays in (saved.weights, inference.arrays)]
    yield f"converted {checkpoint.describe(source, saved.meta)}: both directions differ by {difference:.1e} at most"
    yield f"values: {values[1]:,} instead of {values[0]:,}"
    yield f"loaded in {inference_load:.1f} s instead of {training_load:.1f} s"
    yield f"{HEAT:g}-heat sample in MindSpore, {inference_run:.2f} s instead of {training_run:.2f} s"
    yield f"written to {target}"


def compare(network: SRFlowNet, arrays: Arrays) -> tuple[float, float, float]:
    """Both directions of both forms on one image; a smooth one: on noise a trained flow multiplies rounding errors.

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
    """Largest difference over the largest value; NaN where one has NaN."""
    return float(np.abs(found.astype(np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def timed(work: Callable[[], Any], repeat: int = 1) -> tuple[Any, float]:
    """What the work gives, and the seconds of its last repetition."""
    seconds = 0.0
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
    return result, seconds
