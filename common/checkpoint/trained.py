"""Which trained network a program takes, and what its file says of itself: the demo weights, or one that is named."""

import contextlib
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import UserError, config, runtime
from common.checkpoint import files as checkpoint
from common.checkpoint.files import Checkpoint
from common.checkpoint.fitting import CheckpointError, load_into

if TYPE_CHECKING:
    from mindspore import nn


log = logging.getLogger(__name__)
OPTIMIZER = re.compile("moment|adam|accum|mean_|exp_avg|vhat|optim")  # in the prefixes of what an optimizer keeps


def weights_of(network: "nn.Cell") -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


@dataclass(frozen=True)
class ModelWeights:
    """How a model's weights are found, read and put into a network, for all its programs."""

    model: str  # also the name of its folder, whose weights/ holds the demo weights
    build: Callable[..., Any]  # (hyper-parameters, random seed or none) -> network
    read: Callable[[str], Checkpoint]  # path -> checkpoint by our names; refuses what is no network of this model
    hyper_of: Callable[[Checkpoint, str, Any], Any]  # (it, path, options) -> what the file says, or its shapes tell
    untrained: str  # what the images of random weights are, for the log
    # (network, checkpoint, path): sets all parameters, or raises CheckpointError.
    put: Callable[[Any, Checkpoint, str], None] = lambda network, saved, path: load_into(
        network, saved.weights, source=path
    )
    stage: str = ""  # what most checkpoints of a model that is trained in stages hold
    demo_scale: int = 2  # of the demo weights that are taken where the options leave the scale open
    flag: str = "--ckpt_path"  # names other weights
    to_official: Callable[[Any], dict[str, np.ndarray]] = weights_of  # network -> arrays by the authors' names

    def describe(self, hyper: Any, config: Mapping[str, Any], stage: str = "") -> dict[str, Any]:
        """Return what a checkpoint says of itself: by `hyper`, a dataclass, its network can be built again."""
        stages = {"stage": stage or self.stage} if self.stage else {}
        return {"model": self.model, "scale": hyper.scale, **stages, "hyper": asdict(hyper), "config": dict(config)}

    def load_weights(self, network: "nn.Cell", path: str, options: Any = None) -> None:
        """Start a network from a checkpoint, see `start_from` and, where options describe it, `starting_from`."""
        with starting_from(path, options, network):
            start_from(network, self.read(path), path)

    def find(self, options: Any) -> tuple[Checkpoint, Any, str]:
        """Return (checkpoint, its hyper-parameters, path): the one that the options name, or the demo weights."""
        path = options.ckpt_path
        if not path:
            folder = Path(__file__).resolve().parents[2] / self.model / "weights"
            scale, outscale = config.asked(options).get("scale"), getattr(options, "outscale", 0.0)
            if not scale:
                scales = sorted(int(path.stem.rpartition("_x")[2]) for path in folder.glob("*_x*.ckpt"))
                larger = [scale for scale in scales if scale >= outscale] or scales[-1:]
                scale = larger[0] if outscale and larger else self.demo_scale
            path = str(demo_weights(folder, scale, self.flag))
        saved = self.read(path)
        hyper = self.hyper_of(saved, path, options)
        refuse_contradiction(options, hyper, path)
        return saved, hyper, path

    def asked(self, cls: type, weights: str, options: Mapping[str, Any]) -> Any:
        """Return infer.py's options (a `cls`) as Python gives them to `load`, and start MindSpore on their device."""
        found = config.merge(cls(), {"checkpoint": str(weights), **options}, "load()")
        runtime.start(found.device_target)
        return found

    def initial(self, cls: type, options: Mapping[str, Any]) -> Any:
        """Build the network with initial weights that train.py's options (a `cls`) describe."""
        found = config.merge(cls(), options, "build()")
        return self.build(found.hyper(), found.seed)

    def load_network(self, options: Any) -> tuple[Any, Checkpoint, str]:
        """Return (network, checkpoint, path): see `find`; with --random_weights the network as it begins."""
        if options.random_weights and not options.ckpt_path:
            log.warning("random weights: %s", self.untrained)
            network = self.build(options.hyper())
            return network, Checkpoint(weights_of(network), self.describe(network.hyper, {})), "random weights"
        saved, hyper, path = self.find(options)
        network = self.build(hyper)
        self.put(network, saved, path)
        return network, saved, path


def demo_weights(folder: Path, scale: int, flag: str = "--ckpt_path") -> Path:
    """Return the weights that come with the repository in a model's folder; `flag` names others."""
    found = sorted(folder.glob(f"*_x{scale}.ckpt"))
    if not found:
        model, zoo = folder.parent.name, folder.parent.parent
        others = sorted({path.parent.parent.name for path in zoo.glob(f"*/weights/*_x{scale}.ckpt")}) or ["none here"]
        raise UserError(
            f"{model} has no demo weights for x{scale} (x{scale}: {', '.join(others)}): train some by {model}/train.py "
            f"--scale {scale}, or give {flag} FILE; --random_weights only tries the machinery"
        )
    log.info("no checkpoint named: taking the demo weights %s", found[0])
    return found[0]


