"""Export IRN, each direction as a graph of its own: MINDIR, ONNX (any sizes), AIR (on Ascend); or the weights.

    python IRN/export.py --ckpt_path best.ckpt --file_name irn_x4 --file_format ONNX

irn_x4_downscale: hr_image (N, 3, height, width) in 0..1, sides multiples of the scale -> lr_image, neither clipped nor
rounded. irn_x4_upscale: lr_image (N, 3, height, width) in 0..1, z (N, 3 scale^2 - 3, height, width), standard normal ->
hr_image, not clipped. SAFETENSORS has the weights by the authors' names. Each file is loaded again and compared with
the network before it takes its name.
"""

from collections.abc import Sequence

from common import config, runtime
from IRN.src.options.options import ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(ExportConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common.export import export_graphs, export_weights
    from IRN.src import graphs as forms
    from IRN.src import inference
    from IRN.src.utils import util

    if options.file_format == "SAFETENSORS":
        print(f"exported {export_weights(util.WEIGHTS, options)}")  # noqa: T201
        return 0
    network, saved, source = util.load_network(options)
    directions = forms.DIRECTIONS if options.graph == "both" else (options.graph,)
    graphs = ((direction, forms.graph_of(network, direction, options.batch)) for direction in directions)
    metadata = {
        "model": "IRN",
        "scale": str(network.hyper.scale),
        "source": source,
        "digest": inference.digest_of(network.hyper, saved),
    }
    for path in export_graphs(graphs, options.file_name, options.file_format, metadata, forms.MEANING):
        print(f"exported {path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
