"""Export WDSR with weight normalisation folded: MINDIR, ONNX (free height and width), AIR (on Ascend).

    python WDSR/export.py --ckpt_file best.ckpt --file_name wdsr_x2 --file_format ONNX

The graph takes `lr_image` (N, 3, height, width) float32 in 0..255 and gives `sr_image`, not clipped. The file is loaded
again and compared with the network before it takes its name.
"""

from collections.abc import Sequence

from common import config, runtime
from WDSR.src.args import ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Export; returns the exit code."""
    runtime.start_log()
    options = config.parse(ExportConfig, argv, description=__doc__)
    runtime.start(options.device_target)

    from common import export
    from common.checkpoint import digest_of
    from WDSR.src import graphs, utils

    network, saved, source = utils.load_network(options)
    hyper = network.hyper
    path = export.export(
        graphs.WDSRInference(network),
        graphs.ports(hyper, options.batch_size),
        graphs.OUTPUTS,
        options.file_name,
        options.file_format,
        sizes=graphs.CHECK_SIZES,
        metadata={
            "model": "WDSR",
            "scale": str(hyper.scale),
            "rgb_range": str(hyper.rgb_range),
            "source": source,
            "digest": digest_of(hyper, saved),
        },
    )
    print(f"exported {path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    runtime.run_main(main)
