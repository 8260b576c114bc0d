"""Rescale images with IRN: a file or a folder, of any size, gray, RGBA and 16 bit included. Two separate commands:

    python IRN/infer.py downscale IMAGES --output small               # HR -> LR, 8-bit PNG; the demo weights, x2
    python IRN/infer.py upscale small --output restored                 # LR -> HR, with a random z
    python IRN/infer.py downscale holiday/ --scale 4 --ckpt_path best.ckpt --output small

Up-scaling undoes down-scaling by the same weights. It is not super-resolution: an LR image that was made in another
way, or went through JPEG, comes back poorly.
"""

import logging
import sys
from collections.abc import Sequence

from common import UserError, config, runtime
from common.config import did_you_mean
from common.evaluation import Results, do_all, find_jobs
from IRN.src.options.options import DownscaleConfig, UpscaleConfig

COMMANDS = {"downscale": DownscaleConfig, "upscale": UpscaleConfig}
log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    command, inputs, options = parse(list(sys.argv[1:] if argv is None else argv))
    jobs = find_jobs(inputs, options.output)
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    from IRN.src import inference
    from IRN.src.utils import util

    rescaler = inference.make_rescaler(*util.load_network(options), options, [command])
    log.info("%d image(s), x%d, %s", len(jobs), rescaler.hyper.scale, rescaler.name)
    work = inference.downscale if command == "downscale" else inference.upscale
    do_all(jobs, lambda job: work(job, results, rescaler, options), options.output, f"{command}d")
    return 0


def parse(words: list[str]) -> tuple[str, list[str], DownscaleConfig | UpscaleConfig]:
    command = words.pop(0) if words else ""
    if command in ("-h", "--help"):
        lines = [f"infer.py {name} IMAGES ... [--option VALUE ...]" for name in COMMANDS]
        told = "The options: infer.py downscale --help, infer.py upscale --help"
        print(f"usage: {lines[0]}\n       {lines[1]}\n\n{__doc__}\n{told}")  # noqa: T201
        sys.exit(0)
    if command not in COMMANDS:
        usage = "type infer.py downscale IMAGES or infer.py upscale IMAGES"
        raise UserError(f"{usage}, not {command!r}{did_you_mean(command, COMMANDS)}" if command else usage)
    inputs, options = config.parse_inputs(COMMANDS[command], words, description=__doc__, usage=f"{command} IMAGES ...")
    if not inputs:
        raise UserError(f"which images? type infer.py {command} FILE or infer.py {command} FOLDER")
    return command, inputs, options


if __name__ == "__main__":
    runtime.run_main(main)
