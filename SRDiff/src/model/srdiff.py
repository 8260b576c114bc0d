"""SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models (Li et al., 2021, arXiv:2104.14951).

The HR image is the upscaled LR image and a residual. A chain of T steps turns noise into the residual; each step
asks a U-Net which noise is in it, and the U-Net reads the features that an encoder has found in the LR image.
Images of the networks lie in [-1, 1]. Parameters are named as in the authors' files, which therefore load by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError

from .encoder import RRDBNet
from .schedule import Schedule, make_schedule
from .unet import Unet

EVERY = 3  # of the encoder's features, the U-Net reads the third, the sixth ...


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters of the network and its chain; saved in every checkpoint.

    `hidden_size` are the channels of the U-Net's first level, `dim_mults` their multiples in each level. For `beta_*`
    see `schedule`. The residual is multiplied by `res_rescale` before it is clipped to [-1, 1].
    """

    scale: int = 4
    hidden_size: int = 64
    dim_mults: tuple[int, ...] = (1, 2, 3, 4)
    rrdb_num_feat: int = 32
    rrdb_num_block: int = 8
    timesteps: int = 100
    beta_schedule: str = "cosine"
    beta_s: float = 0.008
    beta_end: float = 0.02
    res_rescale: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim_mults", tuple(self.dim_mults))  # JSON gives a list
        if self.scale not in (2, 4, 8):
            raise UserError(f"SRDiff is built for the scales 2, 4 and 8, not {self.scale}")
        if self.hidden_size < 4 or self.hidden_size % 2 or not self.dim_mults or min(self.dim_mults) < 1:
            raise UserError(f"no U-Net has {self.hidden_size} channels and the multiples {list(self.dim_mults)}")
        if self.rrdb_num_feat < 2 or self.rrdb_num_block < EVERY - 1:
            raise UserError(
                f"the U-Net reads every third of an encoder's features: {EVERY - 1} blocks or more are needed, "
                f"not {self.rrdb_num_block}, and two channels or more, not {self.rrdb_num_feat}"
            )
        if self.timesteps < 1 or self.res_rescale <= 0:
            raise UserError(f"no chain has {self.timesteps} steps and res_rescale {self.res_rescale}")

    @property
    def condition(self) -> int:
        return self.rrdb_num_feat * ((self.rrdb_num_block + 1) // EVERY)

    @property
    def hr_multiple(self) -> int:
        """Return what the sides of HR images must be multiples of."""
        return 2 ** (len(self.dim_mults) - 1)

    def schedule(self) -> Schedule:
        return make_schedule(self.beta_schedule, self.timesteps, self.beta_s, self.beta_end)


PRESETS: Mapping[str, Hyper] = {
    "diffsr_df2k4x": Hyper(),  # the authors'
    "diffsr_celeb": Hyper(scale=8, dim_mults=(1, 2, 2, 4)),  # the authors'
    "srdiff_small": Hyper(hidden_size=24, dim_mults=(1, 2, 2), rrdb_num_feat=16),  # ours, 942,518 parameters
}


class SRDiffNet(nn.Cell):
    """Encoder and noise predictor."""

    def __init__(self, hyper: Hyper, seed: int = 0) -> None:
        super().__init__()
        self.hyper, rng = hyper, np.random.default_rng(seed)
        self.denoise_fn = Unet(hyper.hidden_size, hyper.dim_mults, hyper.condition, hyper.scale, rng)
        self.rrdb = RRDBNet(hyper.rrdb_num_feat, hyper.rrdb_num_block, hyper.scale, rng)

    def features(self, lr_image: Tensor) -> Tensor:
        """LR image (N, 3, h, w) in [-1, 1] -> the features that the U-Net reads (N, condition, h, w)."""
        return read_features(self.rrdb.features(lr_image))

    def construct(self, x: Tensor, t: Tensor, lr_image: Tensor) -> Tensor:
        """x_t (N, 3, sh, sw), steps (N,) and LR image (N, 3, h, w) -> eps (N, 3, sh, sw)."""
        return self.denoise_fn(x, t, self.denoise_fn.project(self.features(lr_image)))


def read_features(features: tuple[Tensor, ...]) -> Tensor:
    """Concatenate the features that the U-Net reads."""
    return ops.concat(features[EVERY - 1 :: EVERY], 1)


def count_parameters(network: nn.Cell) -> int:
    return sum(parameter.size for parameter in network.get_parameters())
