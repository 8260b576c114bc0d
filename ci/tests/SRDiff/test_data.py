"""SRDiff's pictures: how they come into the networks' range, training samples, where data sets lie."""

import numpy as np
import pytest

from common import UserError
from common.images import files as images
from common.images.pairs import lr_beside
from common.images.resize import imresize
from common.mindrecord import PackOptions, pack
from common.runtime import Runtime
from SRDiff.src.dataset.patches import (
    PatchMaker,
    collate,
    enlarged,
    find_hr_folders,
    find_pictures,
    from_network,
    patches_to_look_at,
    to_network,
    training_stream,
    what_belongs_to,
)
from SRDiff.src.model_utils.options import TrainConfig

SMALL = {"scale": 4, "patch_size": 16, "batch_size": 2, "unet_dim_mults": (1, 2)}


@pytest.fixture(scope="module")
def source(sample_dir):
    """Seven pictures of 64x72."""
    folder = sample_dir / "DIV2K" / "DIV2K_train_HR"
    return [images.read_rgb(folder / f"000{number}.png")[:64, :72] for number in range(1, 8)]


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    """The seed's tree: two pairs of div2k, one of flickr2k, two for validation; LR is told from bicubic by green."""
    root = tmp_path_factory.mktemp("prepared")
    places = ["div2k/train/0", "div2k/train/1", "flickr2k/train/0", "div2k/val/0", "div2k/val/1"]
    for picture, place in zip(source, places, strict=False):
        folder, _, number = place.rpartition("/")
        lr = imresize(picture, 1 / 4)
        lr[..., 1] = 7
        images.write_picture(root / folder / "X1" / f"image_000{number}.png", picture)
        images.write_picture(root / folder / "X4" / f"image_000{number}.png", lr)
    return root


@pytest.fixture(scope="module")
def df2k(source, tmp_path_factory):
    """As the archives unpack: DIV2K with its LR pictures, Flickr2K without."""
    root = tmp_path_factory.mktemp("df2k")
    places = ("DIV2K_train_HR/0001", "DIV2K_valid_HR/0801", "Flickr2K/Flickr2K_HR/000001")
    for picture, place in zip(source, places, strict=False):
        images.write_picture(root / f"{place}.png", picture)
    images.write_picture(root / "DIV2K_train_LR_bicubic" / "X4" / "0001x4.png", imresize(source[0], 1 / 4))
    return root


def options(path, **changes) -> TrainConfig:
    return TrainConfig(**{**SMALL, "dataset_GT_path": str(path), **changes})


def stream_of(chosen: TrainConfig, here: Runtime | None = None):
    return training_stream(chosen, chosen.hyper(), here or Runtime("CPU"))


# --------------------------------------------------------------------------------------------------------------- range


def test_enlarged_picture_is_the_authors(goldens_dir):
    """Bit for bit, of 8 bits; and the same picture in 16 bits and as floats."""
    with np.load(goldens_dir / "imresize.npz") as goldens:
        keys = [key for key in goldens.files if key.endswith("_img_lr_up_m1p1_hwc")]
        assert len(keys) == 3
        for key in keys:
            lr, wanted = goldens[key.replace("_up_m1p1_hwc", "_u8")], goldens[key].transpose(2, 0, 1)
            found = enlarged(lr, 4)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, wanted)
            for same in (lr.astype(np.uint16) * 257, lr / 255, (lr / 255).astype(np.float32)):
                np.testing.assert_allclose(enlarged(same, 4), wanted, atol=2e-7)


def test_white_is_one_but_for_the_enlarged_picture():
    for white in (np.full((5, 6, 3), 255, np.uint8), np.full((5, 6, 3), 65535, np.uint16), np.ones((5, 6, 3))):
        np.testing.assert_array_equal(to_network(white), np.ones((3, 5, 6), np.float32))
        np.testing.assert_allclose(enlarged(white, 2), np.full((3, 10, 12), 2 * 255 / 256 - 1), rtol=1e-6)
        np.testing.assert_array_equal(to_network(white * 0), -np.ones((3, 5, 6), np.float32))


