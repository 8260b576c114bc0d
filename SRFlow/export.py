"""Export SRFlow, each direction as a graph of its own: MINDIR, ONNX (free height and width), AIR (on Ascend).

    python SRFlow/export.py --ckpt_path best.ckpt --file_name srflow_x4 --file_format ONNX

srflow_x4_decode: lr_image (N, 3, height, width) in 0..1 and latent_0 ..., standard normal times the heat -> hr_image,
not clipped. srflow_x4_encode: hr_image and lr_image -> latent_0 ..., and logdet_0 ..., the log-determinant of each
level's pixels. Sides of lr_image are multiples of 2 (x4: latents of 6, 96 channels at twice and half the LR size). Each
file is loaded again and compared with the network before it takes its name.
"""

from collections.abc import Sequence

from common import config, runtime
from SRFlow.src.model_utils.options import GRAPHS, ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(ExportConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common.export import export_graphs
    from SRFlow.src.model_utils import graphs as forms
    from SRFlow.src.model_utils.util import load_trained

    trained = load_trained(options)
    directions = GRAPHS if options.graph == "both" else (options.graph,)
    size = options.batch_size
    graphs = ((name, forms.graph_of(trained.arrays, trained.hyper, name, size)) for name in directions)
    metadata = {
        "model": "SRFlow",
        "scale": str(trained.hyper.scale),
        "source": trained.source,
        "digest": trained.digest,
    }
    for path in export_graphs(graphs, options.file_name, options.file_format, metadata, forms.TOLERANCE):
        print(f"exported {path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
