"""SRDiff/src/dataset/div2k_preprocess.py: the seed's tree, where its pixels come from, and going on after a stop."""

import subprocess
import sys

import numpy as np
import pytest

from ci.tests import clone
from ci.tests.specs import noise, write
from common import UserError
from common.images import imresize, read_rgb, write_image
from SRDiff.src.dataset import div2k_preprocess

PLACES = [(top, left) for top in (0, 32) for left in (0, 32, 40)]  # of 32x32 in 64x72: the last is moved inwards
HR = [noise(64, 72, seed=1), noise(64, 72, seed=2), noise(64, 72, seed=3), noise(67, 75)]


def small(image):
    """The set's own LR images, told from bicubic by their green."""
    found = imresize(image, 1 / 4)
    found[..., 1] = 7
    return found


@pytest.fixture
def div2k(tmp_path):
    """As it unpacks: two training images with LR images, two for validation without."""
    images = {f"DIV2K_train_HR/000{number}": HR[number - 1] for number in (1, 2)}
    images |= {f"DIV2K_train_LR_bicubic/X4/000{number}x4": small(HR[number - 1]) for number in (1, 2)}
    return write(tmp_path / "archive", images | {"DIV2K_valid_HR/0801": HR[2], "DIV2K_valid_HR/0802": HR[3]})


def make(root, output, dataset="div2k", **changes):
    settings = {"root": root, "dataset": dataset, "output": output, "crop-size": 32, "num-workers": 1, **changes}
    return div2k_preprocess.main([word for key, value in settings.items() for word in (f"--{key}", str(value))])


def tree(folder):
    """All that is not hidden -> content."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if not name.rpartition("/")[2].startswith(".")}


def test_as_the_seed_prints_it(root, div2k, begun, tmp_path):
    """Started from its own folder, with several processes; every file of the tree, every pixel in it."""
    made = tmp_path / "data" / "div2k"
    words = ["--root", div2k, "--dataset", "div2k", "--output", made, "--crop-size", "32", "--num-workers", "2"]
    command = [sys.executable, "div2k_preprocess.py", *map(str, words)]
    where = {"cwd": root / "SRDiff" / "src" / "dataset", "env": clone.environment(PYTHONPATH=str(root))}
    done = subprocess.run(command, **where, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{made / 'train'}: 12 pairs of 2 images, 24 written now" in done.stdout
    assert f"{made / 'val'}: 2 pairs of 2 images, 4 written now" in done.stdout
    counts = {"train": 12, "val": 2}
    assert tree(made).keys() == {
        f"{split}/X{scale}/image_{number:04d}.png"
        for split, count in counts.items() for scale in (1, 4) for number in range(count)
    }  # fmt: skip
    wanted = []
    for number, (top, left) in enumerate(PLACES * 2):
        hr, lr = HR[number // 6], small(HR[number // 6])
        y, x = top // 4, left // 4
        wanted.append((hr[top : top + 32, left : left + 32], lr[y : y + 8, x : x + 8]))
    wanted += [(image[:64, :72], imresize(image[:64, :72], 1 / 4)) for image in HR[2:]]  # cut to multiples of 4
    for number, pair in enumerate(wanted):
        place = f"image_{number % 12:04d}.png"
        for scale, image in zip((1, 4), pair, strict=True):
            folder = made / ("train" if number < 12 else "val") / f"X{scale}"
            np.testing.assert_array_equal(read_rgb(folder / place), image)
    trainer = begun("SRDiff", dataset_GT_path=tmp_path / "data", scale=4, stage="rrdb")
    assert [pair.lr.parent.name for pair in trainer.stream.images.pairs] == ["X4"] * 12, "training finds them"


def test_goes_on_where_it_was_stopped(div2k, tmp_path, capsys):
    """What is whole is kept; what is missing, cut off or of another size is written anew, a kill's rest removed."""
    output = tmp_path / "out"
    make(div2k, output)
    files = tree(output)
    ages = {name: (output / name).stat().st_mtime_ns for name in files}
    gone, cut, other = "train/X1/image_0003.png", "train/X4/image_0007.png", "train/X1/image_0011.png"
    (output / gone).unlink()
    (output / cut).write_bytes(files[cut][:-5])
    write_image(output / other, np.zeros((8, 32, 3), np.uint8))
    remains = output / "train" / "X1" / ".image_0003.abc.tmp.png"
    remains.touch()
    capsys.readouterr()
    make(div2k, output)
    assert "12 pairs of 2 images, 3 written now" in capsys.readouterr().out
    assert tree(output) == files
    assert {name for name in files if (output / name).stat().st_mtime_ns != ages[name]} == {gone, cut, other}
    assert not remains.exists()


@pytest.mark.parametrize(
    ("dataset", "folder", "split"),
    [
        ("flickr2k", "Flickr2K_HR", "train"),
        ("flickr2k", ".", "train"),
        ("set5", "Set5/HR", "val"),
        ("bsd100", "B100/HR", "val"),
    ],
)
def test_where_each_data_set_is_looked_for(tmp_path, dataset, folder, split):
    """Benchmarks come whole, for validation; Flickr2K is for training alone."""
    write(tmp_path / "root" / folder, {"a": HR[0]})
    make(tmp_path / "root", tmp_path / "out", dataset)
    count = 6 if split == "train" else 1
    assert tree(tmp_path / "out").keys() == {
        f"{split}/X{scale}/image_{number:04d}.png" for scale in (1, 4) for number in range(count)
    }


def test_output_of_another_kind_is_left_alone(div2k, tmp_path):
    """Other settings, or another program's files: none of it is mixed."""
    output = tmp_path / "out"
    make(div2k, output)
    before = tree(output)
    for changes, message in (
        ({"crop-size": 16}, "crop_size 32, not 16: choose another --output"),
        ({"scale": 2}, "scale 4, not 2"),
        ({"dataset": "set5", "root": div2k / "DIV2K_valid_HR"}, "dataset div2k, not set5"),
    ):
        with pytest.raises(UserError, match=message):
            make(**{"root": div2k, "output": output, **changes})
    assert tree(output) == before
    (output / div2k_preprocess.SETTINGS).unlink()
    with pytest.raises(UserError, match="holds images that were made in another way: choose another --output"):
        make(div2k, output)
