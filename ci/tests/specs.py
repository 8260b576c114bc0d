"""The five models as the tests of their programs meet them: a tiny network of each, and the words of its command lines.

A behaviour that all models have is tested once, in ci/tests/test_*.py, for each of `SPECS`; what one model alone does,
in the folder of its name.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mindspore import nn

from ci.tests.CSNLN import nets as csnln
from ci.tests.IRN import nets as irn
from ci.tests.naive import weights_of
from ci.tests.SRDiff import nets as srdiff
from ci.tests.SRFlow import nets as srflow
from ci.tests.WDSR import nets as wdsr
from common import config
from common.checkpoint import Checkpoint, save
from common.images import imresize, write_image

UTILITIES = {"IRN": "utils.util", "SRFlow": "model_utils.util", "SRDiff": "model_utils.util"}
LUMA = np.array([65.481, 128.553, 24.966]) / 255


class Spec(NamedTuple):
    """A model.

    Attributes:
        name: its folder.
        scale: of its tiny network.
        network: makes a tiny network whose every part does something.
        upscale: (network, LR image, name) -> what infer.py computes, (sH, sW, 3), 1.0 is white, neither clipped nor
            rounded; told by the training form or by NumPy.
        train: options of a tiny training at x2, whose last steps have a loss smaller by `learns` than the first ones.
        learns: see there.
        best: name of the figure that decides which checkpoint is the best.
        parameters: number of parameters that this training's log names.
        data: option that names the folder of the images.
        inside: which folder of a root that holds DIV2K/ it names.
        infer: words of infer.py that upscale.
        result: what infer.py calls its results.
        evaluate: words of eval.py.
        ways: what the table calls the network -> the folder of its SR images.
        crop: border left out of PSNR-Y.
        crop_rgb: of PSNR-RGB.
        multiple: HR images are cut to multiples of it.
        graphs: what export.py can write.
    """

    name: str
    scale: int
    network: Callable[[], nn.Cell]
    upscale: Callable[[nn.Cell, np.ndarray, str], np.ndarray]
    train: dict[str, Any]
    learns: float
    best: str
    parameters: str
    data: str = "dataset_GT_path"
    inside: str = "DIV2K"
    infer: tuple[str, ...] = ()
    result: str = "{stem}_x{scale}"
    evaluate: tuple[str, ...] = ()
    ways: dict[str, str] = {"SR": "SR"}  # noqa: RUF012
    crop: int = 2
    crop_rgb: int = 2
    multiple: int = 2
    graphs: tuple[str, ...] = ("",)

    @property
    def checkpoint(self) -> str:
        """Option that names a trained network."""
        return "ckpt_file" if self.name == "CSNLN" else "ckpt_path"

    @property
    def utilities(self) -> Any:
        """Module with load_network and load_weights."""
        return importlib.import_module(f"{self.name}.src.{UTILITIES.get(self.name, 'utils')}")

    def main(self, program: str, *words: object) -> int:
        """Run one of its programs in this process."""
        return importlib.import_module(f"{self.name}.{program}").main([str(word) for word in words])

    def options(self, program: str, config: str = "") -> type:
        """The configuration class of a program."""
        return getattr(importlib.import_module(f"{self.name}.{program}"), config or f"{program.capitalize()}Config")

    def parse(self, program: str, *words: str) -> Any:
        """The options of train.py or eval.py; where a model reads them in its own way, by that."""
        cls = self.options(program)
        if self.name == "CSNLN":
            return importlib.import_module(f"CSNLN.{program}").parse(cls, list(words), "")
        return config.parse(cls, words, description="")

    def load(self, path: Path, **typed: Any) -> nn.Cell:
        """The network of a file, as export.py with these options puts it together."""
        options = config.merge(self.options("export")(), {"checkpoint": str(path), **typed}, "the test")
        return self.utilities.load_network(options)[0]

    def save(self, path: Path, weights: dict[str, np.ndarray] | None = None, **meta: Any) -> Path:
        """Write a checkpoint of the tiny network, as training does; returns its path."""
        network = self.network()
        found = weights_of(network) if weights is None else weights
        about = {"model": self.name, "scale": self.scale, "hyper": network.hyper.__dict__, **meta}
        save(path, Checkpoint(found, about))
        return path


TWICE = {"patch_size": 16, "batch_size": 4, "log_every": 1, "test_every": 20, "ema": 0.5, "device_target": "CPU"}
NAMED = {"data_train": "DIV2K", "data_test": "DIV2K", "data_range": "1-4/5-5", "epochs": 2, "ckpt_save_interval": 1}
STEPS = {"scale": 2, "save_checkpoint_freq": 1, "ckpt_save_max": 99}
RESTORING = {  # with an encoder that was trained before
    "SRFlow": {"nf": 4, "nb": 1, "gc": 2, "stack": 0, "L": 1, "K": 1, "hidden_channels": 4},
    "SRDiff": {"hidden_size": 8, "unet_dim_mults": "1", "rrdb_num_feat": 4, "rrdb_num_block": 2, "timesteps": 20},
}
SPECS = (
    Spec(
        "WDSR", 2, wdsr.make, wdsr.upscale,
        {**TWICE, **NAMED, "n_resblocks": 1, "n_feats": 8, "lr": 0.01}, 0.05, "PSNR-Y (crop 2)", "WDSR-B x2, 3,272",
        data="dir_data", inside="", crop_rgb=8,
    ),
    Spec(
        "IRN", 2, irn.make, irn.upscale,
        {**TWICE, **STEPS, "block_num": 1, "growth": 4, "niter": 40, "lr": 0.003, "patch_size": 32},
        100.0, "PSNR-Y (crop 2)", "IRN x2, 8,622",
        infer=("upscale", "--seed", "7", "--gaussian_scale", "0.5"), result="{stem}_hr", evaluate=("--draws", "2"),
        ways={"IRN": "SR"}, graphs=("downscale", "upscale"),
    ),
    Spec(
        "SRFlow", 4, lambda: srflow.make(size=0.02), srflow.upscale,
        {**TWICE, **STEPS, **RESTORING["SRFlow"], "niter": 40, "lr": 0.005, "batch_size": 2, "val_samples": 2,
         "val_heats": "0,0.5", "ema": 0},
        1.0, "log-likelihood", "SRFlow x2, stage flow,",
        infer=("--seed", "7", "--heat", "0.7"), evaluate=("--heats", "0,0.6", "--samples", "2"),
        ways={"heat 0": "SR_heat_0", "heat 0.6": "SR_heat_0.6"}, crop=4, crop_rgb=0, multiple=4,
        graphs=("decode", "encode"),
    ),
    Spec(
        "SRDiff", 4, srdiff.make, srdiff.upscale,
        {**TWICE, **STEPS, **RESTORING["SRDiff"], "max_updates": 40, "lr": 0.005, "val_noises": 5, "val_steps": 4,
         "decay_steps": 30, "ema": 0.9},
        0.04, "noise", "SRDiff x2, stage diffusion,", crop=0, crop_rgb=0, multiple=8,
        infer=("--seed", "7", "--sampler", "ddpm"),
        evaluate=("--sampler", "ddpm,dpm", "--steps", "3", "--samples", "2"),
        ways={"ddpm 3": "SR_ddpm_3", "dpm 3": "SR_dpm_3"}, graphs=("encoder", "predictor"),
    ),
    Spec(
        "CSNLN", 2, csnln.shaken, csnln.upscale,
        {**TWICE, **NAMED, "n_feats": 4, "depth": 1, "lr": 0.005, "gclip": 1}, 0.05, "PSNR-Y (crop 2)",
        "CSNLN x2, 3,253", data="data_path", inside="",
    ),
)  # fmt: skip
BY_NAME = {spec.name: spec for spec in SPECS}


# -------------------------------------------------------------------------------------------------------------- images


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Return an image about which nothing is easy."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng([seed, height, width]).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Return an image that is like a photograph, so that a PSNR of it says something."""
    return imresize(noise(height // 4 + 1, width // 4 + 1, seed=seed), 4)[:height, :width]


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    """Write images by their names below the folder, PNG where a name has no ending; returns the folder."""
    for name, image in images.items():
        write_image(folder / (name if "." in name else f"{name}.png"), image)
    return folder


def psnr(a: np.ndarray, b: np.ndarray, crop: int = 0, *, on_y: bool = False) -> float:
    """As it is defined, of 8-bit images."""
    a, b = (x[crop : len(x) - crop, crop : x.shape[1] - crop].astype(np.float64) for x in (a, b))
    a, b = (x @ LUMA if on_y else x for x in (a, b))
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def names(specs: Sequence[Spec]) -> list[str]:
    """For pytest's ids."""
    return [spec.name for spec in specs]
