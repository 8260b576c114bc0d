"""The conditional affine couplings (SRFlow, section 3.4): affine injector and conditional affine coupling in one."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from .Flow import Condition, Conditioner, Layers, convolve, folded, folded_zeros, joined, read
from .FlowActNorms import exact_log, exact_sigmoid, sum_per_picture

SHIFT_OF_LOGIT = 2.0  # so that a scale begins at sigmoid(2) = 0.88


Couplings = tuple[tuple[Layers, Layers, Layers], tuple[Layers, Layers, Layers]]
"""The parameters of K couplings: the three layers of their fFeatures, and of their fAffine."""


class CondAffineSeparatedAndCond(nn.Cell):
    """Two affine maps z -> (z + shift) * scale, with scale = sigmoid(logit + 2) + eps.

    The first changes all channels and reads the LR features alone (fFeatures); the second changes the second half of
    the channels and reads the features and the first half (fAffine). Every scale lies between eps and 1 + eps, so that
    the inverse enlarges no value more than 1/eps times.

    Args:
        channels: of z.
        condition: channels of the features.
        hidden_channels: inside the two networks.
        eps: smallest scale.
    """

    def __init__(
        self, channels: int, condition: int, hidden_channels: int, eps: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.half, self.eps = channels // 2, eps
        self.fAffine = Conditioner(self.half + condition, hidden_channels, 2 * (channels - self.half), rng)
        self.fFeatures = Conditioner(condition, hidden_channels, 2 * channels, rng)

    def initialise(self, z: Tensor, condition: Condition) -> None:
        """Set the ActNorms of both networks from z (N, C, H, W)."""
        features = joined(condition)
        self.fFeatures.initialise(features)
        shift, logit = self.fFeatures(features)
        z1 = ((z + shift) * scale_of(logit, self.eps))[:, : self.half]
        self.fAffine.initialise(ops.concat((z1, features), 1))


def collect(couplings: Sequence[CondAffineSeparatedAndCond]) -> Couplings:
    """Their parameters, sorted by kind; to be called while the network is built."""
    networks = [c.fFeatures for c in couplings], [c.fAffine for c in couplings]
    return tuple(
        tuple(tuple(zip(*layer, strict=True)) for layer in zip(*(cell.layers() for cell in cells), strict=True))
        for cells in networks
    )


def prepare(couplings: Couplings, condition: Condition, eps: float) -> tuple[tuple[Sequence[Tensor], ...], Tensor]:
    """Everything of K couplings that does not depend on z, for all of them at once.

    The features are by far the widest input, and the same for all steps of a level: one large convolution instead of
    2 K takes two thirds of the time. And a graph of fewer operators is compiled sooner.

    Returns:
        K of each: shift and scale of the first map; what fAffine's first layer makes of the features and its filters
        of z; filters and biases of its second and third layer. And the log-determinant (N,) of all first maps.
    """
    features_layers, affine_layers = couplings
    count = len(features_layers[0][0])
    own_filters, own_biases = folded(features_layers[0])
    filters, biases = folded(affine_layers[0])
    half = filters.shape[1] - own_filters.shape[1]
    own_filters, own_biases = ops.concat((own_filters, filters[:, half:])), ops.concat((own_biases, biases))
    own, both = ops.chunk(read(condition, own_filters, own_biases), 2, 1)

    own = ops.relu(convolve(ops.relu(own), *folded(features_layers[1]), count))
    own = ops.chunk(convolve(own, *folded_zeros(features_layers[2]), count), 2 * count, 1)
    shifts, scales = own[0::2], scale_of(ops.concat(own[1::2], 1), eps)

    filters2, biases2 = folded(affine_layers[1])
    filters3, biases3 = folded_zeros(affine_layers[2])
    first_map = shifts, ops.chunk(scales, count, 1), ops.chunk(both, count, 1), ops.chunk(filters[:, :half], count)
    others = (
        ops.chunk(filters2, count),
        ops.chunk(biases2, count),
        ops.chunk(filters3, count),
        ops.chunk(biases3, count),
    )
    return first_map + others, sum_per_picture(exact_log(scales))


def of_step(prepared: tuple[Sequence[Tensor], ...], k: int) -> tuple[Tensor, ...]:
    """One of each kind."""
    shift, scale, read1, filters1, filters2, biases2, filters3, biases3 = prepared
    return shift[k], scale[k], read1[k], filters1[k], filters2[k], biases2[k], filters3[k], biases3[k]


def couple(z: Tensor, part: tuple[Tensor, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Both maps: z (N, C, H, W) -> the same shape, and the second map's scale (N, C/2, H, W)."""
    z1, z2 = ops.chunk((z + part[0]) * part[1], 2, 1)
    shift, scale = second_map(z1, part, eps)
    return ops.concat((z1, (z2 + shift) * scale), 1), scale


def uncouple(z: Tensor, part: tuple[Tensor, ...], eps: float) -> tuple[Tensor, Tensor]:
    """The inverse of `couple`, and the same scale."""
    z1, z2 = ops.chunk(z, 2, 1)
    shift, scale = second_map(z1, part, eps)
    return ops.concat((z1, z2 / scale - shift), 1) / part[1] - part[0], scale


def second_map(z1: Tensor, part: tuple[Tensor, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Shift and scale that fAffine reads off z1 (N, C/2, H, W) and the features."""
    _, _, of_features, filters1, filters2, biases2, filters3, biases3 = part
    hidden = ops.relu(convolve(z1, filters1) + of_features)
    hidden = ops.relu(convolve(hidden, filters2, biases2))
    shift, logit = ops.chunk(convolve(hidden, filters3, biases3), 2, 1)
    return shift, scale_of(logit, eps)


def scale_of(logit: Tensor, eps: float) -> Tensor:
    """In eps ... 1 + eps."""
    return exact_sigmoid(logit + SHIFT_OF_LOGIT) + eps