def read(path: str, model: str, roots: Collection[str] = ()) -> Checkpoint:
    """Read a model's checkpoint, or another program's by `roots`, the first parts of the names of the parameters."""
    saved = checkpoint.read(path)
    if saved.meta.get("model", model) != model:
        raise UserError(f"{path} holds {saved.meta['model']}, not {model}")
    if not isinstance(saved.meta.get("hyper"), dict):
        saved = Checkpoint(own_names(saved.weights, roots, path))
    for name, array in saved.weights.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"{path} has NaN or Inf in {name}: its training diverged, take an earlier checkpoint")
    return saved


def own_names(weights: Mapping[str, np.ndarray], roots: Collection[str], source: str) -> dict[str, np.ndarray]:
    """Return another program's arrays without the prefix that a wrapper added (module., network. ...).

    Left out are optimizer moments and averages, which repeat the names behind another prefix, and single numbers.
    """
    plain = {name.replace("_orig_mod.", ""): array for name, array in weights.items()}
    prefixes: dict[str, str | None] = {}  # what comes before the network's own name; None where there is no such name
    for name in plain:
        parts = name.split(".")
        place = next((place for place, part in enumerate(parts) if part in roots), None)
        prefixes[name] = None if place is None else "".join(part + "." for part in parts[:place])
    count = Counter(prefix for prefix in prefixes.values() if prefix is not None)
    if not count:
        return dict(weights)
    first = min(count, key=lambda prefix: (bool(OPTIMIZER.search(prefix)), -count[prefix], "ema" not in prefix))
    found, left_out = {}, []
    for name, array in plain.items():
        prefix = prefixes[name]
        repeated = prefix not in (None, first) and first + name.removeprefix(prefix) in plain
        if repeated or (prefix is None and (array.size == 1 or "learning_rate" in name)):
            left_out.append(name)
        else:
            found[name.removeprefix(first)] = array
    if first or left_out:
        said = f"; left out, as of its training: {len(left_out)} ({', '.join(left_out[:3])} ...)" if left_out else ""
        log.info("%s: %d arrays are taken%s%s", source, len(found), first and f" from behind {first!r}", said)
    return found


def start_from(network: "nn.Cell", saved: Checkpoint, source: str) -> None:
    """Set a new network's parameters; from a checkpoint of another scale, those whose names and shapes fit.

    CheckpointError: a checkpoint of this scale, or one that does not say its scale, does not fit as a whole.
    """
    own, scale = weights_of(network), saved.meta.get("scale", network.hyper.scale)
    fitting = {name: array for name, array in saved.weights.items() if name in own and own[name].shape == array.shape}
    if scale == network.hyper.scale or not fitting:
        return load_into(network, saved.weights, source=source)
    parts = dict.fromkeys(".".join(name.split(".")[:2]) for name in own if name not in fitting)
    log.info(
        "%s is of x%s: %d of the %d parameters are taken from it; with initial weights begin %s",
        *(source, scale, len(fitting), len(own), ", ".join(parts)),
    )
    return load_into(network, own | fitting, source=source)


@contextlib.contextmanager
def starting_from(path: str, options: Any, network: "nn.Cell") -> Iterator[None]:
    """Say of the weights of a file that do not fit which of the options, by which the network is made, contradicts."""
    try:
        yield
    except CheckpointError:
        if options and (hyper := checkpoint.read(path).meta.get("hyper")):
            refuse_contradiction(options, type(network.hyper)(**hyper), path, rebuilt=False)
        raise


def refuse_contradiction(options: Any, hyper: Any, source: str, *, rebuilt: bool = True) -> None:
    """Refuse a checkpoint of another network (`hyper`) than the one that the options, see `config.asked`, ask for.

    `rebuilt`: the checkpoint makes the network and counts more than a configuration file; else it must fit the options.
    """
    found, asked, own = asdict(hyper), config.asked(options), {"scale": "scale", **config.hyper_options(options)}
    for key, value in (options.named(hyper.scale) | asked).items():
        name = own[key] if key in asked else "model"
        said = config.origin(options, name)
        if said is None or found.get(key, value) == value:
            continue
        has = f"{source} has {key} {found[key]}"
        if said.source == config.COMMAND_LINE:
            whose = "" if key in asked else f" of --{name} {options.model}"
            raise UserError(f"{has}, not {value}{whose}: leave the flag out, or give another checkpoint")
        stands = f"{has}; the file {said.source} says {said.spelled}: {getattr(options, name)}"
        if not rebuilt:
            raise UserError(f"{stands}: change one of the two")
        log.info("%s; the checkpoint counts", stands)


def cache_of(source: str) -> Path | None:
    """Return the file of the weights, by which exports are cached; None where they are of no file."""
    return Path(source) if Path(source).is_file() else None


def digest_of(hyper: Any, saved: Checkpoint) -> str:
    """Return what tells the function of these weights, in a network of this shape (a dataclass), from all others."""
    said = f"{checkpoint.digest(saved.weights)} {json.dumps(asdict(hyper))}"
    return hashlib.sha256(said.encode()).hexdigest()
