"""The data sets (a folder of images, DF2K, packed patches), and what training and evaluation take from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import UserError
from common.data import (
    RECORDS,
    BatchStream,
    div2k,
    hr_inside,
    lr_folder,
    named_sets,
    packed_set,
    random_patch,
    stack_nchw,
    stem_of,
    to_nchw,
    training_images,
)
from common.data import sets as image_sets
from common.images import Pair, pairs_of, to_float
from common.mindrecord import PatchRecords, set_exists
from common.runtime import Runtime

from ..model.SRFlowNet import Hyper
from ..model_utils.options import EvalConfig, TrainConfig

FLICKR2K = ("Flickr2K/Flickr2K_HR", "Flickr2K_HR", "Flickr2K")
Sample = tuple[np.ndarray, ...]


def require_packed(path: str) -> None:
    if path.endswith(RECORDS) and not set_exists(path):
        raise UserError(
            f"{path} is not there: python SRFlow/src/dataset/prepare.py --root FOLDER makes it of DIV2K and Flickr2K, "
            "or type --dataset_GT_path with a folder of HR images"
        )


def find_hr_folders(path: str, split: str) -> list[Path]:
    """Return the folders that `path` means: DF2K's (DIV2K's and, to train, Flickr2K's) in it, its HR/, or itself."""
    root = Path(path)
    if not root.exists():
        raise UserError(f"--dataset_GT_path is not there: {path} (folder of HR images, or .mindrecord)")
    found = [folder] if (folder := div2k.find_split(root, split)) else []
    if split == "train":
        found += [root / name for name in FLICKR2K if (root / name).is_dir()][:1]
    return found or [hr_inside(root)]


def find_images(hr_path: str, lr_path: str, scale: int, split: str) -> list[Pair]:
    """Return the images of a data set, in sub-folders as well; `lr` is None where it is to be made."""
    beside = lr_folder(lr_path)
    return [pair for folder in find_hr_folders(hr_path, split) for pair in pairs_of(folder, beside, scale)]


def training_stream(options: TrainConfig, hyper: Hyper, here: Runtime) -> BatchStream:
    """Batches of (hr_image, lr_image) and, with --quant, noise, NCHW float32, for this worker."""
    lr_patch, noise = options.lr_patch(hyper), options.stage == "flow" and options.quant > 0
    require_packed(options.dataset_GT_path)

    def pairs() -> list[Pair]:
        return find_images(options.dataset_GT_path, options.dataset_LQ_path, hyper.scale, "train")

    def sample(hr: np.ndarray, lr: np.ndarray, rng: np.random.Generator) -> Sample:
        """(hr, lr) uint8 HWC -> patches (hr, lr) float32 in [0, 1], and noise like hr, uniform in [0, 1)."""
        hr, lr = random_patch(hr, lr, lr_patch, hyper.scale, rng, mirror=options.use_flip, turn=False)
        patches = to_float(hr), to_float(lr)
        return (*patches, rng.random(hr.shape, np.float32)) if noise else patches

    images = training_images(options.dataset_GT_path, pairs, hyper.scale, lr_patch, options.cache_gb)
    return BatchStream(images, sample, stack_nchw, options.batch_size, options.seed, here.rank, here.world_size)


def first_batch(stream: BatchStream) -> Sample:
    """Return the first batch of all workers together, from which each of them sets the ActNorms alike."""
    whole = BatchStream(stream.images, stream.prepare, stream.collate, stream.global_batch_size, stream.seed)
    return next(whole.batches(0, 1))


def validation_patches(options: TrainConfig, hyper: Hyper) -> tuple[np.ndarray, np.ndarray] | None:
    """(hr_image, lr_image) in [0, 1], NCHW, see `common.data.validation_patches`; None for nothing."""
    side = options.lr_patch(hyper)
    patches = image_sets.validation_patches(options, find_images, beside, hyper.scale, side)
    if not patches:
        return None
    hr_image, lr_image = (to_nchw([to_float(patch) for patch in of_all]) for of_all in zip(*patches, strict=True))
    return hr_image, lr_image


def beside(training: str) -> str:
    path = Path(training)
    if training.endswith(RECORDS):
        found = path.parent.parent / "valid" / path.name.replace("_train", "_valid")
        return str(found) if found != path and set_exists(found) else ""
    places = (path.parent, path) if path.name == div2k.HR["train"] else (path,)
    folders = [folder for place in places for folder in find_hr_folders(str(place), "test")]
    return next((str(folder) for folder in folders if folder.name == div2k.HR["test"]), "")


# ---------------------------------------------------------------------------------------------------------- evaluation


def evaluation_sets(options: EvalConfig, scale: int) -> dict[str, Sequence[Pair] | PatchRecords]:
    """Return the images of each set to measure, or a packed set, by what its results are called."""
    path, lr_path = options.dataset_GT_path, options.dataset_LQ_path
    if not path:
        path, lr_path = options.val_GT_path, options.val_LQ_path
    require_packed(path)
    if packed := packed_set(path, options.data_name, scale):
        return packed
    if not options.data_test:
        folder = hr_folder(Path(path))
        name = stem_of(options.data_name or (folder.parent if folder.name == "HR" else folder).resolve())
        return {name: find_images(str(folder), lr_path, scale, "test")}
    sets = named_sets(options.data_test, Path(path), lr_path)
    return {name: find_images(str(hr_folder(place)), lr, scale, "test") for name, place, lr in sets}


def hr_folder(root: Path) -> Path:
    (folder,) = find_hr_folders(str(root), "test")
    training = root / div2k.HR["train"]
    if folder == root and training.is_dir():
        raise UserError(f"{root} has no {div2k.HR['test']}; for the training images type --dataset_GT_path {training}")
    return folder
