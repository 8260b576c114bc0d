"""IRN: invertible image rescaling (arXiv:2005.05650), down-scaling and up-scaling by one invertible network."""

import common  # noqa: F401  (sets the environment before any module below imports mindspore)
