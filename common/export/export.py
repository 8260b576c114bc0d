"""Writes a network as MINDIR, ONNX, AIR or SAFETENSORS, and proves each file before it takes its name.

The file is drafted, loaded again, run on random inputs at two sizes and compared with the network; only then does it go
where it was asked for. A file that was there before stays untouched when anything fails.
"""

import contextlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common import UserError
from common.atomic import make_writable, replacing
from common.checkpoint import Checkpoint, ModelWeights, digest, save, weights_of
from common.export import onnx_file

if TYPE_CHECKING:
    from mindspore import nn


# Relative to the largest absolute output. Measured: below 1e-6 for convolutions, 2e-5 for a bilinear resize by matmul.
TOLERANCE = 5e-5

Arrays = Sequence[np.ndarray]
Sizes = Sequence[Mapping[str, int]]
Run = Callable[[Arrays], Arrays]


class ExportError(UserError):
    """The network cannot be written in this format, or the written file does not answer as the network does."""


class Port(NamedTuple):
    """One float32 input.

    Attributes:
        name: how callers of the exported file address it.
        shape: numbers are fixed; a string names a free size, and the same string is the same size everywhere.
        high: random values for the comparison are drawn from [0, high): 255 for a network that counts grey levels.
    """

    name: str
    shape: tuple[int | str, ...]
    high: float = 1.0

    def at(self, size: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with the free sizes filled in."""
        return tuple(size[length] if isinstance(length, str) else length for length in self.shape)


class Trial(NamedTuple):
    """One random input and the network's own answer to it."""

    size: Mapping[str, int]
    arrays: Arrays
    expected: Arrays


@dataclass(frozen=True)
class Proof:
    """The network to be exported, and the comparison that its file has to pass.

    Raises:
        ValueError: `sizes` do not name the free sizes, or do not vary them.
    """

    network: "nn.Cell"
    inputs: Sequence[Port]
    outputs: Sequence[str]
    sizes: Sizes
    tolerance: float = TOLERANCE
    cells: Mapping[type, Callable] | None = None  # see `onnx_writer.write`

    def __post_init__(self) -> None:
        free = {length for port in self.inputs for length in port.shape if isinstance(length, str)}
        given = [dict(size) for size in self.sizes]
        if not given or any(set(size) != free for size in given):
            raise ValueError(f"each of `sizes` must give the free sizes {sorted(free)}, found {given}")
        stuck = sorted(name for name in free if len({size[name] for size in given}) == 1)
        if len(given) > 1 and stuck:
            raise ValueError(f"`sizes` must hold two different values of {', '.join(stuck)}, found {given}")

    def random_inputs(self, number: int) -> Arrays:
        """The float32 inputs of trial `number`, the same in every run."""
        rng = np.random.default_rng(number)
        size = self.sizes[number]
        return [rng.random(port.at(size), dtype=np.float32) * np.float32(port.high) for port in self.inputs]

    def trials(self) -> list[Trial]:
        """The network's own answers, computed eagerly, that is by another road than the exported graph."""
        from mindspore import Tensor

        trials = []
        for number, size in enumerate(self.sizes):
            arrays = self.random_inputs(number)
            expected = as_arrays(self.network(*map(Tensor, arrays)))
            if len(expected) != len(self.outputs):
                raise ValueError(f"the network returns {len(expected)} outputs, named are {tuple(self.outputs)}")
            trials.append(Trial(size, arrays, expected))
        return trials

    def compare(self, load: Callable[[], Run], trials: Sequence[Trial]) -> str:
        """Load the file and run it on each trial.

        Returns:
            A phrase with the sizes and the largest error.

        Raises:
            ExportError: the file does not load, does not run, or gives other shapes or values.
        """
        try:
            run = load()
        except Exception as error:  # each runtime has exceptions of its own
            raise ExportError(f"the exported file does not load: {first_line(error)}; nothing was written") from error
        worst = max(self._error(run, trial) for trial in trials)
        shown = " and ".join("x".join(map(str, size.values())) for size in self.sizes if size) or "its one size"
        return f"loaded again and compared at {shown}, largest error {worst:.1e} of the largest value"

    def _error(self, run: Run, trial: Trial) -> float:
        where = ", ".join(f"{name} {length}" for name, length in trial.size.items()) or "its one size"
        try:
            found = run(trial.arrays)
        except Exception as error:
            message = f"the exported file does not run at {where}: {first_line(error)}; nothing was written"
            raise ExportError(message) from error
        pairs = zip(self.outputs, found, trial.expected, strict=True)
        return max(self._difference(f"{name} at {where}", got, want) for name, got, want in pairs)

    def _difference(self, what: str, got: np.ndarray, want: np.ndarray) -> float:
        """The largest error over the largest value."""
        if got.shape != want.shape:
            raise ExportError(f"{what}: the file gives {got.shape}, the network {want.shape}; nothing was written")
        peak, error = float(np.abs(want).max()), float(np.abs(got.astype(np.float64) - want).max())
        if not error <= self.tolerance * peak:  # `not <=` so that NaN on either side is caught too
            raise ExportError(
                f"{what}: the file differs from the network by up to {error:.3g} where values reach {peak:.3g} "
                f"and {self.tolerance * peak:.3g} is allowed; nothing was written"
            )
        return error / peak if peak else 0.0


def free_tensor(port: Port) -> Any:
    """A MindSpore placeholder of the port's shape, its free sizes unknown."""
    import mindspore as ms

    shape = [None if isinstance(length, str) else length for length in port.shape]
    return ms.Tensor(shape=shape, dtype=ms.float32)


def wrapped(network: "nn.Cell") -> "nn.Cell":
    """A new cell around the network, with the same parameters under the same names and its own compiled graphs."""
    from mindspore import nn

    class Wrapped(nn.Cell):
        def __init__(self) -> None:
            super().__init__(auto_prefix=False)
            self.network = network

        def construct(self, *inputs):
            return self.network(*inputs)

    return Wrapped().set_train(False)


def as_arrays(output: Any) -> Arrays:
    """What a cell returned, a tensor or a tuple of tensors, as a tuple of arrays."""
    return tuple(tensor.asnumpy() for tensor in (output if isinstance(output, tuple | list) else (output,)))


def first_line(error: BaseException) -> str:
    """The first line of an error's message: MindSpore's have a C++ call stack behind it."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


FORMATS = ("MINDIR", "ONNX", "AIR")
log = logging.getLogger(__name__)


def export(
    network: "nn.Cell",
    inputs: Sequence[Port],
    outputs: Sequence[str],
    path: str | Path,
    file_format: str,
    *,
    sizes: Sizes,
    tolerance: float = TOLERANCE,
    metadata: Mapping[str, str] | None = None,
    meaning: Mapping[str, str] | None = None,
    cells: Mapping[type, Callable] | None = None,
) -> Path:
    """Write the network and prove the file; log what was written and how well it agrees.

    Args:
        network: takes the inputs in order and returns a tensor, or a flat tuple of as many as `outputs`.
        outputs: names of the outputs (MINDIR and AIR do not keep them).
        path: the suffix of the format is appended when it is missing.
        file_format: MINDIR, ONNX or AIR, in either case.
        sizes: sets of free sizes to check with, none of which is the same in all sets. `[{}]` when nothing is free.
            Batch sizes 1, 2 ... are added where the length "batch" is free.
        tolerance: largest error allowed, relative to the largest absolute value of the output.
        metadata: text kept in the file (ONNX metadata_props, MINDIR user_info), such as model, scale, digest.
        meaning: of inputs and outputs that are no images, for an ONNX file; see `described`.
        cells: how an ONNX file records cells of these types, see `onnx_writer.write`.

    Returns:
        The path that was written.

    Raises:
        ExportError: an operator cannot be exported, or the file does not answer as the network does.
        UserError: unknown format, a missing package, AIR without Ascend, a place that cannot be written.
    """
    if file_format.upper() not in FORMATS:
        raise UserError(f"the file format is one of {', '.join(FORMATS)}, not {file_format!r}")
    target, metadata = place_for(path, file_format), dict(metadata or {})
    if file_format.upper() == "ONNX":
        metadata |= described(inputs, outputs, meaning or {})
    if "batch" in inputs[0].shape:
        sizes = [{"batch": count, **size} for count, size in enumerate(sizes, 1)]
    proof = Proof(network, inputs, outputs, sizes, tolerance, cells)
    return write(target, *draft(proof, file_format.upper(), metadata))


def described(inputs: Sequence[Port], outputs: Sequence[str], meaning: Mapping[str, str]) -> dict[str, str]:
    """Describe inputs and outputs as JSON: layout, colour and range of images; of others the meaning.

    Args:
        meaning: by names without their numbers: that of "latent" is the meaning of latent_0, latent_1 ...
    """
    image = {"layout": "NCHW", "colour": "Y" if inputs[0].shape[1] == 1 else "RGB", "range": [0, 1]}

    def say(name: str) -> dict[str, Any]:
        is_image = name.endswith("_image")
        return {"name": name, **(image if is_image else {"meaning": meaning.get(re.sub(r"_\d+$", "", name), "")})}

    names = {"inputs": [port.name for port in inputs], "outputs": outputs}
    return {kind: json.dumps([say(name) for name in found]) for kind, found in names.items()}


def export_weights(weights: ModelWeights, options: Any) -> Path:
    """Write a trained network's weights by the authors' names, as .safetensors; log what was written.

    The file is read back into a new network, which must have the same parameters bit for bit.

    Args:
        weights: of the model.
        options: of its export.py.

    Raises:
        ExportError: the file does not give the network back.
        UserError: as `ModelWeights.load_network`, or a place that cannot be written.
    """
    target = place_for(options.file_name, "SAFETENSORS")
    network, saved, source = weights.load_network(options)
    arrays = {name: array.astype(np.float32) for name, array in weights.to_official(network).items()}
    meta = {**saved.meta, **weights.describe(network.hyper, {}), "source": source, "names": "official"}
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        file = Path(folder) / "weights.safetensors"
        save(file, Checkpoint(arrays, meta))
        again = weights.read(str(file))
        built = weights.build(weights.hyper_of(again, str(file), options))
        weights.put(built, again, str(file))
        if built.hyper != network.hyper or digest(weights_of(built)) != digest(weights_of(network)):
            raise ExportError(f"{target}: read back, the weights are not the network's; nothing was written")
        return write(target, file.read_bytes(), f"{len(arrays)} arrays, read back and compared bit for bit")


class Graph(NamedTuple):
    """One of a network's graphs, as `export` and `common.export.make_engine` take it."""

    form: "nn.Cell"
    inputs: list[Port]
    outputs: list[str]
    sizes: list[dict[str, int]]


def export_graphs(
    graphs: Iterable[tuple[str, Graph]],
    file_name: str,
    file_format: str,
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
    meaning: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Export each of a network's graphs to a file of its own, `irn_x4_upscale.onnx`; the paths that were written.

    Args:
        graphs: with their names, which go into the file's name and, as "graph", into the metadata.
        file_name: with the ending of the format, or without.
        metadata: model, scale, digest ...
        meaning: see `described`.

    Raises:
        ExportError, UserError: as `export`.
    """
    ending = f".{file_format.lower()}"
    stem = file_name[: -len(ending)] if file_name.lower().endswith(ending) else file_name
    for name, (form, inputs, outputs, sizes) in graphs:
        said = {"model": metadata["model"], "graph": name, **metadata}
        path = f"{stem}_{name}"
        kept = {"sizes": sizes, "tolerance": tolerance, "metadata": said, "meaning": meaning}
        yield export(form, inputs, outputs, path, file_format, **kept)


def with_suffix(path: str | Path, file_format: str) -> Path:
    """`wdsr` becomes `wdsr.mindir`, `wdsr_v1.5` becomes `wdsr_v1.5.mindir`, `wdsr.mindir` stays."""
    path, suffix = Path(path), f".{file_format.lower()}"
    return path if path.suffix.lower() == suffix else path.with_name(path.name + suffix)


def place_for(path: str | Path, file_format: str) -> Path:
    """Where the file goes, tried before anything is computed."""
    target = with_suffix(path, file_format)
    if target.is_dir():
        raise UserError(f"cannot write {target}: it is a folder, a file name was expected")
    make_writable(target.parent)
    return target


def write(target: Path, data: bytes, report: str) -> Path:
    """Put a proven file in its place; log the phrase that says what was compared."""
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    log.info("%s: %s", target, report)
    return target


def draft(proof: Proof, file_format: str, metadata: Mapping[str, str]) -> tuple[bytes, str]:
    """The proven file's content and a phrase that says what was compared.

    Raises:
        ExportError: it cannot be made, or the temporary folder not be written.
    """
    drafted = {"MINDIR": _draft_mindir, "ONNX": _draft_onnx, "AIR": _draft_air}[file_format]
    try:
        with tempfile.TemporaryDirectory(prefix="export-") as folder, _as_inference(proof.network):
            file = Path(folder) / f"network.{file_format.lower()}"
            report = drafted(proof, file, metadata)
            return file.read_bytes(), report
    except OSError as error:  # MindSpore writes nothing, and says nothing, on a full disk
        raise ExportError(
            f"the export cannot be written to the temporary folder ({error.strerror}): is it full? TMPDIR names another"
        ) from None


def _draft_mindir(proof: Proof, file: Path, metadata: Mapping[str, str]) -> str:
    from mindspore import Tensor, load, nn

    def load_again() -> Run:
        loaded = nn.GraphCell(load(str(file)))
        return lambda arrays: as_arrays(loaded(*map(Tensor, arrays)))

    inputs = [free_tensor(port) for port in proof.inputs]

    def say(model: Any) -> None:
        if hasattr(model.user_info, "update"):
            model.user_info.update(metadata)
        else:  # MindSpore 2.7
            for key, value in metadata.items():
                model.user_info.add(key=key, value=value)

    _ms_export(proof.network, inputs, file, "MINDIR", custom_func=say)
    return proof.compare(load_again, proof.trials())


def _draft_onnx(proof: Proof, file: Path, metadata: Mapping[str, str]) -> str:
    onnx_file.require("onnx", "an ONNX file")
    from common.export import onnx_writer

    model = onnx_writer.write(proof.network, proof.inputs, proof.outputs, proof.cells)
    onnx_file.stamp(model, metadata)
    data = model.SerializeToString()
    file.write_bytes(data)
    if onnx_file.optional("onnxruntime") is None:
        log.warning("onnxruntime is not installed, so the ONNX file was not run: %s", onnx_file.INSTALL)
        return "ONNX, not run and not compared"

    def load_again() -> Run:
        onnx_file.require("onnx", "an ONNX file").checker.check_model(data, full_check=True)
        session = onnx_file.open_session(data)
        names = [port.name for port in proof.inputs]
        return lambda arrays: session.run(list(proof.outputs), dict(zip(names, arrays, strict=True)))

    return proof.compare(load_again, proof.trials())


def _draft_air(proof: Proof, file: Path, metadata: Mapping[str, str]) -> str:
    from mindspore import Tensor, get_context

    device = get_context("device_target")
    if device != "Ascend":
        raise UserError(
            f"AIR is written only where MindSpore has an Ascend backend; this one offers {device}: use MINDIR or ONNX"
        )
    _ms_export(proof.network, [Tensor(array) for array in proof.random_inputs(0)], file, "AIR")
    return f"AIR for the fixed sizes {dict(proof.sizes[0])}, not compared: MindSpore cannot load AIR"


def _ms_export(network: "nn.Cell", inputs: Sequence[Any], file: Path, file_format: str, **options: Any) -> None:
    """MindSpore's exporter. It takes no path with spaces and sets the folder's mode to 0700, so only drafts go here."""
    import mindspore as ms

    try:
        ms.export(network, *inputs, file_name=str(file), file_format=file_format, **options)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"MindSpore cannot write this network as {file_format}: {first_line(error)}") from error


@contextlib.contextmanager
def _as_inference(network: "nn.Cell") -> Iterator[None]:
    """Inference mode while the block runs. A failed ms.export leaves `jit_syntax_level` changed; it is put back too."""
    from mindspore import get_context, set_context

    training, level = network.training, get_context("jit_syntax_level")
    network.set_train(False)
    try:
        yield
    finally:
        network.set_train(training)
        set_context(jit_syntax_level=level)
