"""The training loop, its step, optimizer, run folder, record and recipe."""

from common.training.loop import Plan, Trainer
from common.training.optimizer import Adam, MovingAverage
from common.training.recipe import adam
from common.training.repeated import BlockStep, Repeated, Row, Tape, Value, settled
from common.training.step import GradientStep, L1Loss, mixed_precision
from common.training.validation import Validation, digest_of, mean_psnr, psnr_validation
