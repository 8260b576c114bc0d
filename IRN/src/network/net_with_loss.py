"""IRN's training objective (paper, section 3.3)."""

from collections.abc import Mapping

from mindspore import Tensor, nn, ops

from .Invnet import COLORS, InvRescaleNet, Quantization

CHARBONNIER = 1e-6  # added to the square of each difference by "l1"
FIT_WEIGHT: Mapping[int, float] = {2: 4.0, 3: 9.0, 4: 16.0, 8: 64.0}  # the authors' lambda_fit_forw: scale^2


class IRNLoss(nn.Cell):
    """(hr_image, lr_reference, z) -> (total, fit, ce, rec), sums over an image and means over the batch.

    fit: the LR image against the bicubic one; ce: -log density of z but for a constant; rec: the image that comes
    back from the 8-bit LR image and a fresh z. Each is given with its weight.

    Args:
        network: what is trained.
        fit_weight, rec_weight, ce_weight: the paper's lambda_2, lambda_1 and lambda_3. A fit ten times the authors'
            removes the coloured dots that IRN can hide in the LR images of screen content.
        fit_criterion, rec_criterion: "l2", or "l1" with a rounded tip (Charbonnier).
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


def criterion(difference: Tensor, kind: str) -> Tensor:
    """Sum over each image, mean over the batch, of squares ("l2") or rounded absolute values ("l1")."""
    squares = difference * difference
    values = squares if kind == "l2" else ops.sqrt(squares + CHARBONNIER)
    row = values.reshape((1, -1))  # as a product: reductions are slow on CPU
    return ops.matmul(row, ops.ones_like(row).reshape((-1, 1))).reshape(()) / difference.shape[0]
