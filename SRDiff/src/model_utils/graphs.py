"""The two graphs that sampling runs: the encoder, once for each image, and the noise predictor, once for each step.

They are the trained network's own cells, but for two kinds without a form in ONNX: reflection padding becomes slices,
and transposed convolutions convolutions onto the corners of pixels.
"""

import numpy as np
from mindspore import Tensor, nn, ops

from common.export import Graph, Port
from common.layers import Convolution

from ..model.srdiff import Hyper, SRDiffNet
from ..model.unet import COLORS, Block, Downsample, Upsample

MEANING = {
    "cond": "what the predictor is told of the LR image",
    "x": "x_t of the chain over the residual, NCHW",
    "t": "step of the chain, 0 ... timesteps - 1",
    "eps": "noise in x_t",
}
CHECK_CELLS = ((3, 4), (5, 2))  # an export is compared at both; a cell is a square of `lr_multiple` LR pixels


class Reflect(nn.Cell):
    """(N, C, H, W) -> (N, C, H + 2, W + 2): a border of 1 that mirrors the row and column next to the outermost."""

    def construct(self, x: Tensor) -> Tensor:
        x = ops.concat((x[:, :, 1:2], x, x[:, :, -2:-1]), 2)
        return ops.concat((x[:, :, :, 1:2], x, x[:, :, :, -2:-1]), 3)


class CornerConv(nn.Cell):
    """A transposed convolution that upscales `scale` times with filters of twice the scale, as a convolution.

    The scale x scale results around a corner of the input's pixels depend on the four pixels that meet there, so they
    are the channels of a 2x2 convolution, brought into their places by `DepthToSpace`. Half of those around the
    outermost corners lie outside.
    """

    def __init__(self, transposed: nn.Conv2dTranspose) -> None:
        super().__init__()
        filters, biases = transposed.weight.asnumpy(), transposed.bias.asnumpy()
        channels, outputs, kernel, _ = filters.shape
        self.scale, self.outside = kernel // 2, kernel // 4
        # Result `a` of a corner takes tap `scale + a` from the pixel before it and tap `a` from the one behind.
        taps = filters.reshape(channels, outputs, 2, self.scale, 2, self.scale)[:, :, ::-1, :, ::-1]
        at_corners = taps.transpose(3, 5, 1, 0, 2, 4).reshape(self.scale**2 * outputs, channels, 2, 2)
        self.corners = Convolution(at_corners, np.tile(biases, self.scale**2), padding=1)
        self.place = ops.DepthToSpace(self.scale)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', scale h, scale w)."""
        x = self.place(self.corners(x))
        return x[:, :, self.outside : -self.outside, self.outside : -self.outside]


class Encoder(nn.Cell):
    """LR image (N, 3, h, w) in [-1, 1], or if `unit` in [0, 1] -> features for the U-Net (N, hidden_size, sh, sw)."""

    def __init__(self, network: SRDiffNet, unit: bool = False) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.unit = network, unit

    def construct(self, lr_image: Tensor) -> Tensor:
        if self.unit:
            lr_image = lr_image * 2 - 1
        return self.network.denoise_fn.project(self.network.features(lr_image))


class Predictor(nn.Cell):
    """x_t (N, 3, sh, sw), steps (N,) and the encoder's features -> eps (N, 3, sh, sw)."""

    def __init__(self, network: SRDiffNet) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return self.network.denoise_fn(x, t, cond)


def prepare(network: SRDiffNet) -> SRDiffNet:
    """Replace the cells that ONNX lacks; the network can no longer be trained or saved."""
    for _, cell in list(network.cells_and_names()):
        if isinstance(cell, Block):
            cell.block[0] = Reflect()
        elif isinstance(cell, Downsample):
            cell.conv[0] = Reflect()
        elif isinstance(cell, Upsample):
            cell.conv[0] = CornerConv(cell.conv[0])
    network.denoise_fn.cond_proj = CornerConv(network.denoise_fn.cond_proj)
    return network.set_train(False)


def graph_of(network: SRDiffNet, which: str, batch_size: int | str = 1, unit: bool = False) -> Graph:
    """Return the graph "encoder" (lr_image -> cond) or "predictor" (x, t, cond -> eps), free in height and width.

    The sides of lr_image must be multiples of `lr_multiple`, and twice that at least; its values are in [-1, 1], or
    with `unit` in [0, 1].
    """
    hyper = network.hyper
    sizes = [
        dict(zip(("height", "width"), (n * lr_multiple(hyper) for n in cells), strict=True)) for cells in CHECK_CELLS
    ]
    image = (batch_size, COLORS, "height", "width")
    if which == "encoder":
        return Graph(Encoder(network, unit), [Port("lr_image", image)], ["cond"], sizes)
    cond = Port("cond", (batch_size, hyper.hidden_size, "height", "width"))
    inputs = [Port("x", image), Port("t", (batch_size,), float(hyper.timesteps)), cond]
    of_hr = [{side: length * hyper.scale for side, length in size.items()} for size in sizes]
    return Graph(Predictor(network), inputs, ["eps"], of_hr)


def lr_multiple(hyper: Hyper) -> int:
    """Return what the sides of LR images must be multiples of, so that HR's can be halved at every level."""
    return max(1, hyper.hr_multiple // hyper.scale)
