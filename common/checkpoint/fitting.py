"""Set all parameters of a network, or say exactly why the arrays do not fit.

`mindspore.load_param_into_net` (2.10) only returns what it could not load, so every load goes through `load_into`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import UserError

if TYPE_CHECKING:
    import mindspore


class CheckpointError(UserError):
    """A checkpoint cannot be read or written, or does not fit the network."""


def describe(path: str | Path, meta: Mapping[str, Any]) -> str:
    """Return the file, and what it says it is: `x2.ckpt (WDSR x2, step 300)`."""
    network = " ".join(f"{sign}{meta[key]}" for key, sign in (("model", ""), ("scale", "x")) if meta.get(key))
    said = [network, "" if meta.get("step") is None else f"step {meta['step']}"]
    return f"{path} ({', '.join(filter(None, said))})" if any(said) else str(path)


def load_into(
    network: "mindspore.nn.Cell",
    weights: Mapping[str, np.ndarray],
    *,
    source: str | Path,
    names: Mapping[str, str | None] | Callable[[str], str | None] | None = None,
) -> None:
    """Set every parameter of the network, or raise a CheckpointError that names what differs before any is touched.

    Args:
        weights: those of the network and no others, by their name in the file; floats are cast to their parameter's.
        source: what the message calls the file, see `describe`.
        names: name in the file -> name in the network; None leaves an array out on purpose. A mapping may be partial.
    """
    import mindspore

    arrays: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        new = name if names is None else names(name) if callable(names) else names.get(name, name)
        if new in arrays:
            raise CheckpointError(f"{source} does not fit this network: two of its arrays would both be {new}")
        if new is not None:
            arrays[new] = array

    parameters = network.parameters_dict()
    missing = [name for name in parameters if name not in arrays]
    unknown = [name for name in arrays if name not in parameters]
    differing = [
        f"{name}: {_shape(array)} there, {_shape(parameters[name])} here"
        for name, array in arrays.items()
        if name in parameters and (_kind(array), array.shape) != (_kind(parameters[name]), parameters[name].shape)
    ]
    problems = [
        f"{len(found)} {what} ({', '.join(found[:5])}{', ...' if len(found) > 5 else ''})"
        for found, what in (
            (missing, f"of the network's {len(parameters)} parameters are missing in it"),
            (unknown, f"of its {len(arrays)} arrays have no place in the network"),
            (differing, "shapes or types differ"),
        )
        if found
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit this network: {'; '.join(problems)}; "
            "use the model, scale and options that it was saved with, or another file"
        )
    for name, parameter in parameters.items():
        parameter.set_data(mindspore.Tensor(arrays[name], dtype=parameter.dtype))


def _kind(array: "np.ndarray | mindspore.Parameter") -> str:
    """Return "float", "int", "uint" or "bool": casting within a kind is fine, from one to another is not."""
    return str(array.dtype).lower().rstrip("0123456789").replace("bfloat", "float")


def _shape(array: "np.ndarray | mindspore.Parameter") -> str:
    return f"{tuple(array.shape)} {str(array.dtype).lower()}"
