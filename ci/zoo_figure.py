"""Draw the README's image: the same detail by bicubic and by the five models' demo weights, beside the original.

    python ci/zoo_figure.py                       # writes ci/figures/zoo.jpg

All at x4; IRN upscales the LR image that it made itself.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import common  # noqa: F401  (sets the environment)
from common import images
from common.images import grid, imresize

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "ci" / "sample" / "DIV2K"
NAME = "0009"
TOP, LEFT, HEIGHT, WIDTH = 64, 84, 72, 96  # the detail, in pixels of the original
ZOOM, CAPTION = 4, 26  # pixels


def run(program: str, *words: object) -> None:
    subprocess.run([sys.executable, str(ROOT / program), *map(str, words)], cwd=ROOT, check=True)


def result(folder: Path) -> np.ndarray:
    (path,) = folder.glob("*.png")
    return images.read_rgb(path)


def tile(caption: str, image: np.ndarray) -> np.ndarray:
    """The detail, upscaled by whole pixels, above its caption."""
    detail = image[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH].repeat(ZOOM, 0).repeat(ZOOM, 1)
    panel = Image.new("RGB", (detail.shape[1], CAPTION), "white")
    font = ImageFont.load_default(18)
    ImageDraw.Draw(panel).text((detail.shape[1] / 2, 2), caption, fill=(32, 32, 32), font=font, anchor="ma")
    return np.concatenate([detail, np.asarray(panel)])


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    hr_path = SAMPLE / "DIV2K_train_HR" / f"{NAME}.png"
    lr_path = SAMPLE / "DIV2K_train_LR_bicubic" / "X4" / f"{NAME}x4.png"
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        for model in ("CSNLN", "WDSR"):
            run(f"{model}/infer.py", lr_path, "--scale", 4, "--output", here / model)
        run("IRN/infer.py", "downscale", hr_path, "--scale", 4, "--output", here / "irn_small")
        run("IRN/infer.py", "upscale", here / "irn_small", "--scale", 4, "--seed", 1, "--output", here / "IRN")
        for model in ("SRDiff", "SRFlow"):
            run(f"{model}/infer.py", lr_path, "--seed", 1, "--output", here / model)
        found = {model: result(here / model) for model in ("WDSR", "CSNLN", "IRN", "SRFlow", "SRDiff")}
    lr = images.read_rgb(lr_path)
    names = {"IRN": "IRN, from its own LR"}
    tiles = [
        ("LR", lr.repeat(4, 0).repeat(4, 1)),
        ("bicubic", imresize(lr, 4)),
        *((names.get(model, model), image) for model, image in found.items()),
        ("original", images.read_rgb(hr_path)),
    ]
    target = ROOT / "ci" / "figures" / "zoo.jpg"
    images.write_image(target, grid([tile(*each) for each in tiles], columns=4))
    print(f"written: {target}")


if __name__ == "__main__":
    main()
