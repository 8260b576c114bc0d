"""LPIPS against a naive float64 NumPy AlexNet, and against the figures that the lpips package publishes."""

import logging

import numpy as np
import pytest

from common import UserError
from common.images.files import read_rgb
from common.metrics.lpips import OFFICIAL_HEADS_SUM, Lpips

CONVOLUTIONS = {  # torchvision's index: out, in, kernel, stride, padding, max-pooling before it
    0: (64, 3, 11, 4, 2, False),
    3: (192, 64, 5, 1, 2, True),
    6: (384, 192, 3, 1, 1, True),
    8: (256, 384, 3, 1, 1, False),
    10: (256, 256, 3, 1, 1, False),
}


@pytest.fixture(scope="module")
def weights():
    """Random (features, heads), scaled so that the activations neither die nor grow."""
    random = np.random.default_rng(5)
    features, heads = {}, {}
    for level, (index, (out, channels, kernel, *_)) in enumerate(CONVOLUTIONS.items()):
        deviation = np.sqrt(2 / (channels * kernel**2))
        features[f"features.{index}.weight"] = random.normal(0, deviation, (out, channels, kernel, kernel))
        features[f"features.{index}.bias"] = random.normal(0, 0.1, out)
        heads[f"lin{level}.model.1.weight"] = random.uniform(0, 1, (1, out, 1, 1))
    return tuple({name: a.astype(np.float32) for name, a in group.items()} for group in (features, heads))


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips weights")
    np.savez(path / "alexnet.npz", **weights[0])
    np.savez(path / "alex.npz", **weights[1])
    np.savez(path / "vgg.npz", **weights[1])  # another name: not looked at
    return path


@pytest.fixture(scope="module")
def lpips(folder):
    return Lpips.from_files(folder)


def random_images(height, width):
    random = np.random.default_rng(height)
    hr = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    sr = (hr + random.normal(0, 40, hr.shape)).clip(0, 255).astype(np.uint8)
    return sr, hr


def naive_convolution(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    kernel = weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4])) + bias[:, None, None]


def naive_pool(x):
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(-1, -2))


def naive_units(image, features):
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = ((image / 127.5 - 1 - shift) / scale).transpose(2, 0, 1)
    for index, (_, _, _, stride, padding, pooled) in CONVOLUTIONS.items():
        x = naive_pool(x) if pooled else x
        weight, bias = (features[f"features.{index}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        x = np.maximum(naive_convolution(x, weight, bias, stride, padding), 0)
        yield x / (np.sqrt((x**2).sum(axis=0)) + 1e-10)


def naive_lpips(sr, hr, features, heads):
    total = 0.0
    units = zip(naive_units(sr, features), naive_units(hr, features), strict=True)
    for (a, b), head in zip(units, heads.values(), strict=True):
        total += (head[0].astype(np.float64) * (a - b) ** 2).sum(axis=0).mean()
    return total


@pytest.mark.parametrize("size", [(31, 31), (37, 64), (70, 45)])  # the smallest; odd and even rests at each stride
def test_naive_numpy(lpips, weights, size):
    sr, hr = random_images(*size)
    assert lpips(sr, hr) == pytest.approx(naive_lpips(sr, hr, *weights), rel=2e-6)


def test_files_that_are_missing_damaged_or_others(folder, weights, tmp_path):
    good, heads = folder / "alexnet.npz", folder / "alex.npz"
    (tmp_path / "half.npz").write_bytes(good.read_bytes()[:50_000])
    np.savez(tmp_path / "wide.npz", **{**weights[1], "lin1.model.1.weight": np.ones((1, 128, 1, 1), np.float32)})
    for text, said in {
        f"{good},{tmp_path / 'half.npz'}": r"torchvision's AlexNet.*half\.npz",
        f"{good},{tmp_path / 'missing.pth'}": r"torchvision's AlexNet.*missing\.pth",
        f"{good},{good},{good}": "must be a folder, or two files",
        "/no/such/folder": "must be a folder, or two files",
        f"{good},{good}": r"no array named lin0\.model\.1\.weight",
        f"{heads},{heads}": r"no array named features\.0\.weight",
        f"{good},{tmp_path / 'wide.npz'}": "AlexNet.*128.*192",
        str(tmp_path): r"no file alex\*\.pth",
    }.items():
        with pytest.raises(UserError, match=said):
            Lpips.from_files(text)


def test_version_is_told_by_the_values(folder, weights, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="common.metrics.lpips"):
        Lpips.from_files(folder)
    assert [record.args[0] for record in caplog.records] == ["heads", "features"]
    total = sum(float(array.sum()) for array in weights[1].values())
    old = {name: array * np.float32(OFFICIAL_HEADS_SUM["v0.0"] / total) for name, array in weights[1].items()}
    np.savez(tmp_path / "old.npz", **old)
    with pytest.raises(UserError, match=r"heads of LPIPS v0\.1, found those of v0\.0"):
        Lpips.from_files(f"{folder / 'alexnet.npz'},{tmp_path / 'old.npz'}")


def test_published_figures(shared_data, caplog):
    """What the lpips package prints for its own example images."""
    network = Lpips.from_files(shared_data / "lpips")
    assert not caplog.records
    pairs = shared_data / "metric_vectors" / "lpips_pairs"
    reference, far, near = (read_rgb(pairs / f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    assert round(network(reference, far), 3) == 0.722
    assert round(network(reference, near), 3) == 0.138
