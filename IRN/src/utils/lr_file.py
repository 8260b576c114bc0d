"""The file between the two directions: an 8-bit LR picture that says what it was made of and by which weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from common import UserError
from common.atomic import replacing
from common.config import counting_number
from common.images import write_picture

SIZE, SCALE, WEIGHTS, GRAY = "irn_original_size", "irn_scale", "irn_weights", "irn_gray"  # keys of a PNG's text
DIGITS = 16  # of the weights' digest


class Origin(NamedTuple):
    """Where an LR picture comes from.

    Attributes:
        height, width: of the HR picture, before it was continued to multiples of the scale.
        scale: HR over LR.
        weights: digest of the network, see `rescaling.digest_of`; its first 16 digits are kept.
        gray: whether the HR image has no colour, while the LR image's colours hold its detail.
    """

    height: int
    width: int
    scale: int
    weights: str
    gray: bool = False


def check_format(word: str) -> str:
    """The ending of LR files, with its point.

    Raises:
        UserError: a format that changes values, or is not known.
    """
    word = word.lower().lstrip(".")
    if word in ("jpg", "jpeg"):
        raise UserError(
            "an LR picture is not written as JPEG, which changes the values that up-scaling needs: take png"
        )
    if word not in ("png", "bmp"):
        raise UserError(f"--format of LR pictures must be png or bmp, not {word!r}")
    return f".{word}"


def write_lr(path: Path, lr: np.ndarray, alpha: np.ndarray | None, origin: Origin, icc: bytes | None = None) -> None:
    """Write an LR picture (H, W, 3) uint8 and its transparency (H, W); a PNG says where it comes from.

    Args:
        icc: ICC profile of the colours.

    Raises:
        UserError: the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        write_picture(path, lr, alpha, icc)
        return
    text = PngImagePlugin.PngInfo()
    text.add_text(SIZE, f"{origin.width}x{origin.height}")
    text.add_text(SCALE, str(origin.scale))
    text.add_text(WEIGHTS, origin.weights[:DIGITS])
    if origin.gray:
        text.add_text(GRAY, "yes")
    picture = Image.fromarray(lr if alpha is None else np.dstack([lr, alpha]))
    try:
        with replacing(path) as temporary:
            picture.save(temporary, format="PNG", pnginfo=text, icc_profile=icc)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def read_origin(text: Mapping[str, str]) -> Origin | None:
    """What the texts of an image say of its origin; None when they say nothing."""
    try:
        width, height = parse_size(text[SIZE])
        return Origin(height, width, int(text[SCALE]), text[WEIGHTS], GRAY in text)
    except (KeyError, ValueError, UserError):
        return None


def parse_size(text: str) -> tuple[int, int]:
    """`511x333` -> (width, height).

    Raises:
        UserError: anything else.
    """
    sides = [counting_number(word) for word in text.lower().split("x")]
    if len(sides) != 2 or not sides[0] or not sides[1]:
        raise UserError(f"a size is written as WIDTHxHEIGHT, 511x333, not {text!r}")
    return sides[0], sides[1]


def original_size(
    path: Path, lr_size: tuple[int, int], scale: int, origin: Origin | None, asked: str
) -> tuple[int, int]:
    """(height, width) of the HR picture: what was asked for, else what the file says, else all of it.

    Args:
        lr_size: (height, width).
        asked: `511x333`; "" when nothing is asked for.

    Raises:
        UserError: the size that was asked for is not one that becomes an LR picture of this size.
    """
    height, width = lr_size[0] * scale, lr_size[1] * scale
    if asked:
        wanted = parse_size(asked)[::-1]
        if not fits(wanted, lr_size, scale):
            least = f"{width - scale + 1}x{height - scale + 1}"
            raise UserError(f"--size {asked} is no size for {path}: x{scale} gives {least} to {width}x{height}")
        return wanted
    if origin is not None and fits((origin.height, origin.width), lr_size, scale):
        return origin.height, origin.width
    return height, width


def doubt(origin: Origin | None, lr_size: tuple[int, int], scale: int, weights: str) -> str:
    """Why up-scaling by these weights may not bring back what the LR picture was made of; "" when it should."""
    if origin is None:
        return (
            "does not say that IRN's downscale made it: rescaling is not super-resolution, so an LR picture made in "
            "another way comes back poorly"
        )
    if origin.scale != scale:
        return f"was made at x{origin.scale}, these weights are x{scale}: it comes back poorly"
    if origin.weights != weights[:DIGITS]:
        return "was made by other weights: it comes back poorly"
    if not fits((origin.height, origin.width), lr_size, scale):
        return f"is not as it was made: {origin.width}x{origin.height}, which it says it was, becomes another size"
    return ""


def fits(size: tuple[int, int], lr_size: tuple[int, int], scale: int) -> bool:
    """Whether a picture of this (height, width) becomes an LR picture of that."""
    return (-(-size[0] // scale), -(-size[1] // scale)) == tuple(lr_size)
