"""The conditional affine couplings (SRFlow, section 3.4): affine injector and conditional affine coupling in one layer.

With u the features of the LR image, and 1 and 2 for the halves of the channels:

    h  = (z + shift(u)) * scale(u)              affine injector; shift and scale by the network fFeatures
    y1 = h1
    y2 = (h2 + shift(h1, u)) * scale(h1, u)     conditional affine coupling; shift and scale by fAffine

where scale = sigmoid(logit + 2) + eps; the log-determinant is the sum of log(scale) over both maps.
"""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from common.layers import convolve
from common.training import settled

from .Flow import Condition, Conditioner, Layers, convolve_joined, folded, folded_zeros
from .FlowActNorms import exact_log, exact_sigmoid, sum_per_image

SHIFT_OF_LOGIT = 2.0  # so that a scale begins at sigmoid(2) = 0.88

Couplings = tuple[tuple[Layers, Layers, Layers], tuple[Layers, Layers, Layers]]
"""The parameters of K couplings: the three layers of their fFeatures, and of their fAffine."""

Injector = tuple[Tensor, Tensor]
"""Shift and scale of the injector, (N, C, H, W)."""

AffineLayers = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""fAffine for known features: what its first layer makes of u (N, hidden, H, W), the first layer's filters of h1, and
filters and biases of the second and the third layer. (A NamedTuple made in a compiled function loses its gradient.)"""


class CondAffineSeparatedAndCond(nn.Cell):
    """The layer above. Scales are in eps ... 1 + eps: the inverse multiplies no value by more than 1/eps."""

    def __init__(
        self, channels: int, condition: int, hidden_channels: int, eps: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.eps, half = eps, channels // 2
        self.fAffine = Conditioner(half + condition, hidden_channels, 2 * (channels - half), rng)
        self.fFeatures = Conditioner(condition, hidden_channels, 2 * channels, rng)
        self.parameters = collect([self])

    def forward(self, z: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        injectors, affines, logdet, _ = prepare(self.parameters, condition, self.eps)
        y, scale = couple(z, injectors[0], affines[0], self.eps)
        return y, logdet + sum_per_image(exact_log(scale))

    def inverse(self, y: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        injectors, affines, logdet, _ = prepare(self.parameters, condition, self.eps)
        z, scale = uncouple(y, injectors[0], affines[0], self.eps)
        return z, -logdet - sum_per_image(exact_log(scale))

    def initialise(self, z: Tensor, features: Tensor) -> Tensor:
        """Set the ActNorms of both networks; `features` are `joined`; returns y."""
        shift, logit = self.fFeatures.initialise(features)
        h1, h2 = ops.chunk((z + shift) * scale_of(logit, self.eps), 2, 1)
        shift, logit = self.fAffine.initialise(ops.concat((h1, features), 1))
        return ops.concat((h1, (h2 + shift) * scale_of(logit, self.eps)), 1)


def couple(z: Tensor, injector: Injector, affine: AffineLayers, eps: float) -> tuple[Tensor, Tensor]:
    """Apply both maps: z (N, C, H, W) -> the same shape, and the coupling's scale (N, C/2, H, W)."""
    shift, scale = injector
    h1, h2 = ops.chunk((z + shift) * scale, 2, 1)
    shift, scale = read_half(h1, affine, eps)
    return ops.concat((h1, (h2 + shift) * scale), 1), scale


def uncouple(y: Tensor, injector: Injector, affine: AffineLayers, eps: float) -> tuple[Tensor, Tensor]:
    """Invert `couple`; returns the same scale."""
    y1, y2 = ops.chunk(y, 2, 1)
    shift, scale = read_half(y1, affine, eps)
    h = ops.concat((y1, y2 / scale - shift), 1)
    return h / injector[1] - injector[0], scale


def read_half(h1: Tensor, affine: AffineLayers, eps: float) -> tuple[Tensor, Tensor]:
    """Return shift and scale that fAffine reads off h1 (N, C/2, H, W) and the features, in their precision."""
    of_features, filters1, filters2, biases2, filters3, biases3 = affine
    hidden = ops.relu(convolve(h1.astype(of_features.dtype), filters1) + of_features)
    hidden = ops.relu(convolve(hidden, filters2, biases2))
    shift, logit = ops.chunk(convolve(hidden, filters3, biases3), 2, 1)
    return shift, scale_of(logit, eps)


def scale_of(logit: Tensor, eps: float) -> Tensor:
    """In eps ... 1 + eps."""
    return exact_sigmoid(logit + SHIFT_OF_LOGIT) + eps


# ----------------------------------------------------------------------------------------- K couplings at once: batched


def collect(couplings: Sequence[CondAffineSeparatedAndCond]) -> Couplings:
    """Sort the parameters by kind; to be called while the network is built."""
    networks = [c.fFeatures for c in couplings], [c.fAffine for c in couplings]
    return tuple(
        tuple(tuple(zip(*layer, strict=True)) for layer in zip(*(cell.layers() for cell in cells), strict=True))
        for cells in networks
    )


def prepare(
    couplings: Couplings, condition: Condition, eps: float, known: tuple[Tensor, ...] = ()
) -> tuple[tuple[Injector, ...], tuple[AffineLayers, ...], Tensor, Tensor]:
    """Compute what of K couplings does not depend on z, batched.

    The features are by far the widest input, and the same for all steps of a level: one large convolution instead of
    2 K takes two thirds of the time. And a graph of fewer operators is compiled sooner.

    Returns:
        The injector and fAffine's layers of each, the log-determinant (N,) of all injectors together, and what the
        large convolution gives the injectors, which may be `known` (`common.training.settled`).
    """
    features_layers, affine_layers = couplings
    count = len(features_layers[0][0])
    own_filters, own_biases = folded(features_layers[0])
    filters, biases = folded(affine_layers[0])
    half = filters.shape[1] - own_filters.shape[1]
    own_filters, own_biases = ops.concat((own_filters, filters[:, half:])), ops.concat((own_biases, biases))
    first, both = ops.chunk(convolve_joined(condition, own_filters, own_biases), 2, 1)
    first = settled(first, known, 0)

    own = ops.relu(convolve(ops.relu(first), *folded(features_layers[1]), groups=count))
    own = ops.chunk(convolve(own, *folded_zeros(features_layers[2]), groups=count), 2 * count, 1)
    shifts, scale = own[0::2], scale_of(ops.concat(own[1::2], 1), eps)
    scales, of_features = ops.chunk(scale, count, 1), ops.chunk(both, count, 1)

    filters1 = ops.chunk(filters[:, :half], count)
    filters2, biases2 = folded(affine_layers[1])
    filters3, biases3 = folded_zeros(affine_layers[2])
    filters2, biases2 = ops.chunk(filters2, count), ops.chunk(biases2, count)
    filters3, biases3 = ops.chunk(filters3, count), ops.chunk(biases3, count)
    injectors, affines = (), ()
    for k in range(count):
        injectors = (*injectors, (shifts[k], scales[k]))
        affines = (*affines, (of_features[k], filters1[k], filters2[k], biases2[k], filters3[k], biases3[k]))
    return injectors, affines, sum_per_image(exact_log(scale)), first