def test_range_and_back():
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    found = to_network(picture)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, (picture.astype(float) / 127.5 - 1).transpose(2, 0, 1), atol=1e-7)
    np.testing.assert_allclose(from_network(found), picture / 255, atol=1e-7)


# ------------------------------------------------------------------------------------------------------------- samples


def transforms(turn: bool, mirror: bool):
    """(name, picture -> picture) of what may be done to a patch."""
    for h in (False, True)[: 1 + mirror]:
        for v in (False, True)[: 1 + turn]:
            for t in (False, True)[: 1 + turn]:

                def apply(x, h=h, v=v, t=t):
                    x = x[:, ::-1] if h else x
                    x = x[::-1] if v else x
                    return x.swapaxes(0, 1) if t else x

                yield (h, v, t), apply


@pytest.mark.parametrize(("mirror", "turn"), [(False, False), (True, False), (True, True)])
def test_sample_is_the_same_place_of_both_pictures(mirror, turn):
    """Found again by comparing every place and all ways round; what is enlarged is the LR patch."""
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (7, 9, 3), np.uint8)
    hr = np.repeat(np.repeat(lr, 4, 0), 4, 1) ^ rng.integers(0, 2, (28, 36, 3), np.uint8)  # its place is told by LR
    make = PatchMaker(4, 3, mirror=mirror, turn=turn, timesteps=10)
    ways, seen, used = dict(transforms(turn, mirror)), set(), set()
    for number in range(60):
        hr_patch, lr_patch, lr_up, t, eps = make(hr, lr, np.random.default_rng(number))
        places = [
            (y, x, name)
            for y in range(5)
            for x in range(7)
            for name, apply in ways.items()
            if np.array_equal(to_network(apply(lr[y : y + 3, x : x + 3])), lr_patch)
        ]
        ((y, x, name),) = places
        cut = ways[name](hr[4 * y : 4 * y + 12, 4 * x : 4 * x + 12])
        np.testing.assert_array_equal(hr_patch, to_network(cut))
        small = ways[name](lr[y : y + 3, x : x + 3]).astype(np.float64) / 256
        np.testing.assert_allclose(lr_up.transpose(1, 2, 0), 2 * imresize(small, 4) - 1, atol=1e-6)
        assert eps.shape == hr_patch.shape
        assert 0 <= t < 10
        seen.add((y, x))
        used.add(name)
    assert len(seen) > 20
    assert used == set(ways)


