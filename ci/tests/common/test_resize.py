"""imresize against the benchmarks' own files and a naive definition; test_goldens.py has the authors' functions."""

import numpy as np
import pytest

from common import images
from common.images.resize import imresize


@pytest.mark.parametrize("name", ["Set5", "Set14", "DIV2K"])
def test_benchmark_files_bit_equal(shared_data, name):
    root = shared_data / ("DIV2K_sample" if name == "DIV2K" else f"benchmark/{name}")
    border = "symmetric" if name == "DIV2K" else "replicate"
    pairs = 0
    for hr_path in images.find_images(root / "HR"):
        hr = images.read_rgb(hr_path)
        for folder in sorted((root / "LR_bicubic").iterdir()):
            scale = int(folder.name[1:])
            lr = images.read_rgb(folder / f"{hr_path.stem}x{scale}.png")
            made = imresize(images.modcrop(hr, scale), 1 / scale, border=border)
            np.testing.assert_array_equal(made, lr, err_msg=f"{hr_path.name} x{scale}")
            pairs += 1
    assert pairs == {"Set5": 15, "Set14": 42, "DIV2K": 1}[name]


def naive_kernel(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def naive_line(line: list[float], scale: float, border: str) -> list[float]:
    """One line, one output pixel after the other, straight from the definition."""
    reach = 4 if scale >= 1 else int(np.ceil(4 / scale))
    extended = np.pad(line, 3 * reach, mode={"symmetric": "symmetric", "replicate": "edge"}[border])
    result = []
    for j in range(int(np.ceil(len(line) * scale))):
        centre = (j + 0.5) / scale - 0.5
        total, weight_sum = 0.0, 0.0
        for i in range(int(centre) - reach, int(centre) + reach + 2):
            weight = naive_kernel((centre - i) * min(scale, 1.0))
            total += weight * extended[i + 3 * reach]
            weight_sum += weight
        result.append(total / weight_sum)
    return result


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 0.7, 1, 1.5, 2, 3, 4])
@pytest.mark.parametrize("shape", [(13, 17), (5, 3), (2, 1)])  # the small ones are narrower than the kernel
def test_definition(border, scale, shape):
    image = np.random.default_rng(1).random(shape)
    expected = np.array([naive_line(column, scale, border) for column in image.T]).T
    expected = np.array([naive_line(row, scale, border) for row in expected])
    np.testing.assert_allclose(imresize(image, scale, border=border), expected, rtol=0, atol=1e-12)


def test_integers_are_rounded_after_each_pass():
    image = np.random.default_rng(2).integers(0, 256, (24, 24), dtype=np.uint8)
    rows = np.array([naive_line(column, 1 / 3, "symmetric") for column in image.T.astype(float)]).T
    rows = np.floor(rows + 0.5).clip(0, 255)
    both = np.array([naive_line(row, 1 / 3, "symmetric") for row in rows])
    result = imresize(image, 1 / 3)
    np.testing.assert_array_equal(result, np.floor(both + 0.5).clip(0, 255))
    once = np.rint(imresize(image.astype(np.float64), 1 / 3)).clip(0, 255)
    assert not np.array_equal(result, once)


def test_halves_and_clipping():
    line = np.array([[0, 0, 0, 1, 1, 1, 1, 1]], np.uint8)
    # x1/2 of a step: the middle sample falls on exact halves of a grey level somewhere in a long ramp
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    exact = imresize(ramp.astype(np.float64), 1 / 2)
    halves = exact % 1 == 0.5
    assert halves.any()
    np.testing.assert_array_equal(imresize(ramp, 1 / 2)[halves], np.ceil(exact[halves]))
    even = imresize(ramp, 1 / 2, rounding="half_even")[halves]
    np.testing.assert_array_equal(even, np.round(exact[halves]))
    assert (even != np.ceil(exact[halves])).any()
    # The kernel overshoots at a step: whole numbers are clipped, floats are not.
    assert imresize(line * 255, 2).max() == 255
    assert imresize(line.astype(np.float32), 2).max() > 1.01
    assert imresize(line.astype(np.float32), 2).min() < -0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blocks_do_not_change_the_result(monkeypatch, dtype):
    image = (np.random.default_rng(4).random((37, 53, 3)) * 255).astype(dtype)
    whole = imresize(image, (1 / 3, 2.0))
    assert whole.dtype == dtype
    monkeypatch.setattr("common.images.resize.BLOCK_VALUES", 500)
    np.testing.assert_array_equal(imresize(image, (1 / 3, 2.0)), whole)


def test_smaller_scale_goes_first():
    image = np.random.default_rng(5).integers(0, 256, (16, 16), dtype=np.uint8)
    columns_first = imresize(imresize(image, (1.0, 0.5)), (2.0, 1.0))
    rows_first = imresize(imresize(image, (2.0, 1.0)), (1.0, 0.5))
    assert not np.array_equal(columns_first, rows_first)
    np.testing.assert_array_equal(imresize(image, (2.0, 0.5)), columns_first)


def test_size_instead_of_scale():
    image = np.random.default_rng(6).random((12, 18, 3)).astype(np.float32)
    np.testing.assert_array_equal(imresize(image, size=(6, 9)), imresize(image, 1 / 2))
    assert imresize(image, size=(7, 31)).shape == (7, 31, 3)
