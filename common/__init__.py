"""Set what MindSpore reads only once, at its own import; a value that the user has set is never overridden."""

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

# On AVX-512 machines MindSpore's wheel otherwise falls back to oneDNN's reference convolution, 30 to 140 times slower.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
# 3 = errors only: cluster building alone prints hundreds of warnings that tell a user nothing.
os.environ.setdefault("GLOG_v", "3")
# Seconds that CPU workers wait for each other. MindSpore's 30 would end a job in which one of them validates or saves
# for longer; a worker that died is noticed by its launcher, one that hangs by the watchdog of common/launch.sh.
os.environ.setdefault("MS_CPU_COMM_OP_TIMEOUT", "7200")
try:
    tempfile.gettempdir()
except FileNotFoundError:  # MindSpore asks for it at its import, too; only what writes there needs one that is writable
    tempfile.tempdir = "/tmp"
# Where a failed compilation writes its analysis, instead of rank_0/ in the working folder.
os.environ.setdefault("MS_OM_PATH", os.path.join(tempfile.gettempdir(), "mindspore-sr-zoo"))
# ONNX Runtime otherwise identifies the machine to Microsoft, and keeps a data base in the user's cache folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _tell(kind: type[BaseException], error: BaseException, *trace: Any, before: Callable = sys.excepthook) -> None:
    """Say in a line what ends a program while it is imported, which takes seconds: Ctrl-C, and a missing libGL."""
    if kind is KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
    elif issubclass(kind, ImportError) and "libGL.so" in str(error):
        sys.stderr.write(
            "error: OpenCV does not find libGL: apt-get install libgl1 libglib2.0-0 (dnf install mesa-libGL glib2), or "
            "pip install opencv-python-headless in place of opencv-python\n"
        )
    else:
        before(kind, error, *trace)


sys.excepthook = _tell
__version__ = "0.1.0"


class UserError(Exception):
    """A mistake that the user can mend: what was expected, found, and is to be typed; exit code 2 by `run_main`."""
