"""Rescale pictures with IRN: a file or a folder, of any size, gray, RGBA and 16 bit included. Two separate commands:

    python IRN/infer.py downscale PICTURES --output small               # HR -> LR, 8-bit PNG; the demo weights, x2
    python IRN/infer.py upscale small --output restored                 # LR -> HR, with a random z
    python IRN/infer.py downscale holiday/ --scale 4 --ckpt_path best.ckpt --output small

Up-scaling undoes down-scaling by the same weights. It is not super-resolution: an LR picture that was made in another
way, or went through JPEG, comes back poorly.
"""

import logging
import sys
from collections.abc import Sequence

import numpy as np

from common import UserError, config, images, runtime
from common.config import did_you_mean
from common.evaluation import Job, Results, do_all, find_jobs, log_result, progress_of, result_names
from common.export import pad_to_multiple
from common.images import imresize, reduce_to_8_bit
from IRN.src.options.options import DownscaleConfig, UpscaleConfig
from IRN.src.pictures import (
    Origin,
    Rescaler,
    check_format,
    digest_of,
    doubt,
    latent,
    make_rescaler,
    original_size,
    parse_size,
    read_origin,
    write_lr,
)
from IRN.src.utils import util

COMMANDS = {"downscale": DownscaleConfig, "upscale": UpscaleConfig}
log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Rescale; returns the exit code: 0, or 2 when a picture could not be read."""
    runtime.start_log()
    command, inputs, options = parse(list(sys.argv[1:] if argv is None else argv))
    jobs = find_jobs(inputs, options.output)
    results = Results(options.output, jobs)
    runtime.start(options.device_target)

    network, saved, source = util.load_network(options)
    rescaler = make_rescaler(network, saved, source, options, [command])
    digest = digest_of(network.hyper, saved)
    log.info("%d picture(s), x%d, %s", len(jobs), network.hyper.scale, rescaler.name)
    work = downscale if command == "downscale" else upscale
    do_all(jobs, lambda job: work(job, results, rescaler, digest, options), options.output, f"{command}d")
    return 0


def parse(words: list[str]) -> tuple[str, list[str], DownscaleConfig | UpscaleConfig]:
    """(command, pictures, options) of a command line.

    Raises:
        UserError: another command, no pictures, or options that cannot be taken.
    """
    command = words.pop(0) if words else ""
    if command in ("-h", "--help"):
        lines = [f"infer.py {name} PICTURES ... [--option VALUE ...]" for name in COMMANDS]
        told = "The options: infer.py downscale --help, infer.py upscale --help"
        print(f"usage: {lines[0]}\n       {lines[1]}\n\n{__doc__}\n{told}")  # noqa: T201
        sys.exit(0)
    if command not in COMMANDS:
        usage = "type infer.py downscale PICTURES or infer.py upscale PICTURES"
        raise UserError(f"{usage}, not {command!r}{did_you_mean(command, COMMANDS)}" if command else usage)
    inputs, options = config.parse_inputs(
        COMMANDS[command], words, description=__doc__, usage=f"{command} PICTURES ..."
    )
    if not inputs:
        raise UserError(f"which pictures? type infer.py {command} FILE or infer.py {command} FOLDER")
    if isinstance(options, DownscaleConfig):
        check_format(options.format)
    elif options.size:
        parse_size(options.size)
    return command, inputs, options


def downscale(job: Job, results: Results, rescaler: Rescaler, digest: str, options: DownscaleConfig) -> None:
    """HR file -> LR file; alpha is reduced by bicubic; sides that are no multiples of the scale are continued."""
    scale = rescaler.hyper.scale
    (name,) = result_names(job.source, options.suffix, options.format, scale)
    target = results.reserve(job, name)
    rgb, alpha, notes, icc, _ = images.read_picture(job.source)
    height, width = rgb.shape[:2]
    if min(height, width) < scale:
        raise UserError(f"{job.source} is {width}x{height}: x{scale} takes pictures of {scale}x{scale} or more")
    padded = pad_to_multiple(rgb, scale)
    lr = rescaler.downscale(padded, progress_of(job.source))
    gray = bool((rgb == rgb[..., :1]).all())  # made gray here, LR would lose the detail that its colours hold: 10 dB
    said = [*notes, *(["written with 8"] if rgb.dtype == np.uint16 else [])]
    if padded is not rgb:
        undone = "upscale cuts it off" if target.suffix == ".png" else f"upscale --size {width}x{height} cuts it off"
        said.append(f"continued by reflection to {padded.shape[1]}x{padded.shape[0]}, {undone}")
    if gray:
        said.append("its colours hold detail, upscale makes it gray again")
    if alpha is not None:
        alpha = imresize(pad_to_multiple(alpha, scale), 1 / scale)
        alpha = reduce_to_8_bit(alpha) if alpha.dtype == np.uint16 else alpha
        said.append("alpha reduced by bicubic")
    write_lr(target, lr, alpha, Origin(height, width, scale, digest, gray), icc)
    log_result(job.source, rgb, target, lr, said)


def upscale(job: Job, results: Results, rescaler: Rescaler, digest: str, options: UpscaleConfig) -> None:
    """LR file -> HR files, one for each z, of the size that the HR picture had; alpha is enlarged by bicubic."""
    hyper = rescaler.hyper
    names = result_names(job.source, options.suffix, options.format, hyper.scale, options.samples)
    targets = [results.reserve(job, name) for name in names]
    lr, alpha, notes, icc, text = picture = images.read_picture(job.source)
    origin = read_origin(text)
    height, width = original_size(job.source, lr.shape[:2], hyper.scale, origin, options.size)
    images.check_writable(targets[0], height, width)
    if doubtful := doubt(origin, lr.shape[:2], hyper.scale, digest):
        log.warning("%s %s", job.source, doubtful)
    said = [*notes, *(["alpha enlarged by bicubic"] if alpha is not None else [])]
    if (height, width) != (lr.shape[0] * hyper.scale, lr.shape[1] * hyper.scale):
        said.append("cut to the original size")
    elif origin is None and not options.size:
        said.append("all of it, since the original size is not known: --size gives it")
    if origin and origin.gray:
        picture = picture._replace(rgb=lr[..., [0, 0, 0]])
    if alpha is not None:
        alpha = imresize(alpha, hyper.scale)[:height, :width]
    for draw, target in enumerate(targets):
        z = latent(options.seed, (job.inside / job.source.name).as_posix(), draw, hyper, lr, options.gaussian_scale)
        hr = picture.colored_alike(rescaler.upscale(lr, z, progress_of(job.source))[:height, :width])
        images.write_picture(target, hr, alpha, icc)
        log_result(job.source, lr, target, hr, said)


if __name__ == "__main__":
    runtime.run_main(main)
