"""SRDiff/src/dataset/div2k_preprocess.py: the seed's tree, where its pixels come from, and going on after a stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ci.tests import clone
from common import UserError
from common.images import files as images
from common.images.resize import imresize
from SRDiff.src.dataset import div2k_preprocess
from SRDiff.src.dataset.patches import find_pictures

PLACES = [(top, left) for top in (0, 32) for left in (0, 32, 40)]  # of 32x32 in 64x72: the last is moved inwards


@pytest.fixture(scope="module")
def source(sample_dir):
    """Four pictures of 64x72, but for the last, of 67x75."""
    folder = sample_dir / "DIV2K" / "DIV2K_train_HR"
    found = [images.read_rgb(folder / f"000{number}.png") for number in range(1, 5)]
    return [*(picture[:64, :72] for picture in found[:3]), found[3][:67, :75]]


@pytest.fixture
def div2k(source, tmp_path):
    """As it unpacks: two training pictures with LR pictures (told by their green), two for validation without."""
    root = tmp_path / "archive"
    for number, picture in enumerate(source[:2], 1):
        images.write_picture(root / "DIV2K_train_HR" / f"000{number}.png", picture)
        lr = imresize(picture, 1 / 4)
        lr[..., 1] = 7
        images.write_picture(root / "DIV2K_train_LR_bicubic" / "X4" / f"000{number}x4.png", lr)
    for number, picture in enumerate(source[2:], 801):
        images.write_picture(root / "DIV2K_valid_HR" / f"0{number}.png", picture)
    return root


@pytest.fixture
def here(monkeypatch):
    """Pictures are cut in this process."""

    def run(jobs, title, workers):
        return sum(div2k_preprocess.cut(job) for job in jobs)

    monkeypatch.setattr(div2k_preprocess, "run", run)


def make(root: Path, output: Path, dataset: str = "div2k", **changes: object) -> int:
    settings = {"root": root, "dataset": dataset, "output": output, "crop-size": 32, "num-workers": 2, **changes}
    return div2k_preprocess.main([word for key, value in settings.items() for word in (f"--{key}", str(value))])


def tree(folder: Path) -> list[str]:
    """All that is not hidden."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if not path.name.startswith("."))


