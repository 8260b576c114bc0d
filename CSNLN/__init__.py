"""CSNLN: Image Super-Resolution with Cross-Scale Non-Local Attention (Mei et al., CVPR 2020, arXiv:2006.01424)."""

import common  # noqa: F401  (sets the environment before mindspore is imported)
