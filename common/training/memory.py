"""Estimate what a training step takes on CPU, before it is tried: the system kills a process without a word."""

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import mindspore as ms

from common import UserError
from common.config import TrainOptions
from common.runtime import Runtime, duration

# Measured with MindSpore 2.10 on two cores: peaks and first steps of small networks, and of those in the README.
PROCESS, TENSOR = 430 * 2**20, 1.2 * 2**20  # bytes: Python with MindSpore; each parameter in the graph
COPIES = {"WDSR": 1.4, "IRN": 0.6, "SRFlow": 1.0, "SRDiff": 2.0, "CSNLN": 2.4}  # of the columns, in work spaces
COPIES_LOW = {"WDSR": 2.8, "IRN": 1.0, "SRFlow": 0.6, "CSNLN": 2.6}  # the same, block by block
TABLES = 14  # copies of an attention table
WEIGHTS = 5  # copies of the weights, with moments and gradients: in a graph they are part of TENSOR
SMALL = 3 * 2**30  # bytes: a graph that needs less has shorter steps than blocks, up to half for small networks
COMPILING, COMPILING_LOW = 0.1, 0.3  # seconds for each parameter in the graph, or in the blocks


class Work(NamedTuple):
    """Convolutions and stored values of one worker's step, or of the graphs of its blocks, for the whole batch."""

    columns: float  # values that convolutions wider than 1x1 read, k * k times each
    tensors: float  # parameters, each as often as it is used
    tables: float = 0.0  # values of attention tables
    kept: float = 0.0  # values between the blocks; 0 for one graph
    weights: float = 0.0  # values of all blocks' parameters


def is_low(model: str, work: Callable[[bool], Work], options: TrainOptions, here: Runtime) -> bool:
    """Return whether to train block by block: as --memory says, else on CPU where one graph is not small.

    `work`: whether block by block -> convolutions and values of a step.
    """
    if options.memory == "low" and options.amp_level != "O0":
        raise UserError(f"--memory low trains in float32, without --amp_level {options.amp_level}")
    if options.memory != "auto":
        return options.memory == "low"
    return here.device == "CPU" and sum(needed(model, work(False))) > SMALL


def needed(model: str, work: Work) -> tuple[float, float]:
    """Return the bytes that a step takes whatever the batch is, and those of its batch."""
    copies = COPIES_LOW if work.kept else COPIES
    fixed = PROCESS + TENSOR * work.tensors + 4 * WEIGHTS * work.weights
    return fixed, 4 * (copies[model] * work.columns + TABLES * work.tables + work.kept)


def of_convolutions(
    parameters: Iterable[ms.Parameter],
    area: Callable[[str], float],
    uses: Callable[[str], float] = lambda name: 1,
    **others: float,
) -> Work:
    """Return the work of convolutions: by a parameter's name, `area` in pixels of a batch, and `uses` in a step."""
    shapes = {parameter.name: parameter.shape for parameter in parameters}
    wide = {name: math.prod(shape[1:]) for name, shape in shapes.items() if len(shape) == 4 and shape[-1] > 1}
    columns = sum(area(name) * uses(name) * values for name, values in wide.items())
    return Work(columns, sum(map(uses, shapes)), **others)


def checked(model: str, work: Work, here: Runtime, options: TrainOptions, ways: str) -> str:
    """Return for the log whether training is block by block, and on CPU what a step is estimated to take.

    `ways`: what to type besides for a smaller step, as "--model wdsr_b_small".
    """
    form = f"; memory {'low' if work.kept else 'full'}"
    if here.device != "CPU":
        return form
    batch_size, (fixed, batch) = options.batch_size, needed(model, work)
    workers = here.world_size if "NODE_RANK" not in os.environ else 1  # on this machine
    need, room = fixed + batch, free() / workers
    if need > room and not options.no_memory_check:
        fits = int((room - fixed) / (batch / batch_size))
        smaller = f"--batch_size {fits} (not {batch_size})" if fits > 0 else "a smaller --patch_size"
        raise UserError(
            f"a step of {batch_size} patches needs about {need / 1e9:.1f} GB of memory on CPU, and "
            f"{room / 1e9:.1f} GB are free{' for each worker' if workers > 1 else ''}: type {smaller}, or {ways} "
            "(--no_memory_check tries it all the same)"
        )
    compiling = duration((COMPILING_LOW if work.kept else COMPILING) * work.tensors)
    return f"{form}: a step needs about {need / 1e9:.1f} GB, its compilation {compiling} on two cores"


def free() -> float:
    """Return the bytes that this process can have, by the system and by the limit of its control group."""
    found, limits = [math.inf], []
    with contextlib.suppress(OSError):  # where there is no Linux
        memory = re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())
        found += [1024 * int(memory[1])] if memory else []
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kind, path = line.split(":", 2)
            place = "memory/{}/memory.limit_in_bytes" if kind == "memory" else "{}/memory.max"
            limits += [place.format(path), place.format("")]  # a container sees its own group as the root
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # "max": none
            found.append(int(Path(f"/sys/fs/cgroup/{limit}").read_text()))
    return min(found)
