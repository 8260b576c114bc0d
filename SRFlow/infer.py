"""Enlarge pictures with SRFlow: a file or a folder, of any size, gray, RGBA and 16 bit included.

    python SRFlow/infer.py PICTURES --samples 4 --seed 1 --output results               # the demo weights, x4
    python SRFlow/infer.py encode HR.png --lr LR.png --output latents                   # HR -> latents (.npz)
    python SRFlow/infer.py decode latents/HR.npz --output again                         # and back
    python SRFlow/infer.py interpolate a.npz b.npz --steps 5 --output between           # two samples of one LR picture

Each command has its own options: `infer.py encode --help` lists those of `encode`, `infer.py --help` of enlarging.

A sample is drawn by its seed and the picture's name: the same in tiles and whole, alone and among others. In tiles its
pictures differ a little near the seams, since the network sees further than tiles overlap.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import UserError, config, images, runtime
from common.config import InferOptions, did_you_mean
from common.evaluation import Job, Results, do_all, find_jobs, log_result, progress_of, result_names
from common.images import imresize
from SRFlow.src.model_utils.use_options import (
    HEAT,
    DecodeConfig,
    EncodeConfig,
    EnlargeConfig,
    InterpolateConfig,
)

if TYPE_CHECKING:
    from SRFlow.src.model_utils.sampling import Sampler

ENLARGE = "enlarge"  # what is done without a command
COMMANDS = {"encode": EncodeConfig, "decode": DecodeConfig, "interpolate": InterpolateConfig}
USAGE = "type infer.py PICTURES, infer.py encode HR, infer.py decode LATENTS or infer.py interpolate LATENTS LATENTS"
INPUTS = {"encode": "HR_PICTURES ...", "decode": "LATENTS ...", "interpolate": "LATENTS LATENTS"}  # of each command
log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked for; returns the exit code: 0, or 2 when a picture could not be read."""
    runtime.start_log()
    command, inputs, options = parse(list(sys.argv[1:] if argv is None else argv))
    if command in (ENLARGE, "encode"):
        jobs = find_jobs(inputs, options.output)
    else:
        jobs = [Job(path, Path()) for given in map(Path, inputs) for path in files_of_latents(given)]
    if command == "interpolate" and len(jobs) != 2:
        raise UserError(f"infer.py interpolate takes two files of latents, not {len(jobs)}")
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    from SRFlow.src.model_utils import latent_work
    from SRFlow.src.model_utils.sampling import Sampler
    from SRFlow.src.model_utils.trained import load_trained

    sampler = Sampler(load_trained(options), options.engine, options.tile)
    runtime.keep_interrupts()
    if command == "interpolate":
        latent_work.interpolate(*jobs, results, sampler, options)
        return 0
    work, done = {
        ENLARGE: (enlarge, "enlarged"),
        "encode": (latent_work.encode, "encoded"),
        "decode": (latent_work.decode, "decoded"),
    }[command]
    do_all(jobs, lambda job: work(job, results, sampler, options), options.output, done)
    return 0


def parse(words: list[str]) -> tuple[str, list[str], InferOptions]:
    """(command, what to work on, options) of a command line.

    Raises:
        UserError: nothing to work on, or options that cannot be taken.
    """
    command = words.pop(0) if words and words[0] in COMMANDS else ENLARGE
    usages = {name: f"{name} {inputs}" for name, inputs in INPUTS.items()}
    usage = usages.get(command) or "\n".join(["PICTURES ...", *usages.values()])
    inputs, options = config.parse_inputs(COMMANDS.get(command, EnlargeConfig), words, description=__doc__, usage=usage)
    if not inputs:
        raise UserError(f"on what? {USAGE}")
    if command == ENLARGE and not Path(inputs[0]).exists() and (hint := did_you_mean(inputs[0], COMMANDS)):
        raise UserError(f"there is no {inputs[0]}: {USAGE}{hint}")
    return command, inputs, options


def files_of_latents(path: Path) -> list[Path]:
    """The file, or those of a folder.

    Raises:
        UserError: a folder that has none.
    """
    if not path.is_dir():
        return [path]
    if not (found := sorted(path.glob("*.npz"))):
        raise UserError(f"{path} has no .npz: infer.py encode makes them")
    return found


def enlarge(job: Job, results: Results, sampler: "Sampler", options: EnlargeConfig) -> None:
    """LR file -> HR files, one for each sample, and a grid of several; alpha is enlarged by bicubic."""
    from common.images import grid
    from SRFlow.src.model_utils.latent_file import Latents, write

    scale, count = sampler.hyper.scale, options.samples
    names = result_names(job.source, options.suffix, options.format, scale, count)
    targets = [results.reserve(job, name) for name in names]
    (grid_name,) = result_names(job.source, f"{options.suffix}_samples", "png", scale)
    grid_target = results.reserve(job, grid_name) if count > 1 else None
    latent_targets = [results.reserve(job, f"{Path(name).stem}.npz") for name in names if options.save_latents]
    lr, alpha, notes, icc, _ = picture = images.read_picture(job.source)
    images.check_writable(targets[0], *(scale * side for side in lr.shape[:2]))
    heat = next(given for given in (options.heat, sampler.trained.heat, HEAT) if given is not None)
    said = [*notes, f"heat {heat:g}", *(["alpha enlarged by bicubic"] if alpha is not None else [])]
    if alpha is not None:
        alpha = imresize(alpha, scale)
    samples = []
    for number, target in enumerate(targets):
        latents = sampler.draw(lr, heat, options.seed, (job.inside / job.source.name).as_posix(), number)
        hr = picture.colored_alike(sampler.decode(lr, latents, progress_of(job.source)))
        images.write_picture(target, hr, alpha, icc)
        if options.save_latents:
            write(latent_targets[number], Latents(latents, lr, *hr.shape[:2], sampler.trained.digest))
        log_result(job.source, lr, target, hr, said)
        samples += [hr] if grid_target else []
    if grid_target:
        images.write_picture(grid_target, grid(samples))


if __name__ == "__main__":
    runtime.run_main(main)
