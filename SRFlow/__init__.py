"""SRFlow: super-resolution by a conditional normalising flow (arXiv:2006.14200), trained by its exact likelihood."""

import common  # noqa: F401  (sets the environment before any module below imports mindspore)
