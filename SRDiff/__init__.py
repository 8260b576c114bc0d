"""SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models (Li et al., 2021, arXiv:2104.14951)."""

import common  # noqa: F401  (sets the environment before mindspore is imported)
