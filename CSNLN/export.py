"""Export CSNLN: ONNX (any sizes with bounded memory, or one), MINDIR (one size), AIR (on Ascend); or weights alone.

    python CSNLN/export.py --ckpt_file best.ckpt --file_name csnln_x2 --file_format ONNX
    python CSNLN/export.py --ckpt_file best.ckpt --file_name csnln_x2 --file_format ONNX --height 60 --width 60
    python CSNLN/export.py --ckpt_file best.ckpt --file_format MINDIR --height 60 --width 60

The graph takes `lr_image` (N, 3, height, width) float32, RGB in 0..1, and gives `sr_image`, not clipped. ONNX for any
size: the attentions take their queries in blocks, as many at a time as --attention_memory allows; sides that the
attention cannot divide are extended by reflection padding, and the result is cut. ONNX for one size: without loops,
which some converters lack. SAFETENSORS has the weights by the authors' names. The file is loaded again and compared
with the network before it takes its name.
"""

from collections.abc import Sequence

from common import runtime
from CSNLN.src.config import ExportConfig, parse


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = parse(ExportConfig, argv, __doc__)
    runtime.start(options.device_target)

    from common.export import export_weights
    from CSNLN.src import graphs, utils

    if options.file_format == "SAFETENSORS":
        print(f"exported {export_weights(utils.WEIGHTS, options)}")  # noqa: T201
        return 0
    print(f"exported {graphs.write(*utils.load_network(options), options)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
