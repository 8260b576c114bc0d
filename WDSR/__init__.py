"""WDSR: wide activation for efficient image super-resolution (arXiv:1808.08718), with weight normalisation."""

import common  # noqa: F401  (sets the environment before any module below imports mindspore)
