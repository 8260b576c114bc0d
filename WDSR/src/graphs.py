"""WDSR for eval, infer and export: weight normalisation folded into plain convolutions."""

import numpy as np
from mindspore import Tensor, nn, ops

from common.export import Port
from common.layers import Convolution

from .common import BlockA, BlockB, WeightNormConv2d, residual
from .model import WDSR, Hyper

LANES = 16  # channels that vector units work on at a time
OUTPUTS = ["sr_image"]
CHECK_SIZES = [{"height": 24, "width": 32}, {"height": 37, "width": 29}]  # an export is compared at both


def ports(hyper: Hyper, batch_size: int | str = 1, white: float = 0) -> list[Port]:
    return [Port("lr_image", (batch_size, hyper.num_colors, "height", "width"), high=white or hyper.rgb_range)]


class WDSRInference(nn.Cell):
    """WDSR with folded weights. Same input and output, or 0..`white` where one is given.

    `ops.DepthToSpace` keeps height and width free in ONNX. It counts channels block first where the pixel shuffle of
    the training form counts colour first, so the last filters are stored in its order.
    """

    def __init__(self, network: WDSR, white: float = 0) -> None:
        super().__init__()
        hyper = network.hyper
        self.head = fold(network.head[0])
        self.blocks = nn.CellList([InferenceBlock(block) for block in network.body])
        shape = hyper.num_colors, hyper.scale, hyper.scale  # pixel shuffle's, DepthToSpace's is (row, column, colour)
        order = np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()
        self.tail, self.skip = fold(network.tail[0], order), fold(network.skip[0], order)
        shift, width = hyper.shift_and_width
        ratio = white / hyper.rgb_range if white else 1
        self.shift, self.width = Tensor(shift * np.float32(ratio)), width * ratio
        self.shuffle = ops.DepthToSpace(hyper.scale) if hyper.scale > 1 else ops.Identity()

    def construct(self, lr_image: Tensor) -> Tensor:
        x = (lr_image - self.shift) / self.width
        features = self.head(x)
        for block in self.blocks:
            features = block(features)
        return self.shuffle(self.tail(features) + self.skip(x)) * self.width + self.shift


class InferenceBlock(nn.Cell):
    """A residual block with folded weights, the residual factor folded into the last convolution.

    WDSR-B's low rank (51 of 64 features) is filled up with zero filters to a multiple of LANES: the same result, and
    ten percent faster in ONNX Runtime, which works on so many channels at a time.
    """

    def __init__(self, block: BlockA | BlockB) -> None:
        super().__init__()
        filters = [folded_filters(layer) for layer in block.body if isinstance(layer, WeightNormConv2d)]
        if len(filters) == 3:
            (weight, bias), (last_weight, last_bias) = filters[1:]
            missing = -len(bias) % LANES
            filters[1] = np.pad(weight, ((0, missing), (0, 0), (0, 0), (0, 0))), np.pad(bias, (0, missing))
            filters[2] = np.pad(last_weight, ((0, 0), (0, missing), (0, 0), (0, 0))), last_bias
        filters[-1] = tuple(array * np.float32(block.res_scale) for array in filters[-1])
        wide, *others = (Convolution(*pair) for pair in filters)
        self.body = nn.SequentialCell(wide, nn.ReLU(), *others)

    def construct(self, x: Tensor) -> Tensor:
        return residual(x, self.body(x), 1)


def folded_filters(layer: WeightNormConv2d) -> tuple[np.ndarray, np.ndarray]:
    """Return the effective filters (out, in, k, k) and biases (out,)."""
    return layer.effective_weight().asnumpy(), layer.bias.asnumpy()


def fold(layer: WeightNormConv2d, order: np.ndarray | slice = slice(None)) -> Convolution:
    """Return a convolution with the effective filters, its outputs put in `order`."""
    weight, bias = folded_filters(layer)
    return Convolution(weight[order], bias[order])
