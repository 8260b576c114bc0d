"""What the programs have in common: what a checkpoint says of itself, and the network that it holds."""

from functools import partial
from pathlib import Path

from common import checkpoint
from common.checkpoint import Checkpoint, trained

from .config import EvalConfig, ExportConfig, InferConfig
from .CSNLN import CSNLN, Hyper
from .official import ROOTS, hyper_of, official_name

MODEL = "CSNLN"
DEMO_WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
describe = partial(trained.describe, MODEL)


def load_weights(network: CSNLN, path: str) -> None:
    """Put the weights of a checkpoint, ours or the authors', into a network, see `trained.start_from`."""
    trained.start_from(network, trained.read(path, MODEL, ROOTS), path, official_name)


def load_network(options: EvalConfig | InferConfig | ExportConfig, rows: int = 0) -> tuple[CSNLN, Checkpoint, str]:
    """The network that a checkpoint holds, rebuilt from what the file says; without one, the demo weights.

    Args:
        rows: as for `CSNLN`.

    Returns:
        (network, checkpoint, name of the source).

    Raises:
        UserError: no such file, not CSNLN, not the network that was asked for, or weights that do not fit.
    """
    if options.random_weights and not options.ckpt_file:
        network = CSNLN(options.hyper(), rows=rows)
        return trained.untrained(network, describe, "the pictures will mean nothing")
    source = options.ckpt_file or str(trained.demo_weights(DEMO_WEIGHTS, options.scale or 2, "--ckpt_file"))
    saved = trained.read(source, MODEL, ROOTS)
    hyper = Hyper(**saved.meta["hyper"]) if "hyper" in saved.meta else hyper_of(saved.weights, source)
    trained.refuse_contradiction(options, hyper, source)
    network = CSNLN(hyper, rows=rows)
    checkpoint.load_into(network, saved.weights, source=source, names=official_name)
    return network, saved, source
