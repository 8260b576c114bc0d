"""The images that train.py of the five takes: LR read or made, patches of one place, packed sets, where sets may be."""

import numpy as np
import pytest

from ci.tests.specs import SPECS, noise, write
from common import UserError
from common.images import imresize
from common.mindrecord import PackOptions, PatchRecords, pack

PLAIN = {"WDSR": {"no_augment": True}, "CSNLN": {"no_augment": True}, "IRN": {"use_flip": False, "use_rot": False}}
PLAIN |= {"SRFlow": {"use_flip": False}, "SRDiff": {}}
NAMED = ("WDSR", "CSNLN")  # training sets by name: a folder is one as well
RANGES = {"data_range": "1-2/5-5"}
ENCODER = {"SRFlow": {"stage": "rrdb"}, "SRDiff": {"stage": "rrdb"}}  # whose batches are HR and LR alone
RANGE = {"SRDiff": (-1, 2)}  # value of black, white - black; WDSR has 255


@pytest.fixture
def stream(begun):
    """stream(spec, folder, options ...) -> the batches of a training on a folder of HR images."""

    def make(spec, folder, workers=1, rank=0, **changes):
        given = {"data_train": folder} if spec.name in NAMED else {"dataset_GT_path": folder}
        given |= ENCODER.get(spec.name, {}) if "stage" not in changes else {}
        return begun(spec.name, workers, rank, **given, **changes).stream

    return make


def pixels(spec, batch):
    """(N, 3, H, W) in the network's range -> (N, H, W, 3) in 0..255."""
    black, width = RANGE.get(spec.name, (0, 255 if spec.name == "WDSR" else 1))
    return (batch.transpose(0, 2, 3, 1) - black) / width * 255


def test_lr_is_made_where_there_is_none(spec, stream, tmp_path):
    """By MATLAB's bicubic; IRN's reference is not rounded. The whole image is the patch."""
    image = noise(24, 24)
    hr, lr = next(stream(spec, write(tmp_path / "hr", {"a": image}), patch_size=24, **PLAIN[spec.name]).batches(0, 1))[
        :2
    ]
    hr, lr = (hr, lr) if hr.shape[2] == 24 else (lr, hr)
    np.testing.assert_allclose(pixels(spec, hr)[0], image, atol=1e-3)
    wanted = imresize(image / 255, 1 / 2) * 255 if spec.name == "IRN" else imresize(image, 1 / 2)
    np.testing.assert_allclose(pixels(spec, lr)[0], wanted, atol=1e-3)


def test_lr_is_read_and_patches_are_of_one_place(spec, stream, tmp_path):
    """LR pixel (i, j) is HR pixel (2i, 2j); after crop, flips and turns it is one of those four."""
    write(tmp_path / "hr", {f"HR/{name}": noise(40, 60, seed=name) for name in range(2)})
    write(tmp_path / "hr", {f"LR_bicubic/X2/{name}x2": noise(40, 60, seed=name)[::2, ::2] for name in range(2)})
    turned = {} if spec.name in NAMED or spec.name == "SRFlow" else {"use_rot": True, "use_flip": True}
    batches = stream(spec, tmp_path / "hr", patch_size=16, batch_size=16, **turned)
    one, other = (pixels(spec, array).round() for array in next(batches.batches(0, 1))[:2])
    hr, lr = (one, other) if one.shape[1] == 16 else (other, one)
    corners = np.stack([hr[:, i::2, j::2] == lr for i in (0, 1) for j in (0, 1)])
    places = corners.all((2, 3, 4))
    assert places.any(0).all()
    assert (places.any(1).sum() == 2) if spec.name == "SRFlow" else places.any(1).all(), "mirrored, and turned"
    assert len({image.tobytes() for image in hr}) == 16


