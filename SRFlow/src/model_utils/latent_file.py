"""Latents in a file (.npz), with the LR picture that they belong to and what is needed to make the picture again."""

import json
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import UserError
from common.atomic import replacing

from ..model.SRFlowNet import Hyper

KIND = "SRFlow latents"
ABOUT, LR = "about", "lr_image"


class Latents(NamedTuple):
    """One picture as the flow sees it.

    Attributes:
        parts: see `Hyper.latent_shapes`, each (1, C, h, w) float32.
        lr: (H, W, 3) uint8 or uint16.
        height, width: of the picture; of what the latents give, the rest is cut off.
        digest: of the network, see `trained.Trained`.
    """

    parts: list[np.ndarray]
    lr: np.ndarray
    height: int
    width: int
    digest: str


def write(path: Path, latents: Latents) -> None:
    """Write a file that `np.load` opens: `latent_0` ..., `lr_image`, and JSON.

    Raises:
        UserError: it cannot be written.
    """
    about = {"kind": KIND, "height": latents.height, "width": latents.width, "digest": latents.digest}
    arrays = {f"latent_{number}": part for number, part in enumerate(latents.parts)}
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, **{LR: latents.lr, ABOUT: np.array(json.dumps(about))})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def read(path: Path, hyper: Hyper) -> Latents:
    """What `write` wrote, for this network.

    Raises:
        UserError: no such file, damaged, something else, or another network's latents.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
        about = json.loads(str(arrays.pop(ABOUT)))
        lr, found = arrays.pop(LR), [arrays[f"latent_{number}"].astype(np.float32) for number in range(len(arrays))]
        if about["kind"] != KIND or lr.dtype not in (np.uint8, np.uint16) or lr.ndim != 3 or lr.shape[2] != 3:
            raise ValueError(f"its {LR} is {lr.shape} {lr.dtype}")
        latents = Latents(found, lr, int(about["height"]), int(about["width"]), str(about["digest"]))
    except FileNotFoundError:
        raise UserError(f"expected latents (.npz), but there is no {path}") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        AttributeError,
        RuntimeError,
        MemoryError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UserError(f"{path} is damaged, or no file that infer.py encode wrote: {error}") from None
    if not all(np.isfinite(part).all() for part in found):
        raise UserError(f"{path} holds values that are no numbers")
    sides = [-(-length // hyper.lr_multiple) * hyper.lr_multiple for length in lr.shape[:2]]
    wanted = [(1, *shape) for shape in hyper.latent_shapes(*sides)]
    if [part.shape for part in found] != wanted:
        raise UserError(f"{path} holds latents {[part.shape for part in found]}, this network takes {wanted}")
    if not (0 < latents.height <= sides[0] * hyper.scale and 0 < latents.width <= sides[1] * hyper.scale):
        raise UserError(f"{path} is of a picture of {latents.width}x{latents.height}, larger than its latents give")
    return latents
