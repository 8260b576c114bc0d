"""IRN's optimizer: Adam with L2 weight decay, on gradients clipped by their global norm.

The loss is a sum over the image, so its gradient is large and the clip acts at nearly every step. As in PyTorch the
decay is added after the clip. The clip itself happens in the compiled step (`common.training.GradientStep`).
"""

from mindspore import nn

from common.training import Adam, recipe

from ..options.options import TrainConfig


def adam(network: nn.Cell, options: TrainConfig) -> Adam:
    return recipe.adam(options, network.trainable_params())
