"""Export CSNLN: ONNX (any height and width, bounded memory), MINDIR (one size), AIR (one size, on Ascend).

    python CSNLN/export.py --ckpt_file best.ckpt --file_name csnln_x2 --file_format ONNX
    python CSNLN/export.py --ckpt_file best.ckpt --file_format MINDIR --lr_height 60 --lr_width 60

The graph takes `lr_image` (N, 3, height, width) float32 in 0..1 and gives `sr_image`, not clipped. In an ONNX file the
attentions take their queries in blocks, as many at a time as --attention_memory allows; sides that the attention cannot
divide are continued by reflection, and the result is cut. The file is loaded again and compared with the network before
it takes its name.
"""

from collections.abc import Sequence

from common import runtime
from CSNLN.src.config import ExportConfig, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Export; returns the exit code."""
    runtime.start_log()
    options = parse(ExportConfig, argv, __doc__)
    runtime.start(options.device_target)

    from CSNLN.src import graphs, utils

    print(f"exported {graphs.write(*utils.load_network(options), options)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