def test_steps_and_noise_are_drawn_for_each_sample():
    """All steps alike, both ends among them, and noise of the standard normal distribution."""
    hr, lr = np.zeros((16, 16, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    make = PatchMaker(4, 4, timesteps=5)
    samples = [make(hr, lr, np.random.default_rng([7, number])) for number in range(500)]
    *_, t, eps = collate(samples)
    assert (t.dtype, t.shape, eps.dtype, eps.shape) == (np.int32, (500,), np.float32, (500, 3, 16, 16))
    counts = np.bincount(t)
    assert len(counts) == 5
    assert counts.min() > 70
    assert abs(eps.mean()) < 0.01
    assert abs(eps.std() - 1) < 0.01
    assert abs(np.mean(eps[:-1] * eps[1:])) < 0.01, "each sample has noise of its own"


def test_encoder_needs_no_noise(prepared):
    assert [array.shape for array in next(stream_of(options(prepared, stage="rrdb")).batches(0, 1))] == [
        (2, 3, 16, 16),
        (2, 3, 4, 4),
    ]
    shapes = [array.shape for array in next(stream_of(options(prepared)).batches(0, 1))]
    assert shapes == [(2, 3, 16, 16), (2, 3, 4, 4), (2, 3, 16, 16), (2,), (2, 3, 16, 16)]


def test_workers_share_what_one_would_see(prepared):
    """Pictures, crops, steps and noise of each step's global batch; and a run that goes on sees the same again."""
    whole = list(stream_of(options(prepared, batch_size=4)).batches(0, 3))
    shares = [list(stream_of(options(prepared), Runtime("CPU", rank, 2)).batches(0, 3)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        for number, array in enumerate(batch):
            together = np.concatenate([share[step][number] for share in shares])
            np.testing.assert_array_equal(array, together)
    later = next(stream_of(options(prepared, batch_size=4)).batches(2, 3))
    assert all(np.array_equal(one, other) for one, other in zip(later, whole[2], strict=True))
    assert not np.array_equal(whole[0][4], whole[1][4])


# ----------------------------------------------------------------------------------------------------- where they lie


def test_prepared_tree(prepared):
    """From the folder above all sets, one set, a split of it, and its HR pictures; LR lies beside."""

    def names(path, split="train"):
        return [str(folder.relative_to(prepared)) for folder in find_hr_folders(str(path), split)]

    both = ["div2k/train/X1", "flickr2k/train/X1"]
    assert names(prepared) == both
    assert names(prepared, "test") == ["div2k/val/X1"]
    assert names(f"{prepared / 'div2k'},{prepared / 'flickr2k'}") == both
    assert names(prepared / "flickr2k") == both[1:]
    assert names(prepared / "div2k" / "val") == names(prepared / "div2k" / "val" / "X1") == ["div2k/val/X1"]
    assert lr_beside(prepared / "div2k" / "val" / "X1", 4) == prepared / "div2k" / "val" / "X4"
    assert lr_beside(prepared / "div2k" / "val" / "X1", 8) is None
    pairs = find_pictures(str(prepared), "", 4, "train")
    assert [(pair.hr.parent.parent.parent.name, pair.lr.parent.name) for pair in pairs] == [
        ("div2k", "X4"), ("div2k", "X4"), ("flickr2k", "X4"),
    ]  # fmt: skip
    _, lr, *_ = next(stream_of(options(prepared)).batches(0, 1))
    np.testing.assert_allclose(lr[:, 1], 7 / 127.5 - 1, rtol=1e-6)
    with pytest.raises(UserError, match=r"flickr2k has none of val/X1, DIV2K_valid_HR; it has train/X1"):
        find_hr_folders(str(prepared / "flickr2k"), "test")


def test_tree_of_the_archives(df2k):
    train = [df2k / "DIV2K_train_HR", df2k / "Flickr2K" / "Flickr2K_HR"]
    assert find_hr_folders(str(df2k), "train") == train
    assert find_hr_folders(str(df2k), "test") == [df2k / "DIV2K_valid_HR"]
    assert find_hr_folders(str(df2k / "DIV2K_valid_HR"), "train") == [df2k / "DIV2K_valid_HR"], "as it was said"
    pairs = find_pictures(str(df2k), "", 4, "train")
    assert [pair.lr and pair.lr.name for pair in pairs] == ["0001x4.png", None]
    pairs = find_pictures(str(df2k / "DIV2K_train_HR"), str(df2k / "DIV2K_train_LR_bicubic" / "X4"), 4, "train")
    assert [pair.lr.name for pair in pairs] == ["0001x4.png"]


def test_benchmark_and_plain_folder(source, tmp_path):
    images.write_picture(tmp_path / "Set5" / "HR" / "baby.png", source[0])
    images.write_picture(tmp_path / "Set5" / "LR_bicubic" / "X4" / "babyx4.png", imresize(source[0], 1 / 4))
    (pair,) = find_pictures(str(tmp_path / "Set5"), "", 4, "test")
    assert (pair.name, pair.lr.name) == ("baby", "babyx4.png")
    (pair,) = find_pictures(str(tmp_path / "Set5" / "HR" / "baby.png"), "", 4, "train")
    assert pair.lr is None
    images.write_picture(tmp_path / "mine" / "deep" / "a.png", source[1])
    (pair,) = find_pictures(str(tmp_path / "mine"), "", 4, "train")
    assert (pair.name, pair.lr) == ("a", None)


def test_what_belongs_to_the_training_pictures(prepared, df2k):
    wanted = str(prepared / "div2k" / "val" / "X1")
    for path in (prepared, prepared / "div2k", prepared / "div2k" / "train"):
        assert what_belongs_to(str(path)) == wanted
    assert what_belongs_to(f"{prepared / 'flickr2k'},{prepared / 'div2k'}") == wanted
    assert what_belongs_to(str(prepared / "flickr2k")) == ""
    assert what_belongs_to(str(df2k)) == what_belongs_to(str(df2k / "DIV2K_train_HR")) == str(df2k / "DIV2K_valid_HR")


def test_packed_set(df2k, source, tmp_path, caplog):
    """Its patches are trained on; the run is looked at where it is told."""
    path = tmp_path / "set.mindrecord"
    pack(PackOptions(hr=df2k / "DIV2K_train_HR", output=path, scale=4, patch=32, crops=3))
    stream = stream_of(options(path))
    assert len(stream.pictures) == 3
    hr, *_ = next(stream.batches(0, 1))
    assert hr.shape == (2, 3, 16, 16)
    assert patches_to_look_at(options(path), options(path).hyper()) == []
    chosen = options(path, val_GT_path=str(path), test_pictures=2)
    assert [lr.shape for _, lr in patches_to_look_at(chosen, chosen.hyper())] == [(4, 4, 3)] * 2
    with pytest.raises(UserError, match=r"set\.mindrecord holds patches of 32, smaller than --patch_size 64"):
        stream_of(options(path, patch_size=64))
    with pytest.raises(UserError, match=r"set\.mindrecord was packed for x4, not x2"):
        stream_of(options(path, scale=2))


def test_patches_to_look_at_are_the_middles(prepared, source):
    chosen = options(prepared)
    (hr, lr), (other, _) = patches_to_look_at(chosen, chosen.hyper())
    np.testing.assert_array_equal(hr, source[3][24:40, 28:44])
    np.testing.assert_array_equal(lr[..., 0], imresize(source[3], 1 / 4)[6:10, 7:11, 0])
    assert (lr[..., 1] == 7).all()
    np.testing.assert_array_equal(other, source[4][24:40, 28:44])
    assert len(patches_to_look_at(options(prepared, test_pictures=1), chosen.hyper())) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_GT_path": "/nope"}, r"--dataset_GT_path is not there: /nope"),
        ({"dataset_GT_path": "/nope.mindrecord"}, r"/nope\.mindrecord is not there: python -m common\.mindrecord"),
        ({"dataset_LQ_path": "/nope"}, "--dataset_LQ_path is not a folder: /nope"),
        ({"dataset_LQ_path": "/"}, "--dataset_LQ_path is one folder, but HR is in .*div2k.*, .*flickr2k"),
        ({"patch_size": 80}, "every training picture is smaller than the patch of 80x80"),
        ({"patch_size": 18}, r"--patch_size 18 \(HR pixels\) must be a multiple of 4"),
    ],
)
def test_mistakes(prepared, changes, message):
    with pytest.raises(UserError, match=message):
        stream_of(options(**{"path": prepared, **changes}))


def test_validation_pictures_that_are_not_there(prepared):
    for changes, message in (
        ({"val_GT_path": "/nope"}, "--val_GT_path is not there: /nope"),
        ({"val_GT_path": str(prepared / "div2k" / "val"), "patch_size": 96}, "is smaller than --patch_size 96"),
    ):
        chosen = options(prepared, **changes)
        with pytest.raises(UserError, match=message):
            patches_to_look_at(chosen, chosen.hyper())
