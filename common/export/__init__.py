"""Networks as files (MINDIR, ONNX, AIR, SAFETENSORS), the engines that run them, tiles for large images."""

from common.export.engine import Engine, OnnxEngine, make_engine, set_precision
from common.export.export import Graph, Port, export, export_graphs, export_weights
from common.export.tiling import (
    Progress,
    Span,
    Upscale,
    default_tile,
    fill_tiles,
    in_batches,
    pad_to_multiple,
    plan_axis,
    refuse_small,
    self_ensemble,
)
