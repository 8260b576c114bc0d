"""The first step of IRN's training, told in float64: the losses of the Haar transform, and Adam with weight decay."""

import numpy as np
import pytest

from ci.tests.specs import weights_of
from ci.tests.training import read, read_csv
from common import UserError


def test_first_losses_are_those_of_the_haar_transform(trained, begun):
    """The untrained network is the plain Haar transform; weights 4, 1 and 1."""
    hr, reference, z = (array.astype(np.float64) for array in next(begun("IRN").stream.batches(0, 1)))
    a, b, c, d = (hr[:, :, top::2, left::2] for top in (0, 1) for left in (0, 1))
    lr_image = (a + b + c + d) / 4
    details = np.concatenate([(a - b + c - d) / 4, (a + b - c - d) / 4, (a - b - c + d) / 4], 1)
    rounded = np.round(lr_image.clip(0, 1) * 255) / 255
    columns, rows, diagonals = np.split(z, 3, 1)
    restored = np.empty_like(hr)
    restored[:, :, 0::2, 0::2] = rounded + columns + rows + diagonals
    restored[:, :, 0::2, 1::2] = rounded - columns + rows - diagonals
    restored[:, :, 1::2, 0::2] = rounded + columns - rows - diagonals
    restored[:, :, 1::2, 1::2] = rounded - columns - rows + diagonals
    fit = 4 * ((lr_image - reference) ** 2).sum() / len(hr)
    ce = (details**2).sum() / len(hr)
    rec = np.sqrt((hr - restored) ** 2 + 1e-6).sum() / len(hr)
    found = [float(value) for value in read_csv(trained("IRN"), "loss", "fit", "ce", "rec")[0]]
    np.testing.assert_allclose(found, [fit + ce + rec, fit, ce, rec], rtol=2e-5)


def test_first_step_is_adams_with_weight_decay(trained, begun):
    """Where the gradient is zero, the decay alone moves the weights: behind conv5, which begins with zeros."""
    network = begun("IRN").network
    trainable = {parameter.name for parameter in network.trainable_params()}
    after = read(trained("IRN"), "step_0000001.ckpt").weights
    for name, array in weights_of(network).items():
        before, moved = array.astype(np.float64), array - after[name]
        if "conv5" in name:
            np.testing.assert_allclose(np.median(np.abs(moved)), 0.003, rtol=1e-3)
        elif name in trainable:
            decay = 1e-5 * before
            np.testing.assert_allclose(moved, 0.003 * decay / (np.abs(decay) + 1e-8), atol=3e-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"restart_weights": 1}, "0 restarts need as many restart_weights, not 1"),
        ({"lr_scheme": "CosineAnnealingLR_Restart", "T_period": "5,6"}, "0 restarts need 1 periods in T_period, not 2"),
    ],
)
def test_schedules_that_cannot_be(begun, changes, message):
    with pytest.raises(UserError, match=message):
        begun("IRN", **changes)
