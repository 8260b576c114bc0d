"""Export SRFlow, each direction as a graph of its own: MINDIR, ONNX (any sizes), AIR (on Ascend); or the weights.

    python SRFlow/export.py --ckpt_path best.ckpt --file_name srflow_x4 --file_format ONNX

srflow_x4_decode: lr_image (N, 3, height, width) in 0..1 and latent_0 ..., standard normal times the heat -> hr_image,
not clipped. srflow_x4_encode: hr_image and lr_image -> latent_0 ..., and logdet_0 ..., the log-determinant of each
level's pixels. Sides of lr_image are multiples of 2 (x4: latents of 6, 96 channels at twice and half the LR size).
SAFETENSORS has the weights by the authors' names. Each file is loaded again and compared with the network before it
takes its name.
"""

from collections.abc import Sequence

from common import config, runtime
from SRFlow.src.model_utils.options import GRAPHS, ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(ExportConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common.export import export_graphs, export_weights
    from SRFlow.src.model_utils import graphs as forms
    from SRFlow.src.model_utils.util import WEIGHTS, load_trained

    if options.file_format == "SAFETENSORS":
        print(f"exported {export_weights(WEIGHTS, options)}")  # noqa: T201
        return 0
    trained = load_trained(options)
    directions = GRAPHS if options.graph == "both" else (options.graph,)
    graphs = ((name, forms.graph_of(trained.arrays, trained.hyper, name, options.batch)) for name in directions)
    metadata = {
        "model": "SRFlow",
        "scale": str(trained.hyper.scale),
        "source": trained.source,
        "digest": trained.digest,
    }
    for path in export_graphs(graphs, options.file_name, options.file_format, metadata, forms.MEANING):
        print(f"exported {path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
