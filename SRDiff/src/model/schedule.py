"""How much noise there is at each step, and the formulas of diffusion (SRDiff, section 3.1; arXiv:2006.11239).

x_0 is the residual image, x_t the residual at step t = 0 ... T - 1, at which step + 1 noises have been added; eps is
the standard normal noise in x_t. All is NumPy in float64; images keep the type they come with.
"""

from collections.abc import Sequence

import numpy as np

from common import UserError

LARGEST_BETA = 0.999
FIRST_LINEAR_BETA = 1e-4
SMALLEST_VARIANCE = 1e-20


def cosine_betas(timesteps: int, s: float = 0.008) -> np.ndarray:
    """(T,): noise by which the share of x_0 that is left falls as a squared cosine (arXiv:2102.09672, eq. 17)."""
    left = np.cos((np.linspace(0, 1, timesteps + 1) + s) / (1 + s) * np.pi / 2) ** 2
    return np.clip(1 - left[1:] / left[:-1], 0, LARGEST_BETA)


def linear_betas(timesteps: int, end: float = 0.02) -> np.ndarray:
    """(T,): from 1e-4 to `end`; the last one is 0.999, since a residual's chain begins with pure noise."""
    betas = np.linspace(FIRST_LINEAR_BETA, end, timesteps)
    betas[-1] = LARGEST_BETA
    return betas


class Schedule:
    """The constants (T,) of every step, by `betas` (T,), the variance of the noise that each step adds.

    Attributes:
        alphas_cumprod, alphas_cumprod_prev: the share of x_0's variance that is left in x_t and in x_{t-1}.
        posterior_variance: of x_{t-1} given x_t and x_0 (eq. 7).
        posterior_mean_coef1, posterior_mean_coef2: weights of x_0 and of x_t in its mean.
        sqrt_alphas_cumprod, sqrt_one_minus_alphas_cumprod: factors of x_0 and of eps in x_t.
        sqrt_recip_alphas_cumprod, sqrt_recipm1_alphas_cumprod: x_0 is the one times x_t less the other times eps.
    """

    def __init__(self, betas: np.ndarray) -> None:
        self.betas = np.asarray(betas, np.float64)
        self.alphas_cumprod = np.cumprod(1 - self.betas)
        self.alphas_cumprod_prev = np.append(1.0, self.alphas_cumprod[:-1])
        self.sqrt_alphas_cumprod = np.sqrt(self.alphas_cumprod)
        self.sqrt_recip_alphas_cumprod = np.sqrt(1 / self.alphas_cumprod)
        self.sqrt_recipm1_alphas_cumprod = np.sqrt(1 / self.alphas_cumprod - 1)
        rest = 1 - self.alphas_cumprod
        self.sqrt_one_minus_alphas_cumprod = np.sqrt(rest)
        self.log_one_minus_alphas_cumprod = np.log(rest)
        self.posterior_variance = self.betas * (1 - self.alphas_cumprod_prev) / rest
        self.posterior_log_variance_clipped = np.log(np.maximum(self.posterior_variance, SMALLEST_VARIANCE))
        self.posterior_mean_coef1 = self.betas * np.sqrt(self.alphas_cumprod_prev) / rest
        self.posterior_mean_coef2 = (1 - self.alphas_cumprod_prev) * np.sqrt(1 - self.betas) / rest

    def __len__(self) -> int:
        return len(self.betas)

    def respaced(self, times: Sequence[int]) -> "Schedule":
        """The chain that visits only these steps, in rising order."""
        if len(times) == len(self):
            return self
        left = self.alphas_cumprod[list(times)]
        return Schedule(1 - left / np.append(1.0, left[:-1]))

    def q_sample(self, x0: np.ndarray, t: int, eps: np.ndarray) -> np.ndarray:
        """x_t of x_0 and noise (eq. 4)."""
        return weighted(self.sqrt_alphas_cumprod[t], x0, self.sqrt_one_minus_alphas_cumprod[t], eps)

    def predict_start(self, xt: np.ndarray, t: int, eps: np.ndarray) -> np.ndarray:
        """Return x_0 of x_t with noise eps; not clipped."""
        return weighted(self.sqrt_recip_alphas_cumprod[t], xt, -self.sqrt_recipm1_alphas_cumprod[t], eps)

    def predict_noise(self, xt: np.ndarray, t: int, x0: np.ndarray) -> np.ndarray:
        return weighted(
            self.sqrt_recip_alphas_cumprod[t] / self.sqrt_recipm1_alphas_cumprod[t],
            xt,
            -1 / self.sqrt_recipm1_alphas_cumprod[t],
            x0,
        )

    def posterior_mean(self, x0: np.ndarray, xt: np.ndarray, t: int) -> np.ndarray:
        return weighted(self.posterior_mean_coef1[t], x0, self.posterior_mean_coef2[t], xt)

    def posterior_deviation(self, t: int) -> float:
        """Standard deviation of x_{t-1} given x_t and x_0; 0 at the last step of the chain."""
        return float(np.exp(0.5 * self.posterior_log_variance_clipped[t])) if t else 0.0


def weighted(a: float, x: np.ndarray, b: float, y: np.ndarray) -> np.ndarray:
    """a x + b y, in the type of x."""
    return np.asarray(x.dtype.type(a) * x + y.dtype.type(b) * y)


def make_schedule(kind: str, timesteps: int, beta_s: float = 0.008, beta_end: float = 0.02) -> Schedule:
    if kind == "cosine":
        return Schedule(cosine_betas(timesteps, beta_s))
    if kind == "linear":
        return Schedule(linear_betas(timesteps, beta_end))
    raise UserError(f"beta_schedule is cosine or linear, not {kind}")