def test_workers_share_one_order(spec, stream, tmp_path):
    """What two see together one would have seen alone; a run that begins at step 2 sees what it would have seen."""
    folder = write(tmp_path / "hr", {str(number): noise(20, 20, seed=number) for number in range(5)})
    noisy = {"stage": {"SRFlow": "flow", "SRDiff": "diffusion"}[spec.name]} if spec.name in ENCODER else {}
    noisy["patch_size"] = 16
    alone = stream(spec, folder, **noisy, batch_size=4)
    whole = list(alone.batches(0, 3))
    parts = [list(stream(spec, folder, 2, rank, **noisy, batch_size=2).batches(0, 3)) for rank in (0, 1)]
    for batch, *shares in zip(whole, *parts, strict=True):
        for array, *slices in zip(batch, *shares, strict=True):
            np.testing.assert_array_equal(np.concatenate(slices), array)
    for one, other in zip(next(alone.batches(2, 3)), whole[2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(whole[0][-1], whole[1][-1])
    seeded = next(stream(spec, folder, **noisy, batch_size=4, seed=77).batches(2, 3))
    assert not np.array_equal(seeded[0], whole[2][0])


def test_packed_sets(spec, stream, tmp_path):
    """The packed patches are trained on; IRN takes whole images, whose LR is made of all of them."""
    images = {str(number): noise(40, 40, seed=number) for number in range(2)}
    packed = tmp_path / "some.mindrecord"
    pack(PackOptions(hr=write(tmp_path / "hr", images), output=packed, scale=2, patch=16, crops=3))
    if spec.name == "IRN":
        with pytest.raises(UserError, match=r"some\.mindrecord is not an image"):
            stream(spec, packed)
        return
    found = stream(spec, packed, patch_size=16, **PLAIN[spec.name])
    assert len(found.images) == 6
    records = {hr.tobytes() for hr, _, _ in PatchRecords(packed).read()}
    seen = {
        image.round().astype(np.uint8).tobytes()
        for batch in found.batches(0, 6)
        for image in pixels(spec, next(array for array in batch if array.shape[2] == 16))
    }
    assert seen == records
    with pytest.raises(UserError, match=r"some\.mindrecord holds patches of 16, smaller than --patch_size 32"):
        stream(spec, packed, patch_size=32)
    with pytest.raises(UserError, match=r"some\.mindrecord was packed for x2, not x4"):
        stream(spec, packed, scale=4, patch_size=16, **({"L": 2} if spec.name == "SRFlow" else {}))


# ---------------------------------------------------------------------------------------------------- where sets may be

IMAGES = [
    "DIV2K/DIV2K_train_HR/0001", "DIV2K/DIV2K_train_HR/0002", "DIV2K/DIV2K_valid_HR/0005", "benchmark/Set5/HR/baby",
    "mine/deeper/m", "Flickr2K/Flickr2K_HR/000001", "div2k/train/X1/image_0000", "div2k/val/X1/image_0001",
    "flickr2k/train/X1/image_0002",
]  # fmt: skip
LAYOUTS = [  # model, what is typed, images to train on and to validate on
    *(
        (
            model,
            {option: place, **RANGES, "data_train": "DIV2K", "data_test": "DIV2K"},
            "0001 0002",
            "0005",
        )
        for model, option in (("WDSR", "dir_data"), ("CSNLN", "data_path"))
        for place in ("", "DIV2K")
    ),
    *(
        (
            model,
            {option: "", **RANGES, "data_train": "Set5+/mine", "data_test": "Set5"},
            "baby m",
            "baby",
        )
        for model, option in (("WDSR", "dir_data"), ("CSNLN", "data_path"))
    ),
    ("IRN", {"dataset_GT_path": "DIV2K"}, "0001 0002", "0005"),
    ("IRN", {"dataset_GT_path": "DIV2K/DIV2K_train_HR"}, "0001 0002", "0005"),
    ("IRN", {"dataset_GT_path": ""}, "0001 0002", "0005"),
    ("IRN", {"dataset_GT_path": "mine"}, "m", ""),
    ("IRN", {"dataset_GT_path": "mine", "val_GT_path": "benchmark/Set5"}, "m", "baby"),
    ("SRFlow", {"dataset_GT_path": "DIV2K"}, "0001 0002", "0005"),
    ("SRFlow", {"dataset_GT_path": "DIV2K/DIV2K_train_HR"}, "0001 0002", "0005"),
    ("SRFlow", {"dataset_GT_path": "Flickr2K"}, "000001", ""),
    ("SRDiff", {"dataset_GT_path": "div2k"}, "image_0000", "image_0001"),
    ("SRDiff", {"dataset_GT_path": "div2k/train"}, "image_0000", "image_0001"),
    ("SRDiff", {"dataset_GT_path": "flickr2k,div2k"}, "image_0002 image_0000", "image_0001"),
    ("SRDiff", {"dataset_GT_path": "flickr2k"}, "image_0002", ""),
    ("SRDiff", {"dataset_GT_path": "DIV2K"}, "0001 0002", "0005"),
    ("SRDiff", {"dataset_GT_path": "mine"}, "m", ""),
]


@pytest.mark.parametrize(("model", "typed", "train", "validation"), LAYOUTS)
def test_where_sets_may_be(model, typed, train, validation, begun, tmp_path, caplog):
    """As the READMEs draw them, from above and from inside; what belongs to the training images is validated on."""
    caplog.set_level("INFO")
    write(tmp_path / "root", {place: noise(40, 48, seed=number) for number, place in enumerate(IMAGES)})

    def located(value):
        places = [place.removeprefix("/") for place in value.split(",")]
        return ",".join(str(tmp_path / "root" / place) for place in places)

    options = {
        key: located(value) if key.endswith(("path", "dir_data")) else value.replace("/mine", located("mine"))
        for key, value in typed.items()
    }
    trainer = begun(model, **options, **ENCODER.get(model, {}))
    assert [pair.name for pair in trainer.stream.images.pairs] == train.split()
    if not validation:
        assert trainer.validate is None
        assert "the run is not validated" in caplog.text
    else:
        assert all(np.isfinite(value) for value in trainer.validate(trainer.network).values())


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not spec.inside], ids=lambda spec: spec.name)
def test_numbers_of_div2k(spec, begun, caplog):
    """A range of which some are there is taken, and said; none, or no range, is an error."""
    assert len(begun(spec.name, data_range="1-800/5-5").stream.images) == 5
    assert "5 of the 800 images 1-800" in caplog.text
    for typed, message in (
        ("20-30/5-5", "none of the images 20-30"),
        ("1-8", "--data_range must look like 1-800/8"),
    ):
        with pytest.raises(UserError, match=message):
            begun(spec.name, data_range=typed)
    for typed in ("1-8/9", "a-b/1-2", "8-1/1-2", "1-2/3-4/5-6"):
        with pytest.raises(UserError, match="--data_range"):
            begun(spec.name, data_range=typed)
