"""Cut DF2K (DIV2K and Flickr2K) into the patches that SRFlow is trained on, packed as MindRecord.

    python SRFlow/src/dataset/prepare.py --root DF2K
    python SRFlow/src/dataset/prepare.py --root DF2K --scale 8 --output DATA/DF2K-8X

DF2K holds DIV2K_train_HR/, Flickr2K_HR/ (or Flickr2K/Flickr2K_HR/) and DIV2K_valid_HR/. What comes of it:

    train/DIV2K_X4_train.mindrecord     47 patches of 160x160 of each training image at random places, and their LR
                                        patches, cut from MATLAB's bicubic of the whole image
    valid/DIV2K_X4_valid.mindrecord     the same of DIV2K_valid_HR

beside the .db and .json that belong to each. A set that is there already is left as it is, so that a stopped program
continues with the next one; a set that was begun is begun anew. Of 3,450 training images come 162,150 patches.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import UserError, config
from common.config import option
from common.images import find_images
from common.mindrecord import Manifest, PackOptions, manifest_path, pack, read_manifest
from common.runtime import run_main, start_log
from SRFlow.src.dataloader.init import find_hr_folders

log = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent
SPLITS = {"train": "train", "valid": "test"}  # folder of the output -> split of the images


@dataclass(frozen=True)
class PrepareOptions:
    root: str = option("", "folder that holds DIV2K_train_HR/, Flickr2K_HR/ and DIV2K_valid_HR/, or HR images")
    output: str = option("", "folder for train/ and valid/; default: SRFlow/src/dataset/DF2K-4X, by the scale")
    split: str = option("all", "which sets to make", choices=("all", *SPLITS))
    scale: int = option(4, "HR over LR", choices=(2, 4, 8))
    patch_size: int = option(160, "side of the HR patches", aliases=("patch",), at_least=1)
    crops: int = option(47, "patches of each image", at_least=1)
    seed: int = option(0, "of the random places", at_least=0)
    encoding: str = option("png", "png: smaller; raw: faster", choices=("png", "raw"))
    overwrite: bool = option(False, "make sets anew that are there already")


def main(argv: Sequence[str] | None = None) -> int:
    start_log()
    options = config.parse(PrepareOptions, argv, description=__doc__)
    if not options.root:
        raise UserError("which images? type --root FOLDER, which holds DIV2K_train_HR/ and the others")
    if not Path(options.root).is_dir():
        raise UserError(f"--root is not a folder: {options.root}")
    output = Path(options.output) if options.output else HERE / f"DF2K-{options.scale}X"
    for name in SPLITS if options.split == "all" else (options.split,):
        path = output / name / f"DIV2K_X{options.scale}_{name}.mindrecord"
        folders = find_hr_folders(options.root, SPLITS[name])
        if name == "valid" and options.split == "all" and folders[0].name != "DIV2K_valid_HR":
            log.warning("%s has no DIV2K_valid_HR: no validation set is made", options.root)
            continue
        manifest = make(options, folders, path)
        print(f"{path}: {manifest.records} patches of {len(manifest.pictures)} images")  # noqa: T201
    return 0


def make(options: PrepareOptions, folders: Sequence[Path], path: Path) -> Manifest:
    wanted = {"scale": options.scale, "patch": options.patch_size, "crops": options.crops, "seed": options.seed}
    if manifest_path(path).exists() and not options.overwrite:
        manifest = read_manifest(path)
        found = {name: manifest.arguments[name] for name in wanted}
        if found != wanted:
            raise UserError(f"{path} was made with {found}, not {wanted}: choose another --output, or --overwrite true")
        log.info("%s is there already", path)
        return manifest
    with tempfile.TemporaryDirectory(prefix="images-") as together:
        images = [image for folder in folders for image in find_images(folder)]
        for image in images:
            link = Path(together) / image.name
            if link.is_symlink():
                raise UserError(f"{image} and {os.readlink(link)} have one name: rename one of them")
            link.symlink_to(image.resolve())
        log.info("%d images of %s -> %s", len(images), ", ".join(map(str, folders)), path)
        try:
            return pack(PackOptions(hr=Path(together), output=path, encoding=options.encoding, **wanted))
        except UserError as error:  # the links go with their folder: what they lead to stays
            text = str(error)
            for link in Path(together).iterdir():
                text = text.replace(str(link), os.readlink(link))
            raise UserError(text.replace(together, options.root)) from None


if __name__ == "__main__":
    run_main(main)
