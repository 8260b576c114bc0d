"""What IRN's eval.py alone has: figures of its LR images, draws of z, and the seed's val.py."""

import logging
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from ci.tests.IRN import nets
from ci.tests.specs import BY_NAME, psnr, smooth, weights_of, write
from ci.tests.test_evaluation import rows_of
from common.images import imresize, read_rgb
from common.metrics import Convention
from IRN import eval as evaluation
from IRN import infer


@pytest.fixture
def hr(tmp_path):
    """Images whose means of 2x2 pixels do not end on .5, which rounds as the last bit has it; one with odd sides."""
    found = {"b2": smooth(40, 48, 1), "b10": smooth(43, 37, 2)}
    for image in found.values():
        height, width = (side // 2 * 2 for side in image.shape[:2])
        sums = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).sum((1, 3), dtype=int)
        image[:height:2, :width:2] ^= (sums % 4 == 2).astype(np.uint8)
    write(tmp_path / "Some", found)
    return {name: image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2] for name, image in found.items()}


@pytest.fixture
def run(saved, tmp_path):
    """run(to, *words) -> rows of the table of the images in `tmp_path`/Some."""

    def begin(to, *words, weights=saved["IRN"]):
        given = ["--dataset_GT_path", tmp_path / "Some", "--ckpt_path", weights, "--output", tmp_path / to, *words]
        assert evaluation.main([*map(str, given), "--device_target", "CPU"]) == 0
        return rows_of(tmp_path / to / "Some.csv")

    return begin


def bicubic_lr(image):
    """Rounded once, at the end."""
    return nets.eight_bits(imresize(image / 255, 1 / 2))


def test_figures_of_the_haar_transform(hr, run, tmp_path):
    """Without couplings LR is the mean of 2x2 pixels, and with z = 0 HR is that mean four times."""
    haar = BY_NAME["IRN"].save(tmp_path / "haar.ckpt", weights_of(nets.make(last=0)))
    rows = run("o", "--gaussian_scale", 0, weights=haar)
    for name, row in rows.items():
        image = hr[name]
        height, width = image.shape[:2]
        small = np.rint(image.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))).astype(np.uint8)
        large, reference = small.repeat(2, 0).repeat(2, 1), bicubic_lr(image)
        for channels, on_y in (("Y", True), ("RGB", False)):
            head = f"PSNR-{channels} (crop 2): IRN"
            assert row[head] == pytest.approx(psnr(large, image, 2, on_y=on_y), abs=1e-9)
            assert row[f"LR {head}"] == pytest.approx(psnr(small, reference, 2, on_y=on_y), abs=1e-9)
            assert row[f"{head}, std over draws"] == 0
            ssim = Convention(channels.lower(), 2).ssim(small, reference)
            assert row[f"LR SSIM-{channels} (crop 2, 11x11 gaussian): IRN"] == pytest.approx(ssim, abs=1e-12)


def test_mean_and_spread_over_the_draws(hr, run, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        rows = run("o", "--gaussian_scale", 0.3, "--seed", 4, "--draws", 3, "--save_lr", "--suffix", "_t", "--crop", 3)
    image, row, network = hr["b2"], rows["b2"], nets.make()
    lr = read_rgb(tmp_path / "o" / "Some" / "LR" / "b2_t.png")
    assert np.abs(lr.astype(int) - nets.eight_bits(nets.down(network, image / 255))).max() <= 1
    latents = [np.float32(0.3) * nets.normal_z(4, "b2", draw, network.hyper, 20, 24) for draw in range(3)]
    restored = [nets.eight_bits(nets.up(network, lr / 255, z)) for z in latents]
    scores = [psnr(result, image, 3, on_y=True) for result in restored]
    assert np.std(scores) > 0.01
    assert row["PSNR-Y (crop 3): IRN"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert row["PSNR-Y (crop 3): IRN, std over draws"] == pytest.approx(np.std(scores), abs=1e-3)
    assert row["LR PSNR-RGB (crop 3): IRN"] == pytest.approx(psnr(lr, bicubic_lr(image), 3), abs=1e-9)
    assert np.abs(read_rgb(tmp_path / "o" / "Some" / "SR" / "b2_t.png").astype(int) - restored[0]).max() <= 1
    number, parts = r"-?[\d.]+", ("PSNR", "SSIM", "PSNR_Y", "SSIM_Y")
    line = "; ".join(rf"{lr}{part} {number}" for lr in ("", "LR ") for part in parts)
    running = [
        record.getMessage() for record in caplog.records if re.fullmatch(rf"[\w ]+: {line}", record.getMessage())
    ]
    assert [text.partition(":")[0] for text in running] == ["b2", "mean of 1", "b10", "mean of 2"], "as the seed's"


def test_saved_lr_images_are_a_reference_and_can_be_upscaled(hr, run, saved, tmp_path, caplog):
    run("o", "--draws", 1, "--save_lr", "--save_results", "no")
    assert {path.name for path in (tmp_path / "o" / "Some").iterdir()} == {"LR"}
    lr = tmp_path / "o" / "Some" / "LR"
    for row in run("again", "--draws", 1, "--dataset_LQ_path", lr).values():
        assert row["LR PSNR-Y (crop 2): IRN"] == np.inf
    infer.main(["upscale", str(lr), "--ckpt_path", str(saved["IRN"]), "--output", str(tmp_path / "up")])
    assert "poorly" not in caplog.text
    assert read_rgb(tmp_path / "up" / "b10_hr.png").shape == (42, 36, 3)
    with Image.open(lr / "b10.png") as file:
        assert file.text["irn_original_size"] == "36x42"


@pytest.mark.parametrize("place", ["IRN", ".", "elsewhere"])
def test_val_forwards_from_everywhere(root, saved, python, tmp_path, place):
    """The seed's val.py, with its -opt; its results are in a new folder of the place where it is typed."""
    cwd = root / place if place != "elsewhere" else tmp_path
    model = {"IRN": ".", ".": "IRN", "elsewhere": root / "IRN"}[place]
    command = [str(python), f"{model}/val.py", "-opt", f"{model}/src/options/test/test_IRN_x2.yml"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (2, "error: which images? type --dataset_GT_path FOLDER\n")
    if place == "elsewhere":
        write(tmp_path / "large", {"a": smooth(80, 84)})  # SSIM of the LR image needs 11x11 within the border
        command += ["--dataset_GT_path", "large", "--ckpt_path", str(saved["IRN"]), "--draws", "1"]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
        assert (done.returncode, "DIV2K x2, IRN" in done.stdout) == (0, True), done.stderr
        (made,) = (cwd / "runs" / "IRN").iterdir()
        assert re.fullmatch(r"eval_DIV2K_x2-\d{8}-\d{6}", made.name)
