"""What CSNLN's training alone has: --recompute, which takes a step of its own."""

import pytest

from common import UserError
from CSNLN.src.recomputing import RecomputingStep


def test_recomputing_is_what_the_option_says(begun):
    """Its gradients are compared in test_model; here, that they are taken."""
    trainer = begun("CSNLN", recompute=2, memory="full")
    assert isinstance(trainer.gradient_step, RecomputingStep)
    assert trainer.gradient_step.images == 2
    assert not isinstance(begun("CSNLN", memory="full").gradient_step, RecomputingStep)
    with pytest.raises(UserError, match="--batch_size 4 must be a multiple of --recompute 3"):
        begun("CSNLN", recompute=3)