def test_as_the_seed_prints_it(root, div2k, source, tmp_path):
    """Started from its own folder, with several processes; every file of the tree, every pixel in it."""
    command = [sys.executable, "div2k_preprocess.py", "--root", div2k, "--dataset", "div2k"]
    command += ["--output", tmp_path / "data" / "div2k", "--crop-size", "32", "--num-workers", "2"]
    folder = root / "SRDiff" / "src" / "dataset"
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clone.environment(PYTHONPATH=str(root)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = tmp_path / "data" / "div2k"
    assert f"{made / 'train'}: 12 pairs of 2 pictures, 24 written now" in done.stdout
    assert f"{made / 'val'}: 2 pairs of 2 pictures, 4 written now" in done.stdout
    train = [f"train/X{scale}/image_{number:04d}.png" for scale in (1, 4) for number in range(12)]
    val = [f"val/X{scale}/image_{number:04d}.png" for scale in (1, 4) for number in range(2)]
    assert tree(made) == sorted(train + val)
    for number, (top, left) in enumerate(PLACES * 2):
        hr, lr = (images.read_rgb(made / "train" / f"X{scale}" / f"image_{number:04d}.png") for scale in (1, 4))
        whole = source[number // 6]
        small = imresize(whole, 1 / 4)
        small[..., 1] = 7  # the set's own LR pictures were cut, not the HR crops shrunk
        np.testing.assert_array_equal(hr, whole[top : top + 32, left : left + 32])
        np.testing.assert_array_equal(lr, small[top // 4 : top // 4 + 8, left // 4 : left // 4 + 8])
    for number, (height, width) in enumerate(((64, 72), (64, 72))):  # 67x75 is cut to multiples of 4
        hr, lr = (images.read_rgb(made / "val" / f"X{scale}" / f"image_{number:04d}.png") for scale in (1, 4))
        np.testing.assert_array_equal(hr, source[2 + number][:height, :width])
        np.testing.assert_array_equal(lr, imresize(source[2 + number][:height, :width], 1 / 4))
    pairs = find_pictures(str(tmp_path / "data"), "", 4, "train")
    assert len(pairs) == 12
    assert all(pair.hr.name == pair.lr.name for pair in pairs), "training finds them"


def test_goes_on_where_it_was_stopped(div2k, tmp_path, here, capsys):
    """What is whole is kept as it is; what is missing, cut off or of another size is written anew, the rest of a kill
    removed."""
    output = tmp_path / "out"
    make(div2k, output)
    files = {name: (output / name).read_bytes() for name in tree(output)}
    ages = {name: (output / name).stat().st_mtime_ns for name in files}
    gone, cut, other = "train/X1/image_0003.png", "train/X4/image_0007.png", "train/X1/image_0011.png"
    (output / gone).unlink()
    (output / cut).write_bytes(files[cut][:-5])
    images.write_picture(output / other, np.zeros((8, 32, 3), np.uint8))
    remains = output / "train" / "X1" / ".image_0003.abc.tmp.png"
    remains.touch()
    capsys.readouterr()
    make(div2k, output)
    assert "12 pairs of 2 pictures, 3 written now" in capsys.readouterr().out
    assert {name: (output / name).read_bytes() for name in tree(output)} == files
    kept = {name for name in files if (output / name).stat().st_mtime_ns == ages[name]}
    assert kept == set(files) - {gone, cut, other}
    assert not remains.exists()


def test_killed_program_goes_on(root, div2k, source, tmp_path):
    """Killed with its helpers while it works: no file is half, and the next run makes what is missing."""
    for number in range(3, 21):
        images.write_picture(div2k / "DIV2K_train_HR" / f"{number:04d}.png", source[number % 2])
        images.write_picture(
            div2k / "DIV2K_train_LR_bicubic" / "X4" / f"{number:04d}x4.png", imresize(source[number % 2], 1 / 4)
        )
    output = tmp_path / "out"
    words = ("--root", div2k, "--dataset", "div2k", "--output", output, "--crop-size", "16", "--num-workers", "2")
    program = root / "SRDiff" / "src" / "dataset" / "div2k_preprocess.py"
    process = clone.start(sys.executable, program, *words, cwd=tmp_path, PYTHONPATH=str(root))
    end = time.monotonic() + 60
    while len(list(output.glob("train/X1/image_*.png"))) < 20:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    written = list(output.glob("*/X*/image_*.png"))
    assert len(written) < 20 * 20 * 2, "it was at work"
    assert all(images.read_rgb(path).shape[2] == 3 for path in written), "all of them whole"
    jobs = div2k_preprocess.plan(
        div2k_preprocess.PreprocessOptions(str(div2k), "div2k", str(output), crop_size=16),
        div2k / "DIV2K_train_HR",
        "train",
    )
    done = sum(div2k_preprocess.cut(job) for job in jobs)
    assert 0 < done <= 20 * 20 * 2 - len([path for path in written if path.parts[-3] == "train"])
    assert len(list(output.glob("train/X1/image_*.png"))) == len(list(output.glob("train/X4/image_*.png"))) == 20 * 20


def test_crops_cover_the_picture():
    """Against the naive search: every pixel is covered, every crop lies inside, and only the last overlaps."""
    for length in range(1, 50):
        for crop in range(1, 20):
            found = div2k_preprocess.starts(length, crop)
            size = min(crop, length)
            covered = sorted({pixel for start in found for pixel in range(start, start + size)})
            assert covered == list(range(length))
            assert len(found) == -(-length // crop)
            assert found[:-1] == [crop * number for number in range(len(found) - 1)]
    assert div2k_preprocess.starts(2040, 320) == [0, 320, 640, 960, 1280, 1600, 1720]
    assert div2k_preprocess.starts(30, 0) == [0], "uncropped"


def test_numbers_beyond_four_digits(source, tmp_path):
    images.write_picture(tmp_path / "a.png", source[0])
    pair = find_pictures(str(tmp_path), "", 4, "train")[0]
    job = div2k_preprocess.Job(pair, (64, 72), tmp_path, 9998, 4, 32)
    assert [number for number, *_ in job.crops()] == list(range(9998, 10004))
    assert [path.name for path in job.files(10000)] == ["image_10000.png"] * 2


@pytest.mark.parametrize(
    ("dataset", "folder", "split"),
    [
        ("flickr2k", "Flickr2K_HR", "train"),
        ("flickr2k", "Flickr2K/Flickr2K_HR", "train"),
        ("flickr2k", "Flickr2K", "train"),
        ("flickr2k", ".", "train"),
        ("set5", "Set5/HR", "val"),
        ("set14", "HR", "val"),
        ("urban100", "Urban100/HR", "val"),
        ("bsd100", "B100/HR", "val"),
        ("bsd100", ".", "val"),
    ],
)
def test_where_each_data_set_is_looked_for(source, tmp_path, here, dataset, folder, split):
    """Benchmarks come whole, for validation; Flickr2K is for training alone."""
    images.write_picture(tmp_path / "root" / folder / "a.png", source[0])
    make(tmp_path / "root", tmp_path / "out", dataset)
    count = 6 if split == "train" else 1
    wanted = [f"{split}/X{scale}/image_{number:04d}.png" for scale in (1, 4) for number in range(count)]
    assert tree(tmp_path / "out") == wanted


def test_other_scale(div2k, source, tmp_path, here):
    make(div2k, tmp_path / "out", scale=8)
    names = tree(tmp_path / "out")
    assert len([name for name in names if name.startswith("train/X8/")]) == 12
    lr = images.read_rgb(tmp_path / "out" / "train" / "X8" / "image_0002.png")
    np.testing.assert_array_equal(lr, imresize(source[0], 1 / 8)[:4, 5:9])


def test_training_pictures_alone(div2k, tmp_path, here, caplog):
    for path in (div2k / "DIV2K_valid_HR").iterdir():
        path.unlink()
    make(div2k, tmp_path / "out")
    assert "has no DIV2K_valid_HR: val is left out" in caplog.text
    assert not (tmp_path / "out" / "val").exists()


def test_output_of_another_kind_is_left_alone(div2k, source, tmp_path, here):
    """Other settings, other pictures, or another program's files: none of it is mixed."""
    output = tmp_path / "out"
    make(div2k, output)
    before = {name: (output / name).read_bytes() for name in tree(output)}
    mistakes = [
        ({"crop-size": 16}, "crop_size 32, not 16: choose another --output"),
        ({"scale": 2}, "scale 4, not 2"),
        ({"dataset": "set5", "root": div2k / "DIV2K_valid_HR"}, "dataset div2k, not set5"),
    ]
    for changes, message in mistakes:
        with pytest.raises(UserError, match=message):
            make(**{"root": div2k, "output": output, **changes})
    images.write_picture(div2k / "DIV2K_train_HR" / "0000.png", source[0])
    images.write_picture(div2k / "DIV2K_train_LR_bicubic" / "X4" / "0000.png", imresize(source[0], 1 / 4))
    with pytest.raises(UserError, match=r"was made with train 2 pictures, \w+, not 3 pictures, "):
        make(div2k, output)
    assert {name: (output / name).read_bytes() for name in tree(output)} == before
    (output / div2k_preprocess.SETTINGS).unlink()
    with pytest.raises(UserError, match="holds pictures that were made in another way: choose another --output"):
        make(div2k, output)


def test_mistakes_are_one_sentence(div2k, tmp_path, here):
    (tmp_path / "empty").mkdir()
    mistakes = [
        ({"root": "/nope"}, "--root is not a folder: /nope"),
        ({"root": ""}, "type --root FOLDER --dataset div2k --output"),
        ({"root": tmp_path / "empty"}, r"no pictures of div2k in .*empty: looked for DIV2K_train_HR, .*DIV2K_valid_HR"),
        ({"dataset": "div8k"}, "dataset must be one of .*, not 'div8k'; did you mean 'div2k'"),
        ({"crop-size": 30}, "--crop-size 30 must be a multiple of --scale 4"),
        ({"scale": 3}, "scale must be one of 2, 4, 8"),
        ({"crop": 3}, "unrecognized arguments: --crop 3"),
    ]
    for changes, message in mistakes:
        with pytest.raises(UserError, match=message) as raised:
            make(**{"root": div2k, "output": tmp_path / "out", **changes})
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
    (div2k / "DIV2K_train_LR_bicubic" / "X4" / "0002x4.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 images of .*DIV2K_train_HR have no x4 image in .*: 0002\.png"):
        make(div2k, tmp_path / "out")


def test_damaged_picture_is_named_and_the_rest_is_kept(div2k, tmp_path):
    """By way of the helpers' processes, as users meet it."""
    path = div2k / "DIV2K_train_HR" / "0002.png"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"0002\.png is damaged or cut off"):
        make(div2k, tmp_path / "out", **{"num-workers": 1})
    assert [name for name in tree(tmp_path / "out") if "X1" in name] == [
        f"train/X1/image_{number:04d}.png" for number in range(6)
    ]
