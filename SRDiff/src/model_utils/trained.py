"""A trained network ready to be used."""

from pathlib import Path
from typing import NamedTuple

from common.checkpoint import cache_of, digest_of
from common.config import TrainedOptions

from ..model.srdiff import Hyper, SRDiffNet
from . import util
from .graphs import prepare


class Trained(NamedTuple):
    """What the programs need of a trained network.

    Attributes:
        network: with its weights, in the form of `graphs.prepare`.
        source: name of the file.
        digest: tells the function of these weights from all others.
    """

    network: SRDiffNet
    source: str
    digest: str

    @property
    def hyper(self) -> Hyper:
        """The network's shape, and its chain."""
        return self.network.hyper

    @property
    def cache(self) -> Path | None:
        """Where exports are kept, see `common.checkpoint.cache_of`."""
        return cache_of(self.source)


def load_trained(options: TrainedOptions) -> Trained:
    """What a checkpoint holds; without one, the demo weights.

    Raises:
        UserError: no such file, not SRDiff's, without its encoder, not the network that was asked for, or weights that
            do not fit.
    """
    network, saved, source = util.load_network(options)
    return Trained(prepare(network), source, digest_of(network.hyper, saved))
