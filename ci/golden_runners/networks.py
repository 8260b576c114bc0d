"""What runners of networks share: weights, gradients in both modes of MindSpore, optimizer steps."""

from collections.abc import Callable, Mapping, Sequence

import mindspore as ms
from mindspore import Tensor, nn

from common.checkpoint import load_into
from common.training import Adam, GradientStep

from .core import Golden
from .registry import GRAPH

ONE_DEVICE = (1.0, 0.0)  # GradientStep's control: loss scale, request to stop


def load_state(golden: Golden, network: nn.Cell) -> None:
    """The fixture's weights, strictly: the parameters bear the authors' names."""
    load_into(network, golden.under("state/"), source=golden.name)


def gradient_function(
    golden: Golden, loss: Callable[..., tuple[Tensor, ...]], parameters: Sequence[ms.Parameter]
) -> Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]]:
    """(*batch) -> (loss and its parts, gradients): in graph mode the step that training compiles, else op by op."""
    parameters = ms.ParameterTuple(parameters)
    if golden.mode == GRAPH:
        step, control = GradientStep(loss, parameters), Tensor(ONE_DEVICE, ms.float32)
        return lambda *batch: step(control, *batch)[:2]

    def first_is_the_loss(*batch: Tensor) -> tuple:
        values = loss(*batch)
        return values[0], values

    differentiate = ms.value_and_grad(first_is_the_loss, None, parameters, has_aux=True)

    def eager(*batch: Tensor) -> tuple:
        (_, values), gradients = differentiate(*batch)
        return values, gradients

    return eager


def train_l1(golden: Golden, network: nn.Cell, loss: nn.Cell, batch: Sequence[Tensor]) -> None:
    """Plain training on one batch: loss/l1, grad/, the losses of adam/l1 and the weights in after/."""
    parameters = network.trainable_params()
    step, adam = gradient_function(golden, loss, parameters), Adam(parameters)
    losses = []
    for number in range(len(golden.arrays.get("adam/l1", [0]))):
        values, gradients = step(*batch)
        losses.append(float(values[0].asnumpy()))
        if number == 0:
            golden.compare("loss/l1", losses[0])
            golden.compare_all("grad/", by_name(parameters, gradients))
        adam.step(gradients, golden.config["lr"])
    golden.compare("adam/l1", losses)
    golden.compare_all("after/", by_name(parameters, parameters))


def by_name(parameters: Sequence[ms.Parameter], values: Sequence[Tensor]) -> Mapping[str, Tensor]:
    """Parameter name -> value."""
    return {parameter.name: value for parameter, value in zip(parameters, values, strict=True)}
