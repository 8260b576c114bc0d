"""LPIPS v0.1 with AlexNet: a perceptual distance, 0 for identical images, lower is better.

Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric,
CVPR 2018, https://arxiv.org/abs/1801.03924. Five feature maps of an AlexNet trained on ImageNet are normalised to
unit length over the channels; their squared differences, weighted by learned linear heads, are averaged over the
image and added up.

The weights are the user's to give, none come with this repository: torchvision's alexnet-owt-7be5be79.pth, and
weights/v0.1/alex.pth of the lpips package. Written from the paper, checked against the package's published figures.
"""

import logging
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from common import UserError
from common.checkpoint import CheckpointError, load_into, read

SMALLEST_SIDE = 31  # below it the second pooling has nothing left
CHANNELS = (64, 192, 384, 256, 256)  # of the five feature maps
TAPS = (1, 4, 7, 9, 11)  # where they leave the features, counted as in torchvision: after each ReLU

# Shapes do not tell the versions apart, but the published weights are fixed: sums of their absolute values.
OFFICIAL_FEATURES_SUM = 59946.4769
OFFICIAL_HEADS_SUM = {"v0.1": 105.275355, "v0.0": 65.506021}

_WANTED = (
    "--lpips_weights must be a folder, or two files with a comma between them, each .pth or .npz: "
    "torchvision's AlexNet and the alex.pth of LPIPS v0.1"
)

_log = logging.getLogger(__name__)


class LpipsNetwork(nn.Cell):
    """The distance of one pair of images, as a graph that compiles once for all sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.CellList(
            [
                *(_conv(3, 64, kernel_size=11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(_conv(64, 192, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(_conv(192, 384, kernel_size=3, padding=1), nn.ReLU()),
                *(_conv(384, 256, kernel_size=3, padding=1), nn.ReLU()),
                *(_conv(256, 256, kernel_size=3, padding=1), nn.ReLU()),
            ]
        )
        self.heads = nn.CellList([nn.Conv2d(channels, 1, kernel_size=1) for channels in CHANNELS])
        # A sum over the channels as a 1x1 convolution: ten times faster on CPU than the reduction.
        self.ones = [Tensor(np.ones((1, channels, 1, 1), np.float32)) for channels in CHANNELS]
        # ImageNet's mean and deviation for images in [-1, 1], in the digits that the heads were trained with.
        self.shift = Tensor(np.array([-0.030, -0.088, -0.188], np.float32).reshape(1, 3, 1, 1))
        self.scale = Tensor(np.array([0.458, 0.448, 0.450], np.float32).reshape(1, 3, 1, 1))
        any_size = Tensor(shape=[1, 3, None, None], dtype=ms.float32)
        self.set_inputs(any_size, any_size)
        self.set_train(False)

    @ms.jit
    def construct(self, sr_image: Tensor, hr_image: Tensor) -> Tensor:
        """Return the scalar distance of two images (1, 3, H, W) in [-1, 1]."""
        x = (ops.concat((sr_image, hr_image), 0) - self.shift) / self.scale
        distance = 0.0
        level = 0
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                length = ops.sqrt(ops.conv2d(x * x, self.ones[level]))
                unit = x / (length + 1e-10)
                difference = unit[0:1] - unit[1:2]
                distance = distance + ops.mean(self.heads[level](difference * difference))
                level = level + 1
        return distance


def _conv(in_channels: int, out_channels: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, pad_mode="pad", has_bias=True, **options)


class Lpips:
    """LPIPS of two images on the host: `Lpips.from_files(weights)(sr, hr)`."""

    def __init__(self, network: LpipsNetwork) -> None:
        self.network = network

    @classmethod
    def from_files(cls, weights: str | Path) -> "Lpips":
        """Load the two files of weights.

        The heads of LPIPS v0.0, of the same shapes, are told by their values and refused; weights that are neither
        (trained anew, say) are taken, with a warning in the log.

        Args:
            weights: a folder with exactly two files alex*.pth or alex*.npz, or "file,file" in any order. The names are
                torchvision's (features.0.weight ...) and the lpips package's (lin0.model.1.weight ...).
        """
        folder = Path(weights)
        if folder.is_dir():
            paths = sorted(p for p in folder.iterdir() if p.suffix in (".pth", ".npz") and p.name.startswith("alex"))
            found = f"{folder} has {', '.join(p.name for p in paths) or 'no file alex*.pth or alex*.npz'}"
        else:
            paths = [Path(part.strip()).expanduser() for part in str(weights).split(",") if part.strip()]
            found = f"no such folder, and not two names: {str(weights)!r}"
        if len(paths) != 2:
            raise UserError(f"{_WANTED}; {found}")
        files, source = list(map(_read_arrays, paths)), " and ".join(map(str, paths))

        def holding(name: str) -> Mapping[str, np.ndarray]:
            found = [arrays for arrays in files if name in arrays]
            if not found:
                raise UserError(f"{_WANTED}; no array named {name} ... in {source}")
            return found[0]

        features, heads = holding("features.0.weight"), holding("lin0.model.1.weight")
        features = {name: array for name, array in features.items() if not name.startswith("classifier.")}
        network = LpipsNetwork()
        names = {f"lin{level}.model.1.weight": f"heads.{level}.weight" for level in range(len(CHANNELS))}
        try:
            load_into(network, {**features, **heads}, source=source, names=names)
        except CheckpointError as error:
            raise UserError(f"{_WANTED}; {error}") from error
        if _sums_to(heads, OFFICIAL_HEADS_SUM["v0.0"]):
            raise UserError(f"--lpips_weights: expected the heads of LPIPS v0.1, found those of v0.0 in {source}")
        published = {
            "heads": _sums_to(heads, OFFICIAL_HEADS_SUM["v0.1"]),
            "features": _sums_to(features, OFFICIAL_FEATURES_SUM),
        }
        for part in (part for part, is_known in published.items() if not is_known):
            text = "LPIPS: the %s in %s are not the published ones: do not compare with published figures"
            _log.warning(text, part, source)
        return cls(network)

    def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """Return the distance of RGB images (H, W, 3), 0 to 255, of sides >= 31; 2040x1356 takes about 2 GB on CPU."""
        if min(sr.shape[:2]) < SMALLEST_SIDE:
            side = SMALLEST_SIDE
            raise UserError(f"LPIPS needs images of at least {side}x{side}, found {sr.shape[0]}x{sr.shape[1]}")
        batches = (image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1 for image in (sr, hr))
        return float(self.network(*(Tensor(np.ascontiguousarray(batch)) for batch in batches)).asnumpy())


def _read_arrays(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{_WANTED}; not found: {path}")
    try:
        return read(path).weights if path.suffix != ".npz" else dict(np.load(path, allow_pickle=False))
    except CheckpointError as error:
        raise UserError(f"{_WANTED}; {error}") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{_WANTED}; {path} is damaged or no .npz file: {error}") from error


def _sums_to(arrays: Mapping[str, np.ndarray], total: float) -> bool:
    found = sum(np.abs(array, dtype=np.float64).sum() for array in arrays.values())
    return math.isclose(found, total, rel_tol=1e-4)
