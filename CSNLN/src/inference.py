"""What eval.py and infer.py enlarge with: the network in ONNX Runtime or in MindSpore, pieces, self-ensemble."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from common import UserError
from common.evaluation import Figure, lr_psnr_figure, psnr_figure, ssim_figure, with_lpips
from common.export import Engine, OnnxEngine, onnx_file, self_ensemble
from common.images import to_float, to_uint8, to_uint16
from common.metrics import Convention

from .attention import HALO, CrossScaleAttention, NonLocalAttention
from .chop import chopped
from .config import EvalConfig, InferConfig
from .CSNLN import CSNLN
from .dataset.common import Upscaler
from .exporting import OUTPUTS, onnx_bytes, ports

CROSS_TABLES, IN_TABLES = 10, 3  # copies of a block's table of weights that MindSpore holds at once, measured
Progress = Callable[[int], AbstractContextManager[Any]]


class Eager(Engine):
    """The network in MindSpore, operator by operator, since every piece of every picture has a size of its own.

    Args:
        attention_memory: bytes that an attention may take for its table of weights.
    """

    def __init__(self, network: CSNLN, attention_memory: int) -> None:
        super().__init__(ports())
        self.network, self.attention_memory = network.set_train(False), attention_memory
        self.name = f"MindSpore {ms.__version__} ({ms.get_context('device_target')}, eager)"

    def _run(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        set_rows(self.network, *arrays[0].shape[2:], self.attention_memory)
        return [self.network(Tensor(arrays[0])).asnumpy()]


def set_rows(network: CSNLN, height: int, width: int, memory: int) -> None:
    """Make the attentions take as many rows of queries at a time as fit into the memory (bytes), at least one."""
    for name, cell in network.cells_and_names():
        times = 2 if "multi_source_projection_2" in name else 1  # the second step of x4
        row, pixels = times * width, times**2 * height * width
        if isinstance(cell, NonLocalAttention):
            cell.rows = max(1, memory // (4 * IN_TABLES * row * pixels))
        if isinstance(cell, CrossScaleAttention):
            cell.rows = max(1, memory // (4 * CROSS_TABLES * row * pixels // cell.scale**2) - HALO)


def make_engine(kind: str, network: CSNLN, attention_memory: int) -> Engine:
    """What runs the network.

    Args:
        kind: "mindspore", "onnxruntime", or "auto": ONNX Runtime where MindSpore runs on CPU and it is installed.

    Raises:
        UserError: "onnxruntime" was asked for and a package is missing.
    """
    packages = "onnx", "onnxruntime"
    on_cpu = ms.get_context("device_target") == "CPU"
    if kind == "mindspore" or (kind == "auto" and not (on_cpu and all(map(onnx_file.optional, packages)))):
        return Eager(network, attention_memory)
    for package in packages:
        onnx_file.require(package, "--engine onnxruntime")
    return OnnxEngine(onnx_bytes(network, attention_memory, {}), ports(), OUTPUTS)


def make_upscaler(network: CSNLN, options: EvalConfig | InferConfig) -> tuple[Callable[..., np.ndarray], str]:
    """Any picture -> its enlargement.

    Returns:
        (function, name of what runs it); the function takes (h, w, 3) uint8 or uint16 and gives the same type; its
        second argument, if given, shows the progress.

    Raises:
        UserError: see `make_engine`; by the function: the network gives values that are no numbers.
    """
    hyper = network.hyper
    engine = make_engine(options.engine, network, options.attention_memory * 2**20)
    piece = Upscaler(engine.run, hyper)

    def enlarge(picture: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        with progress(number_of_runs(picture.shape, hyper.scale, options)) if progress else nullcontext() as bar:

            def run(lr_image: np.ndarray) -> np.ndarray:
                result = piece(lr_image)
                if bar is not None:
                    bar.update(1)
                return result

            upscale = chopped(run, hyper.scale) if options.chop else run
            upscale = self_ensemble(upscale) if options.self_ensemble else upscale
            result = upscale(to_float(picture))
        if not np.isfinite(result).all():
            raise UserError("the network gives values that are no numbers: are these the weights that were meant?")
        return to_uint8(result) if picture.dtype == np.uint8 else to_uint16(result)

    return enlarge, engine.name


def number_of_runs(shape: tuple[int, ...], scale: int, options: EvalConfig | InferConfig) -> int:
    """How often the network is run for a picture."""
    runs = 0

    def counted(piece: np.ndarray) -> np.ndarray:
        nonlocal runs
        runs += 1
        return np.empty((piece.shape[0] * scale, piece.shape[1] * scale, 1), np.float32)

    if options.chop:
        chopped(counted, scale)(np.empty((*shape[:2], 1), np.float32))
    return max(1, runs) * (8 if options.self_ensemble else 1)


def figures(scale: int, crop: int, lpips_weights: str) -> list[Figure]:
    """What eval.py measures: on Y as the paper, then on RGB.

    Args:
        crop: border left out of PSNR-Y and SSIM-Y; -1 takes the scale.
        lpips_weights: "" leaves LPIPS out.
    """
    paper, colours = Convention("y", scale if crop < 0 else crop), Convention("rgb", scale if crop < 0 else crop)
    found = [psnr_figure(paper), ssim_figure(paper), psnr_figure(colours), lr_psnr_figure(scale)]
    return with_lpips(found, lpips_weights)
