"""IRN's training objective (paper, section 3.3)."""

from collections.abc import Mapping

from mindspore import Tensor, nn, ops

from common.training import Repeated, Tape, Value

from .Invnet import COLORS, InvBlockExp, InvRescaleNet, Quantization, bounded, levels_of
from .util import dense_block

CHARBONNIER = 1e-6  # added to the square of each difference by "l1"
FIT_WEIGHT: Mapping[int, float] = {2: 4.0, 3: 9.0, 4: 16.0, 8: 64.0}  # the authors' lambda_fit_forw: scale^2


class IRNLoss(nn.Cell):
    """(hr_image, lr_reference, z) -> (total, fit, ce, rec), sums over an image and means over the batch.

    fit: the LR image against the bicubic one; ce: -log density of z but for a constant; rec: the image that comes
    back from the 8-bit LR image and a fresh z. Their weights are the paper's lambda_2, lambda_3 and lambda_1; a fit ten
    times the authors' removes the coloured dots that IRN can hide in the LR images of screen content.
    """

    def __init__(
        self,
        network: InvRescaleNet,
        fit_weight: float,
        rec_weight: float = 1.0,
        ce_weight: float = 1.0,
        fit_criterion: str = "l2",
        rec_criterion: str = "l1",
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.quantise = network, Quantization()
        self.fit_weight, self.rec_weight, self.ce_weight = fit_weight, rec_weight, ce_weight
        self.fit_criterion, self.rec_criterion = fit_criterion, rec_criterion

    def construct(self, hr_image: Tensor, lr_reference: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        output = self.network.forward(hr_image)[0]
        lr_image, latent = output[:, :COLORS], output[:, COLORS:]
        restored = self.network.inverse(ops.concat((self.quantise(lr_image), z), 1))[0]
        fit = self.fit_weight * criterion(lr_image - lr_reference, self.fit_criterion)
        ce = self.ce_weight * criterion(latent, "l2")
        rec = self.rec_weight * criterion(hr_image - restored, self.rec_criterion)
        return fit + rec + ce, fit, ce, rec


class LossInBlocks:
    """`IRNLoss` block by block, for `common.training.BlockStep`; the blocks are dense blocks and what couples them."""

    def __init__(self, loss: IRNLoss) -> None:
        quantise, fit_weight, ce_weight, rec_weight = loss.quantise, loss.fit_weight, loss.ce_weight, loss.rec_weight
        fit_criterion, rec_criterion, clamp = loss.fit_criterion, loss.rec_criterion, loss.network.hyper.clamp

        def add(low: Tensor, f: Tensor) -> Tensor:
            return low + f

        def subtract(low: Tensor, f: Tensor) -> Tensor:
            return low - f

        def scale(high: Tensor, h: Tensor, g: Tensor) -> Tensor:
            return high * ops.exp(bounded(h, clamp)) + g

        def unscale(high: Tensor, h: Tensor, g: Tensor) -> Tensor:
            return (high - g) / ops.exp(bounded(h, clamp))

        def compare(low: Tensor, latent: Tensor, lr_reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            fit = fit_weight * criterion(low - lr_reference, fit_criterion)
            return quantise(low), fit, ce_weight * criterion(latent, "l2")

        def total(restored: Tensor, hr_image: Tensor, fit: Tensor, ce: Tensor) -> tuple[Tensor, Tensor]:
            rec = rec_weight * criterion(hr_image - restored, rec_criterion)
            return fit + rec + ce, rec

        self.add, self.subtract, self.scale, self.unscale = map(Repeated, (add, subtract, scale, unscale))
        self.dense, self.both = Repeated(dense_block, keeps=True), Repeated(two_dense_blocks, 2, keeps=True)
        self.compare, self.total = Repeated(compare, 3), Repeated(total, 2)
        self.levels = [
            (*transforms(operation, not level), couplings)
            for level, (operation, couplings) in enumerate(levels_of(loss.network))
        ]

    def __call__(self, tape: Tape, hr_image: Tensor, lr_reference: Tensor, z: Tensor) -> tuple[Value, ...]:
        def scale_and_shift(coupling: InvBlockExp, low: Value | Tensor) -> tuple[Value, ...]:
            return tape(self.both, low, *coupling.H.weights(), *coupling.G.weights())

        bands = (hr_image,)
        for squeeze, _, couplings in self.levels:
            low, high = tape(squeeze, *bands)
            for coupling in couplings:
                low = tape(self.add, low, tape(self.dense, high, *coupling.F.weights()))
                high = tape(self.scale, high, *scale_and_shift(coupling, low))
            bands = low, high
        low, fit, ce = tape(self.compare, low, high, lr_reference)
        bands = low, z
        for _, unsqueeze, couplings in reversed(self.levels):
            low, high = bands
            for coupling in reversed(couplings):
                high = tape(self.unscale, high, *scale_and_shift(coupling, low))
                low = tape(self.subtract, low, tape(self.dense, high, *coupling.F.weights()))
            bands = tape(unsqueeze, low, high)
        loss, rec = tape(self.total, bands, hr_image, fit, ce)
        return loss, fit, ce, rec


def two_dense_blocks(known: tuple[Tensor, ...], x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Compute two dense blocks of one input, side by side on two cores: their results, and what both keep."""
    one, *kept = dense_block(known[:4], x, *weights[:10])
    other, *others = dense_block(known[4:], x, *weights[10:])
    return one, other, *kept, *others


def transforms(operation: nn.Cell, is_first: bool) -> tuple[Repeated, Repeated]:
    """Return a level's transform and its inverse: of the image in the first level, else of the two bands before."""

    def squeeze(*bands: Tensor) -> tuple[Tensor, Tensor]:
        found = operation.forward(bands[0] if is_first else ops.concat(bands, 1))[0]
        return found[:, :COLORS], found[:, COLORS:]

    def unsqueeze(low: Tensor, high: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        found = operation.inverse(ops.concat((low, high), 1))[0]
        return found if is_first else (found[:, :COLORS], found[:, COLORS:])

    own = operation.trainable_params()
    return Repeated(squeeze, 2, parameters=own), Repeated(unsqueeze, 1 if is_first else 2, parameters=own)


def criterion(difference: Tensor, kind: str) -> Tensor:
    """Sum squares ("l2") or Charbonnier's rounded absolute values ("l1") over an image; mean over the batch."""
    squares = difference * difference
    values = squares if kind == "l2" else ops.sqrt(squares + CHARBONNIER)
    row = values.reshape((1, -1))  # as a product: reductions are slow on CPU
    return ops.matmul(row, ops.ones_like(row).reshape((-1, 1))).reshape(()) / difference.shape[0]
