"""What infer.py does with a picture: samples of it, pictures between two samples, and a part of another in it."""

from collections.abc import Iterator

import numpy as np

from common import UserError, images
from common.evaluation import Job, Results, log_result, progress_of, result_names
from common.export import pad_to_multiple
from common.images import grid, imresize

from ..model.sampling import blend
from .sampling import Sampler
from .use_options import InferConfig


def work(job: Job, results: Results, sampler: Sampler, options: InferConfig) -> None:
    """A file -> its pictures, and a sheet of several; alpha is enlarged by bicubic, or kept where the size is.

    Raises:
        UserError: a picture cannot be read, or does not fit.
    """
    scale = sampler.hyper.scale
    suffix = options.suffix or ("_fused" if options.fuse else "_x{scale}")
    suffix += "_between" if options.interpolate else ""
    count = len(options.weight) if options.interpolate else options.samples
    names = result_names(job.source, suffix, options.format, scale, count)
    targets = [results.reserve(job, name) for name in names]
    several = "row" if options.interpolate else "samples"
    (sheet_name,) = result_names(job.source, f"{suffix}_{several}", "png", scale)
    sheet = results.reserve(job, sheet_name) if count > 1 else None
    rgb, alpha, notes, icc, _ = picture = images.read_picture(job.source)
    images.check_writable(targets[0], *(side * (1 if options.fuse else scale) for side in rgb.shape[:2]))
    if alpha is not None and not options.fuse:
        alpha, notes = imresize(alpha, scale), (*notes, "alpha enlarged by bicubic")
    name = (job.inside / job.source.name).as_posix()
    make = fuse if options.fuse else interpolate if options.interpolate else enlarge
    shown = []
    for target, hr in zip(targets, make(rgb, name, sampler, options), strict=True):
        hr = hr if options.fuse else picture.colored_alike(hr)
        images.write_picture(target, hr, alpha, icc)
        log_result(job.source, rgb, target, hr, notes)
        shown += [hr] if sheet else []
    if sheet:
        images.write_picture(sheet, grid(shown, columns=count if options.interpolate else 0))


def enlarge(lr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """The samples of an LR picture."""
    look, way = sampler.look_at(lr), options.way(sampler.hyper.timesteps)
    for number in range(options.samples):
        draw = look.noise(options.seed, name, number)
        yield look.picture(look.draw(draw, way, progress_of(name, "step")))


def interpolate(lr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """Pictures between the first two samples of an LR picture (the paper: "latent space interpolation").

    Both samples' residuals are brought to step t and mixed there, and the chain is run from there. The noise is the
    same for all weights, so that nothing else makes the pictures differ.
    """
    look, t, way = sampler.look_at(lr), options.step(sampler.hyper.timesteps), options.way(sampler.hyper.timesteps)
    schedule, progress = sampler.hyper.schedule(), progress_of(name, "step")
    ends = [look.draw(look.noise(options.seed, name, number), way, progress).clip(-1, 1) for number in (0, 1)]
    for weight in options.weight:
        draw = look.noise(options.seed, name, 2)
        x = blend(schedule, ends, (1 - weight, weight), t, draw)
        yield look.picture(look.chain(x, draw, way, t, progress))


def fuse(hr: np.ndarray, name: str, sampler: Sampler, options: InferConfig) -> Iterator[np.ndarray]:
    """An HR picture with a part of another in it (the paper: "content fusion").

    The part is put in its place, the residual of the result is brought to step t, and the chain is run from there under
    the LR picture that bicubic makes of the given one.

    Raises:
        UserError: the pictures or the mask are not of one size, or the box leaves them.
    """
    height, width = hr.shape[:2]
    part, share = images.read_picture(options.fuse).rgb, share_of(options, height, width)
    if part.shape != hr.shape:
        raise UserError(
            f"--fuse takes pictures of one size: {name} is {width}x{height}, {options.fuse} {size_of(part)}"
        )
    scale, t = sampler.hyper.scale, options.step(sampler.hyper.timesteps)
    way = options.way(sampler.hyper.timesteps)
    mixed = (1 - share) * images.to_float(hr) + share * images.to_float(part)
    hr, mixed = (pad_to_multiple(picture, scale * sampler.multiple) for picture in (hr, mixed))
    lr = imresize(hr, 1 / scale)
    look, progress = sampler.look_at(lr), progress_of(name, "step")
    residual = look.residual(mixed)
    for number in range(options.samples):
        draw = look.noise(options.seed, name, number)
        x = sampler.hyper.schedule().q_sample(residual, t, draw())
        result = look.picture(look.chain(x, draw, way, t, progress))[:height, :width]
        yield images.Picture(mixed, None, ()).colored_alike(result)


def share_of(options: InferConfig, height: int, width: int) -> np.ndarray:
    """(height, width, 1) float32: how much of each pixel is the other picture's, by --box or --mask.

    Raises:
        UserError: it does not fit.
    """
    if options.mask:
        mask = images.read_picture(options.mask).rgb
        if mask.shape[:2] != (height, width):
            raise UserError(
                f"{options.mask} is {size_of(mask)}: the mask must have the pictures' size, {width}x{height}"
            )
        return images.to_float(mask).mean(2, keepdims=True)
    top, left, rows, columns = options.box
    if top + rows > height or left + columns > width:
        raise UserError(f"--box {','.join(map(str, options.box))} leaves the picture of {width}x{height}")
    share = np.zeros((height, width, 1), np.float32)
    share[top : top + rows, left : left + columns] = 1
    return share


def size_of(picture: np.ndarray) -> str:
    """`640x480`."""
    return f"{picture.shape[1]}x{picture.shape[0]}"
