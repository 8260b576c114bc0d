"""The commands of infer.py that work on latents: pictures into them, back, and from one sample to another."""

import logging
from pathlib import Path

import numpy as np

from common import UserError, images
from common.evaluation import Job, Results, progress_of
from common.export import Progress, pad_to_multiple
from common.images import grid, imresize

from ..model.SRFlowNet import Hyper
from . import latent_file
from .latent_file import Latents
from .sampling import Sampler, slerp
from .use_options import DecodeConfig, EncodeConfig, InterpolateConfig

log = logging.getLogger(__name__)


def encode(job: Job, results: Results, sampler: Sampler, options: EncodeConfig) -> None:
    """HR file -> latents and, in the log, the likelihood. Transparency is not kept.

    Raises:
        UserError: the LR picture is missing or does not fit.
    """
    target = results.reserve(job, f"{job.source.stem}.npz")
    picture, alpha, notes, icc, _ = images.read_picture(job.source)
    said = [*notes, *(["transparency is not kept"] if alpha is not None else [])]
    said += ["ICC profile is not kept"] if icc else []
    if options.lr:
        hr, lr = with_lr(job.source, picture, find_lr(options.lr, job, sampler.hyper.scale), sampler.hyper)
        said += ["cut to the LR picture"] if hr.shape[:2] < picture.shape[:2] else []
    else:
        hr, lr = with_bicubic(picture, sampler.hyper)
        said += ["LR picture made by bicubic"]
    found = sampler.encode(hr, lr, progress_of(job.source))
    height, width = (min(sides) for sides in zip(hr.shape[:2], picture.shape[:2], strict=True))
    latent_file.write(target, Latents(found.latents, lr, height, width, sampler.trained.digest))
    deviation = np.concatenate([part.ravel() for part in found.latents]).std(dtype=np.float64)
    said += [f"NLL {found.nll:.3f} bits per pixel", f"latents of deviation {deviation:.3f}"]
    log.info("%s %dx%d -> %s (%s)", job.source, *picture.shape[1::-1], target, "; ".join(said))


def decode(job: Job, results: Results, sampler: Sampler, options: DecodeConfig) -> None:
    """Latents -> the picture that they are of."""
    target = results.reserve(job, result_name(job.source.stem, options, sampler.hyper))
    latents = read_latents(job.source, sampler)
    picture = picture_of(latents, latents.parts, sampler, progress_of(job.source))
    images.write_picture(target, picture)
    log.info("%s -> %s %dx%d", job.source, target, *picture.shape[1::-1])


def interpolate(one: Job, other: Job, results: Results, sampler: Sampler, options: InterpolateConfig) -> None:
    """Two files of latents -> pictures from the one to the other, and a row of them.

    Raises:
        UserError: they are not of one LR picture.
    """
    stem = f"{one.source.stem}_to_{other.source.stem}"
    names = [result_name(stem, options, sampler.hyper, f"_{number}") for number in range(1, options.steps + 1)]
    targets = [results.reserve(one, name) for name in names]
    row_target = results.reserve(one, f"{stem}_row.png")
    a, b = (read_latents(job.source, sampler) for job in (one, other))
    if not np.array_equal(a.lr, b.lr) or (a.height, a.width) != (b.height, b.width):
        raise UserError(f"{one.source} and {other.source} are not of the same LR picture: nothing lies between them")
    pictures = []
    for number, target in enumerate(targets):
        parts = slerp(a.parts, b.parts, number / (options.steps - 1))
        pictures.append(picture_of(a, parts, sampler, progress_of(target)))
        images.write_picture(target, pictures[-1])
        log.info("%s %dx%d", target, *pictures[-1].shape[1::-1])
    images.write_picture(row_target, grid(pictures, columns=len(pictures)))


# ---------------------------------------------------------------------------------------------------------------- parts


def read_latents(path: Path, sampler: Sampler) -> Latents:
    """Of a file; a line of the log when other weights made them."""
    latents = latent_file.read(path, sampler.hyper)
    if latents.digest != sampler.trained.digest:
        log.warning("%s was made by other weights: these make another picture of it", path)
    return latents


def picture_of(latents: Latents, parts: list[np.ndarray], sampler: Sampler, progress: Progress) -> np.ndarray:
    """What other latents of the same LR picture give, of the original size."""
    result = sampler.decode(latents.lr, parts, progress)[: latents.height, : latents.width]
    return images.Picture(latents.lr, None, ()).colored_alike(result)


def with_bicubic(hr: np.ndarray, hyper: Hyper) -> tuple[np.ndarray, np.ndarray]:
    """HR, continued by reflection as far as the network needs, and its bicubic LR picture."""
    hr = pad_to_multiple(hr, hyper.scale * hyper.lr_multiple)
    return hr, imresize(hr, 1 / hyper.scale)


def with_lr(path: Path, hr: np.ndarray, lr_path: Path, hyper: Hyper) -> tuple[np.ndarray, np.ndarray]:
    """HR, cut or continued by reflection to the size of its LR picture times the scale, and that LR picture.

    Raises:
        UserError: the LR picture is not as large as HR over the scale, rounded up or down.
    """
    lr = images.read_picture(lr_path).rgb
    height, width = (side * hyper.scale for side in lr.shape[:2])
    if not all(abs(found - wanted) < hyper.scale for found, wanted in zip(hr.shape[:2], (height, width), strict=True)):
        raise UserError(
            f"{lr_path} is {lr.shape[1]}x{lr.shape[0]}: x{hyper.scale} of it is {width}x{height}, but {path} is "
            f"{hr.shape[1]}x{hr.shape[0]}"
        )
    return pad_to_multiple(hr[:height, :width], hyper.scale)[:height, :width], lr


def find_lr(given: str, job: Job, scale: int) -> Path:
    """The LR picture of an HR picture: the file itself, or that of the same name in a folder, with x4 behind or not.

    Raises:
        UserError: there is none, or more than one.
    """
    root = Path(given)
    if not root.is_dir():
        return root
    names = {job.source.stem, f"{job.source.stem}x{scale}"}
    found = [path for path in images.find_pictures(root) if path.stem in names]
    if len(found) != 1:
        raise UserError(f"{root} holds {len(found)} pictures named {' or '.join(sorted(names))}: expected one")
    return found[0]


def result_name(stem: str, options: DecodeConfig | InterpolateConfig, hyper: Hyper, number: str = "") -> str:
    """`baby` -> `baby_x4.png`."""
    return f"{stem}{options.suffix.replace('{scale}', str(hyper.scale))}{number}.{options.format}"
