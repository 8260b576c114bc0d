"""Export SRDiff, each of its networks as a graph of its own: MINDIR, ONNX (any sizes), AIR (on Ascend); or the weights.

    python SRDiff/export.py --ckpt_path best.ckpt --file_name srdiff_x4 --file_format ONNX

srdiff_x4_encoder: lr_image (N, 3, height, width), RGB in 0 ... 1 in ONNX, else in -1 ... 1 -> cond, once for each
image. srdiff_x4_predictor: x_t (N, 3, height, width) of HR's size, t (N,) as float32, and cond -> eps, once for each
step of the chain. Sides of lr_image are multiples of 2 (x8: any), 4 or more (x8: 2). SAFETENSORS has the weights by the
authors' names. Each file is loaded again and compared with the network before it takes its name.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from common import config, runtime
from SRDiff.src.model_utils.options import GRAPHS, ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(ExportConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common.export import export_graphs, export_weights
    from SRDiff.src.model_utils.graphs import MEANING, graph_of
    from SRDiff.src.model_utils.util import WEIGHTS, load_trained

    if options.file_format == "SAFETENSORS":
        print(f"exported {export_weights(WEIGHTS, options)}")  # noqa: T201
        return 0
    trained = load_trained(options)
    names = GRAPHS if options.graph == "both" else (options.graph,)
    unit = options.file_format == "ONNX"
    graphs = ((name, graph_of(trained.network, name, options.batch, unit)) for name in names)
    metadata = {
        "model": "SRDiff",
        "scale": str(trained.hyper.scale),
        "hyper": json.dumps(asdict(trained.hyper)),
        "source": trained.source,
        "digest": trained.digest,
    }
    for path in export_graphs(graphs, options.file_name, options.file_format, metadata, meaning=MEANING):
        print(f"exported {path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
