"""Export WDSR with weight normalisation folded: MINDIR, ONNX (any sizes), AIR (on Ascend); or the weights alone.

    python WDSR/export.py --ckpt_file best.ckpt --file_name wdsr_x2 --file_format ONNX

The graph takes `lr_image` (N, 3, height, width) float32, RGB in 0..1 in ONNX, else in 0..255, and gives `sr_image`, not
clipped. SAFETENSORS has the weights by the authors' names. The file is loaded again and compared with the network
before it takes its name.
"""

from collections.abc import Sequence

from common import config, runtime
from WDSR.src.args import ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(ExportConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common import export
    from common.checkpoint import digest_of
    from WDSR.src import graphs, utils

    if options.file_format == "SAFETENSORS":
        print(f"exported {export.export_weights(utils.WEIGHTS, options)}")  # noqa: T201
        return 0
    network, saved, source = utils.load_network(options)
    hyper = network.hyper
    white = 1.0 if options.file_format == "ONNX" else hyper.rgb_range
    form, inputs = graphs.WDSRInference(network, white), graphs.ports(hyper, options.batch, white)
    metadata = {
        "model": "WDSR",
        "scale": str(hyper.scale),
        "rgb_range": str(white),
        "source": source,
        "digest": digest_of(hyper, saved),
    }
    graph = export.Graph(form, inputs, graphs.OUTPUTS, graphs.CHECK_SIZES)
    path = export.export(graph, options.file_name, options.file_format, metadata)
    print(f"exported {path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
