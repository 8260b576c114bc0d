"""Shared by the runners of networks: weights, gradients in both modes of MindSpore, optimizer steps, learning rates."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from common.checkpoint import load_into
from common.training import Adam, GradientStep

from .core import Golden
from .registry import GRAPH

ONE_DEVICE = (1.0, 0.0)  # GradientStep's control: loss scale, request to stop


def renamed(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: config[theirs] for theirs, ours in names.items() if theirs in config}


def load_state(golden: Golden, network: nn.Cell, names: Callable[[str], str | None] | None = None) -> None:
    """The fixture's weights, strictly: the parameters bear the authors' names, or `names` translates them."""
    load_into(network, golden.under("state/"), source=golden.name, names=names)


def gradient_function(
    golden: Golden, loss: Callable[..., tuple[Tensor, ...]], parameters: Sequence[ms.Parameter], clip: float = 0
) -> Callable[..., tuple[Sequence[Tensor], Sequence[Tensor], Any]]:
    """(*batch) -> (loss and its parts, gradients, their norm before the clip): in graph mode the step that training
    compiles, else op by op and the clip in NumPy."""
    parameters = ms.ParameterTuple(parameters)
    if golden.mode == GRAPH:
        step, control = GradientStep(loss, parameters, clip), Tensor(ONE_DEVICE, ms.float32)
        return lambda *batch: step(control, *batch)[:3]

    def first_is_the_loss(*batch: Tensor) -> tuple:
        values = loss(*batch)
        return values[0], values

    differentiate = ms.value_and_grad(first_is_the_loss, None, parameters, has_aux=True)

    def eager(*batch: Tensor) -> tuple:
        (_, values), gradients = differentiate(*batch)
        norm = math.sqrt(sum(np.square(gradient.asnumpy(), dtype=np.float64).sum() for gradient in gradients))
        return values, [gradient * clip_factor(norm, clip) for gradient in gradients] if clip else gradients, norm

    return eager


def clip_factor(norm: float, clip: float) -> float:
    """The factor of PyTorch's clip_grad_norm_."""
    return min(clip / (norm + 1e-6), 1.0) if clip else 1.0


def train(golden: Golden, network: nn.Cell, loss: nn.Cell, batch: Sequence[Tensor], name: str = "l1") -> None:
    """Plain training on one batch: loss/<name>, grad/, the losses of adam/<name> and the weights in after/."""
    parameters = network.trainable_params()
    step, adam = gradient_function(golden, loss, parameters), Adam(parameters)
    losses = []
    for number in range(len(golden.arrays.get(f"adam/{name}", [0]))):
        values, gradients, _ = step(*batch)
        losses.append(float(values[0].asnumpy()))
        if number == 0:
            golden.compare(f"loss/{name}", losses[0])
            golden.compare_all("grad/", by_name(parameters, gradients))
        adam.step(gradients, golden.config["lr"])
    golden.compare(f"adam/{name}", losses)
    golden.compare_all("after/", by_name(parameters, parameters))


def by_name(parameters: Sequence[ms.Parameter], values: Sequence[Tensor]) -> Mapping[str, Tensor]:
    return {parameter.name: value for parameter, value in zip(parameters, values, strict=True)}


def rates_by_epoch(rate: Callable[[int], float], first_steps: Sequence[int], length: int) -> list[float]:
    """The rate of each epoch, which must be the same at its first and at its last step."""
    if any(rate(step) != rate(step + length - 1) for step in first_steps):
        raise ValueError("the rate changes within an epoch")
    return [rate(step) for step in first_steps]
