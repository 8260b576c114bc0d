"""Makes ci/sample from the packages that ship its photographs; `--check` compares instead of writing.

    pip download --no-deps --only-binary :all: scipy==1.9.3     # the last wheels with the raccoon inside
    python ci/make_sample.py --scipy_wheel scipy-1.9.3-*.whl [--check]

scikit-image (the `dev` extra) brings the other images. A source that differs from the one used is refused.
"""

import argparse
import bz2
import hashlib
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as iio
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the script also runs uninstalled

from common import UserError, images  # noqa: E402
from common.images import imresize  # noqa: E402
from common.runtime import run_main  # noqa: E402

SCALES = (2, 4)  # x3 is made on the fly, which keeps the sample under 4 MB
RACCOON = "scipy/misc/face.dat"
SOURCES = {  # file -> start of its SHA-256
    "astronaut.png": "88431cd9653ccd53",
    "camera.png": "b0793d2adda0fa6a",
    "chelsea.png": "596aa1e7cb875eb7",
    "coffee.png": "cc02f8ca188b167c",
    "hubble_deep_field.jpg": "3a19c5dd8a927a93",
    "retina.jpg": "38a07f36f27f095e",
    "rocket.jpg": "c2dd0de7c538df8d",
    RACCOON: "9d8b0b4d081313e2",
}


class Region(NamedTuple):
    """A part of a photograph, in pixels; sides are multiples of 12 so that x2, x3 and x4 fit."""

    source: str
    top: int
    left: int
    height: int
    width: int


# 0001 ... 0008 are for training, 0009 ... 0012 (other photographs) for evaluation. No two regions overlap.
REGIONS = (
    Region("astronaut.png", 0, 0, 276, 504),
    Region("astronaut.png", 276, 0, 228, 384),
    Region(RACCOON, 24, 432, 384, 504),
    Region(RACCOON, 420, 0, 348, 324),
    Region(RACCOON, 0, 0, 288, 420),
    Region(RACCOON, 420, 336, 300, 444),
    Region("camera.png", 96, 48, 384, 420),
    Region("retina.jpg", 480, 60, 384, 384),
    Region("chelsea.png", 0, 0, 300, 444),
    Region("coffee.png", 0, 72, 348, 468),
    Region("rocket.jpg", 48, 0, 372, 528),
    Region("hubble_deep_field.jpg", 480, 480, 324, 324),
)


def read_source(name: str, scipy_wheel: Path) -> np.ndarray:
    """The whole photograph, (H, W, 3) uint8.

    Raises:
        UserError: the package is missing or its file is not the one that the sample was made from.
    """
    if name == RACCOON:
        path = scipy_wheel
        try:
            with zipfile.ZipFile(scipy_wheel) as wheel:
                data = wheel.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{scipy_wheel} is not SciPy 1.9.3's wheel ({error}); `--help` says how to get it"
            ) from None
    else:
        package = find_spec("skimage")
        if package is None or package.origin is None:
            raise UserError("the photographs are in scikit-image: pip install -e '.[dev]'")
        path = Path(package.origin).parent / "data" / name
        data = path.read_bytes() if path.is_file() else b""
    if not hashlib.sha256(data).hexdigest().startswith(SOURCES[name]):
        raise UserError(f"{name} of {path} is not the file that the sample was made from")
    if name == RACCOON:
        return np.frombuffer(bz2.decompress(data), np.uint8).reshape(768, 1024, 3)
    return images.read_rgb(path)


def make_sample(scipy_wheel: Path) -> dict[str, np.ndarray]:
    """File name below ci/sample/DIV2K -> image."""
    sample = {}
    for number, (source, top, left, height, width) in enumerate(REGIONS, start=1):
        hr = read_source(source, scipy_wheel)[top : top + height, left : left + width]
        sample[f"DIV2K_train_HR/{number:04d}.png"] = np.ascontiguousarray(hr)
        for scale in SCALES:
            sample[f"DIV2K_train_LR_bicubic/X{scale}/{number:04d}x{scale}.png"] = imresize(hr, 1 / scale)
    return sample


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--scipy_wheel", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=ROOT / "ci" / "sample" / "DIV2K")
    parser.add_argument("--check", action="store_true", help="compare with the images in --output, write nothing")
    args = parser.parse_args()
    sample = make_sample(args.scipy_wheel)
    differing = 0
    for name, image in sample.items():
        if not args.check:
            (args.output / name).parent.mkdir(parents=True, exist_ok=True)
            iio.imwrite(args.output / name, image, optimize=True)  # a fifth smaller than images.write_image
        elif not np.array_equal(images.read_rgb(args.output / name), image):
            print(f"differs: {args.output / name}")
            differing += 1
    print(f"{len(sample)} images {'compared' if args.check else 'written'}, {differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    run_main(main)
