"""What CSNLN's training alone has: --recompute, which takes a step of its own."""

import pytest

from common import UserError
from common.training import Trainer
from CSNLN.src.recomputing import RecomputingStep


def test_recomputing_is_what_the_option_says(begun):
    """Its gradients are compared in test_model; here, that they are taken."""
    trainer = begun("CSNLN", recompute=2)
    assert isinstance(trainer, Trainer)
    assert [value for value in vars(trainer).values() if isinstance(value, RecomputingStep)]
    assert not [value for value in vars(begun("CSNLN")).values() if isinstance(value, RecomputingStep)]
    with pytest.raises(UserError, match="--batch_size 4 must be a multiple of --recompute 3"):
        begun("CSNLN", recompute=3)
