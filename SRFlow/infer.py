"""Upscale images with SRFlow: a file or a folder, of any size, gray, RGBA and 16 bit included.

    python SRFlow/infer.py IMAGES --samples 4 --seed 1 --output results               # the demo weights, x4
    python SRFlow/infer.py encode HR.png --lr LR.png --output latents                   # HR -> latents (.npz)
    python SRFlow/infer.py decode latents/HR.npz --output again                         # and back
    python SRFlow/infer.py interpolate a.npz b.npz --steps 5 --output between           # two samples of one LR image

Each command has its own options: `infer.py encode --help` lists those of `encode`, `infer.py --help` of upscaling.

A sample is drawn by its seed and the image's name: the same in tiles and whole, alone and among others. In tiles its
images differ a little near the seams, since the network sees further than tiles overlap.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from common import UserError, config, runtime
from common.config import InferOptions, did_you_mean
from common.evaluation import Job, Results, do_all, find_jobs
from SRFlow.src.model_utils.options import DecodeConfig, EncodeConfig, InterpolateConfig, UpscaleConfig

COMMANDS = {"encode": EncodeConfig, "decode": DecodeConfig, "interpolate": InterpolateConfig}
USAGE = "type infer.py IMAGES, infer.py encode HR, infer.py decode LATENTS or infer.py interpolate LATENTS LATENTS"
INPUTS = {"encode": "HR_IMAGES ...", "decode": "LATENTS ...", "interpolate": "LATENTS LATENTS"}  # of each command
log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    command, inputs, options = parse(list(sys.argv[1:] if argv is None else argv))
    if command in ("", "encode"):
        jobs = find_jobs(inputs, options.output)
    else:
        jobs = [Job(path, Path()) for given in map(Path, inputs) for path in files_of_latents(given)]
    if command == "interpolate" and len(jobs) != 2:
        raise UserError(f"infer.py interpolate takes two files of latents, not {len(jobs)}")
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    from SRFlow.src.model_utils import inference
    from SRFlow.src.model_utils.util import load_trained

    sampler = inference.Sampler(load_trained(options), options.runner, options.tile, options.tile_batch)
    runtime.keep_interrupts()
    if command == "interpolate":
        inference.interpolate(*jobs, results, sampler, options)
        return 0
    work, done = {
        "": (inference.upscale, "upscaled"),
        "encode": (inference.encode, "encoded"),
        "decode": (inference.decode, "decoded"),
    }[command]
    do_all(jobs, lambda job: work(job, results, sampler, options), options.output, done)
    return 0


def parse(words: list[str]) -> tuple[str, list[str], InferOptions]:
    command = words.pop(0) if words and words[0] in COMMANDS else ""
    usages = {name: f"{name} {inputs}" for name, inputs in INPUTS.items()}
    usage = usages.get(command) or "\n".join(["IMAGES ...", *usages.values()])
    inputs, options = config.parse_inputs(COMMANDS.get(command, UpscaleConfig), words, description=__doc__, usage=usage)
    if not inputs:
        raise UserError(f"on what? {USAGE}")
    if not command and not Path(inputs[0]).exists() and (hint := did_you_mean(inputs[0], COMMANDS)):
        raise UserError(f"there is no {inputs[0]}: {USAGE}{hint}")
    return command, inputs, options


def files_of_latents(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if not (found := sorted(path.glob("*.npz"))):
        raise UserError(f"{path} has no .npz: infer.py encode makes them")
    return found


if __name__ == "__main__":
    runtime.run_main(main)
