"""The data sets (the tree of div2k_preprocess.py, DIV2K's own, any folder), and the patches that are cut from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import UserError
from common.data import (
    BatchStream,
    Patch,
    lr_folder,
    named_sets,
    packed_set,
    random_patch,
    stem_of,
    training_images,
)
from common.data import sets as image_sets
from common.images import Pair, folder_like, imresize, pairs_of, to_float
from common.mindrecord import PatchRecords
from common.runtime import Runtime

from ..model.srdiff import Hyper
from ..model_utils.options import EvalConfig, TrainConfig

OF_SPLIT = {"train": ("train/X1", "DIV2K_train_HR", "Flickr2K_HR"), "test": ("val/X1", "DIV2K_valid_HR")}
OF_ANY = ("X1", "HR")
Sample = tuple[np.ndarray, ...]


def find_hr_folders(path: str, split: str) -> list[Path]:
    """Return the folders of HR images that `path` means, one or several with commas between them.

    Each may hold the folders of a data set, or data sets that hold them: train/X1 or val/X1 (what div2k_preprocess.py
    makes), DIV2K_train_HR, DIV2K_valid_HR, Flickr2K_HR. If it does not, its X1/ or HR/ is taken, or its own images.
    """
    found = []
    for root in map(Path, filter(None, path.split(","))):
        if not root.exists():
            raise UserError(f"--dataset_GT_path is not there: {root} (folder of HR images, or .mindrecord)")
        named, inside = named_folders(root, split), [folder_like(root, name) for name in OF_ANY]
        others = named_folders(root, "test" if split == "train" else "train")
        if not named and others and not folder_like(root, "HR"):
            raise UserError(f"{root} has none of {', '.join(OF_SPLIT[split])}; it has {others[0].relative_to(root)}")
        found += named or [*filter(None, inside), root][:1]
    return found


def named_folders(root: Path, split: str) -> list[Path]:
    if not root.is_dir():
        return []
    sets = [root, *sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))]
    return [one / name for one in sets for name in OF_SPLIT[split] if (one / name).is_dir()]


def find_images(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """Return the images of a data set, in sub-folders as well; `lr` is None where it is to be made."""
    folders = find_hr_folders(hr_path, split)
    beside = lr_folder(lr_path)
    if beside and len(folders) > 1:
        raise UserError(f"--dataset_LQ_path is one folder, but HR is in {', '.join(map(str, folders))}")
    return [pair for folder in folders for pair in pairs_of(folder, beside, scale)]


def what_belongs_to(training: str) -> str:
    """Return the validation images in or beside training images (val/X1, DIV2K_valid_HR); "" for none."""
    for path in map(Path, training.split(",")):
        beside = [path.parent / name for name in OF_SPLIT["test"] if (path.parent / name).is_dir()]
        if found := named_folders(path, "test") + beside:
            return str(found[0])
    return ""


# -------------------------------------------------------------------------------------------- the range of the networks


def to_network(image: np.ndarray) -> np.ndarray:
    """(H, W, 3), uint8, uint16 or float in [0, 1] -> (3, H, W) float32 in [-1, 1], what the networks take."""
    return to_chw((image if image.dtype.kind == "f" else to_float(image)) * 2 - 1)


def upscaled(lr_image: np.ndarray, scale: int) -> np.ndarray:
    """Upscale (h, w, 3), uint8, uint16 or float in [0, 1], by MATLAB's bicubic to (3, scale h, scale w) float32.

    The authors divide its 8-bit values by 256, where HR and the encoder's LR image are divided by 255, and their
    released weights know it that way. So white comes out at 2 * 255/256 - 1, not at 1. The sums are made in float64 and
    rounded once. The values are about -1 ... 1: bicubic overshoots at edges, and nothing is clipped.
    """
    white = 1 if lr_image.dtype.kind == "f" else np.iinfo(lr_image.dtype).max
    return to_chw((imresize(lr_image.astype(np.float64) / (white * 256 / 255), scale) - 0.5) / 0.5)


def from_network(image: np.ndarray) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) float32, about 0 ... 1; nothing is clipped."""
    return np.ascontiguousarray((image.transpose(1, 2, 0) + 1) / 2, np.float32)


def to_chw(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


# -------------------------------------------------------------------------------------------------------------- samples


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (hr, lr), or for the noise predictor (hr, lr, lr_up, t, eps), of this worker.

    Images and eps are (N, 3, H, W) float32, the images in [-1, 1]; t (N,) int32 counts from 0.
    """
    lr_patch = options.lr_patch(hyper)

    def pairs() -> list[Pair]:
        return find_images(options.dataset_GT_path, options.dataset_LQ_path, hyper.scale, "train")

    def sample(hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> Sample:
        flips = {"mirror": options.use_flip, "turn": options.use_rot}
        hr, lr = random_patch(hr, lr, lr_patch, hyper.scale, rng, **flips)
        patches = to_network(hr), to_network(lr)
        if options.stage == "rrdb":
            return patches
        t = np.int32(rng.integers(hyper.timesteps))
        return (*patches, upscaled(lr, hyper.scale), t, rng.standard_normal(patches[0].shape, np.float32))

    def collate(samples: Sequence[Sample]) -> Sample:
        return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))

    images = training_images(options.dataset_GT_path, pairs, hyper.scale, lr_patch, options.cache_gb)
    return BatchStream(images, sample, collate, options.batch_size, options.seed, here.rank, here.world_size)


def validation_patches(options: TrainConfig, hyper: Hyper) -> list[Patch]:
    """(hr, lr) uint8 HWC, see `common.data.validation_patches`."""
    side = options.lr_patch(hyper)
    return image_sets.validation_patches(options, find_images, what_belongs_to, hyper.scale, side)


# ---------------------------------------------------------------------------------------------------------- evaluation


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """Return the images of each set to measure, or a packed set, by what its results are called."""
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if packed := packed_set(path, options.data_name, scale):
        return packed
    if not options.data_test:
        return {stem_of(options.data_name or Path(path).resolve()): find_images(path, lr_path, scale, "test")}
    sets = named_sets(options.data_test, Path(path), lr_path)
    return {name: find_images(str(place), lr, scale, "test") for name, place, lr in sets}
