"""Folders of images to MindRecord and back: `python -m common.mindrecord pack | verify | info | unpack`.

    python -m common.mindrecord pack --hr DIV2K/HR --scale 4 --patch 160 --crops 47 --output DIV2K_X4_train.mindrecord
    python -m common.mindrecord verify DIV2K_X4_train.mindrecord

Each record holds the columns `HR` and `LR` (bytes of a PNG, or raw uint8), `name`, `index` (place in pack order), `y`
and `x` (corner of the patch in the HR image), `height` and `width` (of HR). MindRecord has no uint8 arrays, so the
images, uint8 (H, W, 3) RGB, are decoded when they are read. Opening a set hashes its files (a second per GB):

    for hr, lr, name in PatchRecords("X.mindrecord").read([5, 0, 7]): ...  # in the order asked for
    dataset = PatchRecords("X.mindrecord").dataset()                       # a MindSpore dataset: HR, LR, name, index

or without this package, shuffled unless told otherwise (a sharded set by its first shard, `X.mindrecord0`):

    MindDataset("X.mindrecord", ["HR", "LR", "name"]).map(vision.Decode(), "HR").map(vision.Decode(), "LR")
"""

from common.mindrecord.manifest import Manifest, manifest_path, read_manifest, set_exists
from common.mindrecord.pack import PackOptions, pack
from common.mindrecord.read import PatchRecords, open_patches, unpack, verify
